"""Procrastinate: jobs with a status and events; results are not kept.

A worker claims and finishes each job in a transaction of its own, over a pool of ten connections; finished jobs stay
in the table, as by default. It is waked by NOTIFY.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bench import loops, measures
from bench.crew import Board, Post
from bench.measures import TEXT
from bench.places import Place
from bench.plan import Size, Subject

__all__ = ["SUBJECT", "serve"]

_SERVE = f"{__name__}:serve"


def _app(url: str, board: Board | None = None) -> tuple[Any, Any]:
    """The app and its one task."""
    from procrastinate import App, PsycopgConnector

    logging.getLogger("procrastinate").setLevel(logging.ERROR)
    app: Any = App(connector=PsycopgConnector(conninfo=url, min_size=2, max_size=10))

    @app.task(name="work")
    async def work(n: int, text: str) -> dict[str, Any]:
        assert board is not None
        board.ran(n)
        return {"n": n, "text": text}

    return app, work


async def _serve(post: Post) -> None:
    app, _ = _app(post.url, post.board)
    async with app.open_async():
        await asyncio.to_thread(post.ready)
        running = asyncio.create_task(app.run_worker_async(concurrency=post.concurrency, install_signal_handlers=False))
        await asyncio.to_thread(post.over)
        running.cancel()


def serve(post: Post) -> None:
    """What a worker process does."""
    loops.run(_serve(post))


async def _with_task(url: str, use: Callable[[Any], Awaitable[Any]]) -> Any:
    """What `use(task)` returns, on a database that has the schema."""
    import psycopg

    with psycopg.connect(url) as connection:
        row: Any = connection.execute("SELECT to_regclass('procrastinate_jobs') IS NULL").fetchone()
    app, work = _app(url)
    async with app.open_async():
        if row[0]:
            await app.schema_manager.apply_schema_async()
        return await use(work)


async def _defer(task: Any, count: int) -> None:
    await task.batch_defer_async(*({"n": 0, "text": TEXT} for _ in range(count)))


def _fill(url: str, count: int) -> None:
    async def use(task: Any) -> None:
        for first in range(0, count, 1_000):
            await _defer(task, min(1_000, count - first))

    loops.run(_with_task(url, use))


def _settled(url: str) -> int:
    import psycopg

    with psycopg.connect(url) as connection:
        row: Any = connection.execute("SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'").fetchone()
    return int(row[0])


def submit(place: Place, size: Size) -> Mapping[str, float]:
    async def use(task: Any) -> Mapping[str, float]:
        singles, many = size.singles // 5, size.bulk // 10
        return {
            "submit.single": await measures.async_rate(lambda n: task.defer_async(n=n, text=TEXT), singles),
            "submit.bulk": await measures.async_rate(lambda _: _defer(task, 1_000), many, each=1_000),
        }

    values: Mapping[str, float] = loops.run(_with_task(place.new("submit"), use))
    return values


def drain(place: Place, size: Size) -> Mapping[str, float]:
    return measures.drain(place, size, _SERVE, _fill, size.slow_drain * 2, settled=_settled)


def latency(place: Place, size: Size) -> Mapping[str, float]:
    url = place.new("latency")

    async def use(task: Any) -> Mapping[str, float]:
        return await measures.latency(place, size, _SERVE, url, lambda sample: task.defer_async(n=sample, text=TEXT))

    values: Mapping[str, float] = loops.run(_with_task(url, use))
    return values


def size_of(place: Place, size: Size) -> Mapping[str, float]:
    return measures.queued(place, _fill, size.waiting // 5)


SUBJECT = Subject(
    name="Procrastinate",
    durability="fsync at every commit; at least once; status and events kept, no results",
    requires=("procrastinate", "psycopg"),
    runs={"submit": submit, "drain": drain, "latency": latency, "size": size_of},
)
