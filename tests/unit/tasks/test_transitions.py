"""The state machine of a task: random legal sequences keep every invariant, and each transition does what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import Raw
from msgspec.structs import replace

from tenuto.tasks import transitions
from tenuto.tasks.event import FINAL_EVENTS, Event, EventKind
from tenuto.tasks.states import State
from tenuto.tasks.task import ErrorRecord, Task, TaskSpec
from tenuto.tasks.transitions import MOST_LOSSES, Change
from tenuto.tasks.waits import Wait, event_topic
from tests.unit.tasks.make import BOOM, NOW, ready, running, spec

Rule = TypeVar("Rule", bound=Callable[..., Any])
SPANS = st.integers(1, 100_000)


def in_state(*states: State) -> Callable[[Rule], Rule]:
    return precondition(lambda self: self.task.state in states)


def not_final() -> Callable[[Rule], Rule]:
    return precondition(lambda self: not self.task.is_final)


class LifeOfATask(RuleBasedStateMachine):
    """Any sequence of transitions that an engine may apply to one task."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.task = ready()
        self.events: list[Event] = []

    @initialize(unmet=st.integers(0, 3), late=st.integers(-10, 10), timeout=st.none() | SPANS)
    def admit(self, unmet: int, late: int, timeout: int | None) -> None:
        wanted = spec(run_at=NOW + late, timeout=timeout)
        task, event = transitions.admit(wanted, NOW, task_id=wanted.id, root=wanted.id, unmet=unmet)
        self.task, self.events = task, [event]
        assert task.state is (State.BLOCKED if unmet else State.SCHEDULED if late > 0 else State.READY)

    @rule(span=SPANS)
    def time_passes(self, span: int) -> None:
        self.now += span

    @in_state(State.BLOCKED)
    @rule()
    def meet(self) -> None:
        self.apply(transitions.meet(self.task, self.now))
        late = self.task.run_at is not None and self.task.run_at > self.now
        assert self.task.state is (State.SCHEDULED if late else State.READY)

    @in_state(State.SCHEDULED)
    @rule()
    def ripen(self) -> None:
        self.now = max(self.now, self.task.run_at or 0)
        self.apply(transitions.ripen(self.task, self.now))
        assert self.task.state is State.READY

    @precondition(lambda self: self.task.claimable)
    @rule(nonce=st.integers(0, 2**53), lease=SPANS)
    def claim(self, nonce: int, lease: int) -> None:
        attempt = self.task.attempt
        self.apply(transitions.claim(self.task, self.now, worker="worker-1", nonce=nonce, lease=lease))
        assert (self.task.attempt, self.task.nonce) == (attempt + 1, nonce)
        assert self.task.lease_until == self.now + lease

    @in_state(State.RUNNING)
    @rule()
    def finish(self) -> None:
        self.apply(transitions.finish(self.task, self.now, Raw(b"1")))
        assert self.task.state is State.DONE

    @not_final()
    @rule()
    def fail(self) -> None:
        counted = self.task.failures + (self.task.state is State.RUNNING)
        self.apply(transitions.fail(self.task, self.now, BOOM))
        assert (self.task.state, self.task.failures) == (State.FAILED, counted)

    @in_state(State.RUNNING)
    @rule(delay=st.integers(0, 100_000), excused=st.booleans())
    def retry(self, delay: int, excused: bool) -> None:
        failures = self.task.failures
        self.apply(transitions.retry(self.task, self.now, BOOM, delay, excused))
        assert (self.task.failures, self.task.run_at) == (failures + (not excused), self.now + delay)

    @in_state(State.RUNNING)
    @rule(people=st.booleans(), until=st.none() | SPANS)
    def suspend(self, people: bool, until: int | None) -> None:
        wait = Wait((event_topic("go"),), until=None if until is None else self.now + until, people=people)
        self.apply(transitions.suspend(self.task, self.now, wait, 1))

    @in_state(State.WAITING)
    @rule()
    def wake(self) -> None:
        expires, waited = self.task.expires_at, self.now - self.task.since
        people = self.task.wait is not None and self.task.wait.people
        self.apply(transitions.wake(self.task, self.now, "awaited"))
        given_back = waited if people else 0
        assert self.task.expires_at == (None if expires is None else expires + given_back)

    @in_state(State.RUNNING)
    @rule(pause=st.none() | st.just("its journal does not match"))
    def release(self, pause: str | None) -> None:
        counts = (self.task.failures, self.task.losses)
        self.apply(transitions.release(self.task, self.now, "draining", pause))
        assert (self.task.failures, self.task.losses) == counts

    @in_state(State.RUNNING)
    @rule()
    def lose(self) -> None:
        losses = self.task.losses
        self.apply(transitions.lose(self.task, self.now))
        assert self.task.losses == losses + 1
        assert self.task.state is (State.FAILED if losses + 1 >= MOST_LOSSES else State.READY)

    @not_final()
    @rule()
    def cancel(self) -> None:
        lease = self.task.lease_until
        self.apply(transitions.cancel(self.task, self.now, "by a person"))
        assert (self.task.state, self.task.lease_until) == (State.CANCELLED, lease)

    @not_final()
    @rule()
    def expire(self) -> None:
        lease = self.task.lease_until
        self.apply(transitions.expire(self.task, self.now))
        assert (self.task.state, self.task.lease_until) == (State.FAILED, lease)

    @precondition(lambda self: self.task.is_final and self.task.lease_until is not None)
    @rule()
    def let_go(self) -> None:
        self.task = transitions.let_go(self.task)

    @precondition(lambda self: self.task.is_final)
    @rule(unmet=st.integers(0, 2), fresh=st.booleans())
    def revive(self, unmet: int, fresh: bool) -> None:
        before = self.task
        self.apply(transitions.revive(before, self.now, unmet=unmet, fresh=fresh))
        assert (self.task.run, self.task.epoch) == (before.run + 1, before.epoch + fresh)
        assert (self.task.failures, self.task.losses) == (0, 0)
        assert self.task.error is None
        assert self.task.started_at is None
        assert self.task.nonce == 0

    @not_final()
    @rule(priority=st.integers(-5, 5))
    def people_act(self, priority: int) -> None:
        state = self.task.state
        if self.task.paused:
            self.apply(transitions.resume(self.task, self.now))
        else:
            self.apply(transitions.pause(self.task, self.now, "look into it"))
        self.apply(transitions.elevate(self.task, self.now, priority))
        assert (self.task.state, self.task.priority) == (state, priority)

    @precondition(lambda self: self.task.state is State.READY and not self.task.paused)
    @rule(key=st.sampled_from(["", "api"]))
    def park(self, key: str) -> None:
        self.task = transitions.park(self.task, key)

    @in_state(State.RUNNING)
    @rule(until=SPANS)
    def renew(self, until: int) -> None:
        self.task = transitions.hold(self.task, self.now + until)
        assert self.task.due == self.now + until

    @in_state(State.RUNNING)
    @rule(steps=st.integers(0, 3))
    def record(self, steps: int) -> None:
        before, failures = self.task.steps, 0 if steps else self.task.failures
        self.task = transitions.recorded(self.task, steps)
        assert (self.task.steps, self.task.failures) == (before + steps, failures)

    @in_state(State.RUNNING)
    @rule()
    def tell(self) -> None:
        state = self.task.state
        self.apply(transitions.progress(self.task, self.now, 0.5, "half"))
        self.apply(transitions.emit(self.task, self.now, EventKind.EMITTED, {"name": "note", "data": 1}))
        assert self.task.state is state

    def apply(self, change: Change) -> None:
        before, (after, event) = self.task, change
        assert after.seq == before.seq + 1, "seq rises by exactly one with every event"
        assert (event.task_id, event.seq, event.at) == (after.id, after.seq, self.now)
        assert after.attempt >= before.attempt
        assert event.attempt == after.attempt
        if before.is_final:
            assert event.kind is EventKind.RETRIED, "final states are left only by revive"
            assert after.run == before.run + 1
        else:
            assert after.run == before.run
        assert (event.kind in FINAL_EVENTS) == after.is_final
        if after.state is not before.state:
            assert after.since == self.now
        self.task = after
        self.events.append(event)

    @invariant()
    def holds(self) -> None:
        task = self.task
        if task.state is State.RUNNING:
            assert task.lease_until is not None
        elif task.lease_until is not None:
            assert task.state in (State.CANCELLED, State.FAILED)
        assert (task.finished_at is not None) == task.is_final
        assert (task.wait is not None) == (task.state is State.WAITING)
        assert task.result is None or task.state is State.DONE
        assert task.error is not None or task.state is not State.FAILED
        assert task.unmet == 0 or task.state in (State.BLOCKED, State.WAITING)
        assert not (task.is_final and task.paused)
        assert not task.gate or (task.state is State.READY and not task.paused)
        assert task.claimable == (task.state is State.READY and not task.paused and not task.gate)
        assert task.nonce == 0 or task.attempt > 0
        assert min(task.failures, task.losses, task.unmet, task.attempt) >= 0

    @invariant()
    def tells_its_whole_story(self) -> None:
        assert [event.seq for event in self.events] == list(range(1, self.task.seq + 1))
        ends = [event for event in self.events if event.kind in FINAL_EVENTS]
        assert len(ends) == self.task.run - 1 + self.task.is_final, "each run has exactly one final event"


