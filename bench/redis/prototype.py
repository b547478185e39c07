"""The bare engine of `bench.prototype` on Redis: one script for each request, over one connection."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import loops, measures
from bench.crew import Post
from bench.places import Place
from bench.plan import Size, Subject
from bench.prototype import Claimed, Finished
from bench.prototype import serve as work
from bench.sqlite.raw import PAYLOAD

__all__ = ["SUBJECT", "serve"]

_KEYS = ("ready", "task:", "leases", "feed")
_LEASE = 30_000


class _Engine:
    def __init__(self, url: str) -> None:
        import redis.asyncio

        client: Any = redis.asyncio.Redis.from_url(url, single_connection_client=True)
        self.script = client.register_script(Path(__file__).with_suffix(".lua").read_text(encoding="utf-8"))
        self.nonce = random.getrandbits(40)

    async def __call__(self, finished: Sequence[Finished], want: int) -> Sequence[Claimed]:
        """In one script."""
        self.nonce += 1
        given: list[Any] = [time.time_ns() // 1_000_000, _LEASE, self.nonce, want]
        for task in finished:
            given += (task.number, task.nonce, task.result)
        answer = await self.script(keys=_KEYS, args=given)
        return [
            Claimed(int(answer[at]), answer[at + 1].decode(), answer[at + 2].decode(), self.nonce)
            for at in range(0, len(answer), 3)
        ]


def serve(post: Post) -> None:
    """What a worker process does."""

    async def main() -> None:
        engine = _Engine(post.url)
        post.ready()
        await work(engine, post)

    loops.run(main())


def _fill(url: str, count: int) -> None:
    import redis

    client = redis.Redis.from_url(url)
    for first in range(0, count, 1_000):
        pipeline = client.pipeline(transaction=False)
        numbers = range(first, min(first + 1_000, count))
        for number in numbers:
            pipeline.hset(f"task:{number}", mapping={"id": f"task-{number:032x}", "state": "ready", "payload": PAYLOAD})
        pipeline.rpush("ready", *numbers)
        pipeline.execute()
    client.close()


def _settled(url: str) -> int:
    """Each finished task has two events."""
    import redis

    with redis.Redis.from_url(url) as client:
        events: Any = client.xlen("feed")
        leases: Any = client.zcard("leases")
        return int(events - leases) // 2


def drain(place: Place, size: Size) -> Mapping[str, float]:
    return measures.drain(place, size, f"{__name__}:serve", _fill, size.drain, settled=_settled)


SUBJECT = Subject(
    name="prototype",
    durability="AOF everysec; leases, results and events kept",
    requires=("redis", "msgspec"),
    runs={"drain": drain},
)
