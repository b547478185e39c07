"""Running the queries of this engine on a connection, many in one round trip.

The connection is in libpq's pipeline mode. What gives nothing is queued; what gives something is sent together with
all that was queued before it. So a transaction is a few round trips: one that begins it, takes the lock and reads what
is known to be needed; one for each thing that turns out to be needed; and one that writes everything and commits.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.waiting import Ready, Wait

from tenuto.stores.postgres.connection import Address, Connection
from tenuto.stores.postgres.parameters import encoded, types_of, value_of
from tenuto.stores.postgres.queries import query
from tenuto.stores.rows import Changes, Header, NewTask, Statements, changes_of
from tenuto.tasks.clock import Millis

__all__ = ["IDLE_TIMEOUT", "LONGEST_IDLE", "WRITES_ALL", "Opening", "PostgresStatements"]

Result = pq.abc.PGresult

_FAILED = frozenset({pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.PIPELINE_ABORTED, pq.ExecStatus.BAD_RESPONSE})
_LOCK_TIMEOUT = 20_000
"""Milliseconds to wait for the store's lock: longer than a program that was cut off can hold it, many times over."""
IDLE_TIMEOUT: Millis = 2_000
"""How long a transaction that writes may stand still before the server ends it."""
LONGEST_IDLE: Millis = 60_000
"""The same for one that reads, which holds nobody up, and for one that had more to do than there was time for."""
_STUCK = 10
"""Seconds after which who has sent a part of a transaction is taken for one that will not send the rest."""
WRITES_ALL = 64
"""Every so many transactions one writes the tags and virtual times that the others have only passed on."""
_KEPT_HEADERS = 2_048
_KEPT_MARKS: Millis = 3_600_000
"""How long it is known, at least, who has made which transaction."""
_PROMOTION = 86_400_000_000
"""How far cursors leap when a standby is promoted; in microseconds, which is what they count: a day."""
_NEVER = (-(2**40), 0)
"""The state of no store."""


class Opening(NamedTuple):
    """What the beginning of a transaction has found."""

    version: int
    mark: int
    number: int
    cursor: int
    clock: Millis
    server: Millis
    """the server's time"""
    follows: bool
    """whether `base` is the transaction that was known"""
    base: int
    changes: str | None
    """what was changed after transaction `base`, as JSON"""

    @property
    def state(self) -> tuple[int, int]:
        """Which transaction was the last one. Not the version alone: after a failover it may come a second time."""
        return self.version, self.mark


class _Sent(NamedTuple):
    """A command on its way, and who is interested in its result."""

    prepares: bytes | None
    sink: Callable[[Result], None] | None


