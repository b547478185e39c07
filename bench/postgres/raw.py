"""Raw PostgreSQL: what this server, this disk and psycopg can do at all, on one connection.

Submission in batches is one insert of 1,000 rows, or COPY, the fastest way in. A batch of the drain is one statement
that stores the results of the batch before and claims the next with SKIP LOCKED. No events, no leases, no task body.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from bench import measures
from bench.places import Place
from bench.plan import Size, Subject
from bench.postgres.queries import queries_of
from bench.sqlite.raw import PAYLOAD

__all__ = ["SUBJECT"]

_QUERIES = queries_of(__file__)


def _connect(url: str) -> Any:
    import psycopg

    return psycopg.connect(url, autocommit=True)


def _insert(connection: Any, first: int, count: int) -> None:
    ids = [f"task-{number:032x}" for number in range(first, first + count)]
    connection.execute(_QUERIES["insert"], {"ids": ids, "payloads": [PAYLOAD] * count}, prepare=True)


def _copy(connection: Any, first: int, count: int) -> None:
    lines = [f"task-{number:032x}\t{PAYLOAD}\n" for number in range(first, first + count)]
    with connection.cursor().copy(_QUERIES["copy"]) as copy:
        copy.write("".join(lines))


def _made(url: str) -> Any:
    """A connection to a database that has the table."""
    connection = _connect(url)
    if connection.execute("SELECT to_regclass('job') IS NULL").fetchone()[0]:
        connection.execute(_QUERIES["schema"])
    return connection


def _fill(url: str, count: int) -> None:
    with _made(url) as connection:
        first = connection.execute("SELECT count(*) FROM job").fetchone()[0]
        for at in range(0, count, 1_000):
            _insert(connection, first + at, min(1_000, count - at))


def submit(place: Place, size: Size) -> Mapping[str, float]:
    with _made(place.new("submit")) as connection:
        single = measures.rate(lambda number: _insert(connection, number, 1), size.singles)
        bulk = measures.rate(lambda first: _insert(connection, size.singles + first, 1_000), size.bulk, each=1_000)
        first = size.singles + size.bulk
        copied = measures.rate(lambda at: _copy(connection, first + at, 1_000), size.bulk, each=1_000)
    return {"submit.single": single, "submit.bulk": bulk, "submit.copy": copied}


def drain(place: Place, size: Size) -> Mapping[str, float]:
    values = {}
    for metric, batch, count in (("drain.batch", 100, size.drain * 2), ("drain.each", 1, size.drain // 4)):
        url = place.new(metric)
        _fill(url, count)
        place.rest(url)
        with _connect(url) as connection:
            began = time.perf_counter()
            finished: list[int] = []
            while True:
                given = {"numbers": finished, "results": [PAYLOAD] * len(finished), "want": batch}
                claimed = connection.execute(_QUERIES["exchange"], given, prepare=True, binary=True).fetchall()
                if not claimed:
                    break
                finished = [number for number, _ in claimed]
            values[metric] = count / (time.perf_counter() - began)
    return values


def size_of(place: Place, size: Size) -> Mapping[str, float]:
    return measures.queued(place, _fill, size.waiting)


SUBJECT = Subject(
    name="raw PostgreSQL",
    durability="fsync at every commit; at most once",
    requires=("psycopg",),
    runs={"submit": submit, "drain": drain, "size": size_of},
)
