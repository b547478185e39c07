"""The checks of the storm themselves: each sees the violation that it is there for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tenuto.stores.base import LimitUse
from tenuto.tasks.event import Event, EventKind
from tenuto.tasks.limits import Limit
from tenuto.tasks.outcome import Step
from tenuto.tasks.states import State
from tenuto.tasks.task import Task
from tests.chaos.checks import check_all
from tests.chaos.evidence import Evidence
from tests.chaos.ledger import Execution, Lines
from tests.chaos.plan import Blow, plan_storm
from tests.chaos.witness import Saw


def _task(**fields: Any) -> Task:
    given: dict[str, Any] = {
        "id": "t",
        "agent": "a",
        "root": "t",
        "state": State.DONE,
        "created_at": 1,
        "since": 4,
        "attempt": 1,
        "seq": 3,
        "steps": 1,
        "result": msgspec.Raw(b'{"values":["v"]}'),
    }
    return Task(**(given | fields))


def _events() -> list[Event]:
    return [
        Event("t", 1, EventKind.CREATED, 1, data={"state": "ready"}),
        Event("t", 2, EventKind.STARTED, 2, 1),
        Event("t", 3, EventKind.DONE, 4, 1),
    ]


def _sound(folder: Path) -> Evidence:
    """One task that was done in its first attempt, with one step."""
    Lines(folder / "feed" / "0001.jsonl").add(*_events())
    evidence = Evidence(folder)
    evidence.tasks = {"t": _task()}
    evidence.events = _events()
    evidence.journals = {"t": [Step("s0#0", 0, value=msgspec.Raw(b'"v"'), attempt=1)]}
    evidence.executions = [Execution("t", "s0", 1, 7, "v", 0.0)]
    return evidence


def _said(evidence: Evidence) -> str:
    check_all(evidence)
    return "\n".join(evidence.violations)


def test_the_same_seed_is_the_same_plan() -> None:
    first, again, other = (
        plan_storm(seed, executions=500, submissions=90, slots=4, blows=12, driver=2, faults=tuple(Blow))
        for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


def test_nothing_is_said_about_what_is_sound(tmp_path: Path) -> None:
    assert _said(_sound(tmp_path)) == ""


def test_a_recorded_step_that_ran_again_is_seen(tmp_path: Path) -> None:
    evidence = _sound(tmp_path)
    evidence.executions.append(Execution("t", "s0", 2, 8, "w", 1.0))
    assert "ran again in attempt 2" in _said(evidence)


def test_a_step_in_flight_may_have_run_before(tmp_path: Path) -> None:
    evidence = _sound(tmp_path)
    evidence.executions.append(Execution("t", "s0", 0, 8, "w", 1.0))
    assert check_all(evidence)["repeated in flight"] == 1
    assert evidence.violations == []


def test_a_result_that_the_journal_does_not_explain_is_seen(tmp_path: Path) -> None:
    evidence = _sound(tmp_path)
    evidence.tasks["t"] = _task(result=msgspec.Raw(b'{"values":["other"]}'))
    assert "is not what its journal says" in _said(evidence)


def test_a_hold_that_was_given_twice_and_a_late_report_that_was_accepted_are_seen(tmp_path: Path) -> None:
    evidence = _sound(tmp_path)
    evidence.saw = [Saw("claim", "t", 1, 5, "accepted")] * 2
    evidence.refused = [Saw("outcome", "t", 1, 5, "accepted", "done")]
    said = _said(evidence)
    assert "given to 2 workers" in said
    assert "under the lost lease of attempt 1 was accepted" in said


def test_a_feed_with_a_gap_is_seen(tmp_path: Path) -> None:
    evidence = _sound(tmp_path)
    feed = tmp_path / "feed" / "0001.jsonl"
    feed.write_bytes(b"".join(feed.read_bytes().splitlines(keepends=True)[::2]))
    said = _said(evidence)
    assert "saw event 3 of t and not 2" in said


def test_an_illegal_history_is_seen(tmp_path: Path) -> None:
    evidence = _sound(tmp_path)
    evidence.events = [evidence.events[0], Event("t", 2, EventKind.DONE, 4), Event("t", 3, EventKind.STARTED, 5, 1)]
    said = _said(evidence)
    assert "event 2 (done) cannot follow in state ready" in said
    assert "event 3 (started) cannot follow in state done" in said


def test_what_was_left_behind_is_seen(tmp_path: Path) -> None:
    evidence = _sound(tmp_path)
    evidence.tasks["t"] = _task(lease_until=9, limits=("k",))
    evidence.limits = [LimitUse(Limit("k", concurrency=1), used=1, parked=0, next_at=0)]
    said = _said(evidence)
    assert "has a lease" in said
    assert "still counts 1 slots" in said


def test_a_rate_that_was_exceeded_is_seen(tmp_path: Path) -> None:
    evidence = _sound(tmp_path)
    evidence.tasks |= {"t": _task(limits=("k",)), "u": _task(id="u", root="u", limits=("k",))}
    evidence.events += [msgspec.structs.replace(event, task_id="u", at=event.at + 800) for event in evidence.events]
    evidence.limits = [LimitUse(Limit("k", rate=1), used=0, parked=0, next_at=0)]
    assert "2 tasks started within 800 ms" in _said(evidence)


def test_a_limit_that_was_exceeded_is_seen(tmp_path: Path) -> None:
    evidence = _sound(tmp_path)
    evidence.tasks |= {"t": _task(limits=("k",)), "u": _task(id="u", root="u", limits=("k",))}
    first, *rest = evidence.events
    other = [msgspec.structs.replace(event, task_id="u") for event in evidence.events]
    evidence.events = [first, other[0], rest[0], other[1], rest[1], other[2]]
    evidence.limits = [LimitUse(Limit("k", concurrency=1), used=0, parked=0, next_at=0)]
    assert "2 tasks ran at once under 'k'" in _said(evidence)
