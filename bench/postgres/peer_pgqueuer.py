"""PgQueuer: jobs that are claimed and finished in batches; neither results nor events are kept.

A worker runs what it claims at once; the batch is as large as the tasks that are to run at once. Its tables are the
`durable` ones (nothing unlogged). It is waked by NOTIFY.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from bench import loops, measures
from bench.crew import Post
from bench.measures import TEXT
from bench.places import Place
from bench.plan import Size, Subject

__all__ = ["SUBJECT", "serve"]

_SERVE = f"{__name__}:serve"


def _payload(n: int) -> bytes:
    return msgspec.json.encode({"n": n, "text": TEXT})


async def _with_queries(url: str, use: Callable[[Any], Awaitable[Any]]) -> Any:
    """What `use(queries)` returns, on a database that has the tables."""
    import asyncpg
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.queries import Queries

    connection = await asyncpg.connect(url)
    queries: Any = Queries(AsyncpgDriver(connection))
    try:
        if await connection.fetchval("SELECT to_regclass('pgqueuer') IS NULL"):
            await queries.install()
        return await use(queries)
    finally:
        await connection.close()


async def _serve(post: Post) -> None:
    import asyncpg
    from pgqueuer import PgQueuer

    connection = await asyncpg.connect(post.url)
    queuer: Any = PgQueuer.from_asyncpg_connection(connection)

    @queuer.entrypoint("work")
    async def work(job: Any) -> None:
        payload = msgspec.json.decode(job.payload)
        post.board.ran(payload["n"])

    await asyncio.to_thread(post.ready)
    running = asyncio.create_task(queuer.run(batch_size=post.concurrency))
    await asyncio.to_thread(post.over)
    running.cancel()


def serve(post: Post) -> None:
    """What a worker process does."""
    logging.disable(logging.WARNING)
    loops.run(_serve(post))


async def _enqueue(queries: Any, count: int) -> None:
    await queries.enqueue(["work"] * count, [_payload(0)] * count, [0] * count)


def _fill(url: str, count: int) -> None:
    async def use(queries: Any) -> None:
        for first in range(0, count, 1_000):
            await _enqueue(queries, min(1_000, count - first))

    loops.run(_with_queries(url, use))


def _settled(url: str) -> int:
    import psycopg

    with psycopg.connect(url) as connection:
        row: Any = connection.execute("SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'").fetchone()
    return int(row[0])


def submit(place: Place, size: Size) -> Mapping[str, float]:
    async def use(queries: Any) -> Mapping[str, float]:
        return {
            "submit.single": await measures.async_rate(
                lambda number: queries.enqueue("work", _payload(number)), size.singles
            ),
            "submit.bulk": await measures.async_rate(lambda _: _enqueue(queries, 1_000), size.bulk, each=1_000),
        }

    values: Mapping[str, float] = loops.run(_with_queries(place.new("submit"), use))
    return values


def drain(place: Place, size: Size) -> Mapping[str, float]:
    return measures.drain(place, size, _SERVE, _fill, size.drain, settled=_settled)


def latency(place: Place, size: Size) -> Mapping[str, float]:
    url = place.new("latency")

    async def use(queries: Any) -> Mapping[str, float]:
        return await measures.latency(
            place, size, _SERVE, url, lambda sample: queries.enqueue("work", _payload(sample))
        )

    values: Mapping[str, float] = loops.run(_with_queries(url, use))
    return values


def size_of(place: Place, size: Size) -> Mapping[str, float]:
    return measures.queued(place, _fill, size.waiting)


SUBJECT = Subject(
    name="PgQueuer",
    durability="fsync at every commit; at least once; a line in a log, no results",
    requires=("pgqueuer", "asyncpg", "psycopg"),
    runs={"submit": submit, "drain": drain, "latency": latency, "size": size_of},
)
