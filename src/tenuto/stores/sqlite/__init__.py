"""The SQLite engine: the whole store in one file, and no server."""

from __future__ import annotations

from tenuto.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
