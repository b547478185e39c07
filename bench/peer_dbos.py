"""DBOS on SQLite: durable workflows from a queue.

DBOS uses a rollback journal with fsync at every commit. A task is a workflow without steps, enqueued on a queue; in
bulk, many are enqueued in one transaction through its client. For the drain the queue is asked to poll every 10 ms,
which is far better for it than its default of one second; the latency is measured with its defaults.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.plan import Size, Subject

__all__ = ["SUBJECT"]

_TEXT = "x" * 60
_QUEUE = "bench"


class _Application:
    """A launched DBOS with one workflow, `work`, and what it noted."""

    def __init__(self, path: Path, **queue: Any) -> None:
        from dbos import DBOS

        logging.getLogger("dbos").setLevel(logging.ERROR)
        self.url = f"sqlite:///{path}"
        self.started: list[float] = []
        self.dbos = DBOS
        DBOS(
            config={
                "name": "bench",
                "system_database_url": self.url,
                "log_level": "ERROR",
                "application_version": "bench",
                "max_executor_threads": 100,
            }
        )
        started = self.started

        @DBOS.workflow(name="work")
        def work(n: int, text: str) -> dict[str, Any]:
            started.append(time.monotonic())
            return {"n": n, "text": text}

        @DBOS.workflow(name="node")
        def node(n: int) -> int:
            return n

        self.work = work
        self.node = node
        self.queue_options = queue

    def __enter__(self) -> _Application:
        self.dbos.launch()
        if self.queue_options:
            self.listen(**self.queue_options)
        return self

    def listen(self, **options: Any) -> None:
        """From now on the queue is worked off."""
        self.dbos.register_queue(_QUEUE, **options)

    def __exit__(self, *_: object) -> None:
        self.dbos.destroy(destroy_registry=True)

    def enqueue_many(self, count: int) -> None:
        """In one transaction for each 1,000."""
        import sqlalchemy
        from dbos import DBOSClient

        client = DBOSClient(system_database_url=self.url)
        engine = sqlalchemy.create_engine(self.url)
        options: Any = {"workflow_name": "work", "queue_name": _QUEUE, "app_version": "bench"}
        for first in range(0, count, 1_000):
            with engine.begin() as connection:
                for number in range(first, min(first + 1_000, count)):
                    client.enqueue_in_transaction(connection, options, number, _TEXT)
        engine.dispose()
        client.destroy()

    def wait_until_done(self, count: int, seconds: float = 120) -> None:
        """Until `count` workflows have succeeded."""
        import sqlalchemy

        engine = sqlalchemy.create_engine(self.url)
        query = sqlalchemy.text("SELECT count(*) FROM workflow_status WHERE status = 'SUCCESS'")
        until = time.monotonic() + seconds
        done = 0
        while done < count:
            if time.monotonic() > until:
                raise RuntimeError(f"DBOS finished {done} of {count} in {seconds:g} s")
            time.sleep(0.05)
            with engine.connect() as connection:
                done = connection.execute(query).scalar_one()
        engine.dispose()


def submit(directory: Path, size: Size) -> Mapping[str, float]:
    with _Application(directory / "dbos.db") as application:
        count = min(size.singles, 500)
        began = time.perf_counter()
        for number in range(count):
            application.dbos.enqueue_workflow(_QUEUE, application.work, number, _TEXT)
        single = count / (time.perf_counter() - began)
        many = min(size.bulk, 5_000)
        began = time.perf_counter()
        application.enqueue_many(many)
        bulk = many / (time.perf_counter() - began)
    return {"submit.single": single, "submit.bulk": bulk}


def drain(directory: Path, size: Size) -> Mapping[str, float]:
    values = {}
    for concurrency in (10, 100):
        with _Application(directory / f"dbos-{concurrency}.db") as application:
            application.enqueue_many(size.slow_drain)
            began = time.perf_counter()
            application.listen(worker_concurrency=concurrency, polling_interval_sec=0.01)
            application.wait_until_done(size.slow_drain)
            values[f"drain.1x{concurrency}"] = size.slow_drain / (time.perf_counter() - began)
    return values


def latency(directory: Path, size: Size) -> Mapping[str, float]:
    delays = []
    with _Application(directory / "dbos.db", worker_concurrency=10) as application:
        time.sleep(1.5)
        for sample in range(min(size.samples, 15)):
            began = time.monotonic()
            handle = application.dbos.enqueue_workflow(_QUEUE, application.work, sample, _TEXT)
            handle.get_result()
            delays.append((application.started[sample] - began) * 1_000)
    delays.sort()
    return {"start.inside.p50": delays[len(delays) // 2], "start.inside.p95": delays[int(len(delays) * 0.95)]}


def dag(directory: Path, size: Size) -> Mapping[str, float]:
    """A workflow whose nodes are child workflows: all started at once, or each after the one before."""
    with _Application(directory / "dbos.db") as application:
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


SUBJECT = Subject(
    name="DBOS",
    durability="rollback journal, fsync at every commit",
    requires=("dbos", "sqlalchemy"),
    runs={"submit": submit, "drain": drain, "latency": latency, "dag": dag},
)
