"""The writer: one thread that commits for everyone in this process.

Requests queue up while a transaction is at work; the next one takes all that waits, up to a bound, and commits it
together. There is no timer: on an idle store a request is taken at once. A request that fails must not harm those it
happened to share a transaction with: all is rolled back, and each is tried again by itself.

Processes take turns by the store's lock. Where nobody else has written since the last commit of this one, what is
remembered of it is still true, and little needs to be read.

A connection that breaks is made anew, and the requests are tried again, for as long as a request may wait. Where it
broke in the middle of a commit, the mark that the transaction would have left says whether it was made. Marks are kept
for an hour; who comes later than that tells those who asked that it is not known, and tries nothing again by itself.

A program that stands still with the lock loses it: the server ends its transaction. A large tree may keep a busy
machine for as long, so a transaction that has taken its time is given more when it is tried again.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Sequence

import psycopg

from tenuto.errors import StoreBusy, StoreError, StoreUnavailable
from tenuto.observability.logging import logger
from tenuto.stores.postgres.arrivals import admit
from tenuto.stores.postgres.connection import LAST_PATIENCE, PATIENCE, Address, Connection, connect
from tenuto.stores.postgres.errors import translate
from tenuto.stores.postgres.hints import Hints
from tenuto.stores.postgres.remembered import rows_for
from tenuto.stores.postgres.session import IDLE_TIMEOUT, LONGEST_IDLE, Moved, PostgresStatements
from tenuto.stores.postgres.trust import Trust
from tenuto.stores.requests import Mailbox, Request, answer, commit, joined
from tenuto.stores.rows import Clock, Header, Rows
from tenuto.stores.rows.layout import dump
from tenuto.stores.rows.store import MOST_WEIGHT
from tenuto.stores.rules.work import Work

__all__ = ["Writer"]

log = logger("tenuto.store")

_AGAIN = (0.02, 0.2)
"""Seconds between two attempts to connect."""
_NOT_KNOWN = (
    "The store {} was lost for so long in the middle of a commit that it cannot be found out whether that was made. "
    "What is asked again with the same ids is done once."
)


class _NotKnownError(StoreUnavailable):
    """What was asked may have been done. Whoever asked decides whether to ask again: it must not be done twice."""


class Writer:
    """The thread, its connection, and the requests on their way to it."""

    def __init__(self, address: Address, clock: Clock, hints: Hints, *, server_time: bool) -> None:
        self._address = address
        self._clock = clock
        self._hints = hints
        self._server_time = server_time
        self._mailbox: Mailbox[Work] = Mailbox()
        self._give_up = math.inf
        """when a server that cannot be reached is waited for no longer, because somebody waits for the end"""
        self._connection: Connection | None = None
        self._statements: PostgresStatements
        self._rows: Rows
        self._state: tuple[int, int] | None = None
        self._stands: Header
        """where the store stood after the last transaction, where its state is known"""
        self._trust = Trust(lambda: hints.others)
        self._idle_timeout = IDLE_TIMEOUT
        self._sent: Sequence[Request[Work]] = ()
        """requests whose transaction has told others itself"""
        self._connect()
        self._thread = threading.Thread(target=self._run, name="tenuto-postgres-writer", daemon=True)
        self._thread.start()

    def put(self, request: Request[Work]) -> bool:
        """Adds a request; False when the thread is about to end."""
        return self._mailbox.put(request)

    def close(self) -> None:
        """Does all that was asked for, then ends. Blocks until then."""
        self._mailbox.close()
        self._give_up = time.monotonic() + LAST_PATIENCE
        self._thread.join()

    # -- the thread

    def _run(self) -> None:
        while (requests := self._mailbox.take(MOST_WEIGHT)) is not None:
            if requests:
                hint = commit(requests, self._patiently)
                answer(requests)
                if hint is not None:
                    self._hints.tell(hint, sent=self._sent is requests)
        self._disconnect()

    def _patiently(self, requests: Sequence[Request[Work]]) -> BaseException | None:
        """Tries until the store can be reached, or until it takes too long."""
        deadline = time.monotonic() + PATIENCE
        while True:
            begun = time.monotonic()
            error = self._transaction(requests)
            taken = 1_000 * (time.monotonic() - begun)
            passes = isinstance(error, StoreUnavailable | StoreBusy) and not isinstance(error, _NotKnownError)
            if not passes or time.monotonic() > min(deadline, self._give_up):
                self._idle_timeout = IDLE_TIMEOUT
                return error
            if taken > self._idle_timeout:
                self._idle_timeout = min(8 * self._idle_timeout, LONGEST_IDLE)
            if isinstance(error, StoreBusy):
                self._free_lock()
            time.sleep(random.uniform(*_AGAIN))

    def _transaction(self, requests: Sequence[Request[Work]]) -> BaseException | None:
        """Runs and commits `requests`; what went wrong, in which case nothing is stored."""
        works: list[Work] = []
        try:
            if self._connection is None:
                self._connect()
            rows = self._assume(requests)
            assumed = rows is not None
            if rows is None:
                wanted = [task_id for request in requests for task_id in request.wants]
                rows = self._begin(wanted, sum(request.claims for request in requests))
            try:
                self._carry_out(requests, rows, works)
            except Exception:
                self._statements.confirm()
                raise
            self._stands = rows.header
            self._state = self._statements.commit(self._stands, rows.changes)
            if assumed:
                self._trust.kept()
        except Moved:
            self._trust.broken()
            self._undo(works)
            return self._transaction(requests)
        except BaseException as error:  # noqa: BLE001  # it belongs to whoever asked, and the thread goes on
            told = translate(error, self._address.url) if isinstance(error, psycopg.Error) else error
            unsettled = self._statements.committing if isinstance(told, StoreUnavailable) else None
            if unsettled is not None:
                made = self._was_made(unsettled)
                if made:
                    return None
                if made is None:
                    told = _NotKnownError(_NOT_KNOWN.format(self._address.url))
            self._undo(works)
            return told
        return None

    def _carry_out(self, requests: Sequence[Request[Work]], rows: Rows, works: list[Work]) -> None:
        """Does what was asked for; what is to be undone where it is not committed goes to `works`."""
        arrivals = Work(rows)
        works.append(arrivals)
        if self._statements.arrived:
            admit(arrivals)
        for request in requests:
            work = Work(rows)
            works.append(work)
            request.answer = request.verb(work)
            rows.write_purges()
            request.hint = work.hint
        rows.write()
        if arrivals.hint is not None:
            requests[0].hint = arrivals.hint if requests[0].hint is None else requests[0].hint | arrivals.hint
        hint = joined(requests)
        payloads = self._hints.with_commit(hint) if hint is not None else []
        if payloads:
            self._sent = requests
            self._statements.notify(payloads)

    def _assume(self, requests: Sequence[Request[Work]]) -> Rows | None:
        """Begins a transaction that counts on nobody else having written since the last one; None where it does not."""
        if self._state is None or self._statements.callers or not self._trust.counts():
            return None
        rows = self._rows
        rows.begin_again(self._statements.count_on(self._state, self._stands))
        if any(not request.fresh and rows.unknown(request.wants) for request in requests):
            return None
        new = rows.unknown(task_id for request in requests for task_id in request.wants)
        rows.count_absent(new)
        self._statements.idle_timeout = self._idle_timeout
        self._read_ahead(sum(request.claims for request in requests))
        self._statements.assume(new)
        return rows

    def _begin(self, wanted: Sequence[str] = (), claims: int = 0) -> Rows:
        unknown = self._rows.unknown(wanted)
        after = None
        self._statements.idle_timeout = self._idle_timeout
        if self._state is not None and claims:
            after = self._stands.number if self._rows.starved else None
            self._read_ahead(claims)
        text, new = self._statements.begin(self._state, dump(unknown) if unknown else None, after)
        if self._statements.opening.state != self._state:
            self._trust.met()
        self._rows = rows_for(self._statements, self._clock, self._rows, self._state)
        if unknown:
            self._rows.learn(unknown, text)
        self._rows.learn_ahead(new)
        self._rows.load(wanted)
        return self._rows

    def _read_ahead(self, claims: int) -> None:
        soon = self._rows.soon(claims) if claims else ()
        if soon:
            self._statements.read_ahead(dump(soon), self._rows.learn_ahead)

    def _was_made(self, state: tuple[int, int]) -> bool | None:
        """Whether a commit was made whose answer was lost: decided once its transaction has let go of the lock.

        None where that cannot be found out, in time or at all.
        """
        deadline = time.monotonic() + PATIENCE
        self._disconnect()
        while time.monotonic() < min(deadline, self._give_up):
            try:
                self._connect()
                rows = self._begin()
                made = self._statements.was_made(state)
                self._statements.write_anyway()
                rows.write()
                self._stands = rows.header
                self._state = self._statements.commit(self._stands, rows.changes)
            except (psycopg.Error, StoreError):
                self._disconnect()
                time.sleep(random.uniform(*_AGAIN))
            else:
                return made
        return None

    def _free_lock(self) -> None:
        """Whoever fell silent in the middle of sending would keep the lock for as long as its connection stands."""
        try:
            if self._connection is None:
                self._connect()
            if self._statements.end_stuck():
                log.warning(
                    "ended the session of a program that stood still with the store's lock", store=self._address.url
                )
        except (psycopg.Error, StoreError):
            self._disconnect()

    def _undo(self, works: Sequence[Work]) -> None:
        self._state = None
        for work in works:
            for step in reversed(work.undo):
                step()
        try:
            if self._connection is not None:
                self._statements.roll_back()
        except psycopg.Error:
            self._disconnect()

    # -- the connection

    def _connect(self) -> None:
        self._connection = connect(self._address, "writer")
        self._statements = PostgresStatements(self._connection, self._address, server_time=self._server_time)
        self._hints.speaks("writer", self._connection.info.backend_pid)
        self._rows = Rows(self._statements, self._clock)
        self._state = None

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
