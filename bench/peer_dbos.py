"""DBOS: durable workflows from a queue, on SQLite and on PostgreSQL.

A task is a workflow without steps, enqueued on a queue; in bulk, 1,000 are enqueued in one transaction through its
client. For the drain the queue is asked to poll every 10 ms, which is far better for it than its default of one
second; the latency is measured with its defaults.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from bench import measures
from bench.crew import Board, Post
from bench.measures import EVERY_SHAPE, TEXT
from bench.places import Place
from bench.plan import Run, Size, Subject

__all__ = ["POSTGRES", "SQLITE", "serve", "serve_as_it_is"]

_QUEUE = "bench"
_OPTIONS: Any = {"workflow_name": "work", "queue_name": _QUEUE, "app_version": "bench"}


class _Application:
    """A launched DBOS with its workflows."""

    def __init__(self, url: str, board: Board | None = None) -> None:
        from dbos import DBOS

        logging.getLogger("dbos").setLevel(logging.ERROR)
        self.dbos: Any = DBOS
        DBOS(
            config={
                "name": "bench",
                "system_database_url": url,
                "log_level": "ERROR",
                "application_version": "bench",
                "executor_id": f"worker-{os.getpid()}",
                "max_executor_threads": 100,
            }
        )

        @DBOS.workflow(name="work")
        def work(n: int, text: str) -> dict[str, Any]:
            assert board is not None
            board.ran(n)
            return {"n": n, "text": text}

        @DBOS.workflow(name="node")
        def node(n: int) -> int:
            return n

        self.work = work
        self.node = node

    def __enter__(self) -> _Application:
        self.dbos.launch()
        return self

    def __exit__(self, *_: object) -> None:
        self.dbos.destroy(destroy_registry=True)


def _serve(post: Post, **queue: Any) -> None:
    with _Application(post.url, post.board) as application:
        post.ready()
        application.dbos.register_queue(_QUEUE, worker_concurrency=post.concurrency, **queue)
        post.over()


def serve(post: Post) -> None:
    """What a worker process does in the drain."""
    _serve(post, polling_interval_sec=0.01)


def serve_as_it_is(post: Post) -> None:
    """The same with its defaults."""
    _serve(post)


@contextlib.contextmanager
def _client(url: str) -> Iterator[tuple[Any, Any]]:
    """DBOS's client and an engine on the same database, with the schema made."""
    import sqlalchemy
    from dbos import DBOSClient

    with _Application(url):
        pass
    client = DBOSClient(system_database_url=url)
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        yield client, engine
    finally:
        engine.dispose()
        client.destroy()


def _fill(url: str, count: int) -> None:
    with _client(url) as (client, engine):
        _enqueue_many(client, engine, count)


def _enqueue_many(client: Any, engine: Any, count: int) -> None:
    for first in range(0, count, 1_000):
        with engine.begin() as connection:
            for _ in range(min(1_000, count - first)):
                client.enqueue_in_transaction(connection, _OPTIONS, 0, TEXT)


def _settled(url: str) -> int:
    import sqlalchemy

    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    schema = "dbos." if url.startswith("postgresql") else ""
    with engine.connect() as connection:
        query = f"SELECT count(*) FROM {schema}workflow_status WHERE status = 'SUCCESS'"
        done = connection.execute(sqlalchemy.text(query)).scalar_one()
    engine.dispose()
    return int(done)


def submit(place: Place, size: Size) -> Mapping[str, float]:
    with _client(place.new("submit")) as (client, engine):
        single = measures.rate(lambda number: client.enqueue(_OPTIONS, number, TEXT), min(size.singles, 500))
        many = min(size.bulk, 5_000)
        began = time.perf_counter()
        _enqueue_many(client, engine, many)
        bulk = many / (time.perf_counter() - began)
    return {"submit.single": single, "submit.bulk": bulk}


def _drain(shapes: tuple[tuple[int, int], ...]) -> Run:
    return lambda place, size: measures.drain(
        place, size, f"{__name__}:serve", _fill, size.slow_drain, shapes=shapes, settled=_settled
    )


def latency(place: Place, size: Size) -> Mapping[str, float]:
    url = place.new("latency")
    with _client(url) as (client, _):

        async def submit_one(sample: int) -> None:
            await asyncio.to_thread(client.enqueue, _OPTIONS, sample, TEXT)

        return asyncio.run(measures.latency(place, size, f"{__name__}:serve_as_it_is", url, submit_one))


def size_of(place: Place, size: Size) -> Mapping[str, float]:
    return measures.queued(place, _fill, size.waiting // 10)


def dag(place: Place, size: Size) -> Mapping[str, float]:
    """A workflow whose nodes are child workflows: all started at once, or each after the one before."""
    with _Application(place.new("dag")) as application:
        dbos, node = application.dbos, application.node

        @dbos.workflow(name="wide")
        def wide(count: int) -> int:
            handles = [dbos.start_workflow(node, number) for number in range(count)]
            return sum(handle.get_result() for handle in handles)

        @dbos.workflow(name="chain")
        def chain(count: int) -> int:
            return sum(node(number) for number in range(count))

        values = {}
        for name, goal in (("dag.wide", wide), ("dag.chain", chain)):
            began = time.perf_counter()
            assert goal(size.nodes) == sum(range(size.nodes))
            values[name] = time.perf_counter() - began
    return values


_RUNS: Mapping[str, Run] = {"submit": submit, "latency": latency, "size": size_of, "dag": dag}

SQLITE = Subject(
    name="DBOS",
    durability="rollback journal, fsync at every commit; at least once; results kept",
    requires=("dbos", "sqlalchemy"),
    runs={**_RUNS, "drain": _drain(((1, 10), (1, 100)))},
)
POSTGRES = Subject(
    name="DBOS",
    durability="fsync at every commit; at least once; results kept",
    requires=("dbos", "sqlalchemy", "psycopg"),
    runs={**_RUNS, "drain": _drain(EVERY_SHAPE)},
)
