"""Tenuto on SQLite, as people use it: the client, the worker, function agents; lease, result and events all stored.

How long a drain took is read from the store afterwards: from the first start to the last end, by its clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from bench.plan import Size, Subject
from bench.tenuto_work import PAYLOAD, Counter, Workers, config, ran, runner, waits, work
from tenuto.client import Client
from tenuto.stores import open_store
from tenuto.stores.base import TaskFilter
from tenuto.tasks.goal import Edge, Tree
from tenuto.tasks.ids import new_id
from tenuto.tasks.states import State
from tenuto.tasks.task import TaskSpec
from tenuto.workers.worker import Worker

__all__ = ["SUBJECT"]


def _url(directory: Path, name: str) -> str:
    return f"sqlite:///{directory / name}.db"


def _specs(count: int, agent: str = "bench") -> list[TaskSpec]:
    made = work if agent == "bench" else waits
    return [made.create_task(owner_id=f"owner{number % 10}", payload=PAYLOAD) for number in range(count)]


def _run(main: Coroutine[Any, Any, Mapping[str, float]]) -> Mapping[str, float]:
    with runner() as loop:
        return loop.run(main)


async def _fill(client: Client, count: int, agent: str = "bench") -> None:
    for first in range(0, count, 10_000):
        await client.enqueue_batch(agent, _specs(min(10_000, count - first), agent))


# -- submit --------------------------------------------------------------------------------------------------


async def _submit(directory: Path, size: Size) -> Mapping[str, float]:
    values = {}
    async with Client(_url(directory, "single")) as client:
        specs = _specs(size.singles)
        began = time.perf_counter()
        for spec in specs:
            await client.enqueue_task("bench", spec)
        values["submit.single"] = size.singles / (time.perf_counter() - began)
    async with Client(_url(directory, "bulk")) as client:
        specs = _specs(size.bulk)
        began = time.perf_counter()
        for first in range(0, size.bulk, 1_000):
            await client.enqueue_batch("bench", specs[first : first + 1_000])
        values["submit.bulk"] = size.bulk / (time.perf_counter() - began)
    async with Client(_url(directory, "create")) as client:
        began = time.perf_counter()
        for _ in range(0, size.bulk, 1_000):
            await client.enqueue_batch("bench", _specs(1_000))
        values["submit.create"] = size.bulk / (time.perf_counter() - began)
    return values


# -- drain ---------------------------------------------------------------------------------------------------


async def _work_here(url: str, concurrency: int, count: int) -> None:
    """A worker in this process, until `count` task bodies have run."""
    store = open_store(url)
    await store.open()
    worker = Worker(store, [work], config(concurrency))
    left = count

    def one_less() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            worker.drain()

    ran.append(one_less)
    try:
        await worker.run()
    finally:
        ran.remove(one_less)
        await store.close()


async def _rate(client: Client, least: int) -> float:
    """Tasks per second, from the first start to the last end."""
    first, last, done = 0, 0, 0
    cursor = None
    while True:
        page = await client.store.tasks(TaskFilter(states=(State.DONE,)), cursor, 5_000)
        for task in page.tasks:
            assert task.started_at is not None
            assert task.finished_at is not None
            first = min(first or task.started_at, task.started_at)
            last = max(last, task.finished_at)
        done += len(page.tasks)
        cursor = page.cursor
        if cursor is None or not page.tasks:
            break
    if done < least:
        raise RuntimeError(f"Tenuto finished {done} of {least} tasks")
    return done * 1_000 / max(last - first, 1)


async def _drain(directory: Path, size: Size) -> Mapping[str, float]:
    values = {}
    for processes, concurrency in ((1, 10), (1, 100), (2, 10), (2, 100)):
        name = f"drain.{processes}x{concurrency}"
        url = _url(directory, name)
        async with Client(url) as client:
            await _fill(client, size.drain)
        if processes == 1:
            await _work_here(url, concurrency, size.drain)
        else:
            await asyncio.to_thread(_work_elsewhere, directory / f"{name}.count", url, processes, concurrency, size)
        async with Client(url) as client:
            values[name] = await _rate(client, size.drain)
    return values


def _work_elsewhere(counter: Path, url: str, processes: int, concurrency: int, size: Size) -> None:
    count = Counter(counter)
    until = time.monotonic() + size.seconds / 2
    with Workers(url, processes, concurrency, counter) as workers:
        workers.go()
        while count.total < size.drain and time.monotonic() < until:
            time.sleep(0.01)
    count.close()


async def _stored(directory: Path, size: Size) -> Mapping[str, float]:
    values = {}
    for stored in size.stored:
        url = _url(directory, f"stored{stored}")
        count = min(stored, size.drain)
        async with Client(url) as client:
            await _fill(client, stored)
        await _work_here(url, 100, count)
        async with Client(url) as client:
            values[f"stored.{stored}"] = await _rate(client, count)
    return values


# -- latency -------------------------------------------------------------------------------------------------


def _quantiles(name: str, delays: list[float]) -> dict[str, float]:
    delays = sorted(delays)
    return {f"{name}.p50": delays[len(delays) // 2] * 1_000, f"{name}.p95": delays[int(len(delays) * 0.95)] * 1_000}


async def _sample(client: Client, samples: int) -> tuple[list[float], list[float]]:
    """For single tasks on an idle system: seconds from submission to start, and to the result."""
    starts, results = [], []
    for spec in _specs(samples + 3):
        await asyncio.sleep(0.02)
        began = time.monotonic()
        task_id = await client.enqueue_task("bench", spec)
        result = await client.get_task_result(task_id, timeout=20)
        results.append(time.monotonic() - began)
        starts.append(result["started"] - began)
    return starts[3:], results[3:]


async def _latency(directory: Path, size: Size) -> Mapping[str, float]:
    async with Client(_url(directory, "inside")) as client:
        worker = Worker(client.store, [work], config(10))
        running = asyncio.create_task(worker.run())
        starts, _ = await _sample(client, size.samples)
        worker.drain()
        await running
    values = _quantiles("start.inside", starts)
    url = _url(directory, "across")
    async with Client(url) as client:
        with Workers(url, 1, 10, directory / "across.count") as workers:
            workers.go()
            starts, results = await _sample(client, size.samples)
    values |= _quantiles("start.across", starts)
    values["result.across.p50"] = _quantiles("", results)[".p50"]
    return values


# -- waiting tasks -------------------------------------------------------------------------------------------


async def _waiting(directory: Path, size: Size) -> Mapping[str, float]:
    import psutil

    url = _url(directory, "waiting")
    warm = size.waiting // 10
    async with Client(url) as client:
        with Workers(url, 1, 100, directory / "waiting.count", agent="waits") as workers:
            workers.go()
            process = psutil.Process(workers.processes[0].pid)

            async def all_wait(count: int) -> None:
                until = time.monotonic() + size.seconds / 2
                while (await client.store.stats()).get(State.WAITING, 0) < count:
                    if time.monotonic() > until:
                        raise RuntimeError(f"not all of {count} tasks wait after {size.seconds / 2:g} s")
                    await asyncio.sleep(0.2)

            await _fill(client, warm, "waits")
            await all_wait(warm)
            before = process.memory_info().rss
            await _fill(client, size.waiting, "waits")
            await all_wait(warm + size.waiting)
            after = process.memory_info().rss
    per_100_000 = 100_000 / size.waiting / 1e6
    return {
        "memory.waiting": max(after - before, 0) * per_100_000,
        "disk.waiting": _bytes_of(directory) * per_100_000 * size.waiting / (size.waiting + warm),
    }


def _bytes_of(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.glob("waiting.db*"))


# -- DAGs ----------------------------------------------------------------------------------------------------


def _chain(nodes: int) -> list[Edge]:
    return [Edge(f"n{number}", f"n{number + 1}") for number in range(nodes - 1)]


def _lattice(nodes: int, width: int = 25) -> list[Edge]:
    return [
        Edge(f"n{source}", f"n{number}")
        for number in range(width, nodes)
        for source in (number - width, number - number % width - width + (number + 1) % width)
    ]


async def _dag(directory: Path, size: Size) -> Mapping[str, float]:
    shapes: dict[str, Callable[[int], list[Edge]]] = {"wide": lambda nodes: [], "chain": _chain, "lattice": _lattice}
    values = {}
    for name, edges in shapes.items():
        async with Client(_url(directory, name)) as client:
            worker = Worker(client.store, [work], config(100))
            running = asyncio.create_task(worker.run())
            nodes = tuple(replace(spec, id=f"n{number}") for number, spec in enumerate(_specs(size.nodes)))
            tree = Tree(root=TaskSpec(id=new_id("goal")), nodes=nodes, edges=tuple(edges(size.nodes)))
            await asyncio.sleep(0.05)
            began = time.perf_counter()
            results = await client.get_task_result(await client.submit_goal(tree), timeout=size.seconds / 4)
            values[f"dag.{name}"] = time.perf_counter() - began
            assert len(results) == size.nodes, f"{len(results)} of {size.nodes} nodes have a result"
            worker.drain()
            await running
    return values


SUBJECT = Subject(
    name="Tenuto",
    durability="WAL, fsync at every commit; leases, results and events stored",
    requires=("tenuto", "psutil"),
    runs={
        "submit": lambda directory, size: _run(_submit(directory, size)),
        "drain": lambda directory, size: _run(_drain(directory, size)),
        "latency": lambda directory, size: _run(_latency(directory, size)),
        "stored": lambda directory, size: _run(_stored(directory, size)),
        "waiting": lambda directory, size: _run(_waiting(directory, size)),
        "dag": lambda directory, size: _run(_dag(directory, size)),
    },
)
