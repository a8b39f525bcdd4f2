"""What an experiment is: a JSON file, read, checked, and spelt out as jobs.

docs/experiments.md lists the keys. Everything that decides a result stands in the description and
in the configuration it names; the jobs made here say what is run, not when.
"""

import glob
import hashlib
import json
import re
import shlex
from pathlib import Path

KEYS = {
    "title": str,
    "config": str,
    "template": str,
    "out": str,
    "runs_in": str,
    "minutes": (int, float),
    "seeds": list,
    "set": list,
    "values": dict,
    "files": dict,
    "runs": dict,
    "evaluations": dict,
    "pictures": dict,
    "measures": dict,
    "tables": dict,
    "claims": list,
    "tiny": dict,
}
RUN_KEYS = {"title", "config", "from", "set", "seeds", "evaluate"}
EVALUATION_KEYS = {"title", "command", "selectors", "seeds"}
PICTURE_KEYS = {"title", "command", "of_logs", "measure", "over", "at", "marks", "columns"}
MEASURE_KEYS = {"title", "from", "where", "value", "unit", "paper", "digits", "solved", "how"}
TABLE_KEYS = {"rows", "columns", "paper", "runs_down"}
CLAIM_KEYS = {"name", "paper", "measure", "of", "against", "rule", "margin", "margin_share", "void"}
RULES = ("at_least", "same", "not_worse", "worse")
PLACE = re.compile(r"\{([a-z0-9_-]+)\}")
UNITS = ("share", "fraction", "loss", "norm", "count")


class Mistake(Exception):
    """Something a person has to change; printed without a traceback."""


def check_keys(found, allowed, where):
    for key in found:
        if key not in allowed:
            raise Mistake(f"{where}: unknown key '{key}'; known: {', '.join(sorted(allowed))}")


def merge(base, over):
    """`over` on top of `base`: objects key by key, everything else as a whole; null takes away."""
    if not isinstance(over, dict):
        return over
    merged = dict(base) if isinstance(base, dict) else {}
    for key, value in over.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def read_change(text):
    """KEY=JSON, where KEY may lead into sections: values.steps=100."""
    path, equals, value = text.partition("=")
    try:
        change = json.loads(value)
    except ValueError:
        equals = ""
    if not equals:
        raise Mistake(f"--set {text}: expected KEY=JSON, such as seeds=[1] or values.steps=100")
    for key in reversed(path.split(".")):
        change = {key: change}
    return change


class Run:
    """One model trained with one seed."""

    def __init__(self, name, seed, folder):
        self.name, self.seed, self.folder = name, seed, folder

    @property
    def log(self):
        return self.folder / "log.jsonl"

    @property
    def model(self):
        return self.folder / "model.gguf"


class Job:
    """A command of msa that is run once, and gone on with where it was interrupted.

    What tells it from another is `meaning`: the command with what its files hold in place of where
    they are, so that texts that moved with their package are the same texts, and changed ones not.
    """

    def __init__(self, kind, run, command, meaning, record, needs=(), inputs=()):
        self.kind = kind  # jobs of a kind take about as long as each other
        self.run = run
        self.command = command  # as a person types it, without the program
        self.record = record  # the file that says what became of it
        self.needs = needs
        text = json.dumps([meaning, [hash_file(p) for p in inputs], [j.print for j in needs]])
        self.print = hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def title(self):
        return f"{self.kind}, seed {self.run.seed}"


def hash_file(path):
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as problem:
        raise Mistake(f"{path}: {problem.strerror}") from None


def hash_texts(path):
    """Of a file; of a folder, of the names and bytes of all below it that msa would read."""
    path = Path(path)
    if not path.is_dir():
        return hash_file(path)
    below = [(p.relative_to(path), p) for p in sorted(path.rglob("*")) if p.is_file()]
    of = [[n.as_posix(), hash_file(p)] for n, p in below if not any(x[0] == "." for x in n.parts)]
    return hashlib.sha256(json.dumps(of).encode()).hexdigest()


