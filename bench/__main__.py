"""`python -m bench`: measure, in rounds, and print medians and ratios."""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import report
from bench.child import SUBJECTS, subject
from bench.plan import FULL, ORDER, QUICK, Subject


@dataclass
class Results:
    """What was measured so far."""

    samples: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    """by subject and metric, one value for each round"""
    notes: dict[str, str] = field(default_factory=dict)
    """why something has no value, by subject, or by subject and measurement"""

    def medians(self) -> dict[str, dict[str, float]]:
        """By subject and metric."""
        return {
            name: {metric: statistics.median(values) for metric, values in metrics.items()}
            for name, metrics in self.samples.items()
        }


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Measures Tenuto beside the raw limit and its peers.")
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it runs, proves nothing")
    parser.add_argument("--only", default=",".join(SUBJECTS), help=f"which of {', '.join(SUBJECTS)}; comma-separated")
    parser.add_argument("--runs", default=",".join(ORDER), help=f"which of {', '.join(ORDER)}; comma-separated")
    parser.add_argument("--rounds", type=int, default=None, help="medians of so many (3; with --quick 1)")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--directory", type=Path, help="where the stores lie while measured; default: a temporary one")
    given = parser.parse_args(argv)
    given.only = [name.strip() for name in given.only.split(",") if name.strip()]
    given.runs = [name.strip() for name in given.runs.split(",") if name.strip()]
    for wanted, known, what in ((given.only, SUBJECTS, "subject"), (given.runs, ORDER, "measurement")):
        unknown = sorted(set(wanted) - set(known))
        if unknown:
            parser.error(f"unknown {what} {', '.join(unknown)}: choose among {', '.join(known)}")
    given.rounds = given.rounds or (1 if given.quick else 3)
    return given


def measure(name: str, run: str, size: str, seconds: float, base: Path | None) -> dict[str, float]:
    """One measurement in a fresh process and directory. Raises `RuntimeError` with the reason when it fails."""
    with tempfile.TemporaryDirectory(prefix="tenuto-bench-", dir=base) as directory:
        child = subprocess.Popen(
            [sys.executable, "-m", "bench.child", name, run, directory, size],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"not finished after {seconds:g} s") from None
        finally:
            _end_session(child)
    if child.returncode != 0:
        lines = err.strip().splitlines() or [f"exit code {child.returncode}"]
        raise RuntimeError(lines[-1])
    values = json.loads(out.strip().splitlines()[-1])
    return {metric: float(value) for metric, value in values.items()}


def _end_session(child: subprocess.Popen[str]) -> None:
    """Ends what is left of the child's session: its own processes and no others."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError:  # macOS, when only zombies are left
        pass
    child.wait()
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()


def run_all(given: argparse.Namespace, console: Console) -> tuple[dict[str, Subject], Results]:
    """Every measurement of every subject, in rounds, interleaved."""
    results = Results()
    subjects: dict[str, Subject] = {name: subject(name) for name in given.only}
    for name, each in subjects.items():
        if each.missing:
            results.notes[name] = f"not installed: {', '.join(each.missing)}"
    jobs = [
        (name, run)
        for _ in range(given.rounds)
        for run in given.runs
        for name, each in subjects.items()
        if run in each.runs and not each.missing
    ]
    size = "quick" if given.quick else "full"
    seconds = (QUICK if given.quick else FULL).seconds
    columns = (TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=len(jobs))
        for name, run in jobs:
            progress.update(bar, description=f"{subjects[name].name}: {run}")
            key = f"{name} {run}"
            if key not in results.notes:
                try:
                    for metric, value in measure(name, run, size, seconds, given.directory).items():
                        results.samples[name][metric].append(value)
                except RuntimeError as error:
                    results.notes[key] = str(error)
            progress.advance(bar)
    return subjects, results


def main(argv: list[str]) -> int:
    given = arguments(argv)
    console = Console(stderr=True)
    subjects, results = run_all(given, console)
    medians = results.medians()
    if given.format == "json":
        print(json.dumps(report.as_json(subjects, medians, results.notes, given.rounds), indent=2))
    else:
        report.show(Console(), subjects, medians, results.notes, given.rounds)
    failed = [note for note in results.notes.values() if not note.startswith("not installed")]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
