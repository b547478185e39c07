"""Messages: kept in order in the inbox until their effect is committed, once under a key, and never lost."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from tenuto.errors import InvalidInput
from tenuto.stores.base import MOST_MESSAGES
from tenuto.tasks.event import EventKind
from tenuto.tasks.money import Amount, Settle
from tenuto.tasks.outcome import Answer, Record, Recorded, Step
from tenuto.tasks.signal import Delivery, Message, Signal, SignalKind
from tests.conformance.stage import LEASE, START, Stage, spec

STEER = SignalKind.STEER
ACCEPTED, ALREADY, FINISHED, REFUSED = Delivery.ACCEPTED, Delivery.ALREADY, Delivery.FINISHED, Delivery.REFUSED


async def test_messages_are_kept_in_order_until_their_effect_is_committed(stage: Stage) -> None:
    await stage.add(spec())
    for word in ("left", "right", "stop"):
        assert (await stage.signal(STEER, data=word)).delivery is ACCEPTED
    worker = stage.worker()
    lease = await worker.claim_one()
    assert lease.messages == tuple(
        Message(number, STEER, "steer", word, START) for number, word in enumerate(("left", "right", "stop"), start=1)
    )
    await worker.record(lease, Step("a", 0), consumed=(1, 3))
    await worker.release(lease)
    lease = await worker.claim_one()
    assert [message.data for message in lease.messages] == ["right"]
    await worker.record(lease, consumed=(2,))
    await stage.signal(STEER, data="again")
    assert [message.number for message in await stage.store.inbox("task-1")] == [4], "numbers are never used again"
    assert (await stage.last(EventKind.SIGNALLED)).data == {"kind": "steer", "topic": "steer", "number": 4}


async def test_a_message_is_stored_once_under_its_key_also_when_it_was_consumed(stage: Stage) -> None:
    await stage.add(spec(), spec("other"))
    assert (await stage.signal(STEER, data=1, key="k")).delivery is ACCEPTED
    assert (await stage.signal(STEER, data=1, key="k")).delivery is ALREADY
    assert (await stage.signal(STEER, "other", data=1, key="k")).delivery is ACCEPTED
    worker = stage.worker()
    await worker.record(await worker.claim_one(), consumed=(1,))
    assert (await stage.signal(STEER, data=1, key="k")).delivery is ALREADY
    assert list(await stage.store.inbox("task-1")) == []


async def test_any_json_value_can_be_a_message(stage: Stage) -> None:
    await stage.add(spec())
    values: list[Any] = [None, 0, -1.5, "", "a\x00b 名前", [1, [2]], {"a": {"b": None}}, True, 2**60]
    for each in values:
        await stage.signal(STEER, data=each)
    assert [message.data for message in await stage.store.inbox("task-1")] == values


class Opaque:
    """Has no JSON form."""


@pytest.mark.parametrize(
    "wrong",
    [{"data": Opaque()}, {"data": [float("nan")]}, {"data": "\ud800"}, {"topic": "event:\udcff"}, {"key": "\udcff"}],
)
async def test_what_cannot_be_stored_is_refused_and_disturbs_nobody(stage: Stage, wrong: dict[str, Any]) -> None:
    await stage.add(spec())
    first, second, third = await stage.store.signal(
        [Signal("task-1", STEER, data=1), Signal("task-1", STEER, **wrong), Signal("task-1", STEER, data=2)]
    )
    assert (first.delivery, second.delivery, third.delivery) == (ACCEPTED, REFUSED, ACCEPTED)
    assert "cannot be stored" in second.detail
    assert [message.data for message in await stage.store.inbox("task-1")] == [1, 2]


async def test_a_message_reads_as_it_was_stored_on_every_engine(stage: Stage) -> None:
    await stage.add(spec())
    for each in ((1, 2), {1: 2}, None):
        await stage.signal(STEER, data=each)
    assert [message.data for message in await stage.store.inbox("task-1")] == [[1, 2], {"1": 2}, None]


async def test_text_with_a_nul_is_kept_whole_or_refused(stage: Stage) -> None:
    await stage.add(spec())
    for fields in ({"topic": "go\0on"}, {"topic": "x", "key": "k\0l"}):
        with contextlib.suppress(InvalidInput):
            await stage.signal(SignalKind.EVENT, **fields)
    assert {message.topic for message in await stage.store.inbox("task-1")} <= {"go\0on", "x"}
    assert (await stage.signal(SignalKind.EVENT, topic="y", key="k")).delivery is Delivery.ACCEPTED


async def test_a_message_to_a_task_that_has_ended_is_not_stored(stage: Stage) -> None:
    await stage.add(spec())
    await stage.worker().run_all()
    assert (await stage.signal(STEER, data=1)).delivery is FINISHED
    assert list(await stage.store.inbox("task-1")) == []
    assert (await stage.kinds())[-1] == "done"


async def test_a_record_that_has_not_read_all_steering_is_refused_and_stores_nothing(stage: Stage) -> None:
    # Given a task that is steered twice, and a worker that knows of the first time
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    await stage.signal(STEER, data="left")
    await stage.signal(STEER, data="right")
    # When it records what is only right after reading all
    whole = {"spawned": (spec("task-1.child"),), "settles": (Settle("c", Amount(1)),), "consumed": (1,)}
    refused = await worker.record(lease, Step("ask", 0), read=1, **whole)
    # Then it is told so, and nothing is stored, whatever the record says besides
    assert refused == Recorded(Answer.UNREAD)
    assert (list(await stage.store.journal("task-1")), await stage.store.task("task-1.child")) == ([], None)
    assert (len(await stage.store.inbox("task-1")), list(await stage.store.ledger("task-1"))) == (2, [])
    assert (await stage.task()).lease_until == lease.expires
    # And the same record is accepted once it has
    assert (await worker.record(lease, Step("ask", 0), read=2, **whole)).answer is Answer.ACCEPTED
    assert (await worker.record(lease, Step("then", 1), read=2)).answer is Answer.ACCEPTED


@pytest.mark.parametrize("kind", [SignalKind.EVENT, SignalKind.ANSWER])
async def test_other_messages_than_steering_hold_no_record_back(stage: Stage, kind: SignalKind) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    await stage.signal(kind, topic="event:x")
    assert (await worker.record(lease, Step("a", 0), read=0)).answer is Answer.ACCEPTED
    await stage.signal(STEER, data=1)
    assert (await worker.record(lease, Step("b", 1), read=1)).answer is Answer.UNREAD
    assert (await worker.record(lease, Step("b", 1))).answer is Answer.ACCEPTED, "this one does not say what it read"


async def test_steering_that_was_consumed_holds_no_record_back(stage: Stage) -> None:
    await stage.add(spec())
    await stage.signal(STEER, data=1)
    worker = stage.worker()
    lease = await worker.claim_one()
    await worker.record(lease, consumed=(1,))
    await worker.release(lease)
    lease = await worker.claim_one()
    assert lease.messages == (), "so it knows of no message at all"
    assert (await worker.record(lease, Step("a", 0), read=0)).answer is Answer.ACCEPTED


async def test_records_of_one_request_are_told_apart_by_what_they_have_read(stage: Stage) -> None:
    await stage.add(spec(), spec("other"))
    first, second = await stage.worker().claim(2)
    await stage.signal(STEER, data=1)
    answers = await stage.store.record([Record(each.hold, (Step("a", 0),), read=0) for each in (first, second)], LEASE)
    assert [each.answer for each in answers] == [Answer.UNREAD, Answer.ACCEPTED]


async def test_done_wins_over_steering_that_came_too_late_and_names_it(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    await stage.signal(STEER, data="in time")
    await stage.signal(STEER, data="too late")
    await stage.signal(SignalKind.EVENT, topic="event:x")
    assert await worker.done(lease, consumed=(1,)) is Answer.ACCEPTED
    assert (await stage.last(EventKind.DONE)).data == {"not_applied": [2]}
    assert list(await stage.store.inbox("task-1")) == []


async def test_an_outcome_that_is_stale_consumes_nothing(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    await stage.signal(STEER, data=1)
    await stage.after(LEASE)
    await worker.done(lease, consumed=(1,))
    await worker.record(lease, consumed=(1,))
    assert len(await stage.store.inbox("task-1")) == 1


async def test_messages_survive_a_failed_attempt(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    await stage.signal(STEER, data="left")
    await worker.retry(lease, 10)
    await stage.after(10)
    assert [message.data for message in (await worker.claim_one()).messages] == ["left"]


async def test_a_goal_takes_no_messages(stage: Stage) -> None:
    await stage.add_goal("a")
    assert (await stage.signal(STEER, "goal-1", data=1)).delivery is REFUSED


async def test_an_inbox_is_bounded(stage: Stage) -> None:
    await stage.add(spec())
    for _ in range(10):
        answers = await stage.store.signal([Signal("task-1", STEER, data=1)] * (MOST_MESSAGES // 10))
        assert {answer.delivery for answer in answers} == {ACCEPTED}
    delivered = await stage.signal(STEER, data=1)
    assert (delivered.delivery, "full" in delivered.detail) == (REFUSED, True)
    worker = stage.worker()
    await worker.record(await worker.claim_one(), consumed=(1,))
    assert (await stage.signal(STEER, data=1)).delivery is ACCEPTED
