"""SAQ on Redis: jobs with a status and a result, kept for ten minutes, in an asyncio worker.

A job that runs when its worker dies is put back by a sweep. "In batches" enqueues 100 jobs at a time at once, which is
as much as its client lets through together; it has no bulk submission. Its jobs' default time limit of ten seconds is
left as it is.
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
_AT_ONCE = 100
_CONNECTIONS = 2**31
"""As many as it wants, as with the redis-py that it was written for: 8 allows 100, which its coroutines wait on."""


async def _with_queue(url: str, use: Callable[[Any], Awaitable[Any]]) -> Any:
    """What `use(queue)` returns."""
    from redis.asyncio import Redis
    from saq.queue.redis import RedisQueue

    queue: Any = RedisQueue(Redis.from_url(url, max_connections=_CONNECTIONS))
    await queue.connect()
    try:
        return await use(queue)
    finally:
        await queue.disconnect()


def _work_on(board: Board) -> Any:
    async def work(context: Any, *, n: int, text: str) -> dict[str, Any]:
        board.ran(n)
        return {"n": n, "text": text}

    return work


async def _serve(post: Post) -> None:
    from saq import Worker

    async def use(queue: Any) -> None:
        worker: Any = Worker(queue, [("work", _work_on(post.board))], concurrency=post.concurrency)
        await asyncio.to_thread(post.ready)
        running = asyncio.create_task(worker.start())
        await asyncio.to_thread(post.over)
        running.cancel()

    await _with_queue(post.url, use)


def serve(post: Post) -> None:
    """What a worker process does."""
    logging.getLogger("saq").setLevel(logging.ERROR)
    loops.run(_serve(post))


async def _enqueue_many(queue: Any, count: int) -> None:
    for first in range(0, count, _AT_ONCE):
        await asyncio.gather(*(queue.enqueue("work", n=0, text=TEXT) for _ in range(min(_AT_ONCE, count - first))))


def _fill(url: str, count: int) -> None:
    loops.run(_with_queue(url, lambda queue: _enqueue_many(queue, count)))


def _settled(url: str) -> int:
    """Finished jobs leave the list of the incomplete ones."""
    import redis

    with redis.Redis.from_url(url) as client:
        total = sum(1 for _ in client.scan_iter("saq:job:default:*", count=1_000))
        incomplete: Any = client.zcard("saq:default:incomplete")
        return int(total - incomplete)


async def _submit(queue: Any, size: Size) -> Mapping[str, float]:
    single = await measures.async_rate(lambda number: queue.enqueue("work", n=number, text=TEXT), size.singles)
    many = size.bulk // 10
    bulk = await measures.async_rate(lambda _: _enqueue_many(queue, _AT_ONCE), many, each=_AT_ONCE)
    return {"submit.single": single, "submit.bulk": bulk}


def submit(place: Place, size: Size) -> Mapping[str, float]:
    values: Mapping[str, float] = loops.run(_with_queue(place.new("submit"), lambda queue: _submit(queue, size)))
    return values


def drain(place: Place, size: Size) -> Mapping[str, float]:
    return measures.drain(place, size, _SERVE, _fill, size.steady_drain, settled=_settled)


def latency(place: Place, size: Size) -> Mapping[str, float]:
    url = place.new("latency")

    async def measured(queue: Any) -> Mapping[str, float]:
        return await measures.latency(
            place,
            size,
            _SERVE,
            url,
            lambda sample: queue.enqueue("work", n=sample, text=TEXT),
        )

    values: Mapping[str, float] = loops.run(_with_queue(url, measured))
    return values


def size_of(place: Place, size: Size) -> Mapping[str, float]:
    return measures.queued(place, _fill, size.waiting // 5)


SUBJECT = Subject(
    name="SAQ",
    durability="AOF everysec; at least once; status and result for ten minutes",
    requires=("saq", "redis"),
    runs={"submit": submit, "drain": drain, "latency": latency, "size": size_of},
)
