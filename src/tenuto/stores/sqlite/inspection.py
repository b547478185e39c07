"""Looking at a store's file without using it as a store: what it is, and whether SQLite finds it sound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import apsw

from tenuto.errors import NotFound
from tenuto.stores.sqlite.connection import APPLICATION_ID
from tenuto.stores.sqlite.errors import damaged, translated
from tenuto.stores.sqlite.schema import LATEST, version

__all__ = ["FileFacts", "file_damage", "inspect_file"]

_MOST = 100


@dataclass(frozen=True)
class FileFacts:
    """A store's file as it is."""

    path: str
    bytes: int
    """of the file and its write-ahead log"""
    schema: int
    latest_schema: int
    """what this release writes; a file with a smaller number is upgraded when it is opened"""
    sqlite: str
    """the version of SQLite in use"""


def inspect_file(path: Path) -> FileFacts:
    """What the file is. Changes nothing. Raises `NotFound`, and `StoreCorrupt` for a file that is not a store."""
    connection = _open(path)
    try:
        with translated(path):
            schema = version(connection)
    finally:
        connection.close(True)
    sizes = (Path(f"{path}{suffix}") for suffix in ("", "-wal"))
    size = sum(file.stat().st_size for file in sizes if file.exists())
    return FileFacts(str(path), size, schema, LATEST, apsw.sqlite_lib_version())


def file_damage(path: Path) -> list[str]:
    """What SQLite finds wrong with the file, at most 100 lines; empty when it is sound. Reads all of it."""
    connection = _open(path)
    try:
        with translated(path):
            lines = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({_MOST})")]
    except apsw.CorruptError as error:
        return [str(error)]
    finally:
        connection.close(True)
    return [] if lines == ["ok"] else lines


def _open(path: Path) -> apsw.Connection:
    if not path.exists():
        raise NotFound(f"there is no store at {path}")
    with translated(path):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(5_000)
            ours = connection.pragma("application_id") == APPLICATION_ID
        except apsw.Error:
            connection.close(True)
            raise
    if not ours:
        connection.close(True)
        raise damaged(path, "is not a Tenuto store")
    return connection
