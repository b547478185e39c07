"""The store's file is removed, or replaced, while it is in use."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tenuto.agents.function import task_agent
from tenuto.errors import StoreCorrupt, StoreGone
from tenuto.stores.sqlite import SqliteStore
from tenuto.workers.worker import Worker, WorkerConfig
from tests.integration.faults.children import goal_tree


@task_agent(name="echo")
def echo(payload: str) -> str:
    return payload


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """A store with work in it."""
    store = SqliteStore(tmp_path / "lost.db")
    await store.open()
    await store.submit([goal_tree(0)])
    yield store
    await store.close()


async def test_nothing_more_is_accepted_and_no_empty_store_appears(store: SqliteStore) -> None:
    store.path.unlink()

    with pytest.raises(StoreGone, match="was removed while it was in use"):
        await store.submit([goal_tree(1)])
    with pytest.raises(StoreGone, match="was removed while it was in use"):
        await store.stats()
    assert not store.path.exists()


async def test_another_file_in_its_place_is_not_written(store: SqliteStore, tmp_path: Path) -> None:
    other = SqliteStore(tmp_path / "other.db")
    await other.open()
    await other.close()
    other.path.replace(store.path)
    before = store.path.read_bytes()

    with pytest.raises(StoreGone, match="was replaced by another while it was in use"):
        await store.submit([goal_tree(1)])
    assert store.path.read_bytes() == before


async def test_a_worker_ends_and_says_why(store: SqliteStore) -> None:
    worker = Worker(store, [echo], WorkerConfig(poll=0.05))
    working = asyncio.create_task(worker.run())
    store.path.unlink()

    with pytest.raises(StoreGone, match="was removed"):
        await asyncio.wait_for(working, 60)


async def test_a_log_without_its_store_is_not_thrown_away(store: SqliteStore, tmp_path: Path) -> None:
    log = store.path.with_name(f"{store.path.name}-wal")
    orphan = tmp_path / "orphan.db-wal"
    shutil.copy(log, orphan)
    before = orphan.read_bytes()

    with pytest.raises(StoreCorrupt, match=r"orphan\.db-wal"):
        await SqliteStore(tmp_path / "orphan.db").open()
    assert orphan.read_bytes() == before