class Description:
    def __init__(self, path, tiny=False, changes=()):
        self.path = Path(path)
        self.d = self.read(tiny)
        for change in changes:
            self.d = merge(self.d, read_change(change))
        self.check()
        d = self.d
        self.title = d["title"]
        self.config = d["config"]
        self.out = Path(d["out"])
        self.runs_in = Path(d.get("runs_in", self.out / "runs"))
        self.seeds = d["seeds"]
        self.d = d = self.put_values(d)
        self.sources = {name: find_file(name, of) for name, of in d["files"].items()}
        self.files = {name: self.file_at(name) for name in d["files"]}
        self.contents = {name: self.content_of(name) for name in d["files"]}
        self.runs = self.spell_out_runs()
        self.trainings, self.evaluated = {}, {}
        self.jobs = self.spell_out_jobs()
        self.check_records()

    def read(self, tiny):
        try:
            d = json.loads(self.path.read_text())
        except OSError as problem:
            raise Mistake(f"{self.path}: {problem.strerror}") from None
        except ValueError as problem:
            raise Mistake(f"{self.path}: not JSON: {problem}") from None
        if tiny and "tiny" not in d:
            raise Mistake(f"{self.path}: --tiny needs a section 'tiny', and there is none")
        d = merge(d, d["tiny"]) if tiny else d
        for key, kind in KEYS.items():
            if kind in (list, dict):
                d.setdefault(key, kind())
        return d

    def check(self):
        d, where = self.d, str(self.path)
        check_keys(d, KEYS, where)
        for key in ("title", "config", "out", "template", "seeds", "runs"):
            if not d.get(key):
                raise Mistake(f"{where}: the key '{key}' is missing or empty")
        for key, value in d.items():
            if not isinstance(value, KEYS[key]):
                raise Mistake(f"{where}: '{key}' has the wrong type: {type(value).__name__}")
        seeds = d["seeds"]
        if not all(type(seed) is int for seed in seeds) or len(set(seeds)) < len(seeds):
            raise Mistake(f"{where}: seeds: expected whole numbers, each once, found {seeds}")
        for section, keys in (
            ("runs", RUN_KEYS),
            ("evaluations", EVALUATION_KEYS),
            ("pictures", PICTURE_KEYS),
            ("measures", MEASURE_KEYS),
            ("tables", TABLE_KEYS),
        ):
            for name, entry in d[section].items():
                check_keys(entry, keys, f"{where}: {section}.{name}")
        for name, run in d["runs"].items():
            self.know(run.get("evaluate", {}), "evaluations", f"runs.{name}.evaluate")
            self.check_from(name, run)
        for name, measure in d["measures"].items():
            if measure.get("unit") not in UNITS:
                raise Mistake(f"{where}: measures.{name}.unit: expected one of {', '.join(UNITS)}")
            if measure["from"] not in ("exam", "diagnosis", "steps"):
                self.know([measure["from"]], "evaluations", f"measures.{name}.from")
        for name, drawn in d["pictures"].items():
            if "command" not in drawn:
                self.know([drawn["measure"]], "measures", f"pictures.{name}.measure")
                self.know([c[0] for c in drawn["columns"]], "runs", f"pictures.{name}.columns")
        for name, table in d["tables"].items():
            self.know(table["rows"], "measures", f"tables.{name}.rows")
            self.know([c[0] for c in table["columns"]], "runs", f"tables.{name}.columns")
        for claim in d["claims"]:
            self.check_claim(claim)

    def check_from(self, name, run):
        """A run begins with the model of one that stands before it, of the same seed."""
        if "from" not in run:
            return
        runs, where = list(self.d["runs"]), f"runs.{name}.from"
        self.know([run["from"]], "runs", where)
        if runs.index(run["from"]) >= runs.index(name):
            raise Mistake(f"{self.path}: {where}: expected a run above it, found '{run['from']}'")
        missing = set(run.get("seeds", self.d["seeds"])) - set(
            self.d["runs"][run["from"]].get("seeds", self.d["seeds"])
        )
        if missing:
            raise Mistake(f"{self.path}: {where}: '{run['from']}' has no seed {min(missing)}")

    def check_claim(self, claim):
        where = f"claims '{claim.get('name')}'"
        check_keys(claim, CLAIM_KEYS, f"{self.path}: {where}")
        self.know([claim["measure"]], "measures", where)
        self.know([claim["of"][0]], "runs", where)
        if claim["rule"] not in RULES:
            raise Mistake(f"{self.path}: {where}: rule: expected one of {', '.join(RULES)}")
        if claim["rule"] != "at_least":
            self.know([claim["against"][0]], "runs", where)
        if ("margin" in claim) == ("margin_share" in claim):
            raise Mistake(f"{self.path}: {where}: expected either margin or margin_share")

    def know(self, names, section, where):
        for name in names:
            if name not in self.d[section]:
                raise Mistake(f"{self.path}: {where}: no '{name}' in '{section}'")

    def put_values(self, entry):
        """Values in the places {name} of every text. A text that is nothing else becomes the value
        itself: a number stays one."""
        values = self.d["values"]
        if isinstance(entry, dict):
            return {key: self.put_values(value) for key, value in entry.items()}
        if isinstance(entry, list):
            return [self.put_values(value) for value in entry]
        if not isinstance(entry, str):
            return entry
        whole = PLACE.fullmatch(entry)
        if whole and whole[1] in values:
            return values[whole[1]]
        return PLACE.sub(lambda m: str(values.get(m[1], m[0])), entry)

    def file_at(self, name):
        """Where the file itself is, or will be its beginning of so many bytes."""
        if isinstance(self.d["files"][name], dict):
            return str(self.out / f"{name}.txt")
        return self.sources[name]

    def content_of(self, name):
        """Stands for what a file holds, wherever it is."""
        of = self.d["files"][name]
        part = f"the first {of['bytes']} bytes of " if isinstance(of, dict) else ""
        return part + hash_texts(self.sources[name])

    def cut_files(self):
        for name, of in self.d["files"].items():
            if isinstance(of, dict):
                start = Path(self.sources[name]).read_bytes()[: of["bytes"]]
                self.out.mkdir(parents=True, exist_ok=True)
                Path(self.files[name]).write_bytes(start.decode(errors="ignore").encode())

    def fill(self, text, files, **values):
        """Puts files, and the values given, in the places {name} of a text."""
        values = {**files, **values}

        def place(match):
            if match[1] not in values:
                raise Mistake(
                    f"{self.path}: nothing is called {match[0]}; known: {', '.join(sorted(values))}"
                )
            return str(values[match[1]])

        return PLACE.sub(place, text)

    def words(self, command, files, **values):
        """The words of a command, the places in each filled: a path may hold spaces."""
        try:
            words = shlex.split(command)
        except ValueError as problem:
            raise Mistake(f"{self.path}: command '{command}': {problem}") from None
        return [self.fill(word, files, **values) for word in words]

    def spell_out_runs(self):
        """Seed by seed, so that what is finished early is whole."""
        runs = []
        for seed in self.seeds:
            for name, run in self.d["runs"].items():
                if seed in run.get("seeds", self.seeds):
                    runs.append(Run(name, seed, self.runs_in / f"{name}-{seed}"))
        return runs

    def run_of(self, name, seed):
        return next((r for r in self.runs if r.name == name and r.seed == seed), None)

    def title_of(self, name):
        return self.d["runs"][name].get("title", name)

    def config_of(self, run):
        return self.d["runs"][run.name].get("config", self.config)

    def start_of(self, run):
        """The run whose model it begins with, or None."""
        name = self.d["runs"][run.name].get("from")
        return self.run_of(name, run.seed) if name else None

    def train_command(self, run, files):
        settings = self.d["set"] + self.d["runs"][run.name].get("set", [])
        command = ["train", self.config_of(run)]
        for setting in settings:
            command += ["--set", self.fill(setting, files)]
        start = self.start_of(run)
        if start:
            command += ["--set", f"model.from={start.model}"]
        return command + ["-s", str(run.seed), "-o", str(run.folder)]

    def results(self, evaluation, run):
        return self.out / "results" / f"{evaluation}-{run.name}-{run.seed}.jsonl"

    def evaluation_command(self, name, run, files):
        entry = self.d["evaluations"][name]
        selectors = self.d["runs"][run.name].get("evaluate", {}).get(name)
        if selectors is None:
            selectors = entry.get("selectors", "dense")
        return self.words(
            "eval " + entry["command"],
            files,
            model=run.model,
            config=self.config,
            selectors=selectors,
            results=self.results(name, run),
        )

    def evaluations_of(self, run):
        """Those the run names, or all."""
        named = self.d["runs"][run.name].get("evaluate")
        for name in self.d["evaluations"] if named is None else named:
            if run.seed in self.d["evaluations"][name].get("seeds", self.seeds):
                yield name

    def spell_out_jobs(self):
        jobs = []
        for run in self.runs:
            record = run.folder / "experiment.json"
            start = self.start_of(run)
            train = Job(
                f"train {run.name}",
                run,
                self.train_command(run, self.files),
                self.train_command(run, self.contents),
                record,
                [self.trainings[start.name, start.seed]] if start else [],
                inputs=[self.config_of(run)],
            )
            self.trainings[run.name, run.seed] = train
            jobs.append(train)
            for name in self.evaluations_of(run):
                record = self.results(name, run).with_suffix(".json")
                command = self.evaluation_command(name, run, self.files)
                meaning = self.evaluation_command(name, run, self.contents)
                evaluation = Job(f"{name} of {run.name}", run, command, meaning, record, [train])
                self.evaluated[name, run.name, run.seed] = evaluation
                jobs.append(evaluation)
        return jobs + self.spell_out_pictures()

    def spell_out_pictures(self):
        """Those that need a model; what is drawn of logs is drawn with the report."""
        jobs = []
        for name, picture in self.d["pictures"].items():
            if picture.get("of_logs") or "measure" in picture:
                continue
            run = self.picture_run(name)
            command = self.picture_command(name)
            meaning = self.picture_command(name, files=self.contents)
            record = self.out / "pictures" / f"{name}.json"
            training = self.trainings[run.name, run.seed]
            jobs.append(Job(f"picture {name}", run, command, meaning, record, [training]))
        return jobs

    def check_records(self):
        """Names are joined by hyphens to those of files, and may hold some: a of b-c, a-b of c."""
        seen = {}
        for job in self.jobs:
            other = seen.setdefault(job.record, job)
            if other is not job:
                raise Mistake(
                    f"{self.path}: '{other.title}' and '{job.title}' would both write "
                    f"{job.record}: expected names that differ when joined by hyphens"
                )

    def picture_run(self, name):
        """The first run whose folder a picture's command names."""
        for place in PLACE.findall(self.d["pictures"][name]["command"]):
            for run in self.runs:
                if place == f"{run.name}-{run.seed}":
                    return run
        raise Mistake(f"{self.path}: pictures.{name}.command names no run, such as {{pt-1}}")

    def picture_command(self, name, to=None, files=None):
        files = files or self.files
        folders = {f"{run.name}-{run.seed}": run.folder for run in self.runs}
        to = to or self.out / "pictures" / f"{name}.png"
        return [*self.words(self.d["pictures"][name]["command"], files, **folders), "-o", str(to)]


def find_file(name, of):
    """The last that fits, so that vim91 goes before vim90."""
    pattern = of["of"] if isinstance(of, dict) else of
    found = sorted(glob.glob(pattern))
    if not found:
        raise Mistake(f"files.{name}: nothing fits {pattern}; is its package installed?")
    return found[-1]
