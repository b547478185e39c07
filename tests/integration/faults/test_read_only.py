"""A store that this user may read and not write."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenuto.stores.sqlite import SqliteStore
from tests.integration.faults.children import goal_tree, run


@pytest.fixture
def folder() -> Iterator[Path]:
    """Unlike pytest's own folders, one that other users may enter: root itself may write everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@pytest.mark.parametrize("folder_too", [True, False])
async def test_it_is_a_clear_error_and_the_file_stays_as_it_is(folder: Path, folder_too: bool) -> None:
    path = folder / "read-only.db"
    store = SqliteStore(path)
    await store.open()
    await store.submit([goal_tree(0)])
    await store.close()
    await asyncio.to_thread(path.chmod, 0o444)
    await asyncio.to_thread(folder.chmod, 0o555 if folder_too else 0o777)
    before = path.read_bytes()

    (said,) = run("open", path)

    assert said["error"] == "StoreReadOnly"
    assert str(path) in said["message"]
    assert "permissions" in said["message"]
    assert path.read_bytes() == before