class PostgresStatements(Statements):
    """A connection, in whatever transaction is open on it."""

    most_kept_back = 64

    def __init__(self, connection: Connection, address: Address, *, server_time: bool) -> None:
        """`server_time`: the engine's clock is the server's, and no clock of this machine."""
        self.connection = connection
        self._address = address
        self._server_time = server_time
        self._pgconn = connection.pgconn
        self._pgconn.enter_pipeline_mode()
        self._sent: list[_Sent] = []
        self._prepared: set[bytes] = set()
        self._opening: Opening | None = None
        self._wrote = False
        self.idle_timeout = IDLE_TIMEOUT
        """of the next transaction"""
        self.committing: tuple[int, int] | None = None
        """the state that a commit would lead to whose answer has not come"""
        self.settled = 0
        """the transaction below which nothing can arrive any more, on this server"""
        self._since = 0
        """when this server has started: behind a pooler it may become another one"""
        self._timeline: int | None = None
        self.arrived = False
        """something has arrived, and is to be admitted"""
        self.callers = False
        """callers have transactions open, in which they have submitted"""

    # -- transactions

    def begin(self, wanted: str | None = None, known: tuple[int, int] | None = None) -> tuple[Opening, str | None]:
        """Begins a transaction that writes, with the store's lock; and what `tasks_by_id` gives for `wanted`.

        `known`: the state of the store that is remembered here.
        """
        self.committing = None
        self._wrote = False
        self._send(b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")  # after the lock, each query sees what is so now
        self._enter(known or _NEVER)
        found: list[Any] = [None]
        if wanted is not None:
            self._queue("tasks_by_id", (wanted,), lambda result: found.append(value_of(result)))
        self.flush()
        assert self._opening is not None
        return self._opening, found[-1]

    def join(self) -> None:
        """Takes the store's lock in a transaction that was begun by others, which they commit."""
        self._wrote = False
        self._enter()
        self.flush()

    def _enter(self, known: tuple[int, int] = _NEVER) -> None:
        self._settle()
        self._queue("lock", (self._address.lock,))
        self._queue("guard_callers", (self._address.callers,), self._mind)
        self._queue("header", (*known, WRITES_ALL), self._open)
        self._queue("arrived", (str(self.settled), self._since), self._look)

    def begin_reading(self) -> None:
        """Begins a transaction that sees one state of the store: that of its first query."""
        self._opening = None
        self.arrived = False
        self._send(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self.idle_timeout = LONGEST_IDLE
        self._settle()
        self._queue("header", (*_NEVER, 1), self._open)
        self._queue("arrived", (str(self.settled), self._since), self._look)

    def _mind(self, result: Result) -> None:
        self.callers = not value_of(result)

    def _look(self, result: Result) -> None:
        since = value_of(result, 0, 2)
        if since != self._since:
            self._since, self.settled, self._timeline = since, 0, None
        self.arrived = value_of(result, 0, 1)
        if not self.arrived:
            self.settled = value_of(result)

    def _settle(self) -> None:
        self._queue("settings", ("on", str(_LOCK_TIMEOUT), str(self.idle_timeout)))

    def _open(self, result: Result) -> None:
        self._opening = Opening(*(value_of(result, 0, column) for column in range(9)))

    def commit(self, header: Header, changes: Changes | None = None) -> tuple[int, int]:
        """Commits; what the state of the store is then (`Opening.state`)."""
        state = self.keep(header, changes)
        self._send(b"COMMIT")
        self.committing = state if self._wrote else None
        self.flush()
        self.committing = None
        return state

    def notify(self, payloads: Sequence[str]) -> None:
        """Sends these to who listens to the store, when the transaction commits."""
        self._queue("notify", (self._address.channel, payloads))

    def write_anyway(self) -> None:
        """The transaction leaves a trace, whether anything was written or not: its commit waits until all that was
        committed before is as safe as an answer has to be."""
        self._wrote = True

    def keep(self, header: Header, changes: Changes | None = None) -> tuple[int, int]:
        """The last that a transaction writes: how the store stands; what its state is once that is committed.

        `changes`: for those who remember rows; None where it is not known what was changed.
        """
        assert self._opening is not None
        state = self._opening.state
        if self._wrote:
            state = state[0] + 1, secrets.randbits(62)
            self._queue("keep", (*state, *header, None if changes is None else changes_of(changes)))
            if state[0] % _KEPT_HEADERS == 0:
                self._queue("pack_headers", (state[0] - 2 * _KEPT_HEADERS, state[0] - _KEPT_HEADERS))
                self._queue("forget_marks", (header.clock - _KEPT_MARKS,))
        return state

    def was_made(self, state: tuple[int, int]) -> bool | None:
        """Whether the transaction was committed that would have led to `state`; None where that is not known any more.

        Called in a transaction that writes: whoever might still have been at it has let go of the lock.
        """
        mark = self.value("mark_of", state[0])
        if mark is None and state[0] <= self.opening.version:
            return None
        return bool(mark == state[1])

    def roll_back(self) -> None:
        """Ends the transaction without its changes."""
        self._send(b"ROLLBACK")
        try:
            self.flush()
        except psycopg.Error:  # of what was still queued
            if self._pgconn.transaction_status != pq.TransactionStatus.IDLE:
                raise

    def end_stuck(self) -> int:
        """Ends who has the store's lock and stands still in the middle of a transaction that it was sending; how many
        that were. The server's own timeouts leave those out. Called between transactions."""
        return int(self.value("end_stuck", self._address.lock, _STUCK))

    # -- statements

    @property
    def passes_on(self) -> bool:
        assert self._opening is not None
        return (self._opening.version + 1) % WRITES_ALL != 0

    @property
    def opening(self) -> Opening:
        """What the beginning of the transaction has found."""
        assert self._opening is not None
        return self._opening

    def header(self) -> Header:
        if self._opening is None:
            self.flush()
        assert self._opening is not None
        clock = self._opening.clock
        if self._server_time:
            clock = max(clock, self._opening.server)
        return Header(self._opening.number, self._opening.cursor, clock)

    def first_cursor(self, last: int, now: Millis) -> int:
        # Where a failover has lost the latest events, their cursors must not come again for others, nor may what comes
        # now be behind them, where readers would not find it: neither if the new server's clock is not as far.
        if self._timeline is None:
            self._timeline = int(self.value("timeline"))
        return max(last + 1, now * 1000 + self._timeline * _PROMOTION)

    def raise_floor(self, header: Header) -> None:
        """Every header says what was used."""

    def value(self, name: str, *parameters: Any) -> Any:
        found: list[Any] = []
        sought = [None if isinstance(each, str) and "\0" in each else each for each in parameters]  # equal to nothing
        self._queue(name, sought, lambda result: found.append(value_of(result) if result.ntuples else None))
        self.flush()
        return found[0]

    def run(self, name: str, *parameters: Any) -> None:
        self._wrote = True
        self._queue(name, parameters)

    def run_rows(self, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            self._wrote = True
            self._queue(name, tuple(zip(*rows, strict=True)))
            if len(rows) >= self.most_kept_back:
                self._pgconn.flush()  # the server begins with it now

    def count(self, name: str, *parameters: Any) -> int:
        self._wrote = True
        found: list[int] = []
        self._queue(name, parameters, lambda result: found.append(result.command_tuples or 0))
        self.flush()
        return found[0]

    def insert_tasks(self, tasks: Sequence[NewTask]) -> None:
        self._wrote = True
        new = NewTask._make(zip(*tasks, strict=True))
        about = (new.number, new.id, new.goal, new.lane, new.root, new.parent, new.unique_key, new.fixed)
        self._queue("insert_specs", about)
        parts = (new.number, new.lane, new.state, new.root, new.rank, new.due, new.finished, new.parked)
        self._queue("insert_tasks", (*parts, new.result, new.live))
        if len(tasks) >= self.most_kept_back:
            self._pgconn.flush()

    # -- the wire

    def _send(self, sql: bytes) -> None:
        self._pgconn.send_query_params(sql, None)
        self._sent.append(_Sent(None, None))

    def _queue(self, name: str, parameters: Sequence[Any], sink: Callable[[Result], None] | None = None) -> None:
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

    def flush(self) -> None:
        """Sends all that was queued, and takes the answers. Raises the first error."""
        sent, self._sent = self._sent, []
        self._pgconn.pipeline_sync()
        results = self.connection.wait(_answers(self._pgconn))
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


def _answers(pgconn: pq.abc.PGconn) -> PQGen[list[Result]]:
    """Sends what is left to send, and receives all results up to the next synchronisation."""
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
            return results
        results.append(result)
