"""The task itself: its states in any case, when it is due, when it is claimable, and when two specs mean the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from tenuto.errors import InvalidInput
from tenuto.tasks.money import Budget
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.signal import DIRECTIVES, SignalKind
from tenuto.tasks.states import ACTIVE, FINAL, State, Status, status_of
from tenuto.tasks.task import ErrorRecord, Task, TaskSpec, Unique, same_content
from tenuto.tasks.waits import Wait, event_topic
from tests.unit.tasks.make import NOW, ready, spec

# -- states ------------------------------------------------------------------------------------------------


@given(st.sampled_from([*State, *Status]), st.sampled_from([str.upper, str.lower, str.title, lambda text: f" {text} "]))
def test_states_are_read_in_any_case_and_printed_as_their_value(state: State | Status, written: Any) -> None:
    kind = type(state)
    assert kind(written(state.value)) is state
    assert str(state) == state.value == state


@pytest.mark.parametrize("text", ["", "finished", "ready!", 7, None])
def test_what_is_no_state_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="not a valid State"):
        State(text)


def test_every_state_is_either_active_or_final_and_has_a_status() -> None:
    assert frozenset(State) == ACTIVE | FINAL
    assert not ACTIVE & FINAL
    assert {status_of(state) for state in State} == set(Status)
    assert {
        state for state in State if status_of(state) in (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
    } == FINAL


def test_a_signal_is_either_a_directive_or_a_message() -> None:
    assert frozenset(SignalKind) - DIRECTIVES == {SignalKind.STEER, SignalKind.ANSWER, SignalKind.EVENT}


# -- due ---------------------------------------------------------------------------------------------------

INSTANTS = st.none() | st.integers(1, 100)


@given(
    state=st.sampled_from(State),
    lease=INSTANTS,
    deadline=INSTANTS,
    expires=INSTANTS,
    run_at=INSTANTS,
    until=INSTANTS,
    people=st.booleans(),
)
def test_due_is_the_next_instant_that_changes_the_task(
    state: State,
    lease: int | None,
    deadline: int | None,
    expires: int | None,
    run_at: int | None,
    until: int | None,
    people: bool,
) -> None:
    wait = Wait((event_topic("go"),), until=until, people=people) if state is State.WAITING else None
    task = replace(
        ready(),
        state=state,
        lease_until=lease,
        deadline=deadline,
        expires_at=expires,
        run_at=run_at,
        wait=wait,
    )
    if lease is not None:
        expected: list[int | None] = [lease]
    elif state in FINAL:
        expected = []
    else:
        expected = [deadline, None if wait is not None and people else expires]
        expected += [run_at] if state is State.SCHEDULED else []
        expected += [until] if state is State.WAITING else []
    assert task.due == min((at for at in expected if at is not None), default=None)


@given(st.sampled_from(State), st.booleans(), st.sampled_from(["", "api"]))
def test_a_task_is_claimable_when_it_is_ready_and_nothing_holds_it_back(state: State, paused: bool, gate: str) -> None:
    task = replace(ready(), state=state, paused=paused, gate=gate)
    assert task.claimable == (state is State.READY and not paused and not gate)
    assert task.is_final == (state in FINAL)


# -- the same content --------------------------------------------------------------------------------------

CHANGES: dict[str, Any] = {
    "agent": "other",
    "owner": "bob",
    "payload": Raw(b"2"),
    "title": "Another",
    "band": 1,
    "attempt_timeout": 1,
    "timeout": 1,
    "retry": RetryPolicy(max_retries=1),
    "idempotency_key": "k",
    "unique": Unique("u"),
    "limits": ("db",),
    "tags": ("t",),
    "metadata": {"a": 1},
    "budget": Budget(money=1),
}
FREE: dict[str, Any] = {"id": "task-2", "run_at": NOW, "deadline": NOW, "priority": 5}


def test_every_field_of_a_spec_either_counts_or_does_not() -> None:
    assert CHANGES.keys() | FREE.keys() == set(TaskSpec.__struct_fields__)


@pytest.mark.parametrize("field", CHANGES)
def test_another_content_is_another_task(field: str) -> None:
    assert not same_content(replace(spec(), **{field: CHANGES[field]}), ready())


@pytest.mark.parametrize("field", FREE)
def test_id_priority_and_times_do_not_count(field: str) -> None:
    assert same_content(replace(spec(), **{field: FREE[field]}), ready())


def test_what_happened_to_a_task_does_not_count() -> None:
    lived: Task = replace(ready(), state=State.DONE, attempt=3, failures=1, seq=9, result=Raw(b"1"))
    assert same_content(spec(), lived)


def test_metadata_is_compared_as_it_is_stored() -> None:
    stored = replace(ready(), metadata={"pair": [1, 2], "by number": {"1": 2}})
    assert same_content(spec(metadata={"pair": (1, 2), "by number": {1: 2}}), stored)


# -- nonsense ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"priority": 1.5}, "priority"),
        ({"priority": True}, "priority"),
        ({"band": "0"}, "band"),
        ({"run_at": 1.5}, "run_at"),
        ({"run_at": -1}, "run_at"),
        ({"deadline": 10**18}, "deadline"),
        ({"timeout": 0.5}, "timeout"),
        ({"attempt_timeout": -1}, "attempt_timeout"),
        ({"limits": ("db", "db")}, "twice"),
        ({"metadata": {"a": object()}}, "metadata"),
        ({"agent": "a\nb"}, "agent"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises((InvalidInput, ValueError), match=named):
        spec(**fields).check()


def test_an_error_is_made_writable_and_stays_readable() -> None:
    error = ErrorRecord("Größe\udcff", "no file 'a\udcff'", "ü\x00\n", 5, 6)
    assert error.writable() == ErrorRecord("Größe?", "no file 'a?'", "ü\x00\n", 5, 6)
