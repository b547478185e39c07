"""The transactions of this engine, in few round trips.

What gives nothing is queued; what gives something is sent together with all that was queued before it. So a transaction
is a few round trips: one that begins it, takes the lock and reads what is known to be needed; one for each thing that
turns out to be needed; and one that writes everything and commits.

Who has good reason to think that nobody else has written since saves the first of them (`assume`). The server finds out
whether that is so, once it has the lock, and writes nothing where it is not: the statements that a transaction needs as
a rule ask for it. Any other statement that writes waits until it is known.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from tenuto.stores.postgres.connection import Address, Connection
from tenuto.stores.postgres.opening import Opening, ServerTime
from tenuto.stores.postgres.parameters import value_of
from tenuto.stores.postgres.wire import Result, Wire
from tenuto.stores.rows import Changes, Header, NewTask, Statements, changes_of
from tenuto.tasks.clock import Millis

__all__ = ["IDLE_TIMEOUT", "LONGEST_IDLE", "WRITES_ALL", "Moved", "PostgresStatements"]

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
_NEW = 32
"""Tasks of others that are read for a claim before it asks for them."""
_KEPT_HEADERS = 2_048
_KEPT_MARKS: Millis = 3_600_000
"""How long it is known, at least, who has made which transaction."""
_PROMOTION = 86_400_000_000
"""How far cursors leap when a standby is promoted; in microseconds, which is what they count: a day."""
_NEVER = (-(2**40), 0)
"""The state of no store."""
_GUARDED = frozenset({"insert_specs", "insert_tasks", "update_tasks", "insert_events", "keep", "notify"})
"""What does nothing where the store does not stand where a transaction counts on it."""


class Moved(Exception):
    """The store does not stand where the transaction has counted on it. Nothing of it is stored."""


class PostgresStatements(Statements):
    """A connection, in whatever transaction is open on it."""

    most_kept_back = 64

    def __init__(self, connection: Connection, address: Address, *, server_time: bool) -> None:
        """`server_time`: the engine's clock is the server's, and no clock of this machine."""
        self.connection = connection
        self._address = address
        self._server_time = server_time
        self._wire = Wire(connection, address)
        self._time = ServerTime()
        self._ahead: tuple[str, Callable[[str | None], None]] | None = None
        self._unconfirmed = self._moved = False
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

    def read_ahead(self, numbers: str, sink: Callable[[str | None], None]) -> None:
        """Has the next transaction read tasks before it waits for the lock. `sink` gets them with its first answers:
        what others change of them meanwhile is told after that."""
        self._ahead = numbers, sink

    def begin(
        self, known: tuple[int, int] | None = None, wanted: str | None = None, after: int | None = None
    ) -> tuple[str | None, str | None]:
        """Begins a transaction that writes, with the store's lock; what `tasks_by_id` gives for `wanted`, and the first
        few tasks after number `after`.

        `known`: the state of the store that is remembered here.
        """
        self._begin()
        self._enter(known or _NEVER)
        found: list[str | None] = [None, None]
        if wanted is not None:
            self._wire.queue("tasks_by_id", (wanted,), lambda result: found.insert(0, value_of(result)))
        if after is not None:
            self._wire.queue("tasks_after", (after, _NEW), lambda result: found.append(value_of(result)))
        self.flush()
        return found[0], found[-1]

    def count_on(self, state: tuple[int, int], stands: Header) -> Header:
        """A transaction is about to be begun by `assume` in this state. Where the store will stand then."""
        self._opening = Opening(*state, *stands, self._time.now, True, state[0], None)
        return self.header()

    def assume(self, absent: Sequence[str]) -> None:
        """Begins a transaction that writes, and does not wait. It counts on what `count_on` was told, on no caller
        having a transaction open, and on there being no tasks with the ids `absent`.

        Whatever takes an answer from then on raises `Moved` where that is not so.
        """
        opening = self.opening
        self.arrived = self.callers = False
        self._begin()
        self._unconfirmed = True
        self._wire.queue("lock", (self._address.lock,))
        self._wire.queue("guard_callers_here", (self._address.callers,))
        now = opening.server if self._server_time else None
        self._wire.queue("stands", (*opening.state, self._since, str(self.settled), now, absent), self._see)
        self._wire.push()

    def _see(self, result: Result) -> None:
        self._unconfirmed = False
        self._time.learn(value_of(result, 0, 1))
        self._moved = not value_of(result)
        if not self._moved:
            self.settled = value_of(result, 0, 2)

    def confirm(self) -> None:
        """Raises `Moved` where what the transaction counts on is not so: who has come to an error by it must know."""
        if self._unconfirmed:
            self.flush()

    def _begin(self) -> None:
        self.committing = None
        self._wrote = self._unconfirmed = self._moved = False
        self._time.ask()
        # After the lock, each query sees what is so then.
        self._wire.send(b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
        self._settle()
        if self._ahead is not None:
            (numbers, sink), self._ahead = self._ahead, None
            self._wire.queue("tasks_by_number", (numbers,), lambda result: sink(value_of(result)))

    def join(self) -> None:
        """Takes the store's lock in a transaction that was begun by others, which they commit."""
        self._wrote = False
        self._settle()
        self._enter()
        self.flush()

    def _enter(self, known: tuple[int, int] = _NEVER) -> None:
        self._wire.queue("lock", (self._address.lock,))
        self._wire.queue("guard_callers", (self._address.callers,), self._mind)
        self._wire.queue("header", (*known, WRITES_ALL), self._open)
        self._wire.queue("arrived", (str(self.settled), self._since), self._look)

    def begin_reading(self) -> None:
        """Begins a transaction that sees one state of the store: that of its first query."""
        self._opening = None
        self.arrived = False
        self._time.ask()
        self._wire.send(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self.idle_timeout = LONGEST_IDLE
        self._settle()
        self._wire.queue("header", (*_NEVER, 1), self._open)
        self._wire.queue("arrived", (str(self.settled), self._since), self._look)

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
        self._wire.queue("settings", ("on", str(_LOCK_TIMEOUT), str(self.idle_timeout)))

    def _open(self, result: Result) -> None:
        self._opening = Opening(*(value_of(result, 0, column) for column in range(9)))
        self._time.learn(self._opening.server)

    def commit(self, header: Header, changes: Changes | None = None) -> tuple[int, int]:
        """Commits; what the state of the store is then (`Opening.state`)."""
        state = self.keep(header, changes)
        self._wire.send(b"COMMIT")
        self.committing = state if self._wrote else None
        self.flush()
        self.committing = None
        return state

    def notify(self, payloads: Sequence[str]) -> None:
        """Sends these to who listens to the store, when the transaction commits."""
        self._write("notify", (self._address.channel, payloads))

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
            self._write("keep", (*state, *header, None if changes is None else changes_of(changes)))
            if state[0] % _KEPT_HEADERS == 0:
                self._write("pack_headers", (state[0] - 2 * _KEPT_HEADERS, state[0] - _KEPT_HEADERS))
                self._write("forget_marks", (header.clock - _KEPT_MARKS,))
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
        """Ends the transaction without its changes, if one is open."""
        self._moved = False
        if self._wire.idle:
            return
        self._wire.send(b"ROLLBACK")
        try:
            self._wire.flush()
        except psycopg.Error:  # of what was still queued
            if not self._wire.idle:
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
        self._wire.queue(name, sought, lambda result: found.append(value_of(result) if result.ntuples else None))
        self.flush()
        return found[0]

    def run(self, name: str, *parameters: Any) -> None:
        self._write(name, parameters)

    def run_rows(self, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            self._write(name, tuple(zip(*rows, strict=True)))
            if len(rows) >= self.most_kept_back:
                self._wire.push()

    def count(self, name: str, *parameters: Any) -> int:
        self.confirm()
        self._wrote = True
        found: list[int] = []
        self._wire.queue(name, parameters, lambda result: found.append(result.command_tuples or 0))
        self.flush()
        return found[0]

    def insert_tasks(self, tasks: Sequence[NewTask]) -> None:
        new = NewTask._make(zip(*tasks, strict=True))
        about = (new.number, new.id, new.goal, new.lane, new.root, new.parent, new.unique_key, new.fixed)
        self._write("insert_specs", about)
        parts = (new.number, new.lane, new.state, new.root, new.rank, new.due, new.finished, new.parked)
        self._write("insert_tasks", (*parts, new.result, new.live))
        if len(tasks) >= self.most_kept_back:
            self._wire.push()

    def _write(self, name: str, parameters: Sequence[Any]) -> None:
        if name not in _GUARDED:
            self.confirm()
        self._wrote = True
        self._wire.queue(name, parameters)

    def flush(self) -> None:
        """Sends all that was queued, and takes the answers. Raises the first error, and `Moved`."""
        self._wire.flush()
        if self._moved:
            raise Moved