TestLifeOfATask = LifeOfATask.TestCase
TestLifeOfATask.settings = settings(max_examples=100, stateful_step_count=40)


@dataclass
class Case:
    """One transition, and the fields that it alone may change."""

    change: Change
    before: Task
    changed: set[str]


def moved(*fields: str) -> set[str]:
    return {"state", "since", "seq", *fields}


CASES = {
    "claim": Case(
        transitions.claim(ready(), NOW + 5, worker="w", nonce=1, lease=10),
        ready(),
        moved("attempt", "nonce", "worker", "lease_until", "started_at"),
    ),
    "finish": Case(
        transitions.finish(running(), NOW + 5, Raw(b"1")), running(), moved("lease_until", "result", "finished_at")
    ),
    "release": Case(transitions.release(running(), NOW + 5, "draining"), running(), moved("lease_until")),
    "retry": Case(
        transitions.retry(running(), NOW + 5, BOOM, 100), running(), moved("run_at", "error", "failures", "lease_until")
    ),
    "pause": Case(transitions.pause(ready(), NOW + 5, "wait"), ready(), {"seq", "paused", "reason"}),
    "elevate": Case(transitions.elevate(ready(), NOW + 5, 9), ready(), {"seq", "priority"}),
    "cancel": Case(transitions.cancel(ready(), NOW + 5, "no"), ready(), moved("finished_at", "reason")),
    "lose": Case(transitions.lose(running(), NOW + 5), running(), moved("lease_until", "losses", "nonce")),
}


