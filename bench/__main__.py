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
from bench.places import PLACES
from bench.plan import FULL, ORDER, QUICK, Subject

System = tuple[str, str]
"""A store and a subject on it, by their names."""


@dataclass
class Results:
    """What was measured so far."""

    samples: dict[System, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    """by system and metric, one value for each round"""
    notes: dict[str, str] = field(default_factory=dict)
    """why something has no value, by store and subject, or by these and the measurement"""

    def medians(self, store: str) -> dict[str, dict[str, float]]:
        """By subject of that store and metric."""
        return {
            name: {metric: statistics.median(values) for metric, values in metrics.items()}
            for (where, name), metrics in self.samples.items()
            if where == store
        }


def arguments(argv: list[str]) -> argparse.Namespace:
    names = list(dict.fromkeys(name for subjects in SUBJECTS.values() for name in subjects))
    parser = argparse.ArgumentParser(prog="bench", description="Measures Tenuto beside the raw limits and its peers.")
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it runs, proves nothing")
    parser.add_argument("--store", default=",".join(SUBJECTS), help=f"which of {', '.join(SUBJECTS)}; comma-separated")
    parser.add_argument("--only", default=",".join(names), help=f"which of {', '.join(names)}; comma-separated")
    parser.add_argument("--runs", default=",".join(ORDER), help=f"which of {', '.join(ORDER)}; comma-separated")
    parser.add_argument("--rounds", type=int, default=None, help="medians of so many (3; with --quick 1)")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--directory", type=Path, help="where the stores lie while measured; default: a temporary one")
    given = parser.parse_args(argv)
    for option, known, what in (
        ("store", list(SUBJECTS), "store"),
        ("only", names, "subject"),
        ("runs", list(ORDER), "measurement"),
    ):
        wanted = [name.strip() for name in getattr(given, option).split(",") if name.strip()]
        unknown = sorted(set(wanted) - set(known))
        if unknown:
            parser.error(f"unknown {what} {', '.join(unknown)}: choose among {', '.join(known)}")
        setattr(given, option, wanted)
    given.rounds = given.rounds or (1 if given.quick else 3)
    return given


def measure(system: System, run: str, size: str, seconds: float, base: Path | None) -> dict[str, float]:
    """One measurement in a fresh process and directory. Raises `RuntimeError` with the reason when it fails."""
    with tempfile.TemporaryDirectory(prefix="tenuto-bench-", dir=base, ignore_cleanup_errors=True) as directory:
        child = subprocess.Popen(
            [sys.executable, "-m", "bench.child", *system, run, directory, size],
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


def run_all(given: argparse.Namespace, console: Console) -> tuple[dict[System, Subject], Results]:
    """Every measurement of every subject, in rounds, interleaved."""
    results = Results()
    subjects: dict[System, Subject] = {
        (store, name): subject(store, name) for store in given.store for name in SUBJECTS[store] if name in given.only
    }
    for (store, name), each in subjects.items():
        if each.missing:
            results.notes[f"{store} {name}"] = f"not installed: {', '.join(each.missing)}"
    jobs = [
        (system, run)
        for _ in range(given.rounds)
        for store in given.store
        for run in given.runs
        for system, each in subjects.items()
        if system[0] == store and run in each.runs and not each.missing
    ]
    size = "quick" if given.quick else "full"
    seconds = (QUICK if given.quick else FULL).seconds
    columns = (TextColumn("{task.description:40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=len(jobs))
        for system, run in jobs:
            progress.update(bar, description=f"{system[0]}, {subjects[system].name}: {run}")
            key = f"{' '.join(system)} {run}"
            if key not in results.notes:
                try:
                    for metric, value in measure(system, run, size, seconds, given.directory).items():
                        results.samples[system][metric].append(value)
                except RuntimeError as error:
                    results.notes[key] = str(error)
            progress.advance(bar)
    return subjects, results


def main(argv: list[str]) -> int:
    given = arguments(argv)
    console = Console(stderr=True)
    subjects, results = run_all(given, console)
    groups = [
        report.Group(
            store,
            PLACES[store].engine(),
            {name: each for (where, name), each in subjects.items() if where == store},
            results.medians(store),
        )
        for store in given.store
    ]
    if given.format == "json":
        print(json.dumps(report.as_json(groups, results.notes, given.rounds), indent=2))
    else:
        report.show(Console(width=None if sys.stdout.isatty() else 140), groups, results.notes, given.rounds)
    failed = [note for note in results.notes.values() if not note.startswith("not installed")]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
