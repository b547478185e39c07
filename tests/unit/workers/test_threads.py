"""Threads for sync functions: results, errors, context, and calls that do not return."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator

import pytest

from tenuto.workers.threads import Threads

colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(2, "test")
    yield made
    made.close()


async def test_a_call_returns_raises_and_sees_the_callers_context(threads: Threads) -> None:
    def fail() -> None:
        raise KeyError("x")

    colour.set("red")
    assert await threads.run(colour.get) == "red"
    with pytest.raises(KeyError):
        await threads.run(fail)


@pytest.mark.parametrize("error", [StopIteration(5), SystemExit(5), KeyboardInterrupt(5)], ids=repr)
async def test_what_would_end_the_event_loop_arrives_as_an_ordinary_error(
    threads: Threads, error: BaseException
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(RuntimeError, match=type(error).__name__):
        await threads.run(fail)


async def test_no_more_threads_run_than_asked_for(threads: Threads) -> None:
    lock, now, most = threading.Lock(), 0, 0
    both = threading.Barrier(2)

    def work() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        both.wait(60)
        with lock:
            now -= 1

    await asyncio.gather(*(threads.run(work) for _ in range(20)))
    assert most == 2


async def test_a_call_that_is_cancelled_is_abandoned_and_replaced(threads: Threads) -> None:
    # Given both threads in calls that do not return
    go, begun = threading.Event(), threading.Semaphore(0)

    def stuck() -> None:
        begun.release()
        go.wait(60)

    calls = [asyncio.create_task(threads.run(stuck)) for _ in range(2)]
    await asyncio.to_thread(lambda: [begun.acquire(timeout=60) for _ in calls])

    # When they are cancelled
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)

    # Then others take their place, and they count until they return
    assert threads.abandoned == 2
    assert await threads.run(lambda: "served") == "served"
    go.set()
    async with asyncio.timeout(60):
        while threads.abandoned:  # noqa: ASYNC110 - a count, not an event
            await asyncio.sleep(0.001)
    assert threads.abandoned == 0


async def test_a_call_that_ended_before_it_was_cancelled_counts_for_nothing(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver = threads._deliver

    def deliver_and_cancel() -> None:
        deliver()
        waiting.cancel()  # the call has ended, and whoever waits for it has not taken its next step yet

    monkeypatch.setattr(threads, "_deliver", deliver_and_cancel)
    waiting = asyncio.create_task(threads.run(colour.get))
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert threads.abandoned == 0
