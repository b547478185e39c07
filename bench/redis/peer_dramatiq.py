"""dramatiq on Redis: messages are acknowledged after they ran; neither a status nor, unless asked for, a result.

Its worker runs tasks in threads; its documentation recommends processes for speed and threads for waiting. Here it has
as many threads as tasks may run at once, but at most 32, with the prefetching that it chooses itself, and the
standard middleware without the Prometheus exporter, which it would open a port for. There is no bulk submission;
results are not kept, as by default.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from bench import measures
from bench.crew import Board, Post
from bench.measures import TEXT
from bench.places import Place
from bench.plan import Size, Subject

__all__ = ["SUBJECT", "serve"]

_SERVE = f"{__name__}:serve"


def _actor(url: str, board: Board | None = None) -> tuple[Any, Any]:
    """The broker and its one actor."""
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=url)
    dramatiq.set_broker(broker)

    @dramatiq.actor(actor_name="work", broker=broker)
    def work(n: int, text: str) -> dict[str, Any]:
        assert board is not None
        board.ran(n)
        return {"n": n, "text": text}

    return broker, work


def serve(post: Post) -> None:
    """What a worker process does."""
    from dramatiq import Worker

    broker, _ = _actor(post.url, post.board)
    worker = Worker(broker, worker_threads=min(post.concurrency, 32))
    post.ready()
    worker.start()
    post.over()


def _fill(url: str, count: int) -> None:
    broker, work = _actor(url)
    for _ in range(count):
        work.send(0, TEXT)
    broker.close()


def submit(place: Place, size: Size) -> Mapping[str, float]:
    broker, work = _actor(place.new("submit"))
    single = measures.rate(lambda number: work.send(number, TEXT), size.singles)
    broker.close()
    return {"submit.single": single, "submit.bulk": single}


def drain(place: Place, size: Size) -> Mapping[str, float]:
    return measures.drain(place, size, _SERVE, _fill, size.steady_drain)


def latency(place: Place, size: Size) -> Mapping[str, float]:
    url = place.new("latency")
    _, work = _actor(url)

    async def submit_one(sample: int) -> None:
        work.send(sample, TEXT)

    return asyncio.run(measures.latency(place, size, _SERVE, url, submit_one))


def size_of(place: Place, size: Size) -> Mapping[str, float]:
    return measures.queued(place, _fill, size.waiting // 5)


SUBJECT = Subject(
    name="dramatiq",
    durability="AOF everysec; at least once; neither status nor result",
    requires=("dramatiq", "redis"),
    runs={"submit": submit, "drain": drain, "latency": latency, "size": size_of},
)
