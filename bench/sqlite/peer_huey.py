"""huey on SQLite with fsync on: at most once, no lease, no events; a task that is lost in a crash stays lost.

A worker is a thread of huey's consumer, which dequeues one task per transaction and stores its result in another.
More threads do not make it faster on SQLite (one writer, one interpreter lock), so its best is shown: one thread
for "10 at once", ten for "100 at once". There is no bulk submission: tasks are enqueued one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from bench import measures
from bench.crew import Board, Post
from bench.measures import TEXT
from bench.places import Place, path_of
from bench.plan import Size, Subject

__all__ = ["SUBJECT", "serve"]

_SERVE = "bench.sqlite.peer_huey:serve"


def _queue(url: str, board: Board | None = None) -> tuple[Any, Any]:
    """huey and its task."""
    from huey import SqliteHuey

    queue = SqliteHuey("bench", filename=str(path_of(url)), fsync=True)

    @queue.task(name="bench")
    def work(n: int, text: str) -> dict[str, Any]:
        assert board is not None
        board.ran(n)
        return {"n": n, "text": text}

    return queue, work


def serve(post: Post) -> None:
    """What a worker process does: huey's own consumer, in threads of this process."""
    queue, _ = _queue(post.url, post.board)
    consumer = queue.create_consumer(
        workers=1 if post.concurrency <= 10 else 10, periodic=False, check_worker_health=False
    )
    post.ready()
    for _, thread in consumer.worker_threads:
        thread.start()
    post.over()


def _fill(url: str, count: int) -> None:
    queue, work = _queue(url)
    for _ in range(count):
        work(0, TEXT)
    queue.storage.close()


def _settled(url: str) -> int:
    queue, _ = _queue(url)
    results = int(queue.storage.result_store_size())
    queue.storage.close()
    return results


def submit(place: Place, size: Size) -> Mapping[str, float]:
    queue, work = _queue(place.new("single"))
    single = measures.rate(lambda number: work(number, TEXT), size.singles)
    queue.storage.close()
    return {"submit.single": single, "submit.bulk": single}


def drain(place: Place, size: Size) -> Mapping[str, float]:
    shapes = ((1, 10), (1, 100), (2, 10))
    return measures.drain(place, size, _SERVE, _fill, size.steady_drain, shapes=shapes, settled=_settled)


def latency(place: Place, size: Size) -> Mapping[str, float]:
    """With huey's defaults: an idle consumer polls, at first every 0.1 s, then less and less often."""
    url = place.new("latency")
    queue, work = _queue(url)

    async def submit_one(sample: int) -> None:
        work(sample, TEXT)

    values = asyncio.run(measures.latency(place, size, _SERVE, url, submit_one))
    queue.storage.close()
    return values


SUBJECT = Subject(
    name="huey",
    durability="WAL, fsync at every commit; at most once; results kept",
    requires=("huey",),
    runs={"submit": submit, "drain": drain, "latency": latency},
)
