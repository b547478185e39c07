"""Queries of this engine on their way over a connection, many in one round trip.

The connection is in libpq's pipeline mode. What is queued is sent at the latest when an answer is needed; until then
the server may already be at work on it. Each part ends with a synchronisation, so that the server knows a client that
stands still between two parts, in the middle of a transaction, from one that sends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.waiting import Ready, Wait

from tenuto.stores.postgres.connection import Address, Connection
from tenuto.stores.postgres.parameters import encoded, types_of
from tenuto.stores.postgres.queries import query

__all__ = ["Result", "Wire"]

Result = pq.abc.PGresult

_FAILED = frozenset({pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.PIPELINE_ABORTED, pq.ExecStatus.BAD_RESPONSE})


class _Sent(NamedTuple):
    """A command on its way, and who is interested in its result."""

    prepares: bytes | None
    sink: Callable[[Result], None] | None


class Wire:
    """The pipeline of one connection."""

    def __init__(self, connection: Connection, address: Address) -> None:
        self._connection = connection
        self._address = address
        self._pgconn = connection.pgconn
        self._pgconn.enter_pipeline_mode()
        self._sent: list[_Sent] = []
        self._parts = 0
        """synchronisations on their way"""
        self._prepared: set[bytes] = set()

    @property
    def idle(self) -> bool:
        """No transaction is open, and nothing was queued."""
        return not self._sent and self._pgconn.transaction_status == pq.TransactionStatus.IDLE

    def send(self, sql: bytes) -> None:
        """Queues a command without parameters, whose result nobody looks at."""
        self._pgconn.send_query_params(sql, None)
        self._sent.append(_Sent(None, None))

    def queue(self, name: str, parameters: Sequence[Any], sink: Callable[[Result], None] | None = None) -> None:
        """Queues the query called `name`; `sink` gets its result."""
        sql = query(name, self._address.schema)
        values, formats = encoded(types_of(sql), parameters)
        if not self._address.prepare:
            self._pgconn.send_query_params(sql, values, None, formats)
            self._sent.append(_Sent(None, sink))
            return
        label = name.encode()
        if label not in self._prepared:
            self._pgconn.send_prepare(label, sql)
            self._prepared.add(label)
            self._sent.append(_Sent(label, None))
        self._pgconn.send_query_prepared(label, values, formats)
        self._sent.append(_Sent(None, sink))

    def push(self) -> None:
        """Sends what was queued, and does not wait: the server begins with it now."""
        self._pgconn.pipeline_sync()
        self._parts += 1
        self._pgconn.flush()

    def flush(self) -> None:
        """Sends all that was queued, and takes the answers. Raises the first error."""
        sent, self._sent = self._sent, []
        parts, self._parts = self._parts + 1, 0
        self._pgconn.pipeline_sync()
        results = self._connection.wait(_answers(self._pgconn, parts))
        error: psycopg.Error | None = None
        for (prepares, sink), result in zip(sent, results, strict=False):
            if result.status in _FAILED:
                if prepares is not None:
                    self._prepared.discard(prepares)
                if error is None:
                    error = error_from_result(result)
            elif sink is not None:
                sink(result)
        if error is not None:
            raise error
        if len(results) < len(sent):
            raise psycopg.OperationalError("the connection was lost")


def _answers(pgconn: pq.abc.PGconn, parts: int) -> PQGen[list[Result]]:
    """Sends what is left to send, and receives all results of so many parts."""
    while pgconn.flush():
        ready = yield Wait.RW
        if ready & Ready.R:
            pgconn.consume_input()
    results: list[Result] = []
    nothing = 0
    while True:
        while pgconn.is_busy():
            if (yield Wait.R) & Ready.R:
                pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            nothing += 1
            if nothing > 1:  # one ends the results of each command; more come when the connection is gone
                return results
            continue
        nothing = 0
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            parts -= 1
            if not parts:
                return results
        else:
            results.append(result)
