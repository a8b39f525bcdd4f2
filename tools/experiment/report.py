"""The report: a template's prose, with tables, claims and pictures made of the records alone.

In a template {{word argument}} is replaced by what the method of that name returns.
"""

import math
import re
import shutil
import subprocess
from pathlib import Path

import picture
from claims import MISSING, NO, judge
from description import Mistake
from markdown import anchor, number, quote, table, with_interval
from records import Records
from work import duration, read_json

DENSE_FAILS = "°"


class Report:
    def __init__(self, description, program, path):
        self.description, self.program = description, program
        self.path = Path(path)
        self.pictures = self.path.with_suffix("")
        self.records = Records(description)
        self.d = description.d
        self.jobs = description.jobs

    # ---- what a template may ask for -------------------------------------------------------------

    def status(self):
        """The first line: whether the comparison counts, and whether all of it is there."""
        lines = []
        for claim in self.d["claims"]:
            if not claim.get("void"):
                continue
            seen = judge(claim, self.records)
            if seen.verdict == NO:
                lines.append(
                    f"**VOID: {claim['name']}: {self.value_of(claim, seen.of)}, below "
                    f"{number(seen.margin, seen.of.unit)}. The comparison says nothing.**"
                )
            elif seen.verdict == MISSING:
                lines.append(f"**Not measured yet: {claim['name']}.**")
            else:
                lines.append(
                    f"{claim['name']}: {self.value_of(claim, seen.of)}; the comparison "
                    f"counts (void below {number(seen.margin, seen.of.unit)})."
                )
        left = [job for job in self.jobs if not self.is_settled(job)]
        if left:
            lines.append(f"**Not finished: {len(left)} of {len(self.jobs)} jobs are missing.**")
        return "\n\n".join(lines)

    def setup(self):
        logs = [self.records.log(run) for run in self.description.runs]
        starts = [log.start for log in logs if log.start]
        if not starts:
            return "Nothing has been run yet."
        lines = [
            f"- Configuration: `{self.description.config}`; "
            f"{starts[0]['parameters'] / 1e6:.2f} M parameters, "
            f"{starts[0]['index_parameters'] / 1e6:.3f} M of them the index branch."
        ]
        seeds = ", ".join(str(s) for s in self.description.seeds)
        lines.append(
            f"- Seeds: {seeds}. A seed decides the weights and the order of the data, "
            "alike for all runs."
        )
        lines.append(f"- Data: {self.data_line(starts[0])}")
        tokens = sorted({log.tokens for log in logs if log.tokens})
        lines.append(
            f"- Tokens of a run: {tokens[0]:,}"
            + (f" to {tokens[-1]:,}" if len(tokens) > 1 else "")
            + ", tasks included."
        )
        lines.append(self.machine_line(starts))
        lines.append(self.time_line())
        return "\n".join(lines)

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
            verdict = {"yes": "agrees", "no": "does not agree"}.get(seen.verdict, seen.verdict)
            rows.append(
                [
                    claim["name"],
                    claim["paper"],
                    self.rule_of(claim),
                    self.seen_of(claim, seen),
                    f"**{verdict}**",
                ]
            )
        return table(["what is changed", "the paper", "agrees if", "seen here", ""], rows)

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

    def layers(self, run_name):
        """Recall and mass by layer and group, as a picture and in numbers."""
        of = self.layer_means(run_name)
        if not of:
            return f"(no records of {run_name} yet)"
        self.pictures.mkdir(parents=True, exist_ok=True)
        path = self.pictures / f"layers-{run_name}.svg"
        title = f"{self.description.title_of(run_name)}: block recall and captured mass"
        path.write_text(picture.draw_layers(of, title))
        rows = []
        for layer, groups in of.items():
            cells = [" / ".join(f"{g[k]:.3f}" for g in groups) for k in ("recall", "captured")]
            oracle = " / ".join(f"{g['oracle']:.3f}" for g in groups)
            share = sum(g["captured"] for g in groups) / sum(g["oracle"] for g in groups)
            rows.append([str(layer), *cells, oracle, f"{share:.3f}"])
        head = [
            "layer",
            "block recall, by group",
            "mass captured",
            "mass of the best blocks",
            "captured / best",
        ]
        return f"![{title}]({self.link(path)})\n\n" + table(head, rows)

    def picture(self, name):
        entry = self.d["pictures"][name]
        path = self.pictures / f"{name}.png"
        self.pictures.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        command = self.description.picture_command(name)
        if entry.get("of_logs"):
            self.draw(name, path)
        else:
            drawn = Path(command[-1])
            if drawn.exists():
                shutil.copyfile(drawn, path)
        if not path.exists():
            return f"(the picture '{name}' is not drawn yet)"
        shown = " ".join(["msa", *command])
        return f"![{entry['title']}]({self.link(path)})\n\n*{entry['title']}.* `{shown}`"

    def commands(self):
        """Every command of the first seed, under the name that the tables give."""
        first = self.description.seeds[0]
        others = ", ".join(str(s) for s in self.description.seeds[1:])
        parts = []
        names = ["train", *self.d["evaluations"]]
        for name in names:
            lines = []
            for job in self.jobs:
                kind = "train" if job.command[0] == "train" else job.kind.partition(" of ")[0]
                if kind == name and job.run.seed == first:
                    lines.append(" ".join(["msa", *map(quote, job.command)]))
            if lines:
                title = self.d["evaluations"].get(name, {}).get("title", "")
                text = f"### {name}\n\n" + (f"{title}\n\n" if title else "")
                parts.append(text + "```\n" + "\n".join(lines) + "\n```")
        note = f"Seed {first}" + (f"; seeds {others} likewise." if others else ".")
        return note + "\n\n" + "\n\n".join(parts)

    # ---- pieces of these -------------------------------------------------------------------------

    def is_settled(self, job):
        record = self.records.job_record(job)
        training = self.records.status(job.run)
        may_fail = self.d["runs"][job.run.name].get("may_fail")
        if may_fail and training == "failed":
            return True
        return bool(record) and record["status"] == "done"

    def titled(self, measure):
        return measure["title"] + (", %" if measure["unit"] == "share" else "")

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

    def made_by(self, measure):
        own = measure["from"] in ("exam", "diagnosis", "steps")
        return anchor("train" if own else measure["from"])

    def value_of(self, claim, figure):
        measure = self.d["measures"][claim["measure"]]
        text = with_interval(figure.mean, figure.interval, figure.unit, measure.get("digits"))
        return text + (" %" if figure.unit == "share" else "")

    def column_title(self, column):
        run, selector = column
        return f"{self.description.title_of(run)}, {selector}"

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
        if not math.isinf(seen.gap.mean):
            text += f"; difference {with_interval(seen.gap.mean, seen.gap.interval, unit, digits)}"
        return text

    def layer_means(self, run_name):
        """{layer: [{recall, captured, oracle} by group]}, means over seeds."""
        sums, n = {}, 0
        for run in self.description.runs:
            record = self.records.log(run).diagnosis if run.name == run_name else None
            if not record or not record.get("recall_layers"):
                continue
            n += 1
            for key in ("recall", "captured", "oracle"):
                for layer, groups in record[f"{key}_layers"].items():
                    at = sums.setdefault(int(layer), [{} for _ in groups])
                    for group, value in zip(at, groups):
                        group[key] = group.get(key, 0) + value
        return {
            layer: [{k: v / n for k, v in g.items()} for g in groups]
            for layer, groups in sorted(sums.items())
        }

    def data_line(self, start):
        facts = read_json(self.description.out / "machine.json") or {}
        parts = []
        for name, file in facts.get("files", {}).items():
            package = f" (Debian package {file['package']})" if file["package"] else ""
            parts.append(f"{name}: `{file['path']}`{package}")
        text = "; ".join(parts) or "`" + "`, `".join(start["config"]["data"]["text"]) + "`"
        text += (
            f"; {start['text_tokens']:,} tokens to learn from, {start['valid_tokens']:,} held out"
        )
        tasks = [k for k, t in start["config"]["tasks"].items() if t["weight"] > 0]
        return text + (f"; tasks made by msa: {', '.join(tasks)}." if tasks else ".")

    def machine_line(self, starts):
        facts = read_json(self.description.out / "machine.json") or {}
        isa = ", ".join(sorted({s["isa"] for s in starts}))
        return (
            f"- Machine: {facts.get('cpu', '?')}, {facts.get('cores', '?')} cores, "
            f"{facts.get('memory_gb', '?')} GB, {facts.get('system', '?')}; kernels {isa}; "
            f"msa {starts[0]['version']}."
        )

    def time_line(self):
        seconds = {"train": 0.0, "other": 0.0}
        for job in self.jobs:
            record = self.records.job_record(job)
            if record:
                seconds["train" if job.command[0] == "train" else "other"] += record["seconds"]
        wall = (read_json(self.description.out / "time.json") or {}).get("seconds", 0)
        return (
            f"- Time: {duration(seconds['train'])} of training and "
            f"{duration(seconds['other'])} of evaluation, each the sum over its processes; "
            f"{duration(wall)} by the clock."
        )

    def link(self, path):
        return path.relative_to(self.path.parent).as_posix()

    def draw(self, name, path):
        """With msa plot, of the logs that are there."""
        command = self.description.picture_command(name, path)
        logs = [part for part in command[1:-2] if Path(part).exists()]
        if logs:
            made = subprocess.run(
                [self.program, command[0], *logs, "-o", str(path)],
                capture_output=True,
                text=True,
                check=False,
            )
            if made.returncode:
                raise Mistake(f"msa plot failed: {made.stderr.strip()}")

    # ---- the whole -------------------------------------------------------------------------------

    def write(self):
        template = Path(self.description.path.parent / self.d["template"])
        allowed = (
            "status",
            "setup",
            "table",
            "claims",
            "ablations",
            "every_run",
            "layers",
            "picture",
            "commands",
        )

        def place(match):
            word, *arguments = match[1].split()
            if word == "title":
                return self.description.title
            if word not in allowed:
                raise Mistake(f"{template}: {{{{{word}}}}}: expected one of {', '.join(allowed)}")
            return getattr(self, word)(*arguments)

        try:
            text = template.read_text()
        except OSError as problem:
            raise Mistake(f"{template}: {problem.strerror}") from None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(re.sub(r"\{\{([^}]+)\}\}", place, text))
