"""A SQLite store in a folder of its own, and trees to put into it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tenuto.stores.sqlite import SqliteStore
from tenuto.tasks.goal import Tree
from tenuto.tasks.task import TaskSpec


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tenuto.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def tree() -> Callable[[str], Tree]:
    return lambda task_id: Tree(TaskSpec(id=task_id, agent="a"))
