"""Hints: soon after a commit, listeners hear of what somebody may wait for. And opening, closing, reopening."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from tenuto.errors import StoreClosed
from tenuto.tasks.goal import Tree
from tenuto.tasks.signal import SignalKind
from tenuto.tasks.states import State
from tests.conformance.ear import Ear, ready, told
from tests.conformance.engines import Engine
from tests.conformance.stage import Stage, VirtualClock, spec


async def test_a_new_task_is_hinted_to_those_who_serve_its_agent(stage: Stage) -> None:
    ear = Ear(stage.store)
    await stage.add(spec(agent="read"))
    await ear.until(ready("read"))
    ear.stop()


@pytest.mark.parametrize("ending", ["done", "fail", "cancel"])
async def test_the_end_of_a_task_is_hinted_to_those_who_wait_for_it(stage: Stage, ending: str) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    ear = Ear(stage.store)
    if ending == "cancel":
        await stage.signal(SignalKind.CANCEL)
    else:
        await getattr(worker, ending)(lease)
    await ear.until(told("task-1"))
    ear.stop()


async def test_what_becomes_claimable_is_hinted(stage: Stage) -> None:
    await stage.add_goal([spec("a"), spec("b", agent="second")], "a>b")
    await stage.limit("db", concurrency=1)
    await stage.add(*(spec(f"l{number}", agent="limited", limits=("db",)) for number in range(2)))
    limited = stage.worker("limited")
    (held,) = await limited.claim(2)
    worker = stage.worker()
    lease = await worker.claim_one()
    ear = Ear(stage.store)
    await worker.done(lease)
    await ear.until(ready("second"))
    await limited.done(held)
    await ear.until(ready("limited"))
    await stage.add(spec("late", agent="third", run_at=stage.clock.now + 10))
    await stage.after(10)
    await ear.until(ready("third"))
    ear.stop()


async def test_a_message_and_a_pause_are_hinted(stage: Stage) -> None:
    await stage.add(spec("a"), spec("b"))
    ear = Ear(stage.store)
    await stage.signal(SignalKind.STEER, "a", data=1)
    await ear.until(told("a"))
    await stage.signal(SignalKind.PAUSE, "b")
    await ear.until(told("b"))
    ear.stop()


async def test_who_has_stopped_listening_hears_nothing(stage: Stage) -> None:
    first, second = Ear(stage.store), Ear(stage.store)
    first.stop()
    first.stop()
    await stage.add(spec())
    await second.until(ready("echo"))
    assert first.hints == []
    second.stop()


# -- opening and closing -----------------------------------------------------------------------------------


async def test_opening_and_closing_twice_is_harmless(engine: Engine, tmp_path: Path, clock: VirtualClock) -> None:
    store = engine.make(tmp_path, clock)
    await store.open()
    await store.open()
    await store.submit([Tree(spec())])
    await store.close()
    await store.close()


async def test_a_closed_store_says_so(engine: Engine, tmp_path: Path, clock: VirtualClock) -> None:
    store = engine.make(tmp_path, clock)
    await store.open()
    await store.close()
    with pytest.raises(StoreClosed):
        await store.submit([Tree(spec())])
    with pytest.raises(StoreClosed):
        await store.task("task-1")


async def test_a_store_that_is_opened_again_works_on(engine: Engine, tmp_path: Path, clock: VirtualClock) -> None:
    store = engine.make(tmp_path, clock)
    await store.open()
    await store.submit([Tree(spec())])
    await store.close()
    await store.open()
    task = await store.task("task-1")
    assert task is not None
    await store.close()


async def test_a_store_is_used_from_several_threads_and_loops(stage: Stage) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        async def life() -> None:
            await stage.store.submit([Tree(spec(f"t{number}-{each}", agent=f"agent-{number}")) for each in range(20)])
            worker = stage.worker(f"agent-{number}")
            worker.name = f"worker-of-thread-{number}"
            assert len(await worker.run_all()) == 20

        try:
            asyncio.run(life())
        except BaseException as error:  # noqa: BLE001  # told below, in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join, 60)
    assert errors == []
    assert (await stage.store.stats())[State.DONE] == 120
