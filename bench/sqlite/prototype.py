"""The bare engine of `bench.prototype` on SQLite."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import count as counter

import msgspec

from bench import loops
from bench.crew import Post
from bench.measures import drain as measure_drain
from bench.places import Place, path_of
from bench.plan import Size, Subject
from bench.prototype import Claimed, Finished
from bench.prototype import serve as work
from bench.sqlite.raw import PAYLOAD, connect

__all__ = ["SUBJECT", "serve"]

_SCHEMA = """
CREATE TABLE task (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, agent TEXT NOT NULL, state INTEGER NOT NULL,
                   attempt INTEGER NOT NULL DEFAULT 0, nonce INTEGER, lease_until INTEGER, payload TEXT, result TEXT);
CREATE INDEX ready ON task (agent, number) WHERE state = 1;
CREATE TABLE event (cursor INTEGER PRIMARY KEY, task INTEGER NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL,
                    at INTEGER NOT NULL, data TEXT);
CREATE INDEX event_of ON event (task, seq);
"""
_FINISH = """UPDATE task SET state = 3, result = given.value ->> 2, lease_until = NULL FROM json_each(?) AS given
             WHERE number = given.value ->> 0 AND nonce = given.value ->> 1 AND state = 2"""
_FINISHED = "INSERT INTO event (task, seq, kind, at) SELECT value ->> 0, 2, 'done', ? FROM json_each(?)"
_READY = """SELECT json_group_array(json_array(number, id, payload, ?)) FROM (
              SELECT number, id, payload FROM task WHERE agent = 'bench' AND state = 1 ORDER BY number LIMIT ?)"""
_CLAIM = """UPDATE task SET state = 2, attempt = attempt + 1, nonce = ?, lease_until = ? FROM json_each(?) AS given
            WHERE number = given.value"""
_CLAIMED = """INSERT INTO event (task, seq, kind, at, data)
              SELECT value, 1, 'started', ?, '{"worker":"w"}' FROM json_each(?)"""


class _Engine:
    def __init__(self, url: str) -> None:
        self.execute = connect(path_of(url)).execute
        self.nonces = counter(1)
        self.claims = msgspec.json.Decoder(list[Claimed])
        self.encode = msgspec.json.encode

    async def __call__(self, finished: Sequence[Finished], want: int) -> Sequence[Claimed]:
        """In one transaction."""
        now = time.time_ns() // 1_000_000
        nonce = next(self.nonces)
        self.execute("BEGIN IMMEDIATE")
        if finished:
            given = self.encode(finished).decode()
            self.execute(_FINISH, (given,))
            self.execute(_FINISHED, (now, given))
        claimed = self.claims.decode(self.execute(_READY, (nonce, want)).fetchone()[0]) if want else []
        if claimed:
            numbers = self.encode([task.number for task in claimed]).decode()
            self.execute(_CLAIM, (nonce, now + 30_000, numbers))
            self.execute(_CLAIMED, (now, numbers))
        self.execute("COMMIT")
        return claimed


def serve(post: Post) -> None:
    """What a worker process does."""
    engine = _Engine(post.url)
    post.ready()
    loops.run(work(engine, post))


def _fill(url: str, count: int) -> None:
    database = connect(path_of(url))
    database.execute(_SCHEMA)
    with database:
        database.executemany(
            "INSERT INTO task (id, agent, state, payload) VALUES (?, 'bench', 1, ?)",
            [(f"task-{number:032x}", PAYLOAD) for number in range(count)],
        )
    database.close()


def _settled(url: str) -> int:
    database = connect(path_of(url))
    (done,) = database.execute("SELECT count(*) FROM task WHERE state = 3").fetchone()
    database.close()
    return int(done)


def drain(place: Place, size: Size) -> Mapping[str, float]:
    shapes = ((1, 10), (1, 100))
    return measure_drain(place, size, f"{__name__}:serve", _fill, size.drain, shapes=shapes, settled=_settled)


SUBJECT = Subject(
    name="prototype",
    durability="WAL, fsync at every commit",
    requires=("apsw", "msgspec"),
    runs={"drain": drain},
)
