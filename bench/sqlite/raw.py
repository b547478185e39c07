"""Raw SQLite with the durability that Tenuto has (WAL, synchronous=FULL): the limit of this disk and this binding.

One table, no events, no leases, no task body. A batch of the drain is one transaction that stores the results of the
batch before and claims the next, which is what Tenuto's `commit_and_claim` does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from bench.places import Place, path_of
from bench.plan import Size, Subject

__all__ = ["PAYLOAD", "SUBJECT", "connect"]

PAYLOAD = '{"n":0,"text":"' + "x" * 60 + '"}'
"""What every subject's tasks carry."""

_SCHEMA = """
CREATE TABLE job (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state INTEGER NOT NULL DEFAULT 0,
                  payload TEXT NOT NULL, result TEXT);
CREATE INDEX waiting ON job (number) WHERE state = 0;
"""


def connect(path: Path):  # type: ignore[no-untyped-def]  # apsw is imported where it is needed
    """A connection with WAL and full synchronisation."""
    import apsw

    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=4000")
    return connection


def _rows(first: int, count: int) -> list[tuple[str, str]]:
    return [(f"task-{number:032x}", PAYLOAD) for number in range(first, first + count)]


def submit(place: Place, size: Size) -> Mapping[str, float]:
    database = connect(path_of(place.new("raw")))
    database.execute(_SCHEMA)
    insert = "INSERT INTO job (id, payload) VALUES (?, ?)"
    began = time.perf_counter()
    for row in _rows(0, size.singles):
        database.execute(insert, row)
    single = size.singles / (time.perf_counter() - began)
    batches = [_rows(first, 1_000) for first in range(size.singles, size.singles + size.bulk, 1_000)]
    began = time.perf_counter()
    for batch in batches:
        with database:
            database.executemany(insert, batch)
    bulk = len(batches) * 1_000 / (time.perf_counter() - began)
    database.close()
    return {"submit.single": single, "submit.bulk": bulk}


def drain(place: Place, size: Size) -> Mapping[str, float]:
    values = {}
    for metric, batch, count in (("drain.batch", 100, size.drain * 4), ("drain.each", 1, size.drain // 4)):
        database = connect(path_of(place.new(metric)))
        database.execute(_SCHEMA)
        with database:
            database.executemany("INSERT INTO job (id, payload) VALUES (?, ?)", _rows(0, count))
        began = time.perf_counter()
        finished: list[tuple[str, int]] = []
        while True:
            with database:
                database.executemany("UPDATE job SET state = 2, result = ? WHERE number = ?", finished)
                claimed = database.execute("SELECT number FROM job WHERE state = 0 LIMIT ?", (batch,)).fetchall()
                database.executemany("UPDATE job SET state = 1 WHERE number = ?", claimed)
            if not claimed:
                break
            finished = [(PAYLOAD, number) for (number,) in claimed]
        values[metric] = count / (time.perf_counter() - began)
        database.close()
    return values


SUBJECT = Subject(
    name="raw SQLite",
    durability="WAL, fsync at every commit",
    requires=("apsw",),
    runs={"submit": submit, "drain": drain},
)