@pytest.mark.parametrize("name", CASES)
def test_a_transition_changes_no_more_than_it_says(name: str) -> None:
    case = CASES[name]
    after = case.change.task
    changed = {field for field in Task.__struct_fields__ if getattr(after, field) != getattr(case.before, field)}
    assert changed == case.changed


def test_a_task_starts_as_its_spec_says() -> None:
    wanted = TaskSpec(id="task-1", agent="echo", owner="ann", priority=3, payload=Raw(b'{"x":1}'), tags=("a",))
    task, event = transitions.admit(wanted, NOW, task_id="goal-1.a", root="goal-1", parent="goal-1", node="a")
    assert (task.id, task.root, task.parent, task.node) == ("goal-1.a", "goal-1", "goal-1", "a")
    for field in set(TaskSpec.__struct_fields__) - {"id"}:
        assert getattr(task, field) == getattr(wanted, field)
    assert (event.kind, event.owner, event.data) == (EventKind.CREATED, "ann", {"state": "ready"})


def test_the_fifth_lost_lease_fails_the_task() -> None:
    task = ready()
    for losses in range(1, MOST_LOSSES + 1):
        task = transitions.claim(task, NOW, worker=f"worker-{losses}", nonce=losses, lease=10).task
        task, event = transitions.lose(task, NOW + 10)
        assert event.kind is (EventKind.FAILED if losses == MOST_LOSSES else EventKind.LOST)
    assert task.state is State.FAILED
    assert task.error is not None
    assert task.error.type == "LeaseLost"
    assert "worker-5" in task.error.message


