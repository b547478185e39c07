"""The writer: shared transactions, bad company, full disks, forks, and several processes on one file."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import Raw

from tenuto.errors import InvalidInput, StoreClosed, StoreFull
from tenuto.stores.base import Hint, Verdict
from tenuto.stores.rules.work import Work
from tenuto.stores.sqlite import SqliteStore
from tenuto.stores.sqlite.hints import hint_folder
from tenuto.tasks import transitions
from tenuto.tasks.goal import Tree
from tenuto.tasks.task import TaskSpec

_SUBMITTER = """
import asyncio, sys
from tenuto.stores.sqlite import SqliteStore
from tenuto.tasks.goal import Tree
from tenuto.tasks.task import TaskSpec

async def main(path, name, count):
    store = SqliteStore(path)
    await store.open()
    for number in range(count):
        await store.submit([Tree(TaskSpec(id=f"{name}-{number}", agent="a"))])
    await store.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def submitter(path: Path, name: str, count: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", _SUBMITTER, str(path), name, str(count))


async def test_requests_that_wait_together_are_committed_together(
    store: SqliteStore, tree: Callable[[str], Tree]
) -> None:
    commits = 0

    def committed() -> bool:
        nonlocal commits
        commits += 1
        return False

    writer = store._writer
    assert writer is not None
    writer.connection.set_commit_hook(committed)
    answers = await asyncio.gather(*(store.submit([tree(f"task-{number}")]) for number in range(400)))
    assert all(answer.verdict is Verdict.CREATED for (answer,) in answers)
    assert commits < 20


async def test_a_request_that_fails_harms_no_other(store: SqliteStore, tree: Callable[[str], Tree]) -> None:
    def fail(work: Work) -> None:
        spec = TaskSpec(id="half", agent="a")
        work.admit(transitions.admit(spec, work.now, task_id="half", root="half"))
        raise RuntimeError("on purpose")

    answers = await asyncio.gather(
        *(store.submit([tree(f"before-{number}")]) for number in range(20)),
        store._write(fail),
        *(store.submit([tree(f"after-{number}")]) for number in range(20)),
        return_exceptions=True,
    )
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    assert [str(failure) for failure in failures] == ["on purpose"]
    assert await store.task("half") is None
    assert len(await store.tasks_by_id([f"{when}-{n}" for when in ("before", "after") for n in range(20)])) == 40
    assert await store.check() == []


async def test_a_full_disk_refuses_and_work_goes_on_when_there_is_room(
    store: SqliteStore, tree: Callable[[str], Tree]
) -> None:
    await store.submit([tree("first")])
    writer = store._writer
    assert writer is not None
    pages = writer.connection.pragma("page_count")
    writer.connection.pragma("max_page_count", pages + 4)
    payload = Raw(b'"' + b"x" * 4_000 + b'"')
    large = [Tree(TaskSpec(id=f"large-{n}", agent="a", payload=payload)) for n in range(100)]
    for _ in range(3):
        with pytest.raises(StoreFull, match="no room"):
            await store.submit(large)
    # Nothing of it is there, and reading goes on.
    assert await store.task("large-0") is None
    assert await store.task("first") is not None
    writer.connection.pragma("max_page_count", 1_000_000)
    assert {answer.verdict for answer in await store.submit(large)} == {Verdict.CREATED}
    assert await store.check() == []


def said_after_fork(store: SqliteStore) -> str:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = "it worked"
        try:
            store.task("any").send(None)
        except StoreClosed as error:
            said = str(error)
        finally:
            os.write(writer, said.encode())
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    said = os.read(reader, 10_000).decode()
    os.close(reader)
    return said


async def test_a_store_does_not_survive_a_fork(store: SqliteStore) -> None:
    said = said_after_fork(store)
    assert "fork" in said
    assert "'spawn'" in said
    assert await store.task("any") is None  # the parent goes on


def opened_after_fork(path: Path) -> str:
    """What the child says to opening the store at `path`."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = "it worked"
        try:
            SqliteStore(path)._open(create=True)
        except StoreClosed as error:
            said = str(error)
        finally:
            os.write(writer, said.encode())
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    said = os.read(reader, 10_000).decode()
    os.close(reader)
    return said


async def test_a_file_that_was_open_at_a_fork_is_not_opened_by_the_child(store: SqliteStore, path: Path) -> None:
    assert "fork" in opened_after_fork(path)
    other = SqliteStore(path)
    await other.open()
    await store.close()
    assert "fork" in opened_after_fork(path), "one of two is still open"
    await other.close()
    assert opened_after_fork(path) == "it worked"


async def test_several_processes_write_one_file(store: SqliteStore, path: Path, tree: Callable[[str], Tree]) -> None:
    children = [await submitter(path, f"child-{number}", 50) for number in range(3)]
    mine = [(await store.submit([tree(f"mine-{number}")]))[0] for number in range(50)]
    assert [await asyncio.wait_for(child.wait(), 150) for child in children] == [0, 0, 0]
    assert {answer.verdict for answer in mine} == {Verdict.CREATED}
    names = [f"child-{child}-{n}" for child in range(3) for n in range(50)] + [f"mine-{n}" for n in range(50)]
    assert len(await store.tasks_by_id(names)) == 200
    page = await store.events(limit=1_000)
    assert [int(event.cursor) for event in page.events] == list(range(1, 201))
    assert await store.check() == []


async def test_a_hint_crosses_processes(store: SqliteStore, path: Path) -> None:
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()

    def listener(hint: Hint) -> None:
        if "a" in hint.ready:
            loop.call_soon_threadsafe(heard.set)

    stop = store.listen(listener)
    child = await submitter(path, "child", 1)
    await asyncio.wait_for(heard.wait(), 60)
    assert await asyncio.wait_for(child.wait(), 60) == 0
    stop()


async def test_who_listens_before_the_store_is_opened_hears_all_the_same(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "not" / "there" / "yet.db")
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()

    def listener(_: Hint) -> None:
        loop.call_soon_threadsafe(heard.set)

    stop = store.listen(listener)
    for name in ("first", "second"):  # and after it was closed and opened again
        await store.open()
        heard.clear()
        child = await submitter(store.path, name, 1)
        await asyncio.wait_for(heard.wait(), 60)
        assert await asyncio.wait_for(child.wait(), 60) == 0
        await store.close()
    stop()


async def test_a_listener_that_raises_is_reported_and_stops_nobody(
    store: SqliteStore, tree: Callable[[str], Tree], monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda told: reported.append(str(told.exc_value)))

    def broken(hint: Hint) -> None:
        raise RuntimeError("Event loop is closed")

    stop = store.listen(broken)
    async with asyncio.timeout(60):
        await store.submit([tree("first")])
        await store.submit([tree("second")])
        await store.close()  # answers come before hints
    stop()
    assert reported == ["Event loop is closed"] * 2


async def test_sockets_of_the_dead_are_removed(store: SqliteStore, path: Path, tree: Callable[[str], Tree]) -> None:
    code = (
        "import asyncio, os, sys\n"
        "from tenuto.stores.sqlite import SqliteStore\n"
        "async def main():\n"
        "    store = SqliteStore(sys.argv[1]); await store.open(); store.listen(print); os._exit(0)\n"
        "asyncio.run(main())\n"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(path))
    await asyncio.wait_for(child.wait(), 60)
    folder = hint_folder(path)
    assert len(list(folder.iterdir())) == 1
    async with asyncio.timeout(60):
        number = 0
        while list(folder.iterdir()):
            number += 1
            await store.submit([tree(f"task-{number}")])


async def test_closing_ends_what_was_begun(path: Path, tree: Callable[[str], Tree]) -> None:
    store = SqliteStore(path)
    await store.open()
    submissions = [asyncio.ensure_future(store.submit([tree(f"task-{number}")])) for number in range(100)]
    await asyncio.sleep(0)  # they are on their way
    await store.close()
    answers = await asyncio.gather(*submissions)
    assert all(answer.verdict is Verdict.CREATED for (answer,) in answers)


async def test_two_event_loops_share_a_store(store: SqliteStore, tree: Callable[[str], Tree]) -> None:
    def elsewhere() -> str:
        return asyncio.run(store.submit([tree("elsewhere")]))[0].verdict.value

    here, there = await asyncio.gather(store.submit([tree("here")]), asyncio.to_thread(elsewhere))
    assert (here[0].verdict, there) == (Verdict.CREATED, "created")


async def test_an_id_that_is_no_text_is_refused_with_a_sentence(store: SqliteStore) -> None:
    with pytest.raises(InvalidInput, match="half of a surrogate pair"):
        await store.task("\ud800")
    with pytest.raises(InvalidInput, match="half of a surrogate pair"):
        await store.put_weight("\ud800", 2.0)
