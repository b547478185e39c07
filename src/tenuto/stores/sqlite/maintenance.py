"""Looking after the file: what is in it, whether it is sound, and giving room back. Each on a connection of its own."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from tenuto.stores.absent import no_store
from tenuto.stores.sqlite.connection import begin, connect, is_there, roll_back
from tenuto.stores.sqlite.errors import translated
from tenuto.stores.sqlite.queries import query
from tenuto.stores.sqlite.schema import LATEST, version

__all__ = ["check", "compact", "info"]

_COUNTED = ("task", "event", "step", "message", "blob", "key", "lane", "schedule", "limit")
_DURABILITY = "What was answered is on the disk, and survives a power cut."
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
}


def _existing(path: Path) -> Path:
    if not is_there(path):
        raise no_store(path)
    return path


def info(path: Path) -> dict[str, Any]:
    """Path, schema, sizes in bytes and numbers of rows of the store at `path`."""
    log = path.with_name(f"{path.name}-wal")
    with closing(connect(_existing(path))) as connection, translated(path):
        page = connection.pragma("page_size")
        file_bytes, log_bytes = path.stat().st_size, log.stat().st_size if log.exists() else 0
        told: dict[str, Any] = {
            "path": str(path),
            "schema": version(connection),
            "latest_schema": LATEST,
            "durability": _DURABILITY,
            "bytes": file_bytes + log_bytes,
            "file_bytes": file_bytes,
            "log_bytes": log_bytes,
            "page_bytes": page,
            "free_bytes": connection.pragma("freelist_count") * page,
        }
        if told["schema"]:
            told |= {f"{name}s": connection.execute(query(f"count_{name}s")).get for name in _COUNTED}
    return told


def check(path: Path) -> list[str]:
    """What is wrong with the store at `path`, in sentences; empty when nothing is."""
    with closing(connect(_existing(path))) as connection, translated(path):
        connection.execute("BEGIN")
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check").fetchall() if row[0] != "ok"]
        readable = not found and version(connection) == LATEST
        for name, sentence in _CHECKS.items() if readable else ():
            count = connection.execute(query(f"check_{name}")).get
            if count:
                found.append(sentence.format(count))
        connection.execute("COMMIT")
    return found


def compact(path: Path, busy_timeout: float) -> None:
    """Forgets the lanes of owners that have no tasks left, and rewrites the file without its free pages."""
    with closing(connect(_existing(path))) as connection:
        begin(connection, path, busy_timeout)
        try:
            with translated(path):
                connection.execute(query("forget_lanes"))
                connection.execute(query("forget_queues"))
                connection.execute("COMMIT")
        finally:
            roll_back(connection)
        with translated(path):
            connection.set_busy_timeout(int(busy_timeout * 1000))
            connection.execute("VACUUM")
            connection.wal_checkpoint()
