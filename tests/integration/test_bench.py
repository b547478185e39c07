"""The bench runs, reports every measurement, and says what it cannot measure. It is never asked to be fast."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import Results
from bench.measures import EVERY_SHAPE
from bench.plan import METRICS, ORDER, Subject
from bench.report import Group, as_json
from tests.conformance.engines import ENGINES

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]

DRAINS = {f"drain.{processes}x{concurrency}" for processes, concurrency in EVERY_SHAPE}
EVERYWHERE = DRAINS | {
    metric
    for metric in METRICS
    if metric.startswith(("submit.", "start.", "result.", "dag.", "stored.1000.")) and metric != "submit.copy"
}
"""what Tenuto is measured by on every store, in the quick form too; sizes aside"""


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )


def test_the_quick_form_measures_everything_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = bench(
        "--quick",
        "--store",
        "sqlite",
        "--only",
        "raw,prototype,tenuto",
        "--format",
        "json",
        "--directory",
        str(tmp_path),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["notes"] == {}
    group = report["stores"]["sqlite"]
    assert EVERYWHERE | {"disk.queued", "disk.waiting", "memory.waiting"} <= set(group["medians"]["tenuto"])
    assert all(value > 0 for name, value in group["medians"]["tenuto"].items() if name != "memory.waiting")
    assert group["tenuto_is_better_by"]["raw"]["submit.single"] > 0
    assert group["tenuto_is_better_by"]["prototype"]["drain.1x100"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("store", ["redis", "postgres"])
def test_the_limits_of_a_server_are_measured_on_a_private_one(store: str) -> None:
    done = bench("--quick", "--store", store, "--only", "raw,prototype", "--format", "json")

    assert done.returncode == 0, done.stdout + done.stderr
    medians = json.loads(done.stdout)["stores"][store]["medians"]
    assert {"submit.single", "submit.bulk", "drain.batch", "drain.each", "memory.queued", "disk.queued"} <= set(
        medians["raw"]
    )
    assert set(medians["prototype"]) == DRAINS


@pytest.mark.slow
@pytest.mark.parametrize("store", sorted({"redis", "postgres"} & ENGINES.keys()))
def test_tenuto_is_measured_on_a_server_as_it_is_on_a_file(store: str) -> None:
    runs = "submit,drain,stored,churn"

    done = bench("--quick", "--store", store, "--only", "tenuto", "--runs", runs, "--format", "json")

    assert done.returncode == 0, done.stdout + done.stderr
    measured = set(json.loads(done.stdout)["stores"][store]["medians"]["tenuto"])
    assert DRAINS | {"submit.single", "submit.bulk", "stored.1000.p50"} <= measured
    assert ("churn.held.p50" in measured) == (store == "postgres")


def test_the_supervisor_is_measured_beside_what_the_standard_library_makes_of_the_same_work() -> None:
    done = bench("--quick", "--store", "supervisor", "--only", "raw,tenuto,futures", "--format", "json")

    assert done.returncode == 0, done.stdout + done.stderr
    medians = json.loads(done.stdout)["stores"]["supervisor"]["medians"]
    agents, commands = {"agents.thread", "agents.process"}, {"commands.p50", "commands.p95"}
    events = {"events.0", "events.1", "events.10"}
    assert set(medians["tenuto"]) == agents | events | commands | {"agents.memory"}
    assert set(medians["raw"]) == agents | events | commands
    assert set(medians["futures"]) == agents | commands


def test_the_table_names_what_each_system_makes_durable() -> None:
    done = bench("--quick", "--store", "sqlite", "--only", "raw", "--runs", "submit")

    assert done.returncode == 0, done.stderr
    assert "one by one" in done.stdout
    assert "raw SQLite: WAL, fsync at every commit" in done.stdout


def test_turns_of_agents_are_measured_beside_the_library_alone() -> None:
    done = bench("--quick", "--store", "agents", "--only", "plain,tenuto", "--format", "json")

    assert done.returncode == 0, done.stdout + done.stderr
    group = json.loads(done.stdout)["stores"]["agents"]
    assert set(group["medians"]["tenuto"]) == {"turns.early", "turns.late", "turns.disk"}
    assert all(value > 0 for value in group["medians"]["plain"].values())


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    done = bench("--only", "celery")

    assert done.returncode == 2
    assert "unknown subject celery: choose among raw, prototype, tenuto, huey, dbos" in done.stderr
    refused = bench("--store", "mysql").stderr
    assert "unknown store mysql: choose among sqlite, redis, postgres, agents, agents-postgres" in refused
    assert ORDER[0] in bench("--help").stdout


def test_what_is_not_installed_is_reported() -> None:
    absent = Subject("absent", "", requires=("no_such_engine", "json"), runs={})

    assert absent.missing == ["no_such_engine"]


def test_ratios_say_how_many_times_better_whatever_the_unit() -> None:
    # Given a rate, where more is better, and a time, where less is
    results = Results()
    results.samples["sqlite", "tenuto"] = {"submit.bulk": [90.0, 100.0, 500.0], "dag.wide": [0.5]}
    results.samples["sqlite", "huey"] = {"submit.bulk": [50.0], "dag.wide": [2.0]}
    results.samples["redis", "huey"] = {"submit.bulk": [1.0]}

    # When they are reported
    group = Group("sqlite", "SQLite", {}, results.medians("sqlite"))
    report = as_json([group], results.notes, rounds=3)

    # Then both ratios are above one, the rate is a median, and other stores do not count
    assert report["stores"]["sqlite"]["tenuto_is_better_by"]["huey"] == {"submit.bulk": 2.0, "dag.wide": 4.0}
