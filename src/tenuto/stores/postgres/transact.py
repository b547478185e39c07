"""A transaction of the task's own: its SQL and the step that ran it are committed together.

The task's function runs first, on a connection of its own, and may take its time: it holds no lock but those of the
rows it touches. Then the store's lock is taken, the step is recorded, and all of it is committed. Where the lease was
lost meanwhile, or the step turns out to be recorded, nothing of it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import psycopg
from msgspec.structs import replace
from psycopg import pq
from psycopg.rows import tuple_row

from tenuto.errors import InvalidInput
from tenuto.stores.base import Hint
from tenuto.stores.postgres.arrivals import admit
from tenuto.stores.postgres.connection import PATIENCE, Connection
from tenuto.stores.postgres.errors import translate
from tenuto.stores.postgres.lent import LentConnection
from tenuto.stores.postgres.loans import Loans
from tenuto.stores.postgres.queries import query
from tenuto.stores.postgres.remembered import rows_for
from tenuto.stores.postgres.session import PostgresStatements
from tenuto.stores.rows import Clock
from tenuto.stores.rules.outcomes import holds
from tenuto.stores.rules.record import record
from tenuto.stores.rules.work import Work
from tenuto.stores.tables import Tables
from tenuto.tasks.clock import Millis
from tenuto.tasks.lease import Hold
from tenuto.tasks.outcome import Answer, Record, Recorded, Step, StepState
from tenuto.tasks.states import State

__all__ = ["CallersError", "OwnTransaction", "may_run"]


class CallersError(Exception):
    """Carries what the task's function raised out of the transaction, as it was."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def may_run(tables: Tables, hold: Hold, step: Step) -> bool | None:
    """Whether the function is to run: None where the lease is lost, False where the step is recorded already."""
    task = tables.task(hold.task_id)
    if task is None or task.state is not State.RUNNING or not holds(task, hold):
        return None
    known = tables.step(hold.task_id, step.key)
    return known is None or known.state is StepState.STARTED


class OwnTransaction:
    """One such transaction."""

    def __init__(self, loans: Loans, clock: Clock, *, server_time: bool) -> None:
        self._loans = loans
        self._address = loans.address
        self._clock = clock
        self._server_time = server_time
        self.hint: Hint | None = None
        """what it means for others, once it is committed"""

    def run(self, hold: Hold, step: Step, function: Callable[[Any], bytes], lease: Millis) -> Recorded | None:
        """Runs `function(connection)` and records `step` with the JSON it returned; None where another had recorded it.

        Blocks. Raises `CallersError` for what the function raises.
        """
        recorded: Recorded | None = None
        try:
            with self._loans.begun(b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE") as connection:
                value = self._call(connection, function)
                recorded = self._record(connection, hold, replace(step, value=msgspec.Raw(value)), lease)
                if recorded is not None and recorded.answer is Answer.ACCEPTED:
                    connection.execute(b"COMMIT")
        except psycopg.Error as error:
            raise translate(error, self._address.url) from error
        return recorded

    def _call(self, connection: LentConnection, function: Callable[[Any], bytes]) -> bytes:
        own = self._transaction(connection)
        connection.patience = None  # its statements take as long as they take
        try:
            value = function(connection)
        except Exception as error:
            raise CallersError(error) from error
        finally:
            connection.patience = PATIENCE
        if connection.info.transaction_status == pq.TransactionStatus.INERROR:
            raise InvalidInput(
                "a statement of the function failed and the function went on, so that nothing can be committed: let "
                "the error out, or use a savepoint (`with connection.transaction():`)"
            )
        if self._transaction(connection) != own:
            raise InvalidInput(
                "the function has ended the transaction of its task with a COMMIT or ROLLBACK of its own: what it did "
                "before that stands without its step. Leave both out"
            )
        return value

    def _transaction(self, connection: Connection) -> Any:
        with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:  # the function may have set other ones
            return cursor.execute(query("own_transaction", self._address.schema)).fetchone()

    def _record(self, connection: Connection, hold: Hold, step: Step, lease: Millis) -> Recorded | None:
        statements = PostgresStatements(connection, self._address, server_time=self._server_time)
        try:
            statements.join()
            rows = rows_for(statements, self._clock)
            work = Work(rows)
            if statements.arrived:
                admit(work)
            if may_run(rows, hold, step) is False:
                return None
            recorded = record(work, [Record(hold, (step,))], lease)[0]
            rows.write()
            statements.keep(rows.header, rows.changes)
            statements.flush()
        finally:
            with contextlib.suppress(psycopg.Error):  # the connection is lost, as has been said
                connection.pgconn.exit_pipeline_mode()
        self.hint = work.hint
        return recorded
