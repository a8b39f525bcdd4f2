"""Claims and what was seen: the rule stands in the description, the answer is computed.

Each compares a measure of one column with that of another, paired by seed; `worse` is more of a
loss and less of a share. With a 95 % interval of the difference:

    worse      yes: worse by the margin or more, and the interval leaves out 0;
               no: the interval ends below the margin
    same       yes: the interval lies within the margin; no: it lies outside
    not_worse  yes: the interval ends below the margin; no: it begins above
    at_least   yes: the mean is the margin or more

and undecided else; void where dense attention on the weights compared with does not solve the task.
One seed of a loss has no interval: the difference itself decides.
"""

import math

from figures import MORE_IS_BETTER, difference

YES, NO, UNDECIDED, VOID, MISSING = "yes", "no", "undecided", "void", "not measured"


class Seen:
    def __init__(self, verdict, of=None, against=None, gap=None, margin=None):
        self.verdict, self.of, self.against = verdict, of, against
        self.gap, self.margin = gap, margin


def margin_of(claim, against):
    if "margin" in claim:
        return claim["margin"]
    return claim["margin_share"] * abs(against.mean)


def decide(rule, gap, interval, margin):
    """gap: how much worse, its interval or None."""
    if math.isinf(gap):
        worse = gap > 0
        return YES if worse == (rule == "worse") else NO
    low, high = interval or (gap, gap)
    if rule == "worse":
        if gap >= margin and low > 0:
            return YES
        return NO if high < margin else UNDECIDED
    if high < margin and (rule == "not_worse" or low > -margin):
        return YES
    return NO if low > margin or (rule == "same" and high < -margin) else UNDECIDED


def judge(claim, records):
    of = records.figure(claim["measure"], *claim["of"])
    if not of:
        return Seen(MISSING, of)
    if claim["rule"] == "at_least":
        margin = claim["margin"]
        return Seen(YES if of.mean >= margin else NO, of, margin=margin)
    against = records.figure(claim["measure"], *claim["against"])
    gap = difference(of, against)
    if not gap:
        return Seen(MISSING, of, against)
    margin = margin_of(claim, against)
    if not records.is_solved(claim["measure"], claim["against"][0]):
        return Seen(VOID, of, against, gap)
    sign = -1 if of.unit in MORE_IS_BETTER else 1
    interval = gap.interval
    if interval:
        interval = tuple(sorted(sign * end for end in interval))
    verdict = decide(claim["rule"], sign * gap.mean, interval, margin)
    return Seen(verdict, of, against, gap, margin)
