"""What holds in every store at any time, whatever was asked of it."""

from __future__ import annotations

from collections import Counter, defaultdict

from tenuto.stores.base import Claim, Exchanged, LimitUse, Store, TaskFilter
from tenuto.tasks.clock import Millis
from tenuto.tasks.event import FINAL_EVENTS, Event
from tenuto.tasks.goal import Edge, Fate, edge_fate
from tenuto.tasks.outcome import Answer, Record, Recorded
from tenuto.tasks.signal import Message, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import Kind, Task
from tests.property import money
from tests.property.pair import Snapshot

__all__ = ["check", "claim_left_nothing_behind", "has_read_all_steering"]


def check(seen: Snapshot, now: Millis) -> None:
    """Raises `AssertionError` where `seen` contradicts itself."""
    tasks: dict[str, Task] = {task.id: task for task in seen["tasks"]}
    for task in tasks.values():
        _check_task(task)
    _check_history(tasks, seen["events"])
    _check_slots(tasks, seen["limits"])
    _check_counts(tasks, seen["stats"])
    money.check(seen)
    for task in tasks.values():
        if task.kind is Kind.GOAL:
            _check_goal(task, *seen[f"goal {task.id}"][1:])
        if task.wait is not None:
            _check_wait(task, tasks, seen[f"inbox of {task.id}"], now)
        assert task.steps == len(seen[f"journal of {task.id}"])
        assert seen[f"why {task.id}"].because


def has_read_all_steering(seen: Snapshot, record: Record, recorded: Recorded) -> None:
    """Raises `AssertionError` where steering that a record had not read, and that could be seen before, made no
    difference to the answer; or where some was found that nobody has seen."""
    inbox: list[Message] = seen.get(f"inbox of {record.hold.task_id}", [])
    steering = max((message.number for message in inbox if message.kind is SignalKind.STEER), default=0)
    if record.read is not None and steering > record.read:
        assert recorded.answer in (Answer.UNREAD, Answer.STALE, Answer.INVALID)
    else:
        assert recorded.answer is not Answer.UNREAD


def _check_task(task: Task) -> None:
    assert (task.state is State.RUNNING) <= (task.lease_until is not None)
    assert task.lease_until is None or task.state in (State.RUNNING, State.CANCELLED, State.FAILED)
    assert (task.finished_at is not None) == task.is_final
    assert (task.wait is not None) == (task.state is State.WAITING and task.kind is Kind.TASK)
    assert task.result is None or task.state is State.DONE
    assert not task.gate or (task.state is State.READY and not task.paused)
    assert not (task.is_final and task.paused)
    assert task.unmet >= 0
    assert (task.unmet > 0) <= (task.state in (State.BLOCKED, State.WAITING))
    assert task.since >= task.created_at
    assert task.root == task.id or task.parent is not None


def _check_history(tasks: dict[str, Task], events: list[Event]) -> None:
    seqs: dict[str, list[int]] = defaultdict(list)
    ends: Counter[str] = Counter()
    for event in events:
        seqs[event.task_id].append(event.seq)
        ends[event.task_id] += event.kind in FINAL_EVENTS
    assert seqs.keys() == tasks.keys(), "nothing is left of what was purged"
    for task_id, task in tasks.items():
        assert seqs[task_id] == list(range(1, task.seq + 1)), "seq is dense"
        assert ends[task_id] == task.run - 1 + task.is_final, "each run has exactly one final event"


def _check_slots(tasks: dict[str, Task], limits: list[LimitUse]) -> None:
    held = Counter(key for task in tasks.values() if task.lease_until is not None for key in task.limits)
    parked = Counter(task.gate for task in tasks.values())
    for use in limits:
        assert use.used == held[use.limit.key], f"slots of {use.limit.key}"
        assert use.parked == parked[use.limit.key]
    defined = {use.limit.key for use in limits}
    assert set(parked) <= defined | {""}, "nothing is parked behind a limit that is not defined"


def _check_counts(tasks: dict[str, Task], stats: dict[State, int]) -> None:
    counts = Counter(task.state for task in tasks.values() if task.kind is Kind.TASK)
    assert stats == {state: counts[state] for state in State}


def _check_goal(goal: Task, nodes: tuple[Task, ...], edges: tuple[Edge, ...]) -> None:
    active = [node for node in nodes if not node.is_final]
    assert goal.unmet == (0 if goal.is_final else len(active))
    assert goal.is_final == (not active), "a goal ends with its last node"
    by_name = {node.node: node for node in nodes}
    for node in nodes:
        fates = [edge_fate(edge.when, by_name[edge.source].state) for edge in edges if edge.target == node.node]
        if node.state is State.BLOCKED:
            assert Fate.NEVER not in fates, "what cannot be needed any more is skipped"
            assert node.unmet == len(fates) - fates.count(Fate.MET)


def _check_wait(task: Task, tasks: dict[str, Task], inbox: list[Message], now: Millis) -> None:
    """No wake-up is lost: what a task waits for has not come yet."""
    assert task.wait is not None
    come, perhaps = {message.topic for message in inbox}, set[str]()
    for topic in task.wait.on:
        name = topic.removeprefix("task:")
        if name != topic and (name not in tasks or tasks[name].is_final):
            come.add(topic)
        elif name != topic and tasks[name].created_at >= task.since:
            perhaps.add(topic)  # there was no such task when the wait began
        elif topic.startswith("budget:"):
            perhaps.add(topic)  # it was called, or the budget was gone
    topics = set(task.wait.on)
    most = max(min(task.wait.need, len(topics)) - len(topics & come), 0)
    assert most - len(perhaps) <= task.unmet <= most
    assert task.unmet > 0 or not topics


async def claim_left_nothing_behind(store: Store, claim: Claim, answer: Exchanged) -> None:
    """A claim fills its slots, unless each task that it left stands behind a limit that is full."""
    uses = {use.limit.key: use for use in await store.limits()}
    for lease in answer.leases:
        task = await store.task(lease.task_id)
        for key in task.limits if task is not None else ():
            if key in uses and uses[key].limit.concurrency is not None:
                assert uses[key].used <= (uses[key].limit.concurrency or 0), f"{key} is overdrawn"
    if len(answer.leases) == claim.slots or answer.more:
        return
    ready = (await store.tasks(TaskFilter(states=(State.READY,)), limit=100_000)).tasks
    for task in ready:
        if task.agent in claim.agents and not task.paused:
            full = [key for key in task.limits if key in uses and not _has_room(uses[key], answer.now)]
            assert full, f"{task.id} could have been claimed"


def _has_room(use: LimitUse, now: Millis) -> bool:
    limit = use.limit
    return (limit.concurrency is None or use.used < limit.concurrency) and (not limit.rate or now >= use.next_at)
