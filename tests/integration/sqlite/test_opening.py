"""What is opened, what is made, and what is refused and left as it is."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from tenuto.errors import StoreBusy, StoreClosed, StoreCorrupt, StoreReadOnly, StoreTooNew, StoreUnavailable
from tenuto.stores.sqlite import SqliteStore, schema
from tenuto.stores.sqlite.connection import APPLICATION_ID, connect, prepare_file
from tenuto.tasks.goal import Tree


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def spoil(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))


async def refused(path: Path, error: type[Exception], *words: str) -> None:
    before = content(path)
    store = SqliteStore(path, busy_timeout=0.2)
    with pytest.raises(error) as caught:
        await store.open()
    await store.close()
    assert str(path) in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert content(path) == before


async def test_a_new_store_is_for_its_owner_alone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / ".tenuto" / "tenuto.db")
    await store.open()
    await store.close()
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    connection = apsw.Connection(str(store.path))
    assert connection.pragma("application_id") == APPLICATION_ID
    assert connection.pragma("user_version") == schema.LATEST
    assert connection.pragma("journal_mode") == "wal"
    connection.close()


async def test_opening_and_closing_twice_is_harmless(path: Path, tree: Callable[[str], Tree]) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.open()
    await store.submit([tree("one")])
    await store.close()
    await store.close()
    with pytest.raises(StoreClosed):
        await store.task("one")
    await store.open()
    assert await store.task("one") is not None
    await store.close()


async def test_many_open_a_new_file_at_once(path: Path) -> None:
    # Given programs that open one new file after the other, all of them the same ones
    code = (
        "import asyncio, sys\n"
        "from tenuto.stores.sqlite import SqliteStore\n"
        "async def main():\n"
        "    for number in range(30):\n"
        "        store = SqliteStore(sys.argv[1] + str(number)); await store.open(); await store.close()\n"
        "asyncio.run(main())\n"
    )
    children = [await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(path)) for _ in range(4)]
    # Then each of them gets its store, and so do several in one process
    stores = [SqliteStore(path) for _ in range(3)]
    await asyncio.gather(*(store.open() for store in stores))
    await asyncio.gather(*(store.close() for store in stores))
    assert [await asyncio.wait_for(child.wait(), 150) for child in children] == [0, 0, 0, 0]


async def test_text_is_no_store(path: Path) -> None:
    await asyncio.to_thread(path.write_text, "dear diary, " * 500)
    await refused(path, StoreCorrupt, "not a SQLite database", "backup")


async def test_the_database_of_another_program_is_no_store(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (name TEXT)")
    connection.commit()
    connection.close()
    await refused(path, StoreCorrupt, "another program")


async def test_a_newer_store_is_left_alone(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.close()
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", schema.LATEST + 1)
    connection.close()
    await refused(path, StoreTooNew, f"schema {schema.LATEST + 1}", "install the newer")


async def test_an_older_store_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.close()
    newer = [*schema.migrations(), (schema.LATEST + 1, "CREATE TABLE tenuto_more (name TEXT) STRICT;")]
    monkeypatch.setattr(schema, "migrations", lambda: newer)
    monkeypatch.setattr(schema, "LATEST", schema.LATEST + 1)
    connection = connect(path)
    assert schema.migrate(connection, path) == 1
    assert schema.migrate(connection, path) == 0
    assert connection.execute("SELECT count(*) FROM tenuto_more").get == 0
    connection.close()


async def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.close()
    broken = [*schema.migrations(), (schema.LATEST + 1, "CREATE TABLE tenuto_more (name TEXT); SELECT nonsense;")]
    monkeypatch.setattr(schema, "migrations", lambda: broken)
    monkeypatch.setattr(schema, "LATEST", schema.LATEST + 1)
    connection = connect(path)
    with pytest.raises(Exception, match="nonsense"):
        schema.migrate(connection, path)
    assert schema.version(connection) == schema.LATEST - 1
    assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'tenuto_more'").get == 0
    connection.close()


async def test_a_damaged_store_says_so(path: Path, tree: Callable[[str], Tree]) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.submit([tree(f"task-{number}") for number in range(200)])
    await store.close()
    spoil(path)

    async def use() -> None:
        await store.open()
        await store.submit([tree("another")])

    with pytest.raises(StoreCorrupt, match="damaged") as caught:
        await use()
    assert str(path) in str(caught.value)
    await store.close()


async def test_a_folder_is_no_store(tmp_path: Path) -> None:
    await refused(tmp_path, StoreUnavailable, "folder")


async def test_a_file_in_the_way_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    await refused(tmp_path / "file" / "tenuto.db", StoreUnavailable)


def test_a_store_that_may_not_be_written_says_so() -> None:
    # As somebody without rights, whoever runs the tests.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare_file(folder / "tenuto.db")
        (folder / "tenuto.db").chmod(0o444)
        folder.chmod(0o555)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            if os.getuid() == 0:
                os.setuid(65_534)
            try:
                prepare_file(folder / "tenuto.db")
                said = "nothing was refused"
            except StoreReadOnly as error:
                said = str(error)
            os.write(writer, said.encode())
            os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        said = os.read(reader, 10_000).decode()
        os.close(reader)
        folder.chmod(0o700)
        assert str(folder / "tenuto.db") in said
        assert "permissions" in said


async def test_somebody_else_keeps_the_file_locked(path: Path, tree: Callable[[str], Tree]) -> None:
    store = SqliteStore(path, busy_timeout=0.2)
    await store.open()
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    began = asyncio.get_running_loop().time()
    answers = await asyncio.gather(*(store.submit([tree(f"many-{n}")]) for n in range(200)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {StoreBusy}
    assert asyncio.get_running_loop().time() - began < 30  # they wait together, not one after the other
    with pytest.raises(StoreBusy, match=r"0\.2 seconds"):
        await store.submit([tree("one")])
    assert await store.task("one") is None
    other.execute("ROLLBACK")
    other.close()
    await store.submit([tree("one")])
    assert await store.task("one") is not None
    await store.close()
