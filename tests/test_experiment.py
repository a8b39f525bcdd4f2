#!/usr/bin/env python3
"""tools/experiment on a toy: trains, evaluates and reports in seconds. Started by CTest.

The figures come from the logs alone; an interrupted experiment goes on and ends with the same
figures; a comparison whose dense side fails is declared void.
"""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(os.environ.get("MSA_TEST_ROOT", Path(__file__).resolve().parent.parent))
MSA = os.environ.get("MSA_PROGRAM", str(ROOT / "build/msa"))
TOOL = ROOT / "tools/experiment"
sys.path.insert(0, str(TOOL))
sys.dont_write_bytecode = True

from claims import NO, UNDECIDED, YES, decide  # noqa: E402
from description import Description, Mistake, merge  # noqa: E402
from figures import Figure, Value, difference, wilson  # noqa: E402
from records import RunLog, read_lines  # noqa: E402
from svg import draw_layers, draw_lines  # noqa: E402


def driver(out, *flags, what="paper", msa=MSA):
    description = f"examples/paper/{what}.json"
    command = [sys.executable, "-B", TOOL, description, "--tiny", "--threads", "1"]
    return [str(word) for word in [*command, "--out", out, "--msa", msa, *flags]]


def run(out, *flags, what="paper", msa=MSA):
    command = driver(out, *flags, what=what, msa=msa)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def pictures_of(out):
    return {p.name: p.read_bytes() for p in sorted((out / "report").iterdir())}


def last_exam(run_folder):
    return RunLog(run_folder / "log.jsonl").exam["sources"]


class Workplace(unittest.TestCase):
    def setUp(self):
        self.out = Path(tempfile.mkdtemp(prefix="msa-experiment-")) / "an out folder"

    def tearDown(self):
        shutil.rmtree(self.out.parent)

    def succeed(self, *flags, what="paper"):
        done = run(self.out, *flags, what=what)
        self.assertEqual(done.returncode, 0, done.stderr)
        return (self.out / "report.md").read_text()


class WholeExperiment(Workplace):
    def test_report_is_remade_from_the_logs_to_the_byte(self):
        text = self.succeed()
        stamps = {p: p.stat().st_mtime_ns for p in self.out.rglob("*.json*")}
        self.assertEqual(self.succeed(), text)  # finished work is not done again
        self.assertEqual(stamps, {p: p.stat().st_mtime_ns for p in self.out.rglob("*.json*")})
        pictures = pictures_of(self.out)
        drawn = {"curves.png", "map.png", "map-oracle.png", "layers-pt.svg", "lengths.svg"}
        self.assertEqual(set(pictures), drawn)
        for job in self.out.rglob("model.gguf"):
            job.unlink()  # a report needs no model
        (self.out / "report.md").unlink()
        shutil.rmtree(self.out / "report")
        self.assertEqual(self.succeed("--report-only"), text)
        self.assertEqual(pictures_of(self.out), pictures)

        # What the logs say decides: the toy has learnt nothing, so its comparison is void, in the
        # first line; with logs that say otherwise it counts.
        self.assertTrue(text.startswith("**VOID: "), text[:80])
        for path in self.out.glob("results/retrieval-full-*.jsonl"):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            for line in lines:
                line["score"] = 1.0
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        text = self.succeed("--report-only")
        self.assertNotIn("VOID", text)
        self.assertIn("100.0", text.splitlines()[0])

        # Part of an evaluation is no figure, and a log may end before its first step.
        for path in self.out.glob("results/retrieval-full-*.json"):
            path.write_text(path.read_text().replace('"done"', '"interrupted"'))
        text = self.succeed("--report-only")
        self.assertTrue(text.startswith("**Not measured yet: Full solves"), text[:80])
        for path in self.out.glob("runs/*/log.jsonl"):
            path.write_text(path.read_text().partition("\n")[0] + "\n{")
        self.assertIn("Tokens of a run: 0,", self.succeed("--report-only"))

    def test_other_settings_are_refused_until_told_to_redo(self):
        one = ("--set", "seeds=[1]")
        other = (*one, "--set", "values.steps=8")
        self.succeed(*one)
        refused = run(self.out, *other)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("another command", refused.stderr)
        self.assertIn("--redo", refused.stderr)
        self.succeed(*other, "--redo")
        self.assertEqual(RunLog(self.out / "runs/pt-1/log.jsonl").exam["step"], 8)

    def test_a_mistake_in_a_setting_is_told_before_work_begins(self):
        wrong = run(self.out, "--set", 'set=["optim.lrr=1"]')
        self.assertEqual(wrong.returncode, 1)
        self.assertIn("optim.lr", wrong.stderr)
        self.assertFalse(list(self.out.glob("runs/*/log.jsonl")))

    def test_a_run_that_diverges_is_a_result(self):
        wild = [
            "optim.lr=10",
            "optim.clip=0",
            "optim.eps=1e-20",
            "optim.weight_decay=10",
            "schedule.kind=constant",
        ]
        settings = ["data.text={manual}", "run.steps=60", "schedule.warmup=0", *wild]
        text = self.succeed("--set", f"set={json.dumps(settings)}", "--set", "seeds=[1]")
        self.assertNotIn("Not finished", text)
        self.assertTrue(text.startswith("**VOID: "), text[:80])
        self.assertIn("diverged", text.splitlines()[0])
        self.assertFalse(list(self.out.glob("results/*.jsonl")))
        again = self.succeed("--set", f"set={json.dumps(settings)}", "--set", "seeds=[1]")
        self.assertEqual(again, text)  # nothing is left to do

    def test_ablations_are_judged(self):
        text = self.succeed(what="ablations")
        self.assertIn("| no detach: loss |", text)
        self.assertIn("**void**", text)
        self.assertEqual(len(list(self.out.glob("runs/*/log.jsonl"))), 19)
        start = json.loads((self.out / "runs/pt-1/log.jsonl").read_text().splitlines()[0])
        self.assertEqual(start["config"]["model"]["from"], str(self.out / "runs/base-1/model.gguf"))

    def test_a_run_begins_with_the_model_of_another(self):
        mistake = run(self.out, "--set", 'runs.pt.set=["optim.lrr=1"]', what="ablations")
        self.assertEqual(mistake.returncode, 1)
        self.assertIn("optim.lr", mistake.stderr)
        self.assertTrue((self.out / "runs/base-1/model.gguf").exists())  # what it needs was made
        self.assertFalse((self.out / "runs/pt-1/log.jsonl").exists())


