"""Leases and fencing: who holds a task may report, once; nobody else may."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from tenuto.errors import InvalidInput
from tenuto.stores.base import Claim, Exchange
from tenuto.tasks.lease import Hold
from tenuto.tasks.outcome import Answer, Ending, Outcome, Record, Step, StepState
from tenuto.tasks.signal import SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import ErrorRecord
from tenuto.tasks.transitions import MOST_LOSSES
from tenuto.tasks.waits import Wait, event_topic
from tests.conformance.stage import BOOM, LEASE, Stage, raw, spec, value


async def test_the_holder_reports_once(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    assert await worker.done(lease, {"n": 1}) is Answer.ACCEPTED
    assert await worker.done(lease, {"n": 2}) is Answer.ALREADY
    assert await worker.fail(lease) is Answer.ALREADY
    assert await worker.wait(lease, event_topic("x")) is Answer.ALREADY
    task = await stage.task()
    assert (task.state, value(task.result)) == (State.DONE, {"n": 1})
    assert await stage.kinds() == ["created", "started", "done"]


async def test_a_report_that_is_sent_twice_in_one_request_counts_once(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    outcome = Outcome(lease.hold, Ending.DONE, result=raw(1))
    assert (await worker.exchange([outcome, outcome])).answers == (Answer.ACCEPTED, Answer.ALREADY)


@pytest.mark.parametrize("other", [{"attempt": 2}, {"attempt": 0}, {"nonce": 1}, {"nonce": 0}])
async def test_id_attempt_and_nonce_are_all_compared(stage: Stage, other: dict[str, int]) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    forged = Hold(**{**lease.hold._asdict(), **other})
    outcome = Outcome(forged, Ending.DONE, result=raw(1))
    assert (await worker.exchange([outcome])).answers == (Answer.STALE,)
    assert [each.held for each in await worker.renew(replace(lease, attempt=forged.attempt, nonce=forged.nonce))] == [
        False
    ]
    (recorded,) = await stage.store.record([Record(forged, (Step("a", 0, value=raw(1)),))], LEASE)
    assert recorded.answer is Answer.STALE
    assert await stage.state() is State.RUNNING
    assert await stage.store.journal("task-1") == []


async def test_who_lost_the_lease_cannot_report(stage: Stage) -> None:
    await stage.add(spec())
    slow, quick = stage.worker(), stage.worker()
    old = await slow.claim_one()
    await stage.after(LEASE)
    assert await slow.done(old, "old") is Answer.STALE, "lost, though nobody else has it yet"
    new = await quick.claim_one()
    assert (new.attempt, new.losses) == (2, 1)
    assert new.nonce != old.nonce
    assert await slow.done(old, "old") is Answer.STALE
    assert (await slow.record(old, Step("a", 0))).answer is Answer.STALE
    assert [each.held for each in await slow.renew(old)] == [False]
    assert await quick.done(new, "new") is Answer.ACCEPTED
    assert await slow.done(old, "old") is Answer.STALE
    assert value((await stage.task()).result) == "new"


async def test_a_lease_that_has_run_out_still_holds_until_somebody_sweeps(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    stage.clock.move(LEASE * 10)
    assert await worker.done(lease) is Answer.ACCEPTED


async def test_an_unknown_task_or_a_report_without_sense_is_invalid(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    hold = (await worker.claim_one()).hold
    answers = (
        await worker.exchange(
            [
                Outcome(Hold("nobody", 1, 1), Ending.DONE, result=raw(1)),
                Outcome(hold, Ending.DONE),
                Outcome(hold, Ending.FAILED),
                Outcome(hold, Ending.RETRY),
                Outcome(hold, Ending.WAIT),
                Outcome(hold, Ending.WAIT, wait=Wait()),
                Outcome(hold, Ending.DONE, result=raw(None)),
            ]
        )
    ).answers
    assert answers == (Answer.INVALID,) * 6 + (Answer.ACCEPTED,)


async def test_outcomes_of_one_request_answer_each_for_itself(stage: Stage) -> None:
    await stage.add(spec("a"), spec("b"), spec("c"))
    worker = stage.worker()
    a, b, c = await worker.claim(3)
    await stage.signal(SignalKind.CANCEL, "b")
    answers = (await worker.exchange(Outcome(lease.hold, Ending.DONE, result=raw(1)) for lease in (a, b, c))).answers
    assert answers == (Answer.ACCEPTED, Answer.STALE, Answer.ACCEPTED)
    assert await stage.states("a", "b", "c") == ["done", "cancelled", "done"]


async def test_a_repeated_request_gets_the_answer_that_the_first_one_got(stage: Stage) -> None:
    await stage.add(spec("a"), spec("b"), spec("c"))
    worker = stage.worker()
    lease = await worker.claim_one()
    request = Exchange(worker.name, 7, (Outcome(lease.hold, Ending.DONE, result=raw(1)),), Claim(("echo",), 1, LEASE))
    first = await stage.store.commit_and_claim(request)
    stage.clock.move(5)
    again = await stage.store.commit_and_claim(request)
    assert again == first
    assert (first.answers, [each.task_id for each in first.leases]) == ((Answer.ACCEPTED,), ["b"])
    assert await stage.states("a", "b", "c") == ["done", "running", "ready"]
    assert await stage.kinds("b") == ["created", "started"]


async def test_an_older_request_number_is_refused(stage: Stage) -> None:
    worker = stage.worker()
    for number in (1, 2):
        await stage.store.commit_and_claim(Exchange(worker.name, number))
    with pytest.raises(InvalidInput, match="request 1 after request 2"):
        await stage.store.commit_and_claim(Exchange(worker.name, 1))


async def test_request_numbers_of_two_workers_have_nothing_to_do_with_each_other(stage: Stage) -> None:
    await stage.add(spec("a"), spec("b"))
    first, second = stage.worker(), stage.worker()
    assert (await first.claim_one()).task_id == "a"
    assert (await second.claim_one()).task_id == "b"


async def test_the_same_request_sent_twice_at_once_claims_once(stage: Stage) -> None:
    await stage.add(spec("a"), spec("b"), spec("c"))
    request = Exchange("worker", 1, (), Claim(("echo",), 1, LEASE))
    first, second = await asyncio.gather(*(stage.store.commit_and_claim(request) for _ in range(2)))
    assert first == second
    assert (await stage.store.stats())[State.RUNNING] == 1


async def test_renewing_extends_the_lease(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    for _ in range(5):
        await stage.after(LEASE - 1)
        (renewal,) = await worker.renew(lease)
        assert (renewal.held, renewal.paused, renewal.messages) == (True, False, ())
    assert (await stage.task()).lease_until == stage.clock.now + LEASE
    assert await worker.done(lease) is Answer.ACCEPTED
    assert [each.held for each in await worker.renew(lease)] == [False]


@pytest.mark.parametrize("span", [0, -5])
async def test_a_lease_may_be_over_as_soon_as_it_begins(stage: Stage, span: int) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one(span)
    assert [renewal.held for renewal in await worker.renew(lease, span=span)] == [True]
    await stage.sweep()
    assert await stage.kinds() == ["created", "started", "lost"]


async def test_recording_extends_the_lease_too(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    await stage.after(LEASE - 1)
    await worker.record(lease, Step("a", 0, value=raw(1)))
    await stage.after(LEASE - 1)
    assert await worker.done(lease) is Answer.ACCEPTED


async def test_renewing_tells_of_loss_pause_and_messages(stage: Stage) -> None:
    await stage.add(spec("a"), spec("b"), spec("c"), spec("d"))
    worker = stage.worker()
    leases = await worker.claim(4)
    await stage.signal(SignalKind.CANCEL, "a")
    await stage.signal(SignalKind.PAUSE, "b")
    await stage.signal(SignalKind.STEER, "c", data="left")
    a, b, c, d = await worker.renew(*leases)
    assert (a.held, b.held, c.held, d.held) == (False, True, True, True)
    assert (b.paused, c.paused) == (True, False)
    assert [message.data for message in c.messages] == ["left"]
    assert d.messages == ()


async def test_a_lost_lease_tells_so_and_the_fifth_fails_the_task(stage: Stage) -> None:
    await stage.add(spec(timeout=10**9))
    for losses in range(1, MOST_LOSSES):
        lease = await stage.worker().claim_one()
        assert lease.losses == losses - 1
        await stage.after(LEASE)
        assert await stage.state() is State.READY
    await stage.worker().claim_one()
    await stage.after(LEASE)
    task = await stage.task()
    assert (task.state, task.losses) == (State.FAILED, MOST_LOSSES)
    assert task.error is not None
    assert task.error.type == "LeaseLost"
    assert await stage.kinds() == ["created", *["started", "lost"] * 4, "started", "failed"]


async def test_a_hand_back_is_neither_failure_nor_loss(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    for _ in range(10):
        assert await worker.release(await worker.claim_one()) is Answer.ACCEPTED
    lease = await worker.claim_one()
    assert (lease.attempt, lease.failures, lease.losses) == (11, 0, 0)


async def test_a_hand_back_can_pause_the_task(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    await worker.release(await worker.claim_one(), pause="its journal does not match")
    task = await stage.task()
    assert (task.state, task.paused, task.reason) == (State.READY, True, "its journal does not match")
    assert await worker.ids() == []
    await stage.signal(SignalKind.RESUME)
    assert await worker.ids() == ["task-1"]


async def test_a_task_can_be_handed_back_and_claimed_in_one_exchange(stage: Stage) -> None:
    # Given a task that runs, with all that a lease tells of it
    await stage.add(spec("a", owner="ann", payload=raw({"n": 1})))
    worker = stage.worker()
    first = await worker.claim_one()
    begun = (await stage.task("a")).started_at
    stage.clock.move(5)
    # When its worker hands it back and claims in the same exchange
    reply = await worker.exchange([Outcome(first.hold, Ending.RELEASE)], slots=1)
    # Then it gets all of it again
    (again,) = reply.leases
    assert (again.task_id, again.owner, again.payload, again.attempt) == ("a", "ann", first.payload, 2)
    assert (await stage.task("a")).started_at == begun
    assert await worker.done(again) is Answer.ACCEPTED


@pytest.mark.parametrize("ending", ["done", "fail", "release"])
async def test_a_cancelled_task_fences_its_worker(stage: Stage, ending: str) -> None:
    await stage.add(spec(limits=("api",)))
    await stage.limit("api", concurrency=1)
    worker = stage.worker()
    lease = await worker.claim_one()
    await stage.signal(SignalKind.CANCEL, reason="no longer needed")
    assert [each.held for each in await worker.renew(lease)] == [False]
    assert (await worker.record(lease, Step("a", 0))).answer is Answer.STALE
    assert await stage.used("api") == (1, 0), "its slot is held until the worker lets go"
    assert await getattr(worker, ending)(lease) is Answer.STALE
    assert await stage.used("api") == (0, 0)
    task = await stage.task()
    assert (task.state, task.reason, task.result) == (State.CANCELLED, "no longer needed", None)


async def test_a_worker_that_never_lets_go_holds_its_slot_no_longer_than_its_lease(stage: Stage) -> None:
    await stage.add(spec(limits=("api",)))
    await stage.limit("api", concurrency=1)
    worker = stage.worker()
    lease = await worker.claim_one()
    await stage.signal(SignalKind.CANCEL)
    await stage.after(LEASE - 1)
    assert await stage.used("api") == (1, 0)
    await stage.after(1)
    assert await stage.used("api") == (0, 0)
    assert await worker.done(lease) is Answer.STALE
    assert await stage.kinds() == ["created", "started", "cancelled"]


async def test_a_cancelled_task_that_runs_again_is_not_its_old_workers(stage: Stage) -> None:
    await stage.add(spec(limits=("api",)))
    await stage.limit("api", concurrency=2)
    old, new = stage.worker(), stage.worker()
    lease = await old.claim_one()
    await stage.signal(SignalKind.CANCEL)
    assert (await stage.signal(SignalKind.RETRY)).delivery == "accepted"
    assert await old.done(lease, "old") is Answer.STALE
    again = await new.claim_one()
    assert await old.done(lease, "old") is Answer.STALE
    assert await new.done(again, "new") is Answer.ACCEPTED
    assert value((await stage.task()).result) == "new"
    await stage.after(LEASE)
    assert await stage.used("api") == (0, 0)


async def test_a_retry_at_once_frees_the_slots_of_a_worker_that_has_not_let_go(stage: Stage) -> None:
    await stage.add(spec(limits=("api",)))
    await stage.limit("api", concurrency=1)
    old, new = stage.worker(), stage.worker()
    lease = await old.claim_one()
    await stage.signal(SignalKind.CANCEL)
    await stage.signal(SignalKind.RETRY)
    assert (await stage.task()).lease_until is None
    assert await stage.used("api") == (0, 0)
    again = await new.claim_one()
    assert await stage.used("api") == (1, 0)
    assert await old.done(lease, "old") is Answer.STALE
    assert await stage.used("api") == (1, 0)
    await new.done(again)
    assert await stage.used("api") == (0, 0)
    assert (await stage.after(LEASE)).changed == 0


async def test_an_error_with_what_is_no_character_is_kept_all_the_same(stage: Stage) -> None:
    await stage.add(spec("a"), spec("b"), spec("c"))
    worker = stage.worker()
    a, b, c = await worker.claim(3)
    odd = ErrorRecord("OSError", "no such file: 'a\udcff'", "ü \udcff")
    assert await worker.fail(a, odd) is Answer.ACCEPTED
    error = (await stage.task("a")).error
    assert error is not None
    assert (error.message, error.traceback) == ("no such file: 'a?'", "ü ?")
    await worker.record(b, Step("s", 0, StepState.FAILED, error=odd))
    assert (await stage.store.journal("b"))[0].error is not None
    assert await worker.release(c, pause="step \udcff differs") is Answer.ACCEPTED
    assert (await stage.task("c")).reason == "step ? differs"


async def test_the_error_is_kept_with_its_time_and_attempt(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    stage.clock.move(50)
    await worker.fail(lease, ErrorRecord("KeyError", "k", "Traceback …"))
    error = (await stage.task()).error
    assert error == ErrorRecord("KeyError", "k", "Traceback …", at=stage.clock.now, attempt=1)
    assert BOOM.at == 0


async def test_the_clock_never_runs_backwards(stage: Stage) -> None:
    await stage.add(spec("a"))
    first = await stage.worker().exchange(slots=1)
    stage.clock.move(-60_000)
    await stage.add(spec("b"))
    assert (await stage.task("b")).created_at >= (await stage.task("a")).created_at
    second = await stage.worker().exchange(slots=1)
    assert second.now >= first.now


async def test_a_task_that_gets_ahead_is_not_failed_for_the_leases_it_lost(stage: Stage) -> None:
    # Given a task whose workers vanish again and again, each of them one recorded step later
    await stage.add(spec())
    for number in range(2 * MOST_LOSSES):
        worker = stage.worker()
        lease = await worker.claim_one()
        await worker.record(lease, Step(f"step#{number}", number, value=raw(number)))
        await stage.after(LEASE)
    # Then it is ready for the next
    task = await stage.task()
    assert (task.state, task.losses, task.steps) == (State.READY, 1, 2 * MOST_LOSSES)
