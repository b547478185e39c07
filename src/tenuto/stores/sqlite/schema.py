"""Schema migrations: numbered SQL files, applied in order under one write transaction.

`user_version` of the file is the number of the last one applied. An older file is brought up to date, a newer one is
refused. Two programs that start at once are harmless: the second finds the work done.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import apsw

from tenuto.errors import StoreTooNew
from tenuto.stores.sqlite.connection import APPLICATION_ID, begin, roll_back
from tenuto.stores.sqlite.errors import damaged, translated

__all__ = ["LATEST", "migrate", "migrations", "version"]


def migrations() -> list[tuple[int, str]]:
    """Numbers and texts, in order."""
    folder = resources.files("tenuto.stores.sqlite") / "migrations"
    files = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    return [(int(name.partition("_")[0]), (folder / name).read_text(encoding="utf-8")) for name in files]


LATEST = max(number for number, _ in migrations())
"""The schema that this release reads and writes."""


def version(connection: apsw.Connection) -> int:
    """The number of the file's schema, 0 for an empty file."""
    return int(connection.pragma("user_version"))


def migrate(connection: apsw.Connection, path: Path) -> int:
    """Brings the file up to date; how many migrations were applied.

    Raises `StoreTooNew` for a file of a newer release, and `StoreCorrupt` for one that is not ours after all.
    """
    with translated(path, connection):
        if _is_current(connection):
            return 0
    begin(connection, path)
    try:
        with translated(path, connection):
            applied = _apply(connection, path)
            connection.execute("COMMIT")
    finally:
        roll_back(connection)
    return applied


def _is_current(connection: apsw.Connection) -> bool:
    """False also where another program is just opening or closing the file: who begins to write waits for that."""
    try:
        return version(connection) == LATEST and connection.pragma("application_id") == APPLICATION_ID
    except apsw.BusyError:
        return False


def _apply(connection: apsw.Connection, path: Path) -> int:
    present = version(connection)
    if present > LATEST:
        raise StoreTooNew(
            f"The store {path} has schema {present}, and this Tenuto knows schemas up to {LATEST}: "
            "install the newer Tenuto that wrote it. It was left as it is."
        )
    identity = connection.pragma("application_id")
    empty = connection.execute("SELECT count(*) = 0 FROM sqlite_schema").get
    if not (identity == APPLICATION_ID and present > 0) and not (identity == 0 and present == 0 and empty):
        raise damaged(path, "is a SQLite database of another program")
    due = [(number, text) for number, text in migrations() if number > present]
    for number, text in due:
        connection.execute(text)
        connection.pragma("user_version", number)
    connection.pragma("application_id", APPLICATION_ID)
    return len(due)
