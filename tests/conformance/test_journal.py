"""Journals: what a running task records is recorded once, with the children, events and messages that belong to it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from tenuto.tasks.event import EventKind
from tenuto.tasks.goal import Tree
from tenuto.tasks.ids import child_id
from tenuto.tasks.outcome import Answer, Record, Step, StepState
from tenuto.tasks.signal import SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import ErrorRecord, Progress, Unique
from tenuto.tasks.waits import task_topic
from tests.conformance.stage import LEASE, START, Stage, raw, spec, value

STARTED, DONE, FAILED = StepState.STARTED, StepState.DONE, StepState.FAILED


async def keys(stage: Stage, task_id: str = "task-1") -> list[str]:
    return [step.key for step in await stage.store.journal(task_id)]


async def test_steps_come_back_in_the_order_in_which_they_were_recorded(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    steps = [Step(f"s{number}", number, value=raw({"n": number})) for number in (3, 1, 2)]
    stage.clock.move(40)
    recorded = await worker.record(lease, *steps)
    assert (recorded.answer, recorded.paused, recorded.detail) == (Answer.ACCEPTED, False, "")
    journal = await stage.store.journal("task-1")
    assert [(step.key, step.position, value(step.value), step.state) for step in journal] == [
        ("s3", 3, {"n": 3}, DONE),
        ("s1", 1, {"n": 1}, DONE),
        ("s2", 2, {"n": 2}, DONE),
    ]
    assert {(step.at, step.attempt) for step in journal} == {(START + 40, 1)}
    assert (await stage.task()).steps == 3


async def test_a_recorded_step_is_left_as_it_is(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    failure = ErrorRecord("KeyError", "k")
    await worker.record(lease, Step("a", 0, value=raw(1)), Step("b", 1, FAILED, error=failure))
    again = await worker.record(
        lease, Step("a", 0, value=raw(2)), Step("b", 1, value=raw(2)), Step("c", 2, value=raw(3))
    )
    assert again.answer is Answer.ACCEPTED
    a, b, c = await stage.store.journal("task-1")
    assert (value(a.value), b.state, b.error, value(c.value)) == (1, FAILED, failure, 3)
    assert (await stage.task()).steps == 3


@pytest.mark.parametrize("state", [DONE, FAILED])
async def test_an_intent_becomes_a_result_in_its_place(stage: Stage, state: StepState) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    await worker.record(lease, Step("pay", 0, STARTED), Step("log", 1, value=raw(None)))
    await worker.record(lease, Step("pay", 0, STARTED))
    assert (await stage.task()).steps == 2
    await worker.record(lease, Step("pay", 0, state, value=raw("ok")))
    await worker.record(lease, Step("pay", 0, STARTED))
    journal = await stage.store.journal("task-1")
    assert [(step.key, step.state) for step in journal] == [("pay", state), ("log", DONE)]
    assert (await stage.task()).steps == 2


async def test_a_journal_outlives_its_attempt(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    await worker.record(await worker.claim_one(), Step("a", 0, value=raw(1)))
    await stage.after(LEASE)
    lease = await worker.claim_one()
    assert lease.steps == 1
    await worker.record(lease, Step("b", 1, value=raw(2)))
    assert [(step.key, step.attempt) for step in await stage.store.journal("task-1")] == [("a", 1), ("b", 2)]
    await worker.done(lease)
    assert await keys(stage) == ["a", "b"]


async def test_records_of_one_task_are_applied_in_order_and_each_answers_for_itself(stage: Stage) -> None:
    await stage.add(spec("a"), spec("b"))
    worker = stage.worker()
    a, b = await worker.claim(2)
    await stage.signal(SignalKind.CANCEL, "b")
    answers = await stage.store.record(
        [
            Record(a.hold, (Step("s", 0, STARTED),)),
            Record(b.hold, (Step("s", 0, value=raw(1)),)),
            Record(a.hold, (Step("s", 0, value=raw(1)), Step("t", 1, value=raw(2)))),
            Record(a.hold._replace(nonce=a.nonce + 1), (Step("x", 2),)),
        ],
        LEASE,
    )
    assert [answer.answer.value for answer in answers] == ["accepted", "stale", "accepted", "stale"]
    assert await keys(stage, "a") == ["s", "t"]
    assert await keys(stage, "b") == []


async def test_children_are_spawned_with_their_step_and_once(stage: Stage) -> None:
    await stage.add(spec(owner="ann"))
    worker = stage.worker()
    lease = await worker.claim_one()
    child = spec(child_id("task-1", "task-1", "spawn#0"), payload=raw(7), owner="bob", run_at=START + 100)
    await worker.record(lease, Step("spawn#0", 0, value=raw(child.id)), spawned=(child,))
    stored = await stage.task(child.id)
    assert (stored.root, stored.parent, stored.owner, stored.state) == ("task-1", "task-1", "bob", State.SCHEDULED)
    assert await stage.kinds(child.id) == ["created"]
    await worker.record(lease, spawned=(spec(child.id, payload=raw(8)),))
    assert value((await stage.task(child.id)).payload) == 7
    assert await stage.kinds(child.id) == ["created"]


WRONG = [
    spec("elsewhere"),
    spec("task-2.a"),
    spec("task-1.a", agent=""),
    spec("task-1.a", priority=10**12),
    spec("task-1.a", idempotency_key="k"),
    spec("task-1.a", unique=Unique("u")),
    spec("task-1.\x00"),
    spec("task-1.a", timeout=-1),
    spec("task-1.a", metadata={"a": object()}),
]


@pytest.mark.parametrize("child", WRONG, ids=range(len(WRONG)))
async def test_of_a_record_with_an_impossible_child_nothing_is_stored(stage: Stage, child: Any) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    await stage.signal(SignalKind.STEER, data=1)
    before = await stage.task()
    recorded = await worker.record(
        lease,
        Step("a", 0, value=raw(1)),
        spawned=(spec("task-1.good"), child),
        consumed=(1,),
        events=(("note", raw(1)),),
        blobs={"b" * 40: b"1"},
    )
    assert recorded.answer is Answer.INVALID
    assert recorded.detail
    assert await stage.task() == before
    assert await keys(stage) == []
    assert await stage.store.task("task-1.good") is None
    assert len(await stage.store.inbox("task-1")) == 1
    assert await stage.blob("task-1", "b" * 40) is None


async def test_children_run_like_any_task_and_have_children_of_their_own(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    top = await worker.claim_one()
    await worker.record(top, spawned=(spec("task-1.a"),))
    a = await worker.claim_one()
    assert (a.task_id, a.parent, a.root) == ("task-1.a", "task-1", "task-1")
    await worker.record(a, spawned=(spec("task-1.b"),))
    assert (await stage.task("task-1.b")).parent == "task-1.a"
    await worker.wait(top, task_topic("task-1.a"))
    await worker.wait(a, task_topic("task-1.b"))
    assert await worker.run_all() == ["task-1.b", "task-1.a", "task-1"]


async def test_a_childs_limits_and_priority_hold(stage: Stage) -> None:
    await stage.limit("db", concurrency=1)
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    children = tuple(spec(f"task-1.{number}", limits=("db",), priority=number) for number in range(3))
    await worker.record(lease, spawned=children)
    assert await worker.ids() == ["task-1.2"]


async def test_own_events_are_told_in_order_with_their_data(stage: Stage) -> None:
    await stage.add(spec(owner="ann"))
    worker = stage.worker()
    lease = await worker.claim_one()
    data = {"text": "a\x00b", "list": [1, None]}
    await worker.record(lease, events=(("first", raw(data)), ("second", raw(2))))
    told = [event for event in await stage.events() if event.kind is EventKind.EMITTED]
    assert [event.data for event in told] == [{"name": "first", "data": data}, {"name": "second", "data": 2}]
    assert [(event.seq, event.attempt, event.owner) for event in told] == [(3, 1, "ann"), (4, 1, "ann")]


async def test_progress_is_shown_and_told(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    for fraction, message in ((0.25, "a quarter"), (None, "somewhere"), (1, "all")):
        await worker.record(lease, events=(("progress", raw({"fraction": fraction, "message": message})),))
        assert (await stage.task()).progress == Progress(fraction, message, START)
    told = [event.data for event in await stage.events() if event.kind is EventKind.PROGRESS]
    assert told[0] == {"fraction": 0.25, "message": "a quarter"}


@pytest.mark.parametrize(
    "data", [1, "half", None, [], {}, {"fraction": "half"}, {"fraction": 7}, {"message": 5}, {"other": 1}]
)
async def test_progress_of_an_odd_shape_breaks_nothing(stage: Stage, data: Any) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    assert (await worker.record(lease, Step("a", 0), events=(("progress", raw(data)),))).answer is Answer.ACCEPTED
    assert await keys(stage) == ["a"]
    progress = (await stage.task()).progress
    assert progress is None or progress.fraction is None
    assert await worker.done(lease) is Answer.ACCEPTED


async def test_large_values_arrive_with_the_record_or_the_outcome_that_refers_to_them(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    large = b'"' + bytes(range(32, 34)) * 50_000 + b'"'
    await worker.record(lease, Step("a", 0, value=raw({"$blob": "a" * 40})), blobs={"a" * 40: large})
    assert await stage.blob("task-1", "a" * 40) == large
    await worker.record(lease, spawned=(spec("task-1.c"),))
    child = await worker.claim_one()
    await worker.done(child, {"$blob": "c" * 40}, blobs={"c" * 40: b"[1]"})
    assert await stage.blob("task-1", "c" * 40) == b"[1]", "blobs belong to the tree"
    await worker.done(lease, {"$blob": "d" * 40}, blobs={"d" * 40: b"[2]"})
    assert await stage.blob("task-1", "d" * 40) == b"[2]"
    assert value((await stage.task()).result) == {"$blob": "d" * 40}


async def test_large_values_come_together_as_far_as_there_is_room(stage: Stage) -> None:
    # Given some, one of them with whatever bytes there are
    odd = b'"' + bytes(range(256)) * 4 + b'\n[["x",1]]"'
    stored = {"c" * 40: odd, "a" * 40: b'"' + b"a" * 998 + b'"', "b" * 40: b'"' + b"b" * 98 + b'"', "e" * 40: b"[]"}
    await stage.add(Tree(spec(), blobs=stored))
    keys = ["c" * 40, "d" * 40, "a" * 40, "b" * 40]
    # When they are asked for with more and less room
    found = {room: await stage.store.blobs("task-1", keys, room) for room in (1, 2_035, 2_036, 1_000_000)}
    # Then there are as many, in order, as have room, the first one in any case, and never one that is not there
    assert {room: list(each) for room, each in found.items()} == {
        1: keys[:1],
        2_035: keys[:1],
        2_036: [keys[0], keys[2]],
        1_000_000: [keys[0], *keys[2:]],
    }
    assert found[1_000_000] == {key: stored[key] for key in found[1_000_000]}
    assert await stage.store.blobs("task-1", keys[1:2], 10) == {}
    assert await stage.store.blobs("task-1", [], 10) == {}
    assert await stage.store.blobs("task-2", keys, 10) == {}


async def test_values_are_kept_byte_for_byte(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    odd = Raw('{"b": 1,  "a":"\\u0000\u2028", "n":1e400, "big":123456789012345678901234567890}'.encode())
    await worker.record(lease, Step("a", 0, value=odd))
    (step,) = await stage.store.journal("task-1")
    assert step.value is not None
    assert bytes(step.value) == bytes(odd)


async def test_a_long_journal(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    for first in range(0, 2_000, 500):
        await worker.record(
            lease, *(Step(f"s{number}", number, value=raw(number)) for number in range(first, first + 500))
        )
    journal = await stage.store.journal("task-1")
    assert [value(step.value) for step in journal] == list(range(2_000))
    assert (await stage.task()).steps == 2_000


async def test_the_journal_of_a_task_that_has_none(stage: Stage) -> None:
    await stage.add(spec())
    assert list(await stage.store.journal("task-1")) == []
    assert list(await stage.store.journal("nobody")) == []
    assert list(await stage.store.inbox("nobody")) == []
