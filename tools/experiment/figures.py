"""Means over seeds and what they may be off by."""

import math

# Student's t, two-sided 95 %, by degrees of freedom.
T95 = [0, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228]
Z95 = 1.96

# A share is of so and so many answers, a fraction (of attention mass) of none that are counted.
MORE_IS_BETTER = ("share", "fraction")


def t95(n):
    """For the mean of n values."""
    return T95[n - 1] if n <= len(T95) else Z95 * (1 + 1.2 / (n - 1))


def mean(values):
    return sum(values) / len(values)


def deviation(values):
    """Between seeds; 0 for one."""
    if len(values) < 2:
        return 0.0
    m = mean(values)
    return math.sqrt(sum((v - m) ** 2 for v in values) / (len(values) - 1))


def wilson(share, n):
    """95 % interval of a share of n answers."""
    z2 = Z95 * Z95 / n
    middle = (share + z2 / 2) / (1 + z2)
    half = Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n)) / (1 + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


class Value:
    """Of one seed: n answers behind it, and the score of each by its question, where kept."""

    def __init__(self, value, n=0, answers=None):
        self.value, self.n, self.answers = value, n, answers or {}


class Figure:
    """A measure over seeds."""

    def __init__(self, found, unit):
        self.found, self.unit = found, unit
        self.by_seed = {seed: one.value for seed, one in found.items()}

    def __bool__(self):
        return bool(self.by_seed)

    @property
    def values(self):
        return list(self.by_seed.values())

    @property
    def mean(self):
        return mean(self.values)

    @property
    def deviation(self):
        return deviation(self.values)

    @property
    def interval(self):
        """(low, high), 95 %; None where nothing can be said. Over seeds by Student's t; of a share
        also Wilson's of all answers together, and the wider of both: three seeds that all get
        everything right do not prove that a fourth will."""
        low, high = math.inf, -math.inf
        values = self.values
        if any(math.isinf(v) for v in values):
            return None
        if len(values) > 1:
            half = t95(len(values)) * deviation(values) / math.sqrt(len(values))
            low, high = self.mean - half, self.mean + half
        n = sum(one.n for one in self.found.values())
        if self.unit == "share" and n > 0:
            of_answers = wilson(self.mean, n)
            low, high = min(low, of_answers[0]), max(high, of_answers[1])
        if self.unit in MORE_IS_BETTER:
            low, high = max(0.0, low), min(1.0, high)
        return (low, high) if low <= high else None


def difference(a, b):
    """a - b, paired by seed. The error of shares is at least that of their answers: where the seeds
    agree to the last answer, the exam may still be too short to tell."""
    seeds = [s for s in a.by_seed if s in b.by_seed]
    pairs = {s: a.by_seed[s] - b.by_seed[s] for s in seeds}
    if a.unit != "share" or not all(map(math.isfinite, pairs.values())):
        return Difference(pairs, 0.0)
    gaps = []
    for s in seeds:
        one, other = a.found[s].answers, b.found[s].answers
        gaps += [one[q] - other[q] for q in one if q in other]
    if gaps:
        return Difference(pairs, paired_error(gaps))
    return Difference(pairs, math.hypot(answers_error(a, seeds), answers_error(b, seeds)))


def paired_error(gaps):
    """Standard error of the mean gap between two answers to one question, with half a pair added
    to each kind (Agresti and Min 2005): never 0."""
    n = len(gaps) + 2
    return math.sqrt(sum(g * g for g in gaps) + 1 - sum(gaps) ** 2 / n) / n


def answers_error(figure, seeds):
    """Standard error of a mean share by its answers: Wilson's half width / z, never 0."""
    n = sum(figure.found[s].n for s in seeds)
    if n == 0:
        return 0.0
    low, high = wilson(mean([figure.by_seed[s] for s in seeds]), n)
    return (high - low) / (2 * Z95)


class Difference:
    def __init__(self, by_seed, error):
        self.by_seed, self.error = by_seed, error

    def __bool__(self):
        return bool(self.by_seed)

    @property
    def mean(self):
        return mean(list(self.by_seed.values()))

    @property
    def interval(self):
        values = list(self.by_seed.values())
        half = Z95 * self.error
        if any(math.isinf(v) or math.isnan(v) for v in values):
            return None
        if len(values) > 1:
            half = max(half, t95(len(values)) * deviation(values) / math.sqrt(len(values)))
        return (self.mean - half, self.mean + half) if half > 0 or len(values) > 1 else None
