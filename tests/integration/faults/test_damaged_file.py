"""Files that are damaged, or no store at all: refused with advice, never repaired or overwritten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from tenuto.agents.function import task_agent
from tenuto.errors import StoreCorrupt
from tenuto.stores.sqlite import SqliteStore
from tenuto.workers.worker import Worker, WorkerConfig
from tests.integration.faults.children import goal_tree

_PAGE = 4_096


@task_agent(name="echo")
def echo(payload: str) -> str:
    return payload


async def _filled(path: Path) -> None:
    """A store of some hundred pages, everything in its one file."""
    store = SqliteStore(path)
    await store.open()
    await store.submit([goal_tree(number) for number in range(40)])
    await store.close()


def _text(path: Path) -> None:
    path.write_text("Dear diary, today I was mistaken for a database.\n" * 100, encoding="utf-8")


def _header(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[:100] = b"\xa5" * 100
    path.write_bytes(data)


def _cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])


def _other_program(path: Path) -> None:
    path.unlink()
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE recipe (name TEXT); INSERT INTO recipe VALUES ('soup')")
    connection.close()


@pytest.mark.parametrize("damage", [_text, _header, _cut, _other_program])
async def test_what_is_no_sound_store_is_refused_with_advice(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "store.db"
    await _filled(path)
    damage(path)
    before = path.read_bytes()

    with pytest.raises(StoreCorrupt, match=r"left as it is.*backup") as caught:
        await SqliteStore(path).open()
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def _middle(path: Path) -> bytes:
    """Destroys the pages in the middle of the file; what is in it then."""
    data = bytearray(path.read_bytes())
    pages = len(data) // _PAGE
    assert pages > 100
    begin, end = pages // 4 * _PAGE, pages * 3 // 4 * _PAGE
    data[begin:end] = b"\xa5" * (end - begin)
    path.write_bytes(data)
    return bytes(data)


async def test_pages_that_were_destroyed_in_the_middle_are_found_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await _filled(path)
    before = _middle(path)

    store = SqliteStore(path)
    assert await store.check() != []
    await store.open()
    try:
        with pytest.raises(StoreCorrupt, match=r"left as it is.*backup"):
            await asyncio.gather(*(store.goal(f"g{number}") for number in range(40)))
    finally:
        await store.close()
    assert path.read_bytes() == before


async def test_a_worker_on_a_damaged_store_ends_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await _filled(path)
    _middle(path)

    store = SqliteStore(path)
    await store.open()
    try:
        with pytest.raises(StoreCorrupt, match="backup"):
            await asyncio.wait_for(Worker(store, [echo], WorkerConfig(poll=0.05)).run(), 60)
    finally:
        await store.close()