class Interrupted(Workplace):
    STEPS = 120

    def long(self):
        return (
            "--set",
            f"values.steps={self.STEPS}",
            "--set",
            "seeds=[1]",
        )

    def test_it_goes_on_and_ends_with_the_same_figures(self):
        child = subprocess.Popen(
            driver(self.out, *self.long(), "--jobs", "1"),
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        log = self.out / "runs/pt-1/log.jsonl"
        while child.poll() is None and not RunLog(log).steps:
            time.sleep(0.01)
        second = run(self.out, *self.long())
        child.send_signal(signal.SIGINT)
        said = child.communicate(timeout=60)[1]
        self.assertEqual(child.returncode, 130, said)
        self.assertEqual(second.returncode, 1)
        self.assertIn("at work", second.stderr)
        record = json.loads((self.out / "runs/pt-1/experiment.json").read_text())
        self.assertEqual(record["status"], "interrupted")
        self.assertLess(max(RunLog(log).steps), self.STEPS)

        self.assertIn("Not finished", self.succeed(*self.long(), "--report-only"))
        self.assertNotIn("Not finished", self.succeed(*self.long()))
        events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
        self.assertIn("resume", events)
        unbroken = self.out.parent / "unbroken"
        self.assertEqual(run(unbroken, *self.long()).returncode, 0)
        for name in ("full-1", "pt-1", "cpt-1"):
            self.assertEqual(
                last_exam(self.out / "runs" / name), last_exam(unbroken / "runs" / name)
            )


class Trouble(Workplace):
    """With a program that takes any configuration, and then does what the test says."""

    def program(self, train):
        path = self.out.parent / "program"
        path.write_text(f'#!/bin/sh\ncase "$*" in *--check*) exit 0 ;; esac\n{train}\n')
        path.chmod(0o755)
        return path

    def test_a_run_that_is_killed_is_no_success(self):
        done = run(self.out, msa=self.program("kill -9 $$"))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("train full, seed 1 was killed", done.stderr)

    def test_runs_that_can_not_write_checkpoints_yet_are_interrupted_too(self):
        program = self.program("exec sleep 60")
        command = driver(self.out, "--jobs", "2", msa=program)
        child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        record = self.out / "runs/pt-1/experiment.json"
        while child.poll() is None and not record.with_suffix(".txt").exists():
            time.sleep(0.01)
        time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        said = child.communicate(timeout=30)[1]
        self.assertEqual(child.returncode, 130, said)
        self.assertEqual(json.loads(record.read_text())["status"], "interrupted")

    def test_what_can_not_be_written_is_told_in_a_line(self):
        self.out.write_text("a file")
        done = run(self.out, msa=self.program("exit 0"))
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stderr.startswith(f"experiment: {self.out}"), done.stderr)

    def test_an_error_of_the_driver_stops_the_runs(self):
        # The second run's folder can't be made.
        (self.out / "runs").mkdir(parents=True)
        (self.out / "runs/pt-1").write_text("a file")
        started = time.monotonic()
        done = run(self.out, "--jobs", "2", msa=self.program("exec sleep 60"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("pt-1", done.stderr)
        self.assertLess(time.monotonic() - started, 30)


class Descriptions(unittest.TestCase):
    def refuse(self, change, word):
        with self.assertRaises(Mistake) as raised:
            Description(ROOT / "examples/paper/paper.json", True, [change])
        self.assertIn(word, str(raised.exception))

    def test_what_can_not_be_is_refused_by_name(self):
        self.refuse("colour", "KEY=JSON")
        self.refuse("colour=1", "unknown key 'colour'")
        self.refuse('seeds="1"', "wrong type")
        self.refuse("seeds=[1,2,1]", "each once")
        self.refuse('seeds=["1"]', "each once")
        self.refuse('evaluations.text.command="ppl \'{model}"', "quotation")
        self.refuse('set=["data.text={nothing}"]', "{nothing}")
        self.refuse('tables.t={"rows": ["speed"], "columns": []}', "no 'speed'")
        self.refuse('files.manual="/no/such*"', "/no/such*")

    def test_a_run_begins_with_one_that_stands_before_it(self):
        self.refuse('runs.pt.from="nobody"', "no 'nobody'")
        self.refuse('runs.pt.from="cpt"', "a run above it")
        self.refuse('runs={"full":{"seeds":[2]},"pt":{"from":"full"}}', "has no seed 1")
        made = Description(ROOT / "examples/paper/paper.json", True, ['runs.pt.from="full"'])
        full, pt = made.trainings["full", 1], made.trainings["pt", 1]
        self.assertEqual(pt.needs, [full])
        self.assertIn(f"model.from={full.run.model}", pt.command)
        plain = Description(ROOT / "examples/paper/paper.json", True, [])
        self.assertNotEqual(pt.print, plain.trainings["pt", 1].print)

    def test_results_that_would_share_a_file_are_refused(self):
        both = {
            "evaluations": {"a": {"command": "x"}, "a-b": {"command": "x"}},
            "runs": {"b-c": {"evaluate": {"a": "own"}}, "c": {"evaluate": {"a-b": "own"}}},
        }
        emptied = {key: None for key in ("measures", "tables", "claims", "pictures")}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "d.json"
            whole = json.loads((ROOT / "examples/paper/paper.json").read_text())
            path.write_text(json.dumps(merge(merge(whole, {**emptied, "runs": None}), both)))
            with self.assertRaises(Mistake) as raised:
                Description(path)
        self.assertIn("a-b-c-1", str(raised.exception))

    def test_texts_count_by_what_they_hold_wherever_they_are(self):
        with tempfile.TemporaryDirectory() as folder:
            manual = f"files.manual={json.dumps(folder + '/vim[0-9]*/doc')}"

            def prints():
                made = Description(ROOT / "examples/paper/paper.json", True, [manual])
                return {job.title: job.print for job in made.jobs}

            old, new = Path(folder, "vim90/doc"), Path(folder, "vim91/doc")
            old.mkdir(parents=True)
            (old / "usr.txt").write_text("text")
            before = prints()
            shutil.copytree(old, new)
            self.assertEqual(prints(), before)
            (new / ".hidden").write_text("not read")
            self.assertEqual(prints(), before)
            (new / "usr.txt").write_text("next")
            self.assertFalse(set(prints().values()) & set(before.values()))

    def test_sections_are_merged_by_key(self):
        merged = merge({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"c": None, "e": 3}, "d": [2]})
        self.assertEqual(merged, {"a": {"b": 1, "e": 3}, "d": [2]})


def figure(unit, values, n=0):
    return Figure({seed: Value(value, n) for seed, value in values.items()}, unit)


class Figures(unittest.TestCase):
    def test_intervals_are_those_of_the_textbook(self):
        low, high = wilson(0.5, 100)
        self.assertAlmostEqual(low, 0.4038, 4)
        self.assertAlmostEqual(high, 0.5962, 4)
        self.assertAlmostEqual(wilson(1.0, 10)[0], 0.7225, 4)
        # Three values, mean 2, deviation 1: 4.303 / sqrt(3).
        low, high = figure("loss", {1: 1.0, 2: 2.0, 3: 3.0}).interval
        self.assertAlmostEqual(high - 2, 2.4843, 3)
        self.assertAlmostEqual(2 - low, 2.4843, 3)

    def test_seeds_that_agree_prove_no_more_than_their_answers(self):
        perfect = figure("share", {1: 1.0, 2: 1.0, 3: 1.0}, n=10)
        self.assertAlmostEqual(perfect.interval[0], wilson(1.0, 30)[0])
        gap = difference(perfect, perfect)
        self.assertEqual(gap.mean, 0)
        self.assertGreater(gap.interval[1], 0.05)

    def test_differences_are_paired_by_seed(self):
        a = figure("loss", {1: 1.1, 2: 2.1, 3: 3.1})
        b = figure("loss", {1: 1.0, 2: 2.0, 4: 9.0})
        gap = difference(a, b)
        self.assertEqual(set(gap.by_seed), {1, 2})
        self.assertAlmostEqual(gap.mean, 0.1)
        self.assertAlmostEqual(gap.interval[1], 0.1)

    def test_differences_of_answers_are_paired_by_question(self):
        # 100 questions, a loses 4 that b has: (5 - 16 / 102) / 102^2 is the variance.
        right = {q: 1.0 for q in range(100)}
        wrong = {**right, **{q: 0.0 for q in range(4)}}
        a = Figure({1: Value(0.96, 100, wrong)}, "share")
        b = Figure({1: Value(1.0, 100, right)}, "share")
        low, high = difference(a, b).interval
        self.assertAlmostEqual((low + high) / 2, -0.04)
        self.assertAlmostEqual((high - low) / 2, 1.96 * math.sqrt(5 - 16 / 102) / 102)

    def test_a_seed_that_diverges_is_worse_than_any_number(self):
        a = Figure({1: Value(-math.inf), 2: Value(0.5, 10)}, "share")
        gap = difference(a, figure("share", {1: 1.0, 2: 1.0}, n=10))
        self.assertEqual(gap.mean, -math.inf)
        self.assertIsNone(gap.interval)

    def test_rules_decide(self):
        self.assertEqual(decide("worse", 0.2, (0.1, 0.3), 0.1), YES)
        self.assertEqual(decide("worse", 0.2, (-0.1, 0.5), 0.1), UNDECIDED)
        self.assertEqual(decide("worse", 0.0, (-0.05, 0.05), 0.1), NO)
        self.assertEqual(decide("same", 0.0, (-0.05, 0.05), 0.1), YES)
        self.assertEqual(decide("same", 0.0, (-0.5, 0.5), 0.1), UNDECIDED)
        self.assertEqual(decide("same", -0.5, (-0.6, -0.4), 0.1), NO)
        self.assertEqual(decide("not_worse", -0.5, (-0.6, -0.4), 0.1), YES)
        self.assertEqual(decide("not_worse", 0.5, (0.4, 0.6), 0.1), NO)
        self.assertEqual(decide("not_worse", 0.05, None, 0.1), YES)
        self.assertEqual(decide("worse", math.inf, None, 0.1), YES)
        self.assertEqual(decide("same", math.inf, None, 0.1), NO)


class Files(unittest.TestCase):
    def test_lines_that_are_no_objects_are_left_out(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(b'{"a": 1}\n7\nnull\n\n{"b": "\xc3\n{"c": 3}\n{"d": "\xe2\x82')
            file.flush()
            self.assertEqual(read_lines(file.name), [{"a": 1}, {"c": 3}])

    def test_pictures_hold_any_name(self):
        lines = [("a < b & c", [(16, 0.5, None), (64, 0.25, (0.1, 0.4))])]
        text = draw_lines(lines, "<title> & more", "length", {"keys & more": 32})
        self.assertEqual(ElementTree.fromstring(text)[0].text, "<title> & more")

    def test_layers_are_drawn_with_recall_and_mass_of_every_group(self):
        of = {
            1: [{"recall": 0.11, "captured": 0.12, "oracle": 0.13}],
            7: [{"recall": 0.71, "captured": 0.72, "oracle": 0.73}],
        }
        drawn = ElementTree.fromstring(draw_layers(of, "layers"))
        said = [one.text for one in drawn if one.tag.endswith("text")]
        for word in ("block recall", "mass captured", "mass of best blocks", "layer 1", "layer 7"):
            self.assertIn(word, said)
        for group in (*of[1], *of[7]):
            for value in group.values():
                self.assertIn(f"{value:.2f}", said)


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main()
