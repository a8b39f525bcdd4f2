"""The tables of a report: cells with their intervals, claims with their verdicts."""

import math

from claims import MISSING, judge
from markdown import anchor, number, table, with_interval

DENSE_FAILS = "°"
EXPECTED = "as expected", "not as expected"  # where the paper says nothing


class Tables:
    def __init__(self, description, records):
        self.description, self.records, self.d = description, records, description.d

    # ---- words of a template ---------------------------------------------------------------------

    def table(self, name):
        """Measures down and runs across; the other way round with runs_down."""
        entry, self.marked = self.d["tables"][name], False
        text = self.runs_down(entry) if entry.get("runs_down") else self.measures_down(entry)
        if self.marked:
            text += (
                f"\n\n{DENSE_FAILS} Dense attention on the same weights does not solve this: "
                "it says nothing about the selection."
            )
        return text

    def claims(self):
        rows = []
        for claim in self.d["claims"]:
            seen = judge(claim, self.records)
            rows.append(
                [
                    claim["name"],
                    self.rule_of(claim),
                    self.seen_of(claim, seen),
                    self.made_by(self.d["measures"][claim["measure"]]),
                    f"**{seen.verdict}**",
                ]
            )
        return table(["claim", "it holds if", "seen", "by", "holds"], rows)

    def ablations(self):
        rows = []
        for claim in self.d["claims"]:
            if claim.get("void"):
                continue
            seen = judge(claim, self.records)
            yes, no = ("agrees", "does not agree") if claim.get("paper") else EXPECTED
            verdict = {"yes": yes, "no": no}.get(seen.verdict, seen.verdict)
            rows.append(
                [
                    claim["name"],
                    claim.get("paper", "–"),
                    self.rule_of(claim),
                    self.seen_of(claim, seen),
                    f"**{verdict}**",
                ]
            )
        return table(
            ["what is changed", "the paper", "agrees, or is expected, if", "seen here", ""], rows
        )

    def every_run(self):
        """The values behind the means."""
        rows, seeds = [], self.description.seeds
        for name, measure in self.d["measures"].items():
            for run, selector in self.columns_of(name):
                figure = self.records.figure(name, run, selector)
                if figure:
                    cells = [
                        (
                            number(figure.by_seed[s], figure.unit, measure.get("digits"))
                            if s in figure.by_seed
                            else ""
                        )
                        for s in seeds
                    ]
                    finite = not any(math.isinf(v) for v in figure.values)
                    spread = number(figure.deviation, figure.unit, measure.get("digits"))
                    rows.append(
                        [
                            self.titled(measure),
                            self.description.title_of(run),
                            selector,
                            *cells,
                            spread if len(seeds) > 1 and finite else "",
                        ]
                    )
        head = ["", "run", "attention", *[f"seed {s}" for s in seeds], "deviation"]
        return table(head, rows)

    # ---- rows and cells --------------------------------------------------------------------------

    def measures_down(self, entry):
        paper = ["paper"] if entry.get("paper") else []
        rows = []
        for name in entry["rows"]:
            measure = self.d["measures"][name]
            cells = [self.cell(name, run, selector) for run, selector, _ in entry["columns"]]
            beside = [measure.get("paper", "")] if paper else []
            rows.append([self.titled(measure), *cells, *beside, self.made_by(measure)])
        return table(["", *[title for *_, title in entry["columns"]], *paper, "by"], rows)

    def runs_down(self, entry):
        rows = []
        for run, selector, title in entry["columns"]:
            rows.append([title, *[self.cell(name, run, selector) for name in entry["rows"]]])
        measures = [self.d["measures"][name] for name in entry["rows"]]
        by = ["by", *[self.made_by(measure) for measure in measures]]
        return table(["", *[self.titled(measure) for measure in measures]], [*rows, by])

    def cell(self, name, run, selector):
        measure = self.d["measures"][name]
        figure = self.records.figure(name, run, selector)
        if not figure:
            return "–"
        text = with_interval(figure.mean, figure.interval, figure.unit, measure.get("digits"))
        if selector != "dense" and not self.records.is_solved(name, run):
            self.marked = True
            text += f" {DENSE_FAILS}"
        return text

    def columns_of(self, name):
        found = []
        for entry in self.d["tables"].values():
            if name in entry["rows"]:
                found += [(c[0], c[1]) for c in entry["columns"]]
        for claim in self.d["claims"]:
            if claim["measure"] == name:
                found += [tuple(claim[k]) for k in ("against", "of") if k in claim]
        return list(dict.fromkeys(found))

    def titled(self, measure):
        return measure["title"] + (", %" if measure["unit"] == "share" else "")

    def made_by(self, measure):
        own = measure["from"] in ("exam", "diagnosis", "steps")
        return anchor("train" if own else measure["from"])

    # ---- claims ----------------------------------------------------------------------------------

    def value_of(self, claim, figure):
        measure = self.d["measures"][claim["measure"]]
        text = with_interval(figure.mean, figure.interval, figure.unit, measure.get("digits"))
        return text + (" %" if figure.unit == "share" else "")

    def column_title(self, column):
        run, selector = column
        return self.description.title_of(run) + (f", {selector}" if selector != "own" else "")

    def rule_of(self, claim):
        measure = self.d["measures"][claim["measure"]]
        what = measure["title"]
        margin = claim.get("margin", claim.get("margin_share"))
        if "margin_share" in claim:
            margin = f"{100 * margin:g} %"
        elif measure["unit"] == "share":
            margin = f"{100 * margin:g} " + ("%" if claim["rule"] == "at_least" else "points")
        if claim["rule"] == "at_least":
            return f"{what} ({self.column_title(claim['of'])}) at least {margin}"
        words = {
            "worse": "worse by {} or more",
            "same": "the same within {}",
            "not_worse": "not worse by {}",
        }[claim["rule"]].format(margin)
        sides = f"{self.column_title(claim['of'])} against {self.column_title(claim['against'])}"
        return f"{what} {words}: {sides}"

    def seen_of(self, claim, seen):
        measure = self.d["measures"][claim["measure"]]
        digits = measure.get("digits")
        if seen.verdict == MISSING:
            return "–"
        if seen.gap is None:
            return self.value_of(claim, seen.of)
        unit = seen.of.unit
        text = f"{number(seen.of.mean, unit, digits)} against "
        text += number(seen.against.mean, unit, digits)
        if math.isfinite(seen.gap.mean):
            text += f"; difference {with_interval(seen.gap.mean, seen.gap.interval, unit, digits)}"
        return text
