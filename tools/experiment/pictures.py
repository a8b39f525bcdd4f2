"""The pictures of a report: drawn of the logs, or taken over from where a job drew them."""

import math
import shlex
import shutil
import subprocess
from pathlib import Path

import svg
from description import Mistake
from markdown import table
from records import RunLog


class Pictures:
    def __init__(self, description, records, tables, program, report):
        self.description, self.records, self.d = description, records, description.d
        self.tables, self.program, self.report = tables, program, report
        self.folder = report.with_suffix("")

    # ---- words of a template ---------------------------------------------------------------------

    def picture(self, name):
        entry = self.d["pictures"][name]
        if "measure" in entry:
            return self.chart(name, entry)
        path = self.folder / f"{name}.png"
        self.folder.mkdir(parents=True, exist_ok=True)
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
        shown = shlex.join(["msa", *command])
        return f"![{entry['title']}]({self.link(path)})\n\n*{entry['title']}.* `{shown}`"

    def layers(self, run_name):
        """Recall and mass by layer and group, as a picture and in numbers."""
        of = self.layer_means(run_name)
        if not of:
            return f"(no records of {run_name} yet)"
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"layers-{run_name}.svg"
        title = f"{self.description.title_of(run_name)}: block recall and captured mass"
        path.write_text(svg.draw_layers(of, title))
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

    # ---- pieces ----------------------------------------------------------------------------------

    def chart(self, name, entry):
        """A measure over lengths, a line for each column."""
        lines = []
        for run, selector, title in entry["columns"]:
            points = []
            for x in entry["at"]:
                figure = self.records.figure(entry["measure"], run, selector, **{entry["over"]: x})
                if figure and math.isfinite(figure.mean):
                    points.append((x, figure.mean, figure.interval))
            if points:
                lines.append((title, points))
        if not lines:
            return f"(nothing measured yet for the picture '{name}')"
        measure = self.d["measures"][entry["measure"]]
        path = self.folder / f"{name}.svg"
        self.folder.mkdir(parents=True, exist_ok=True)
        over = f"{entry['over']}, tokens"
        path.write_text(svg.draw_lines(lines, self.tables.titled(measure), over, entry["marks"]))
        by = self.tables.made_by(measure)
        return f"![{entry['title']}]({self.link(path)})\n\n*{entry['title']}.* {by}"

    def draw(self, name, path):
        """With msa plot, of the logs that are there."""
        command = self.description.picture_command(name, path)
        logs = [part for part in command[1:-2] if RunLog(part).steps]
        if logs:
            made = subprocess.run(
                [self.program, command[0], *logs, "-o", str(path)],
                capture_output=True,
                text=True,
                check=False,
            )
            if made.returncode:
                raise Mistake(f"msa plot failed: {made.stderr.strip()}")

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

    def link(self, path):
        return path.relative_to(self.report.parent).as_posix()
