"""Every program in `examples/` runs as it stands, against a fresh store, and says what its text promises."""

from __future__ import annotations

import contextlib
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from tenuto.testing import EndpointProcess, Reply

EXAMPLES = Path(__file__).parents[2] / "examples"
LIMIT = 180


def run(tmp_path: Path, name: str, *arguments: str) -> list[str]:
    """The lines that an example prints."""
    environment = {**os.environ, "TENUTO_STORE": f"sqlite:///{tmp_path}/tenuto.db"}
    ran = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def test_there_is_a_test_for_every_example() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    assert [each.name for each in EXAMPLES.glob("*.py") if f'"{each.name}"' not in here] == []


def test_order_pipeline(tmp_path: Path) -> None:
    lines = run(tmp_path, "order_pipeline.py")
    assert "Ada paid 55.00" in lines[2]
    assert [line.split()[:2] for line in lines] == [
        ["check", "done"],
        ["reserve", "done"],
        ["charge", "done"],
        ["ship", "done"],
        ["refund", "cancelled"],
    ]


def test_order_pipeline_twice_is_the_same_order(tmp_path: Path) -> None:
    assert run(tmp_path, "order_pipeline.py") == run(tmp_path, "order_pipeline.py")


def test_order_pipeline_killed_at_any_moment_and_started_again(tmp_path: Path) -> None:
    environment = {**os.environ, "TENUTO_STORE": f"sqlite:///{tmp_path}/tenuto.db"}
    for seconds in (0.2, 0.3, 0.4, 0.5, 0.6):
        killed = subprocess.Popen(
            [sys.executable, EXAMPLES / "order_pipeline.py"], env=environment, stdout=subprocess.DEVNULL
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            killed.wait(seconds)
        killed.kill()
        killed.wait(LIMIT)
    assert run(tmp_path, "order_pipeline.py")[3].split()[:2] == ["ship", "done"]


def test_order_pipeline_without_a_van(tmp_path: Path) -> None:
    lines = run(tmp_path, "order_pipeline.py", "--no-van")
    assert [line.split()[:2] for line in lines[-2:]] == [["ship", "failed"], ["refund", "done"]]
    assert lines[-1].endswith("refunded Ada")


def test_nightly_schedule(tmp_path: Path) -> None:
    first, second = run(tmp_path, "nightly_schedule.py")
    assert first.startswith("next backup: ")
    assert second.startswith("heartbeat@")
    assert second.endswith("-> alive")


def test_human_approval(tmp_path: Path) -> None:
    assert run(tmp_path, "human_approval.py")[-2:] == [
        "sent: Dear Ada, your contract ends in May.",
        "not sent: he has moved",
    ]


def test_retries_and_dead_letters(tmp_path: Path) -> None:
    assert run(tmp_path, "retries_and_dead_letters.py") == [
        "sent to ada@example.org in attempt 3",
        "ValueError - 'bob' is no address",
        "ValueError - 'eve' is no address",
        "2 dead letters",
        "2 replayed",
        "sent to ada@example.org in attempt 3",
        "sent to bob in attempt 4",
        "sent to eve in attempt 4",
    ]


def test_data_pipeline(tmp_path: Path) -> None:
    lines = run(tmp_path, "data_pipeline.py")
    assert lines[:2] == ["write is ready", "process is ready"]
    assert sorted(lines[2:4]) == ["collect-north is ready", "collect-south is ready"]
    assert lines[4:] == ["north: 32", "south: 18"]


def test_monitoring_system(tmp_path: Path) -> None:
    assert run(tmp_path, "monitoring_system.py") == [
        "the shop is open",
        "ALERT: the shop does not answer",
        "probes that found it open: True",
    ]


@pytest.mark.parametrize("name", ["data_pipeline", "monitoring_system", "automation_workflow", "resilient_application"])
def test_examples_of_the_supervisor_leave_nothing_and_can_be_started_again(tmp_path: Path, name: str) -> None:
    def words() -> list[list[str]]:
        return sorted(line.split()[:2] for line in run(tmp_path, f"{name}.py"))

    assert words() == words()
    assert {each.name for each in tmp_path.iterdir() if not each.name.startswith("tenuto.db")} <= {".tenuto"}


def test_automation_workflow(tmp_path: Path) -> None:
    lines = run(tmp_path, "automation_workflow.py")
    assert lines[:3] == ["ada: 3 words", "bob: 4 words", "archived: ['ada.txt', 'bob.txt']"]
    assert [line.split()[:2] for line in lines[4:]] == [
        ["worker:count_words:1", "TERMINATED"],
        ["watcher", "TERMINATED"],
        ["report", "TERMINATED"],
    ], lines


def test_resilient_application(tmp_path: Path) -> None:
    assert run(tmp_path, "resilient_application.py") == [
        "start 1 of the importer has ended: killed by SIGKILL",
        "start 2 of the importer has ended: killed by SIGKILL",
        "start 3 of the importer has ended: all is done",
        "10 records; 2 restarts",
        "hopeless: execute: ConnectionError: no route to host; given up after 2 restarts",
    ]


@pytest.fixture
def without_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripted provider of an example answers."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


STAND_IN = "OPENAI_API_KEY is not set: a scripted provider answers."


@pytest.mark.usefixtures("without_key")
def test_research_team(tmp_path: Path) -> None:
    said, text, cost = run(tmp_path, "research_team.py")
    assert said == STAND_IN
    assert text == "It rises in the Alps, is 1,233 km long and flows into the sea."
    assert cost.startswith("11 requests, ")


def test_research_team_killed_while_the_writer_writes_pays_for_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given the team with a provider that outlives it, and that is slow when the writer asks
    script = runpy.run_path(str(EXAMPLES / "research_team.py"))["SCRIPT"]
    slow = Reply(text="It is long.", hold="writer")
    rules = [replace(rule, turns=[slow]) if rule.turns == ["It is long."] else rule for rule in script]
    with EndpointProcess(rules) as endpoint:
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        environment = {**os.environ, "TENUTO_STORE": f"sqlite:///{tmp_path}/tenuto.db"}
        with subprocess.Popen([sys.executable, EXAMPLES / "research_team.py"], env=environment, cwd=tmp_path) as first:
            # When it is killed in the middle of that, and started again
            endpoint.wait_for(8, timeout=LIMIT)
            first.kill()
        endpoint.wait_for(1, outcome="gone", timeout=LIMIT)  # its workers end with it
        endpoint.release("writer")
        text, _ = run(tmp_path, "research_team.py")
        # Then the text is there, and only the request that was under way was made again
        assert text == "It rises in the Alps, is 1,233 km long and flows into the sea."
        assert endpoint.count(outcome="answered") == 11
        assert endpoint.count() == 12


@pytest.mark.usefixtures("without_key")
def test_coding_agent(tmp_path: Path) -> None:
    assert run(tmp_path, "coding_agent.py") == [
        STAND_IN,
        "write_file clock.py:",
        "def minutes(hours):",
        "    return hours * 60",
        "An hour has 60 minutes, not 6. The tests pass.",
    ]


@pytest.mark.usefixtures("without_key")
def test_support_agent(tmp_path: Path) -> None:
    parts = [line for part in ("ask", "answer", "finish") for line in run(tmp_path, "support_agent.py", part)[1:]]
    assert parts == [
        "for the colleague: Does the M-40 run on 12 volts?",
        "support-1 waits, and no process is needed",
        "answered: Does the M-40 run on 12 volts?",
        "Yes: the M-40 runs on 12 volts, with the adapter from the box.",
    ]


@pytest.mark.usefixtures("without_key")
def test_batch_documents(tmp_path: Path) -> None:
    said = run(tmp_path, "batch_documents.py")
    assert said[1:11] == [f"{number} of 200" for number in range(20, 201, 20)]
    assert [line.split(maxsplit=1) for line in said[11:15]] == [
        ["67", "invoice"],
        ["67", "letter"],
        ["66", "contract"],
        ["0", "not read"],
    ]
    assert said[15].startswith("200 requests, $0.000")


@pytest.mark.usefixtures("without_key")
def test_batch_documents_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "post.jsonl").write_text('{"text": "a letter"}\n{"text": "an invoice"}\n', encoding="utf-8")
    said = run(tmp_path, "batch_documents.py", "--file", "post.jsonl")
    assert [line.strip() for line in said[-5:-1]] == ["1 invoice", "1 letter", "0 contract", "0 not read"]


@pytest.mark.usefixtures("without_key")
def test_batch_documents_stays_within_its_budget(tmp_path: Path) -> None:
    said = run(tmp_path, "batch_documents.py", "--budget", "0.0003")
    not_read, cost = said[-2:]
    assert 0 < int(not_read.split()[0]) < 200
    used, budget = (float(word.removeprefix("$")) for word in cost.split() if word.startswith("$"))
    assert used <= budget
