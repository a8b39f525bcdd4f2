"""Trains, evaluates and reports what an experiment's description says.

    python3 tools/experiment examples/paper/paper.json              everything, then the report
    python3 tools/experiment examples/paper/paper.json --report-only

Ctrl-C lets the runs write their checkpoints; the same command goes on. What is finished is not
made again. docs/experiments.md has the format of descriptions.
"""

import argparse
import json
import os
import shlex
import shutil
import sys
import time
from pathlib import Path

from description import Description, Mistake
from report import Report
from work import Interrupted, Work, is_settled, read_json, status_of, write_json


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {number}")
    return number


def parse():
    p = argparse.ArgumentParser(
        prog="tools/experiment", description="Trains, evaluates and reports an experiment."
    )
    p.add_argument("description", help="JSON file")
    p.add_argument("--tiny", action="store_true", help="its toy form, in less than a minute")
    p.add_argument("--report-only", action="store_true", help="from the logs that are there")
    p.add_argument("--plan", action="store_true", help="print the jobs and what they are; stop")
    p.add_argument("--redo", action="store_true", help="make again what is out of date")
    p.add_argument(
        "--jobs", type=positive, help="processes at a time (default: the cores, at most 8)"
    )
    p.add_argument(
        "--threads", type=positive, help="of each process (default: the cores by the jobs)"
    )
    p.add_argument("--out", metavar="DIR", help="instead of the description's, runs included")
    p.add_argument("--report", metavar="FILE", help="the report (default: report.md in out)")
    p.add_argument(
        "--set", metavar="KEY=JSON", action="append", default=[], help="another value for a key"
    )
    p.add_argument("--msa", default="build/msa", help="the program (default: build/msa)")
    return p.parse_args()


def add_time(description, seconds):
    """By the clock, over every time the driver had something to do."""
    path = description.out / "time.json"
    before = (read_json(path) or {}).get("seconds", 0)
    write_json(path, {"seconds": round(before + seconds, 1)})


def work(args, description):
    at_once = args.jobs or min(8, len(os.sched_getaffinity(0)))
    todo = [job for job in description.jobs if not is_settled(job)]
    started = time.monotonic()
    try:
        Work(description, args.msa, at_once, args.threads, args.redo).run()
    finally:
        if todo:
            add_time(description, time.monotonic() - started)


def main():
    args = parse()
    changes = list(args.set)
    if args.out:
        runs = os.path.join(args.out, "runs")
        changes += [f"out={json.dumps(args.out)}", f"runs_in={json.dumps(runs)}"]
    description = Description(args.description, args.tiny, changes)
    if args.plan:
        for job in description.jobs:
            print(f"{status_of(job):12} {job.title:32} msa {shlex.join(job.command)}")
        return 0
    if not shutil.which(args.msa):
        raise Mistake(f"{args.msa} is no program: build it with make, or say where with --msa")
    path = Path(args.report) if args.report else description.out / "report.md"
    if not args.report_only:
        work(args, description)
    report = Report(description, args.msa, path)
    report.write()
    print(path)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Mistake as mistake:
        print(f"experiment: {mistake}", file=sys.stderr)
        sys.exit(1)
    except OSError as problem:  # a full disk, a folder that can't be written
        where = f"{problem.filename}: " if problem.filename else ""
        print(f"experiment: {where}{problem.strerror}", file=sys.stderr)
        sys.exit(1)
    except (Interrupted, KeyboardInterrupt):
        print("experiment: interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)
