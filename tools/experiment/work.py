"""Runs jobs: several at a time, gone on with where they were interrupted, with the time left.

A job's record (JSON) says what became of it and how long all its attempts took: "done",
"diverged" (a loss that is no number: a result, and the end of what needs the model), "failed" or
"interrupted".
A record with another fingerprint belongs to another experiment: a training is refused then, never
mixed. At Ctrl-C or SIGTERM the children get one SIGINT each, at which msa writes its checkpoint.
They hold the lock too, so that no second driver meets an orphan of the first.
"""

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import machine
from description import Mistake


class Interrupted(Exception):
    pass


def read_json(path):
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError):
        return None


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".new")
    scratch.write_text(json.dumps(value, indent=1) + "\n")
    scratch.replace(path)


def record_of(job):
    """What became of the job, or None where nothing did: a record of another command is not its."""
    record = read_json(job.record)
    return record if record and record["print"] == job.print else None


def status_of(job):
    record = record_of(job)
    return record["status"] if record else "to do"


def is_hopeless(job):
    return any(status_of(need) == "diverged" or is_hopeless(need) for need in job.needs)


def is_settled(job):
    """Whether there is nothing left to do for it."""
    return status_of(job) in ("done", "diverged") or is_hopeless(job)


def duration(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def last_line(path, n_bytes=20000):
    """The last whole line of JSON in a file that may still grow, else None."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - n_bytes))
            lines = file.read().split(b"\n")[:-1]
    except OSError:
        return None
    for line in reversed(lines):
        try:
            return json.loads(line)
        except ValueError:
            continue
    return None


def n_steps_of(log):
    """Of a run, from the first record of its log; 0 while there is none."""
    try:
        with open(log, encoding="utf-8") as file:
            return json.loads(file.readline())["config"]["run"]["steps"]
    except (OSError, ValueError, KeyError):
        return 0


class Attempt:
    """A job at work."""

    def __init__(self, job, program, threads, shared, lock):
        self.job, self.started, self.n_steps = job, time.monotonic(), 0
        record = record_of(job)
        self.before = record["seconds"] if record else 0
        self.asked = False  # to end
        job.record.parent.mkdir(parents=True, exist_ok=True)
        self.said = job.record.with_suffix(".err")
        self.note("interrupted")  # until it says otherwise, even if this process is killed
        command = [program, *job.command]
        if job.command[0] == "train":
            command += ["--set", f"data.cache={shared}", "--resume", "--sample", "0"]
        if threads:
            command += ["-t", str(threads)]
        with open(self.said, "wb") as said, open(job.record.with_suffix(".txt"), "wb") as printed:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=said,
                start_new_session=True,
                pass_fds=[lock],
            )

    @property
    def seconds(self):
        return time.monotonic() - self.started

    def ask_to_end(self):
        """Once: a second SIGINT would end it without its checkpoint."""
        if not self.asked:
            self.asked = True
            self.child.send_signal(signal.SIGINT)

    def share(self):
        """How much is done, 0..1; None where nothing says so."""
        if self.job.command[0] != "train":
            return None
        if not self.n_steps:
            self.n_steps = n_steps_of(self.job.run.log)
        record = last_line(self.job.run.log)
        return min(1.0, record.get("step", 0) / self.n_steps) if record and self.n_steps else None

    def reason(self):
        lines = self.said.read_text(errors="replace").replace("\r", "\n").split("\n")
        return " ".join(line.strip() for line in lines[-6:] if line.strip())

    def note(self, status, **more):
        record = {
            "status": status,
            "print": self.job.print,
            "command": self.job.command,
            "seconds": round(self.before + self.seconds, 1),
            **more,
        }
        write_json(self.job.record, record)
        return record

    def finish(self):
        code = self.child.returncode
        if code == 0:
            return self.note("done")
        if code in (130, -signal.SIGINT, -signal.SIGTERM, -signal.SIGKILL):
            return self.note("interrupted")
        reason = self.reason() or f"ended with {code}"
        diverged = self.job.command[0] == "train" and "is no number" in reason
        return self.note("diverged" if diverged else "failed", reason=reason)


class Estimate:
    """Time left: a kind of job takes what it took, or what it seems to take, else the mean."""

    def __init__(self, jobs, minutes):
        self.took = {}
        self.guess = 60 * minutes / max(1, len(jobs)) if minutes else None
        for job in jobs:
            record = record_of(job)
            if record and record["status"] == "done":
                self.learn(job, record["seconds"])

    def learn(self, job, seconds):
        self.took.setdefault(job.kind, []).append(seconds)

    def of(self, job):
        took = self.took.get(job.kind)
        if not took:
            verb = job.kind.split()[0]
            took = [s for kind, each in self.took.items() if kind.split()[0] == verb for s in each]
        took = took or [s for each in self.took.values() for s in each]
        return sum(took) / len(took) if took else self.guess

    def left(self, waiting, running, at_once):
        seconds = 0.0
        for attempt in running:
            share, whole = attempt.share(), self.of(attempt.job)
            if share and share > 0.02:
                whole = (attempt.before + attempt.seconds) / share
            if whole is None:
                return None
            seconds += max(0.0, whole - attempt.before - attempt.seconds)
        guesses = [self.of(job) for job in waiting]
        return None if None in guesses else (seconds + sum(guesses)) / at_once


class Work:
    def __init__(self, description, program, at_once, threads, redo):
        self.description, self.program = description, program
        self.at_once, self.threads, self.redo = at_once, threads, redo
        self.running, self.stopping, self.checked = [], False, set()
        self.jobs = description.jobs

    def lock(self):
        """One driver at a time for a folder of runs, and no orphan of an earlier one."""
        self.description.runs_in.mkdir(parents=True, exist_ok=True)
        self.lock_file = open(self.description.runs_in / "lock", "a+")
        try:
            fcntl.flock(self.lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Mistake(
                f"another experiment, or a run one left behind, is at work in "
                f"{self.description.runs_in}: wait for it or end it"
            ) from None

    def sort_out(self):
        """Clears away what another description left; a training only with --redo."""
        for job in self.jobs:
            record = read_json(job.record)
            if not record or record["print"] == job.print:
                continue
            if job.command[0] != "train":
                self.say(f"{job.title}: of another command or other texts; will be made again")
                job.record.unlink()
                job.record.with_suffix(".jsonl").unlink(missing_ok=True)
            elif self.redo:
                shutil.rmtree(job.run.folder)
            else:
                raise Mistake(
                    f"{job.run.folder} was trained by another command, from another "
                    f"configuration or other texts, than today's:\n"
                    f"  then: msa {shlex.join(record['command'])}\n"
                    f"  now:  msa {shlex.join(job.command)}\n"
                    f"--redo throws it away and trains again; --out DIR keeps it"
                )

    def ready(self, job):
        return all(status_of(need) == "done" for need in job.needs)

    def say(self, text):
        clear = "\r\x1b[K" if sys.stderr.isatty() else ""
        print(f"{clear}{text}", file=sys.stderr, flush=True)

    def show(self, waiting):
        if not sys.stderr.isatty():
            return
        left = self.estimate.left(waiting, self.running, self.at_once)
        doing = []
        for attempt in self.running:
            share = attempt.share()
            doing.append(attempt.job.title + (f" {100 * share:.0f} %" if share else ""))
        n_done = len(self.jobs) - len(waiting) - len(self.running)
        line = f"{n_done} of {len(self.jobs)} done; now {' | '.join(doing)}"
        line += f"; {duration(left)} left" if left is not None else ""
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r\x1b[K{line[:width]}")
        sys.stderr.flush()

    def stop(self, *_):
        """Asks every child once, and they write checkpoints and end; then kills them."""
        kill = self.stopping
        self.stopping = True
        for attempt in self.running:
            if kill:
                attempt.child.kill()
            else:
                attempt.ask_to_end()
        if not kill:
            self.say("stopping: the runs write their checkpoints")

    def reap(self, waiting):
        for attempt in [a for a in self.running if a.child.poll() is not None]:
            self.running.remove(attempt)
            job, record = attempt.job, attempt.finish()
            status, seconds = record["status"], record["seconds"]
            if status == "done":
                self.estimate.learn(job, seconds)
                self.check_configurations(waiting)
            left = self.estimate.left(waiting, self.running, self.at_once)
            rest = f"; {duration(left)} left" if left is not None and status == "done" else ""
            n_done = len(self.jobs) - len(waiting) - len(self.running)
            self.say(f"{n_done}/{len(self.jobs)} {job.title}: {status}, {duration(seconds)}{rest}")
            if status == "failed":
                raise Mistake(
                    f"{job.title} failed: {record['reason']}\n  msa {shlex.join(job.command)}"
                )

    def check_configurations(self, waiting):
        """A mistake in the last run's settings is told now, not after hours; in those of a run that
        begins with another's model, when that is there."""
        for job in waiting:
            if job.command[0] != "train" or job.run.name in self.checked or not self.ready(job):
                continue
            self.checked.add(job.run.name)
            shared = f"data.cache={self.shared_tokens()}"
            command = [self.program, *job.command, "--set", shared, "--resume", "--check"]
            checked = subprocess.run(command, capture_output=True, text=True, check=False)
            if checked.returncode == 130:
                raise Interrupted
            if checked.returncode:
                said = checked.stderr.strip().splitlines() or ["(no message)"]
                raise Mistake(f"{job.title}: {said[-1]}\n  msa {shlex.join(job.command)}")

    def shared_tokens(self):
        """Where the runs keep their texts as tokens, together."""
        shared = self.description.runs_in / "tokens"
        shared.mkdir(parents=True, exist_ok=True)
        return shared

    def start(self, waiting):
        while len(self.running) < self.at_once and not self.stopping:
            job = next((j for j in waiting if self.ready(j)), None)
            if job is None:
                return
            waiting.remove(job)
            threads = self.threads or max(1, len(os.sched_getaffinity(0)) // self.at_once)
            shared, lock = self.shared_tokens(), self.lock_file.fileno()
            attempt = Attempt(job, self.program, threads, shared, lock)
            self.running.append(attempt)
            if self.stopping:  # since it was started
                attempt.ask_to_end()

    def run(self):
        self.lock()
        self.sort_out()
        waiting = [job for job in self.jobs if not is_settled(job)]
        self.estimate = Estimate(self.jobs, self.description.d.get("minutes"))
        self.describe_machine(bool(waiting))
        self.description.cut_files()
        self.check_configurations(waiting)
        handlers = {s: signal.signal(s, self.stop) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            while waiting or self.running:
                waiting = [job for job in waiting if not is_hopeless(job)]
                self.start(waiting)
                if not self.running:
                    break
                self.reap(waiting)
                self.show(waiting)
                time.sleep(0.05 if len(self.running) < self.at_once else 0.2)
        finally:
            if self.running and not self.stopping:
                self.stop()
            for attempt in self.running:
                attempt.child.wait()
                with contextlib.suppress(OSError):  # a full disk keeps the "interrupted" it has
                    attempt.finish()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if self.stopping:
            raise Interrupted
        killed = [job for job in self.jobs if status_of(job) == "interrupted"]
        if killed:
            raise Mistake(
                f"{killed[0].title} was killed by another program or for want of memory; "
                "the same command goes on"
            )

    def describe_machine(self, is_work):
        """That of the last work; a report made elsewhere names where its figures are from."""
        path = self.description.out / "machine.json"
        if is_work or not path.exists():
            write_json(path, machine.describe(self.description.sources))
