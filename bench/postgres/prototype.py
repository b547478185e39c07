"""The bare engine of `bench.prototype` on PostgreSQL: one statement for each request, over one connection."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bench import loops, measures
from bench.crew import Post
from bench.places import Place
from bench.plan import Size, Subject
from bench.postgres.queries import queries_of
from bench.prototype import Claimed, Finished
from bench.prototype import serve as work
from bench.sqlite.raw import PAYLOAD

__all__ = ["SUBJECT", "serve"]

_QUERIES = queries_of(__file__)


class _Engine:
    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.nonce = random.getrandbits(40)

    async def __call__(self, finished: Sequence[Finished], want: int) -> Sequence[Claimed]:
        """In one statement."""
        self.nonce += 1
        given = {
            "numbers": [task.number for task in finished],
            "nonces": [task.nonce for task in finished],
            "results": [task.result for task in finished],
            "want": want,
            "nonce": self.nonce,
            "now": time.time_ns() // 1_000_000,
        }
        cursor = self.connection.cursor(binary=True)
        await cursor.execute(_QUERIES["exchange"], given, prepare=True)
        return [Claimed(number, task, payload, self.nonce) for number, task, payload in await cursor.fetchall()]


def serve(post: Post) -> None:
    """What a worker process does."""
    import psycopg

    async def main() -> None:
        connection = await psycopg.AsyncConnection.connect(post.url, autocommit=True)
        post.ready()
        await work(_Engine(connection), post)

    loops.run(main())


def _fill(url: str, count: int) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_QUERIES["schema"])
        for first in range(0, count, 1_000):
            numbers = list(range(first, min(first + 1_000, count)))
            ids = [f"task-{number:032x}" for number in numbers]
            connection.execute(_QUERIES["insert"], {"numbers": numbers, "ids": ids, "payload": PAYLOAD})


def _settled(url: str) -> int:
    import psycopg

    with psycopg.connect(url) as connection:
        row: Any = connection.execute(_QUERIES["done"]).fetchone()
    return int(row[0])


def drain(place: Place, size: Size) -> Mapping[str, float]:
    return measures.drain(place, size, f"{__name__}:serve", _fill, size.drain, settled=_settled)


SUBJECT = Subject(
    name="prototype",
    durability="fsync at every commit; leases, results and events kept",
    requires=("psycopg", "msgspec"),
    runs={"drain": drain},
)
