"""Reads what runs and evaluations left: the only source of a report's figures.

A measure says where its values stand:
    exam        the last examination in a run's log: loss of held-out text, right answers of a task
    diagnosis   the last record of recall and captured mass in the log
    steps       a field of the steps in the log; "how": last, mean, max, or spikes, their number
    NAME        results of an evaluation: a line of JSON an answer (msa eval ... --out), or the one
                JSON that msa eval ppl --json prints
and `where` which lines count: {"task": "passkey", "length": 2048}.
"""

import json
import math
from pathlib import Path

from figures import MORE_IS_BETTER, Figure, Value
from work import is_hopeless, read_json, status_of

# Selectors that stand for "what the model was trained with".
OWN = ("own", "index")
# What tells one question of an evaluation from another.
QUESTION = ("task", "length", "depth", "sample")


def read_lines(path):
    """Objects of a file of JSON lines; what is none, as a last line cut short, is left out."""
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError:
        return []
    objects = []
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            objects.append(found)
    return objects


class RunLog:
    """A run's log. A resumed run may repeat steps: the later record counts."""

    def __init__(self, path):
        self.steps, self.spikes, self.exam, self.diagnosis = {}, {}, None, None
        self.start = None
        for record in read_lines(path):
            event, step = record.get("event"), record.get("step")
            if event == "start":
                self.start = record
            elif event == "step":
                self.steps[step] = record
            elif event == "spike":
                self.spikes[step, record.get("what")] = record
            elif event in ("exam", "diagnosis"):
                setattr(self, event, record)

    @property
    def tokens(self):
        return max((r["tokens"] for r in self.steps.values()), default=0)

    @property
    def seconds(self):
        return max((r["seconds"] for r in self.steps.values()), default=0.0)


def worst(unit):
    return -math.inf if unit in MORE_IS_BETTER else math.inf


class Records:
    def __init__(self, description):
        self.description = description
        self.logs, self.results = {}, {}

    def log(self, run):
        if run.folder not in self.logs:
            self.logs[run.folder] = RunLog(run.log)
        return self.logs[run.folder]

    def status(self, run):
        training = self.description.trainings[run.name, run.seed]
        return "diverged" if is_hopeless(training) else status_of(training)

    def figure(self, measure_name, run_name, selector, **where):
        """The measure of one column, over the seeds that have it; empty where none has. `where`
        goes over the measure's own."""
        measure = self.description.d["measures"][measure_name]
        measure = {**measure, "where": {**measure.get("where", {}), **where}}
        by_seed = {}
        for seed in self.description.seeds:
            run = self.description.run_of(run_name, seed)
            if run is None:
                continue
            found = None
            status = self.status(run)
            if status == "diverged":
                found = Value(worst(measure["unit"]))
            elif status == "done":
                found = self.value(measure, run, selector)
            if found is not None and not math.isnan(found.value):
                by_seed[seed] = found
        return Figure(by_seed, measure["unit"])

    def is_solved(self, name, run_name):
        """Whether dense attention on a run's weights solves what the measure asks; elsewhere a
        comparison says nothing. What has no answers counts as solved."""
        measure = self.description.d["measures"][name]
        dense = self.figure(name, run_name, "dense") if measure["unit"] == "share" else None
        return not dense or dense.mean >= measure.get("solved", 0.5)

    def value(self, measure, run, selector):
        """A Value, or None where there is no record."""
        source = measure["from"]
        if source == "exam":
            return self.of_exam(measure, self.log(run), selector)
        if source == "diagnosis":
            return self.of_diagnosis(measure, self.log(run), selector)
        if source == "steps":
            return self.of_steps(measure, self.log(run), selector)
        return self.of_results(measure, source, run, selector)

    def of_exam(self, measure, log, selector):
        side = "dense" if selector == "dense" else "sparse" if selector in OWN else None
        one = (log.exam or {}).get("sources", {}).get(measure["where"]["source"], {})
        if side is None or one.get(side) is None:
            return None
        return Value(one[side], one["n"])

    def of_diagnosis(self, measure, log, selector):
        record = log.diagnosis or {}
        if selector not in OWN or record.get("captured") is None:
            return None
        if measure["value"] == "ratio":
            return Value(record["captured"] / record["oracle"])
        return Value(record[measure["value"]])

    def of_steps(self, measure, log, selector):
        if selector not in OWN and selector != "dense":
            return None
        how = measure.get("how", "last")
        if how == "spikes":
            return Value(len(log.spikes))
        values = [
            r[measure["value"]]
            for _, r in sorted(log.steps.items())
            if r.get(measure["value"]) is not None
        ]
        if not values:
            return None
        means = {"last": values[-1], "max": max(values), "mean": sum(values) / len(values)}
        return Value(means[how])

    def of_results(self, measure, evaluation, run, selector):
        """Of a whole evaluation: the part that an interrupted one answered is another exam."""
        job = self.description.evaluated.get((evaluation, run.name, run.seed))
        if job is None or status_of(job) != "done":
            return None
        path = self.description.results(evaluation, run)
        if path not in self.results:
            self.results[path] = read_lines(path) or read_printed(path.with_suffix(".txt"))
        selector = "index" if selector == "own" else selector
        lines = [
            x
            for x in self.results[path]
            if x.get("selector") == selector
            and all(fits(x.get(k), v) for k, v in measure.get("where", {}).items())
        ]
        field = measure.get("value", "score")
        lines = [x for x in lines if x.get(field) is not None]
        if not lines:
            return None
        weights = [x.get("tokens", 1) for x in lines]
        value = sum(x[field] * w for x, w in zip(lines, weights)) / sum(weights)
        answers = {tuple(x.get(k) for k in QUESTION): x[field] for x in lines}
        return Value(value, len(lines), answers if "sample" in lines[0] else {})


def fits(found, wanted):
    return found in wanted if isinstance(wanted, list) else found == wanted


def read_printed(path):
    """What msa eval ppl --json printed: a row for each selector over the whole text (span "all"),
    and for each range of positions (span "part")."""
    printed = read_json(path) or {}
    rows = [{**row, "span": "all"} for row in printed.get("rows", [])]
    return rows + [{**row, "span": "part"} for row in printed.get("by_position", [])]
