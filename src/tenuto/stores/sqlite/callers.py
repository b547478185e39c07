"""The caller's own SQL: submitting inside its transaction, and running its statements inside ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec
from msgspec.structs import replace

from tenuto.errors import InvalidInput
from tenuto.stores.base import Submission
from tenuto.stores.rows import Clock, Rows
from tenuto.stores.rules.outcomes import holds
from tenuto.stores.rules.record import record
from tenuto.stores.rules.submit import submit
from tenuto.stores.rules.work import Work
from tenuto.stores.sqlite.errors import translate
from tenuto.stores.sqlite.statements import SqliteStatements
from tenuto.tasks.clock import Millis
from tenuto.tasks.goal import Tree
from tenuto.tasks.lease import Hold
from tenuto.tasks.outcome import Answer, Record, Recorded, Step, StepState
from tenuto.tasks.states import State

__all__ = ["CallersError", "CallersSql", "recorded_with", "submit_inside"]


# -- their transaction -------------------------------------------------------------------------------------


def submit_inside(connection: Any, path: Path, clock: Clock, trees: Sequence[Tree]) -> list[Submission]:
    """Stores `trees` over the caller's `connection`, in the transaction that is open on it.

    Raises `InvalidInput` for a connection of another kind, to another file or without a transaction. Whatever is
    raised, of the trees nothing is in the transaction.

    A connection of Python's own `sqlite3` will not do: it brings a copy of SQLite of its own, and two copies in one
    process do not see each other's locks on a file (https://sqlite.org/howtocorrupt.html, 2.2.1).
    """
    if isinstance(connection, sqlite3.Connection):
        raise InvalidInput(
            "connection is one of sqlite3, whose copy of SQLite must never open the file of a store that this process "
            f"has open, because it does not see its locks: use apsw.Connection({str(path)!r})"
        )
    if not isinstance(connection, apsw.Connection):
        raise InvalidInput(f"connection must be an apsw.Connection, not {type(connection).__name__}")
    try:
        _check_file(connection, path)
        if not connection.in_transaction:
            raise InvalidInput("connection has no open transaction: begin one, submit, then commit it")
        connection.execute("SAVEPOINT tenuto_submit", ())
        try:
            rows = Rows(SqliteStatements(connection), clock)
            rows.load([tree.root.id for tree in trees] + [node.id for tree in trees for node in tree.nodes])
            answers = submit(Work(rows), trees)
            rows.write()
        except BaseException:
            connection.execute("ROLLBACK TO tenuto_submit", ())
            raise
        finally:
            connection.execute("RELEASE tenuto_submit", ())
    except apsw.Error as error:
        raise translate(error, path) from error
    return answers


def _check_file(connection: apsw.Connection, path: Path) -> None:
    files = [row[2] for row in connection.execute("PRAGMA database_list", ()).fetchall() if row[1] == "main"]
    if not files or not files[0] or not path.exists() or not path.samefile(str(files[0])):
        raise InvalidInput(f"connection is not connected to the store {path} but to {(files or [''])[0] or 'memory'}")


# -- our transaction ---------------------------------------------------------------------------------------


class CallersError(Exception):
    """Carries what the caller's function raised out of the transaction, as it was."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class CallersSql:
    """What the caller's function gets: statements on its own tables, inside the transaction that records its step."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection: apsw.Connection | None = connection

    def execute(self, sql: str, parameters: Any = None) -> apsw.Cursor:
        """Runs statements; a cursor over the rows they give.

        Raises `InvalidInput` for those that would end the transaction, attach files or write tables of Tenuto.
        """
        if self._connection is None:
            raise InvalidInput("the transaction is over: its connection can be used only inside the function")
        try:
            return self._connection.execute(sql, parameters)
        except apsw.AuthError:
            raise InvalidInput(
                "a transaction of a task cannot begin, commit or roll back, attach files, set pragmas or write tables "
                f"of Tenuto, as in {sql[:60]!r}: it is committed together with its step"
            ) from None

    def close(self) -> None:
        """The transaction is over."""
        self._connection = None


_READ_PRAGMAS = frozenset({"table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list"})
_WRITES = frozenset({apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE})
_DROPS = frozenset(
    {apsw.SQLITE_DROP_TABLE, apsw.SQLITE_DROP_INDEX, apsw.SQLITE_CREATE_TRIGGER, apsw.SQLITE_CREATE_INDEX}
)
_NEVER = frozenset({apsw.SQLITE_TRANSACTION, apsw.SQLITE_ATTACH, apsw.SQLITE_DETACH})


def _allows(action: int, one: str | None, two: str | None, _database: str | None, _trigger: str | None) -> int:
    ours = (one or "").startswith("tenuto_") or (two or "").startswith("tenuto_")
    if action in _NEVER:
        return apsw.SQLITE_DENY
    if action == apsw.SQLITE_PRAGMA:
        return apsw.SQLITE_OK if one in _READ_PRAGMAS else apsw.SQLITE_DENY
    if action == apsw.SQLITE_ALTER_TABLE or action == apsw.SQLITE_SAVEPOINT or action in _DROPS:
        return apsw.SQLITE_DENY if ours else apsw.SQLITE_OK
    if action in _WRITES and (one or "").startswith("tenuto_"):
        return apsw.SQLITE_DENY
    return apsw.SQLITE_OK


def recorded_with(
    work: Work, hold: Hold, step: Step, function: Callable[[CallersSql], bytes], lease: Millis
) -> Recorded:
    """Runs `function` in the open transaction and records `step` with the JSON it returned.

    A step that is recorded already, and a lease that is lost, run nothing.
    """
    rows = work.tables
    assert isinstance(rows, Rows)
    assert isinstance(rows.statements, SqliteStatements)
    task = rows.task(hold.task_id)
    if task is None or task.state is not State.RUNNING or not holds(task, hold):
        return Recorded(Answer.STALE)
    known = rows.step(hold.task_id, step.key)
    if known is None or known.state is StepState.STARTED:
        rows.write()
        value = _run(rows.statements.connection, function)
        step = replace(step, value=msgspec.Raw(value))
    return record(work, [Record(hold, (step,))], lease)[0]


def _run(connection: apsw.Connection, function: Callable[[CallersSql], bytes]) -> bytes:
    theirs = CallersSql(connection)
    connection.execute("SAVEPOINT tenuto_transact")
    connection.set_authorizer(_allows)
    try:
        value = function(theirs)
    except Exception as error:
        raise CallersError(error) from error
    finally:
        theirs.close()
        connection.set_authorizer(None)
    connection.execute("RELEASE tenuto_transact")
    return value
