"""What a report says of how it was made: seeds, data, machine, time, commands."""

import shlex

from work import duration, read_json, record_of


def phases_of(start):
    no_kl = start["config"]["recipe"]["kl_warmup"] == "off"
    names = {"warm-up": "dense"} if no_kl else {}
    return ", ".join(
        f"{names.get(p['name'], p['name'])} {p['to'] - p['from']}" for p in start["phases"]
    )


class Facts:
    def __init__(self, description, records):
        self.description, self.records, self.d = description, records, description.d
        self.jobs = description.jobs

    # ---- words of a template ---------------------------------------------------------------------

    def setup(self):
        logs = [self.records.log(run) for run in self.description.runs]
        starts = [log.start for log in logs if log.start]
        if not starts:
            return "Nothing has been run yet."
        lines = [
            f"- Configuration: {self.configs()}; "
            f"{starts[0]['parameters'] / 1e6:.2f} M parameters, "
            f"{starts[0]['index_parameters'] / 1e6:.3f} M of them the index branch."
        ]
        lines += self.shape_lines(starts[0]["config"])
        lines.append(f"- Runs: {self.run_line()}")
        seeds = ", ".join(str(s) for s in self.description.seeds)
        lines.append(
            f"- Seeds: {seeds}. A seed decides the weights and the order of the data, "
            "alike for all runs."
        )
        lines.append(f"- Data: {self.data_line(starts[0])}")
        tokens = sorted({log.tokens for log in logs if log.tokens}) or [0]
        lines.append(
            f"- Tokens of a run: {tokens[0]:,}"
            + (f" to {tokens[-1]:,}" if len(tokens) > 1 else "")
            + ", tasks included."
        )
        lines.append(self.machine_line(starts))
        lines.append(self.time_line())
        return "\n".join(lines)

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
                    lines.append(shlex.join(["msa", *job.command]))
            if lines:
                title = self.d["evaluations"].get(name, {}).get("title", "")
                text = f"### {name}\n\n" + (f"{title}\n\n" if title else "")
                parts.append(text + "```\n" + "\n".join(lines) + "\n```")
        note = f"Seed {first}" + (f"; seeds {others} likewise." if others else ".")
        return note + "\n\n" + "\n\n".join(parts)

    def configs(self):
        names = dict.fromkeys(self.description.config_of(run) for run in self.description.runs)
        return ", ".join(f"`{name}`" for name in names)

    # ---- lines -----------------------------------------------------------------------------------

    def shape_lines(self, config):
        model, index = config["model"], config["model"]["index"]
        context, keys = config["data"]["context"], index["block"] * index["topk"]
        moe = model["moe"]
        mixture = f", {moe['used']} of {moe['experts']} experts" if moe["experts"] else ""
        return [
            f"- Model: {model['family']}, {model['layers']} layers of width {model['width']}, the "
            f"first {model['dense_layers']} dense; {model['heads']} query heads in "
            f"{model['kv_heads']} groups{mixture}.",
            f"- Context: {context} tokens in training; a query reads {index['topk']} blocks of "
            f"{index['block']}, {keys} keys, 1/{context / keys:g} of it.",
        ]

    def run_line(self):
        """The phases of the runs; those of most runs, if they are many, are those of the others."""
        titles = {}
        for run in self.description.runs:
            start = self.records.log(run).start
            if start is not None and run.seed == self.description.seeds[0]:
                title = self.description.title_of(run.name)
                titles.setdefault(phases_of(start), []).append(title)
        most = max(titles, key=lambda phases: len(titles[phases]), default=None)
        parts = [
            f"{'all others' if phases == most and len(of) > 3 else ', '.join(of)}: {phases} steps"
            for phases, of in sorted(titles.items(), key=lambda item: item[0] == most)
        ]
        return "; ".join(parts) + "."

    def data_line(self, start):
        facts = read_json(self.description.out / "machine.json") or {}
        parts = []
        for name, file in facts.get("files", {}).items():
            package = f" (Debian package {file['package']})" if file["package"] else ""
            of = self.d["files"].get(name)
            part = f"the first {of['bytes']} bytes of " if isinstance(of, dict) else ""
            parts.append(f"{name}: {part}`{file['path']}`{package}")
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
            record = record_of(job)
            if record and job.command[0] == "train":  # the log knows of a driver that was killed
                seconds["train"] += max(record["seconds"], self.records.log(job.run).seconds)
            elif record:
                seconds["other"] += record["seconds"]
        wall = (read_json(self.description.out / "time.json") or {}).get("seconds", 0)
        return (
            f"- Time: {duration(seconds['train'])} of training and "
            f"{duration(seconds['other'])} of evaluation, each the sum over its processes; "
            f"{duration(wall)} by the clock."
        )