def test_the_total_time_limit_counts_from_the_first_claim() -> None:
    task = ready(timeout=1_000)
    assert task.expires_at is None
    task = transitions.claim(task, NOW + 500, worker="w", nonce=1, lease=10).task
    assert task.expires_at == NOW + 1_500
    task = transitions.release(task, NOW + 600, "draining").task
    task = transitions.claim(task, NOW + 700, worker="w", nonce=2, lease=10).task
    assert task.expires_at == NOW + 1_500, "a later claim does not extend it"
    assert task.started_at == NOW + 500


@pytest.mark.parametrize(("people", "expires"), [(True, NOW + 1_000 + 400), (False, NOW + 1_000)])
def test_only_time_spent_waiting_for_people_is_given_back(people: bool, expires: int) -> None:
    task = running(timeout=1_000)
    task = transitions.suspend(task, NOW + 100, Wait((event_topic("go"),), people=people), 1).task
    assert (task.due is None) == people, "the limit stands still while people are waited for"
    task = transitions.wake(task, NOW + 500, "awaited").task
    assert task.expires_at == expires


def test_an_expired_task_says_which_limit_it_was() -> None:
    late = transitions.expire(replace(ready(), deadline=NOW), NOW).task
    slow = transitions.expire(running(timeout=1_500), NOW + 1_500).task
    assert late.error == ErrorRecord("Deadline", "its deadline has passed", at=NOW)
    assert slow.error is not None
    assert (slow.error.type, "1.5 s" in slow.error.message) == ("TimeLimit", True)


def test_errors_are_dated_with_the_attempt_in_which_they_happened() -> None:
    task, event = transitions.retry(running(), NOW + 9, BOOM, 100)
    assert task.error == ErrorRecord("ValueError", "boom", at=NOW + 9, attempt=1)
    assert event.data["due"] == NOW + 109
    assert event.data["error"]["attempt"] == 1


def test_a_retry_drops_a_deadline_that_was_missed_and_keeps_one_that_was_not() -> None:
    missed = transitions.fail(replace(ready(), deadline=NOW + 10), NOW, BOOM).task
    assert transitions.revive(missed, NOW + 10).task.deadline is None
    assert transitions.revive(missed, NOW + 9).task.deadline == NOW + 10


def test_a_goal_that_runs_again_waits_for_its_nodes() -> None:
    goal = transitions.open_goal(TaskSpec(id="goal-1", timeout=100), NOW, 3).task
    assert (goal.state, goal.unmet, goal.expires_at, goal.claimable) == (State.WAITING, 3, NOW + 100, False)
    ended = transitions.cancel(goal, NOW + 1, "no").task
    again = transitions.revive(ended, NOW + 50, unmet=2).task
    assert (again.state, again.unmet, again.expires_at, again.run) == (State.WAITING, 2, NOW + 150, 2)


def test_steering_that_came_too_late_is_named_in_the_final_event() -> None:
    assert transitions.finish(running(), NOW, None, (3, 4)).event.data == {"not_applied": [3, 4]}
    assert transitions.finish(running(), NOW, None).event.data == {}


def test_due_is_the_next_instant_that_changes_the_task() -> None:
    assert ready().due is None
    assert ready(run_at=NOW + 50).due == NOW + 50
    assert ready(deadline=NOW + 70, run_at=NOW + 90).due == NOW + 70
    assert running().due == NOW + 30_000
    assert transitions.cancel(running(), NOW, "no").task.due == NOW + 30_000
    assert transitions.cancel(ready(deadline=NOW + 9), NOW, "no").task.due is None
