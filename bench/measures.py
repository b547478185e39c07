"""How every system is measured, whatever it is: rates, the latency of an idle system, the size of what waits."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from bench.crew import SAMPLES, Board, Crew
from bench.places import Place
from bench.plan import Size

__all__ = ["EVERY_SHAPE", "TEXT", "Fill", "async_rate", "drain", "latency", "quantiles", "queued", "rate", "sampled"]

TEXT = "x" * 60
"""Every task carries this and a number."""

Fill = Callable[[str, int], None]
"""Puts so many tasks into the store of that URL; their number is 0."""

EVERY_SHAPE = ((1, 10), (1, 100), (2, 10), (2, 100))
"""Processes, and how many tasks each runs at once."""

_WARM = 3
"""Samples that are taken and not counted."""


def rate(call: Callable[[int], object], count: int, *, each: int = 1) -> float:
    """Tasks per second when `call` is made with 0, 1, … until `count` tasks are through; one call does `each`."""
    began = time.perf_counter()
    for number in range(0, count, each):
        call(number)
    return count / (time.perf_counter() - began)


async def async_rate(call: Callable[[int], Awaitable[object]], count: int, *, each: int = 1) -> float:
    """The same where each call is awaited before the next."""
    began = time.perf_counter()
    for number in range(0, count, each):
        await call(number)
    return count / (time.perf_counter() - began)


def quantiles(name: str, seconds: Iterable[float]) -> dict[str, float]:
    """Median and 95 % as milliseconds."""
    ordered = sorted(seconds)
    return {
        f"{name}.p50": ordered[len(ordered) // 2] * 1_000,
        f"{name}.p95": ordered[int(len(ordered) * 0.95)] * 1_000,
    }


def drain(
    place: Place,
    size: Size,
    target: str,
    fill: Fill,
    count: int,
    *,
    shapes: Iterable[tuple[int, int]] = EVERY_SHAPE,
    settled: Callable[[str], int] | None = None,
) -> Mapping[str, float]:
    """Tasks per second from the first start to the last, for each shape. `settled` says how many tasks the store
    knows to be finished: in the end all of them, or the measurement fails."""
    values = {}
    for processes, concurrency in shapes:
        name = f"drain.{processes}x{concurrency}"
        url = place.new(name)
        fill(url, count)
        place.rest(url)
        with Crew(target, url, processes, concurrency, place.directory / f"{name}.board") as crew:
            crew.go()
            crew.board.wait_for(count, size.seconds / 4)
            values[name] = count / max(crew.board.seconds, 1e-3)
            if settled is not None:
                _until_settled(settled, url, count)
    return values


def _until_settled(settled: Callable[[str], int], url: str, count: int) -> None:
    until = time.monotonic() + 15
    while (finished := settled(url)) < count:
        if time.monotonic() > until:
            raise RuntimeError(f"all {count} tasks ran, and {finished} are finished in the store")
        time.sleep(0.05)


async def sampled(
    board: Board,
    size: Size,
    submit: Callable[[int], Awaitable[object]],
    result: Callable[[object], Awaitable[object]] | None = None,
) -> tuple[list[float], list[float]]:
    """For single tasks on an idle system: seconds from the call of `submit` to the start of the task, and to its
    `result`. Rests between them vary, so that a system that polls is met at any moment of its interval."""
    starts: list[float] = []
    results: list[float] = []
    until = time.monotonic() + size.seconds / 8
    for sample in range(1, min(size.samples + _WARM, SAMPLES - 1) + 1):
        await asyncio.sleep(random.uniform(0.02, 0.2))
        began = time.monotonic()
        handle = await submit(sample)
        if result is not None:
            await result(handle)
            results.append(time.monotonic() - began)
        while not (started := board.start_of(sample)):
            if time.monotonic() > until + 10:
                raise RuntimeError(f"a task on an idle system has not begun after {time.monotonic() - began:.1f} s")
            await asyncio.sleep(0.002)
        starts.append(started - began)
        if time.monotonic() > until and len(starts) > 2 * _WARM:
            break
    return starts[_WARM:], results[_WARM:]


async def latency(
    place: Place,
    size: Size,
    target: str,
    url: str,
    submit: Callable[[int], Awaitable[object]],
    result: Callable[[object], Awaitable[object]] | None = None,
) -> Mapping[str, float]:
    """From submission here to the start in a worker process that is idle, and back to the result here."""
    path: Path = place.directory / "latency.board"
    with Crew(target, url, 1, 10, path) as crew:
        crew.go()
        await asyncio.sleep(1)
        starts, results = await sampled(crew.board, size, submit, result)
    values = quantiles("start.across", starts)
    if results:
        values["result.across.p50"] = quantiles("", results)[".p50"]
    return values


def queued(place: Place, fill: Fill, count: int) -> Mapping[str, float]:
    """What tasks that wait for a worker take in the server's memory and on the disk, for each 100,000."""
    url = place.new("queued")
    fill(url, count // 10)
    memory, disk = place.server_memory(), place.disk(url)
    fill(url, count)
    factor = 100_000 / count / 1e6
    values = {"disk.queued": max(place.disk(url) - disk, 0) * factor}
    now = place.server_memory()
    if memory is not None and now is not None:
        values["memory.queued"] = max(now - memory, 0) * factor
    return values
