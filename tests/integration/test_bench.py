"""The bench runs, reports every measurement, and says what it cannot measure. It is never asked to be fast."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.__main__ import Results
from bench.plan import METRICS, ORDER, Subject
from bench.report import as_json

ROOT = Path(__file__).parents[2]


def bench(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", "--directory", str(directory), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_quick_form_measures_everything_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = bench(tmp_path, "--quick", "--only", "raw,prototype,tenuto", "--format", "json")

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["notes"] == {}
    quick = {metric for metric in METRICS if not metric.startswith(("drain.batch", "drain.each", "stored."))}
    assert quick | {"stored.1000"} <= set(report["medians"]["tenuto"])
    assert all(value > 0 for name, value in report["medians"]["tenuto"].items() if name != "memory.waiting")
    assert report["tenuto_is_better_by"]["raw"]["submit.single"] > 0
    assert list(tmp_path.iterdir()) == []


def test_the_table_names_what_each_system_makes_durable(tmp_path: Path) -> None:
    done = bench(tmp_path, "--quick", "--only", "raw", "--runs", "submit")

    assert done.returncode == 0, done.stderr
    assert "one by one" in done.stdout
    assert "raw SQLite: WAL, fsync at every commit" in done.stdout


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    done = bench(tmp_path, "--only", "celery")

    assert done.returncode == 2
    assert "unknown subject celery: choose among raw, prototype, tenuto, huey, dbos" in done.stderr
    assert ORDER[0] in bench(tmp_path, "--help").stdout


def test_what_is_not_installed_is_reported() -> None:
    absent = Subject("absent", "", requires=("no_such_engine", "json"), runs={})

    assert absent.missing == ["no_such_engine"]


def test_ratios_say_how_many_times_better_whatever_the_unit() -> None:
    # Given a rate, where more is better, and a time, where less is
    results = Results()
    results.samples["tenuto"] = {"submit.bulk": [90.0, 100.0, 500.0], "dag.wide": [0.5]}
    results.samples["huey"] = {"submit.bulk": [50.0], "dag.wide": [2.0]}

    # When they are reported
    report = as_json({}, results.medians(), results.notes, rounds=3)

    # Then both ratios are above one, and the rate is a median
    assert report["tenuto_is_better_by"]["huey"] == {"submit.bulk": 2.0, "dag.wide": 4.0}
