"""Looking after the store: what is in it, whether it is sound, and giving room back.

Each on a connection of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
from psycopg import sql

from tenuto.errors import StoreError
from tenuto.stores.absent import no_store
from tenuto.stores.postgres.connection import Address, Connection, connect
from tenuto.stores.postgres.durability import durability
from tenuto.stores.postgres.errors import translated
from tenuto.stores.postgres.queries import query
from tenuto.stores.postgres.remembered import rows_for
from tenuto.stores.postgres.schema import latest, version
from tenuto.stores.postgres.session import PostgresStatements
from tenuto.stores.rows import Clock
from tenuto.tasks.clock import wall_clock

__all__ = ["check", "compact", "info"]

_COUNTED = ("task", "event", "step", "message", "blob", "key", "lane", "schedule", "limit", "arrival")
_CHECKS = {
    "task_without_spec": "{} tasks have lost what was submitted",
    "spec_without_task": "{} specs belong to no task",
    "task_without_lane": "{} tasks stand in no lane",
    "claimable_in_closed_lane": "{} ready tasks are in lanes that claims do not look at",
    "running_without_lease": "{} running tasks have no lease, so that nobody would miss their worker",
    "missing_events": "{} tasks have not all of their events",
    "wait_without_waiting": "{} waits belong to tasks that do not wait",
    "slots_miscounted": "{} limits count other slots than are held",
    "calls_miscounted": "{} trees count other calls than are in their ledgers",
    "orphans": "{} tasks have lost their root or their parent",
    "unreadable_arrivals": "{} submissions that callers committed could not be read (table arrival, column trouble)",
}


def info(address: Address) -> dict[str, Any]:
    """Server, database, schema, bytes and numbers of rows of a store."""
    with _patient(address) as connection:
        database, server = _row(connection, address, "database")
        told: dict[str, Any] = {
            "server": f"PostgreSQL {server}",
            "database": database,
            "namespace": address.schema,
            "durability": durability(connection, address),
            "schema": version(connection, address),
            "latest_schema": latest(),
            "bytes": _row(connection, address, "storage", address.schema)[0],
        }
        if told["schema"] == latest():
            told |= {f"{name}s": _row(connection, address, f"count_{name}s")[0] for name in _COUNTED}
    return told


def check(address: Address) -> list[str]:
    """What is wrong with a store, in sentences: what must hold between its rows. Pages are the server's own affair
    (`pg_amcheck`, checksums)."""
    found: list[str] = []
    with _patient(address) as connection:
        _check_existence(connection, address)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.transaction():
            for name, sentence in _CHECKS.items():
                (count,) = _row(connection, address, f"check_{name}")
                if count:
                    found.append(sentence.format(count))
    return found


def compact(address: Address) -> None:
    """Forgets the lanes of owners that have no tasks left, and vacuums the tables. Nobody waits meanwhile.

    The server does the latter by itself as a rule. Raises `StoreError` for a role that does not own the tables.
    """
    with _patient(address) as connection:
        _check_existence(connection, address)
        tables = connection.execute(query("ownership", address.schema), (address.schema,)).fetchall()
        if not all(owned for _, owned in tables):
            raise StoreError(
                f"The store {address.url} can be compacted only by the owner of its schema: name that role in the URL."
            )
        _forget(connection, address)
        for table, _ in tables:
            connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(address.schema, table)))


def _forget(connection: Connection, address: Address) -> None:
    statements = PostgresStatements(connection, address, server_time=True)
    statements.begin()
    rows_for(statements, Clock(wall_clock)).write_lanes()
    statements.run("forget_lanes")
    statements.run("forget_queues")
    statements.commit(statements.header())  # so that others read their lanes anew
    connection.pgconn.exit_pipeline_mode()


@contextmanager
def _patient(address: Address) -> Iterator[Connection]:
    with closing(connect(address, "maintenance")) as connection, translated(address.url):
        connection.patience = None  # a large store takes its time
        yield connection


def _check_existence(connection: Connection, address: Address) -> None:
    present = version(connection, address)
    if not present:
        raise no_store(address.url)
    if present != latest():
        raise StoreError(
            f"The store {address.url} has schema {present}, and this Tenuto looks after {latest()}: run 'tenuto store "
            "migrate' with the newer of the two."
        )


def _row(connection: Connection, address: Address, name: str, *parameters: Any) -> Any:
    return connection.execute(query(name, address.schema), parameters).fetchone()
