"""Tenuto as people use it: the client, the worker, function agents; leases, results and events all stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec.structs import replace

from bench import loops
from bench.crew import Board, Crew
from bench.measures import async_rate, quantiles, queued, sampled
from bench.measures import drain as measure_drain
from bench.measures import latency as measure_latency
from bench.places import Place
from bench.plan import Run, Size, Subject
from bench.tenuto import work as here
from bench.tenuto.claims import churn, stored
from bench.tenuto.work import config, specs, waits, work
from tenuto.client import Client
from tenuto.tasks.goal import Edge, Tree
from tenuto.tasks.ids import new_id
from tenuto.tasks.states import State
from tenuto.tasks.task import TaskSpec
from tenuto.workers.worker import Worker

__all__ = ["POSTGRES", "REDIS", "SQLITE"]

_SERVE = "bench.tenuto.work:serve"


def _run(main: Callable[[Place, Size], Any]) -> Run:
    return lambda place, size: loops.run(main(place, size))


# -- submit --------------------------------------------------------------------------------------------------


async def _submit(place: Place, size: Size) -> Mapping[str, float]:
    values = {}
    async with Client(place.new("single")) as client:
        made = specs(size.singles)
        values["submit.single"] = await async_rate(lambda at: client.enqueue_task("bench", made[at]), size.singles)
    async with Client(place.new("bulk")) as client:
        made = specs(size.bulk)
        values["submit.bulk"] = await async_rate(
            lambda at: client.enqueue_batch("bench", made[at : at + 1_000]), size.bulk, each=1_000
        )
    async with Client(place.new("create")) as client:
        values["submit.create"] = await async_rate(
            lambda at: client.enqueue_batch("bench", specs(1_000)), size.bulk, each=1_000
        )
    return values


def _fill(url: str, count: int, agent: Any = work) -> None:
    async def fill() -> None:
        async with Client(url) as client:
            for first in range(0, count, 1_000):
                await client.enqueue_batch(agent.name, specs(min(1_000, count - first), agent))

    loops.run(fill())


# -- drain ---------------------------------------------------------------------------------------------------


def _settled(url: str) -> int:
    return loops.run(_count(url, State.DONE))


async def _count(url: str, state: State) -> int:
    async with Client(url) as client:
        return (await client.store.stats()).get(state, 0)


def _drain(place: Place, size: Size) -> Mapping[str, float]:
    return measure_drain(place, size, _SERVE, _fill, size.drain, settled=_settled)


# -- latency -------------------------------------------------------------------------------------------------


def _single(client: Client) -> tuple[Callable[[int], Awaitable[object]], Callable[[object], Awaitable[object]]]:
    """How one task is submitted, and how its result is awaited."""
    return (
        lambda sample: client.enqueue_task("bench", specs(1, sample=sample)[0]),
        lambda task_id: client.get_task_result(str(task_id), timeout=20),
    )


async def _latency(place: Place, size: Size) -> Mapping[str, float]:
    board = Board(place.directory / "inside.board")
    here.boards.append(board)
    async with Client(place.new("inside")) as client:
        worker = Worker(client.store, [work], config(10))
        running = asyncio.create_task(worker.run())
        starts, _ = await sampled(board, size, *_single(client))
        worker.drain()
        await running
    here.boards.remove(board)
    values = quantiles("start.inside", starts)
    url = place.new("across")
    async with Client(url) as client:
        values |= await measure_latency(place, size, _SERVE, url, *_single(client))
    return values


# -- size ----------------------------------------------------------------------------------------------------


def _size(place: Place, size: Size) -> Mapping[str, float]:
    import psutil

    values = dict(queued(place, _fill, size.waiting))
    url = place.new("waiting")
    loops.run(_count(url, State.WAITING))
    warm = size.waiting // 10
    with Crew("bench.tenuto.work:serve_waiting", url, 1, 100, place.directory / "waiting.board") as crew:
        crew.go()
        process = psutil.Process(crew.processes[0].pid)

        def all_wait(count: int) -> dict[str, float]:
            until = time.monotonic() + size.seconds / 3
            while (waiting := loops.run(_count(url, State.WAITING))) < count:
                if time.monotonic() > until:
                    raise RuntimeError(f"{waiting} of {count} tasks wait after {size.seconds / 3:g} s")
                time.sleep(0.2)
            return {
                "memory.waiting": process.memory_info().rss,
                "memory.waiting.server": place.server_memory() or 0,
                "disk.waiting": place.disk(url),
            }

        _fill(url, warm, waits)
        before = all_wait(warm)
        _fill(url, size.waiting, waits)
        after = all_wait(warm + size.waiting)
    factor = 100_000 / size.waiting / 1e6
    values |= {name: max(value - before[name], 0) * factor for name, value in after.items() if value}
    return values


# -- DAGs ----------------------------------------------------------------------------------------------------


def _chain(nodes: int) -> list[Edge]:
    return [Edge(f"n{number}", f"n{number + 1}") for number in range(nodes - 1)]


def _lattice(nodes: int, width: int = 25) -> list[Edge]:
    return [
        Edge(f"n{source}", f"n{number}")
        for number in range(width, nodes)
        for source in (number - width, number - number % width - width + (number + 1) % width)
    ]


async def _dag(place: Place, size: Size) -> Mapping[str, float]:
    shapes: dict[str, Callable[[int], list[Edge]]] = {"wide": lambda nodes: [], "chain": _chain, "lattice": _lattice}
    values = {}
    for name, edges in shapes.items():
        async with Client(place.new(name)) as client:
            worker = Worker(client.store, [work], config(100))
            running = asyncio.create_task(worker.run())
            nodes = tuple(replace(spec, id=f"n{number}") for number, spec in enumerate(specs(size.nodes)))
            tree = Tree(root=TaskSpec(id=new_id("goal")), nodes=nodes, edges=tuple(edges(size.nodes)))
            await asyncio.sleep(0.05)
            began = time.perf_counter()
            results = await client.get_task_result(await client.submit_goal(tree), timeout=size.seconds / 4)
            values[f"dag.{name}"] = time.perf_counter() - began
            assert len(results) == size.nodes, f"{len(results)} of {size.nodes} nodes have a result"
            worker.drain()
            await running
    return values


_RUNS: Mapping[str, Run] = {
    "submit": _run(_submit),
    "drain": _drain,
    "latency": _run(_latency),
    "stored": stored,
    "size": _size,
    "dag": _run(_dag),
}
_KEPT = "at least once, fenced; results and events kept"

SQLITE = Subject(
    name="Tenuto",
    durability=f"WAL, fsync at every commit; {_KEPT}",
    requires=("tenuto", "psutil"),
    runs=_RUNS,
)
REDIS = Subject(
    name="Tenuto",
    durability=f"AOF everysec; {_KEPT}",
    requires=("tenuto.stores.redis", "redis", "psutil"),
    runs=_RUNS,
)
POSTGRES = Subject(
    name="Tenuto",
    durability=f"fsync at every commit; {_KEPT}",
    requires=("tenuto.stores.postgres", "psycopg", "psutil"),
    runs={**_RUNS, "churn": churn},
)
