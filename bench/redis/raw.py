"""Raw Redis: what this server and redis-py can do at all, with hiredis and one connection.

A task is a hash and an entry of a list. Submission in batches is pipelined writes of the same bytes, without a
transaction; the drain is `raw.lua`, which stores the results of the batch before and claims the next. No events, no
leases, no order but age, no task body.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import measures
from bench.places import Place
from bench.plan import Size, Subject
from bench.sqlite.raw import PAYLOAD

__all__ = ["SUBJECT"]

_READY = "ready"
_TASK = "task:"


def _client(url: str) -> Any:
    import redis

    return redis.Redis.from_url(url)


def _write(client: Any, first: int, count: int) -> None:
    pipeline = client.pipeline(transaction=False)
    ids = [f"task-{number:032x}" for number in range(first, first + count)]
    for task in ids:
        pipeline.hset(_TASK + task, mapping={"state": "ready", "payload": PAYLOAD})
    pipeline.rpush(_READY, *ids)
    pipeline.execute()


def _fill(url: str, count: int) -> None:
    client = _client(url)
    for first in range(0, count, 1_000):
        _write(client, first, min(1_000, count - first))
    client.close()


def submit(place: Place, size: Size) -> Mapping[str, float]:
    client = _client(place.new("submit"))
    single = measures.rate(lambda number: _write(client, number, 1), size.singles)
    bulk = measures.rate(lambda first: _write(client, size.singles + first, 1_000), size.bulk, each=1_000)
    client.close()
    return {"submit.single": single, "submit.bulk": bulk}


def drain(place: Place, size: Size) -> Mapping[str, float]:
    values = {}
    script = Path(__file__).with_suffix(".lua").read_text(encoding="utf-8")
    for metric, batch, count in (("drain.batch", 100, size.drain * 4), ("drain.each", 1, size.drain // 4)):
        url = place.new(metric)
        _fill(url, count)
        place.rest(url)
        client = _client(url)
        exchange = client.register_script(script)
        began = time.perf_counter()
        finished: list[Any] = []
        while claimed := exchange(keys=[_READY, _TASK], args=[batch, *finished]):
            finished = [word for task in claimed[::2] for word in (task, PAYLOAD)]
        values[metric] = count / (time.perf_counter() - began)
        client.close()
    return values


def size_of(place: Place, size: Size) -> Mapping[str, float]:
    return measures.queued(place, _fill, size.waiting)


SUBJECT = Subject(
    name="raw Redis",
    durability="AOF everysec; at most once",
    requires=("redis",),
    runs={"submit": submit, "drain": drain, "size": size_of},
)
