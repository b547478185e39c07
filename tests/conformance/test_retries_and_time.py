"""What time does: retries, delays, deadlines and time limits."""

from __future__ import annotations

import pytest

from tenuto.tasks.outcome import Answer, Ending, Outcome, Record, Step, StepState
from tenuto.tasks.signal import SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import ErrorRecord
from tests.conformance.stage import BOOM, LEASE, START, Stage, raw, spec


async def test_a_failed_attempt_comes_back_after_its_delay(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    answer = await worker.exchange([Outcome(lease.hold, Ending.RETRY, error=BOOM, delay=700)], slots=1)
    assert (answer.answers, answer.leases, answer.next_due) == ((Answer.ACCEPTED,), (), START + 700)
    await stage.after(699)
    assert await worker.ids() == []
    await stage.after(1)
    again = await worker.claim_one()
    assert (again.attempt, again.failures) == (2, 1)
    assert await stage.kinds() == ["created", "started", "scheduled", "ready", "started"]
    assert (await stage.events())[2].data["error"]["message"] == "boom"


async def test_failures_in_a_row_are_counted_and_what_is_excused_is_not(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    for excused, failures in ((False, 1), (True, 1), (False, 2)):
        await worker.retry(await worker.claim_one(), 10, excused=excused)
        assert (await stage.task()).failures == failures
        await stage.after(10)


async def test_a_recorded_step_begins_the_count_of_failures_anew(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    await worker.retry(await worker.claim_one(), 10)
    await stage.after(10)
    lease = await worker.claim_one()
    assert lease.failures == 1
    await worker.record(lease, Step("a", 0, value=raw(1)))
    await worker.retry(lease, 10)
    assert (await stage.task()).failures == 1


async def test_a_step_that_is_only_begun_again_is_no_progress(stage: Stage) -> None:
    # Given a task whose step is announced in each attempt, and fails in each
    await stage.add(spec())
    worker = stage.worker()
    for failures in (1, 2, 3):
        lease = await worker.claim_one()
        await worker.record(lease, Step("a", 0, StepState.STARTED))
        await worker.retry(lease, 10)
        await stage.after(10)
        # Then the failures are counted in a row
        assert (await stage.task()).failures == failures


async def test_a_retry_without_delay_is_due_at_once(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    await worker.retry(await worker.claim_one(), 0)
    await stage.sweep()
    assert await worker.ids() == ["task-1"]


async def test_a_final_failure_ends_the_task(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    await worker.fail(await worker.claim_one())
    task = await stage.task()
    assert (task.state, task.failures, task.finished_at) == (State.FAILED, 1, START)
    assert task.error == ErrorRecord("ValueError", "boom", at=START, attempt=1)
    assert await worker.ids() == []


async def test_a_delayed_task_starts_when_its_time_comes(stage: Stage) -> None:
    await stage.add(spec(run_at=START + 5_000), spec("past", run_at=START - 5_000))
    assert await stage.states("task-1", "past") == ["scheduled", "ready"]
    swept = await stage.sweep()
    assert (swept.changed, swept.next_due) == (0, START + 5_000)
    assert (await stage.after(4_999)).changed == 0
    swept = await stage.after(1)
    assert (swept.changed, swept.next_due) == (1, None)
    assert await stage.worker().ids() == ["task-1", "past"]


async def test_a_blocked_task_keeps_its_run_at(stage: Stage) -> None:
    await stage.add_goal([spec("a"), spec("b", run_at=START + 5_000)], "a>b")
    worker = stage.worker()
    await worker.run_all()
    assert await stage.state("b") is State.SCHEDULED
    await stage.after(5_000)
    assert await worker.run_all() == ["b"]


@pytest.mark.parametrize("state", ["ready", "scheduled", "paused"])
async def test_a_task_that_was_not_finished_in_time_fails(stage: Stage, state: str) -> None:
    run_at = START + 90_000 if state == "scheduled" else None
    await stage.add(spec(deadline=START + 5_000, run_at=run_at))
    if state == "paused":
        await stage.signal(SignalKind.PAUSE)
    await stage.after(4_999)
    assert not (await stage.task()).is_final
    await stage.after(1)
    task = await stage.task()
    assert task.state is State.FAILED
    assert task.error is not None
    assert task.error.type == "Deadline"
    assert await stage.worker().ids() == []
    assert (await stage.kinds())[-1] == "failed"


async def test_a_waiting_task_keeps_its_deadline(stage: Stage) -> None:
    await stage.add(spec(deadline=START + 5_000))
    worker = stage.worker()
    await worker.wait(await worker.claim_one(), "event:go", people=True)
    await stage.after(5_000)
    assert await stage.state() is State.FAILED


async def test_a_running_task_is_told_how_much_time_is_left(stage: Stage) -> None:
    await stage.add(spec(deadline=START + 90_000, timeout=60_000))
    worker = stage.worker()
    lease = await worker.claim_one()
    assert lease.time_left == 60_000
    stage.clock.move(10_000)
    await worker.release(lease)
    stage.clock.move(1_000)
    again = await worker.claim_one()
    assert again.time_left == 49_000, "the total limit counts from the first claim on"


async def test_a_task_whose_worker_vanished_past_its_deadline_fails(stage: Stage) -> None:
    await stage.add(spec(deadline=START + 5_000, limits=("api",)))
    await stage.limit("api", concurrency=1)
    worker = stage.worker()
    lease = await worker.claim_one()
    await stage.after(LEASE)
    task = await stage.task()
    assert task.state is State.FAILED
    assert task.error is not None
    assert task.error.type == "Deadline"
    assert await stage.used("api") == (0, 0), "its lease has ended too"
    assert await worker.done(lease) is Answer.STALE


async def test_the_total_time_limit_ends_a_task_that_keeps_being_retried(stage: Stage) -> None:
    await stage.add(spec(timeout=10_000))
    worker = stage.worker()
    stage.clock.move(60_000)  # waiting for its first claim does not count
    await worker.retry(await worker.claim_one(), 8_000)
    await stage.after(8_000)
    await worker.retry(await worker.claim_one(), 8_000)
    await stage.after(2_000)
    task = await stage.task()
    assert task.state is State.FAILED
    assert task.error is not None
    assert task.error.type == "TimeLimit"


@pytest.mark.parametrize(("people", "state"), [(True, State.WAITING), (False, State.FAILED)])
async def test_the_total_time_limit_stands_still_while_people_are_waited_for(
    stage: Stage, people: bool, state: State
) -> None:
    await stage.add(spec(timeout=10_000))
    worker = stage.worker()
    lease = await worker.claim_one()
    stage.clock.move(4_000)
    await worker.wait(lease, "answer:call-1", people=people)
    await stage.after(600_000)
    assert await stage.state() is state
    if people:
        await stage.signal(SignalKind.ANSWER, topic="answer:call-1", data="yes")
        assert (await worker.claim_one()).time_left == 6_000


async def test_a_task_that_expired_takes_its_descendants_with_it(stage: Stage) -> None:
    await stage.add(spec(timeout=1_000))
    worker = stage.worker()
    lease = await worker.claim_one()
    await worker.record(lease, spawned=(spec("task-1.a"), spec("task-1.b")))
    await worker.wait(lease, "task:task-1.a", "task:task-1.b", need=2)
    child = await worker.claim_one()
    await stage.after(1_000)
    assert await stage.states("task-1", "task-1.a", "task-1.b") == ["failed", "cancelled", "cancelled"]
    assert (await stage.task("task-1.b")).reason.startswith("skipped: ")
    assert await worker.done(child) is Answer.STALE


async def test_a_task_and_its_child_whose_times_end_together_end_once_each(stage: Stage) -> None:
    await stage.add(spec(timeout=500))
    worker = stage.worker()
    lease = await worker.claim_one(lease=100)
    await stage.store.record(
        [Record(lease.hold, spawned=(spec("task-1.a", deadline=START + 100), spec("task-1.b", run_at=START + 400)))],
        100,
    )
    await stage.after(500)
    assert await stage.states("task-1", "task-1.a", "task-1.b") == ["failed", "cancelled", "cancelled"]
    for task_id in ("task-1", "task-1.a", "task-1.b"):
        seqs = [event.seq for event in await stage.events(task_id)]
        assert seqs == list(range(1, len(seqs) + 1))
        assert (await stage.task(task_id)).seq == len(seqs)


async def test_a_goal_has_a_deadline_and_a_time_limit(stage: Stage) -> None:
    await stage.add_goal("a b", "a>b", timeout=5_000)
    swept = await stage.sweep()
    assert swept.next_due == START + 5_000
    await stage.after(5_000)
    assert await stage.states("goal-1", "a", "b") == ["failed", "cancelled", "cancelled"]
    assert await stage.worker().ids() == []


async def test_next_due_is_the_earliest_of_all_timers(stage: Stage) -> None:
    assert (await stage.sweep()).next_due is None
    await stage.add(spec("a", run_at=START + 9_000))
    assert (await stage.sweep()).next_due == START + 9_000
    await stage.add(spec("b", deadline=START + 8_000))
    assert (await stage.sweep()).next_due == START + 8_000
    worker = stage.worker()
    assert (await worker.exchange(slots=1, lease=2_000)).next_due == START + 2_000
    assert (await worker.exchange()).next_due == START + 2_000


async def test_a_sweep_is_bounded_and_says_when_there_is_more(stage: Stage) -> None:
    await stage.add(*(spec(f"t{number}", run_at=START + number) for number in range(1, 26)))
    stage.clock.move(100)
    sweeps = [await stage.sweep(limit=10) for _ in range(3)]
    assert [swept.changed for swept in sweeps] == [10, 10, 5]
    assert [swept.more for swept in sweeps] == [True, True, False]


async def test_what_is_due_first_is_swept_first(stage: Stage) -> None:
    await stage.add(*(spec(f"t{number}", run_at=START + 100 - number) for number in range(50)))
    stage.clock.move(100)
    await stage.sweep(limit=5)
    assert sorted(await stage.worker().ids()) == [f"t{number}" for number in range(45, 50)]
