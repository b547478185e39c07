"""No room left, in the middle of work. A limit on file sizes stands for the full disk: it needs no privileges."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenuto.stores.sqlite import SqliteStore
from tests.integration.faults.children import NODES, run


def test_a_full_disk_is_a_clear_error_that_stores_nothing_and_passes(tmp_path: Path) -> None:
    path = tmp_path / "full.db"
    full, readable, swept, again = run("fill", path)

    assert full["accepted"] > 5
    assert full["error"] == "StoreFull"
    assert str(path) in full["message"]
    assert "Free some space" in full["message"]
    # What was there before can be read, and nothing of the refused goal can be seen.
    assert readable["readable"] == full["accepted"] * NODES
    assert swept["swept"] in (None, "StoreFull")
    # With room again the same store, in the same process, goes on.
    assert again == {"again": (full["accepted"] + 1) * NODES, "damage": []}


@pytest.mark.parametrize("size", [0, 4_096, 50_000])
def test_a_store_that_had_no_room_to_begin_is_made_later(tmp_path: Path, size: int) -> None:
    error, later = run("begin", tmp_path / "new.db", f"{size}")

    assert error == {"error": "StoreFull"}
    assert later == {"damage": []}


async def test_a_worker_waits_for_room_and_then_finishes_everything_once(tmp_path: Path) -> None:
    path = tmp_path / "full.db"
    full, ended = run("work", path)

    assert full["full_after"] >= 100
    assert ended["during"] <= 10, "something was committed although there was no room"
    # A step that could not be recorded stays in its attempt until it can be: nothing ran twice.
    assert ended["steps"] == ended["different"] == ended["expected"]
    assert await SqliteStore(path).check() == []
