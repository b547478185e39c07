"""A worker that stands still for longer than its lease, and wakes up when another one has taken its task over."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tenuto import open_store
from tenuto.client import Client
from tenuto.stores.base import Store
from tenuto.tasks.states import State
from tenuto.tasks.usage import CallState
from tenuto.testing import Endpoint, Reply, ToolCall
from tests.integration.llm.frozen_worker import CONFIG, START, buyer, freeze, stopped, worker_process
from tests.integration.llm.rig import ask, stored
from tests.integration.workers.rig import ended, eventually, until, working
from tests.servers.postgres import shared_postgres
from tests.servers.redis import shared_redis

BEGIN = "turn-1/model#0"


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that several processes reach."""
    name = f"frozen_{secrets.token_hex(4)}"
    match getattr(request, "param", "sqlite"):
        case "redis":
            return shared_redis().url(namespace=name)
        case "postgres":
            url = shared_postgres().url()
            return f"{url}{'&' if '?' in url else '?'}schema={name}"
    return f"sqlite:///{tmp_path}/tenuto.db"


@pytest.fixture
async def store(place: str) -> AsyncIterator[Store]:
    engine = open_store(place)
    await engine.open()
    yield engine
    await engine.close()


@asynccontextmanager
async def taking_over(store: Store, endpoint: Endpoint, folder: Path) -> AsyncIterator[None]:
    """A second worker. Nobody is to take its tasks over, however slow the machine is."""
    async with working(store, buyer(endpoint.openai_url, str(folder)), config=replace(CONFIG, lease=60)):
        yield


async def leaves(process: subprocess.Popen[bytes]) -> None:
    """Wakes the frozen worker; returns when it has done all that it will do."""
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, START) == 0


def said(folder: Path) -> list[str]:
    """What the tools have written, without who it was."""
    with contextlib.suppress(FileNotFoundError):
        return [line.partition(" ")[2] for line in (folder / "log").read_text(encoding="utf-8").splitlines()]
    return []


@pytest.mark.parametrize("place", ["sqlite", "redis", "postgres"], indirect=True)
async def test_one_that_froze_in_a_request_does_not_commit_or_ask_again(
    store: Store, place: str, tmp_path: Path
) -> None:
    # Given a worker that is frozen while its model answers
    with Endpoint([[Reply(text="too late", hold="gate"), "in time"]]) as endpoint:
        with worker_process(place, endpoint.openai_url, tmp_path) as process:
            task_id = await ask(store, buyer(endpoint.openai_url, str(tmp_path)))
            await asyncio.to_thread(endpoint.wait_for, 1, turn=1, timeout=START)
            await freeze(process)
            # When its lease ends, another worker does the task, and the frozen one wakes up to its answer
            async with taking_over(store, endpoint, tmp_path):
                task = await ended(store, task_id)
            endpoint.release("gate")
            await asyncio.to_thread(endpoint.wait_for, 2, outcome="answered", timeout=START)
            await leaves(process)
        assert endpoint.count() == 2
    # Then only one of them counts, and the ledger does not forget the other
    assert task.result is not None
    assert bytes(task.result) == stored("in time")
    again = await store.task(task_id)
    assert again is not None
    assert again.result == task.result
    assert [entry.state for entry in await store.ledger(task_id)] == [CallState.UNKNOWN, CallState.SETTLED]
    assert again.error is None
    assert [step.attempt for step in await store.journal(task_id) if step.key == BEGIN] == [2]


@pytest.mark.parametrize(("when", "asked"), [("before", 2), ("after", 1)])
async def test_one_that_froze_around_a_record_has_recorded_or_not(
    store: Store, place: str, tmp_path: Path, when: str, asked: int
) -> None:
    # Given a worker that freezes between the model's answer and its record, or between that and the store's answer
    turns: list[Reply | str] = [Reply(tools=[ToolCall("look", {}, id="call-1")]), "done"]
    with Endpoint(turns) as endpoint:
        with worker_process(place, endpoint.openai_url, tmp_path, when) as process:
            task_id = await ask(store, buyer(endpoint.openai_url, str(tmp_path)))
            await stopped(process)
            # When another one has done the task, and it wakes up
            async with taking_over(store, endpoint, tmp_path):
                task = await ended(store, task_id)
            await leaves(process)
        # Then a recorded answer was not asked for again, one that was not was asked for once more
        assert endpoint.count(turn=1) == asked
        assert endpoint.count(turn=2) == 1
    assert task.state is State.DONE, task.error
    assert said(tmp_path) == ["look starts", "look ends"]
    unknown = [entry.attempt for entry in await store.ledger(task_id) if entry.state is CallState.UNKNOWN]
    assert unknown == [1] * (asked - 1)


@pytest.mark.parametrize("name", ["look", "walk"])
async def test_one_that_froze_in_a_tool_does_not_go_on_behind_it(
    store: Store, place: str, tmp_path: Path, name: str
) -> None:
    # Given a worker that is frozen in a tool
    (tmp_path / "hold").touch()
    with Endpoint([Reply(tools=[ToolCall(name, {}, id="call-1")]), "done"]) as endpoint:
        with worker_process(place, endpoint.openai_url, tmp_path) as process:
            task_id = await ask(store, buyer(endpoint.openai_url, str(tmp_path)))
            await eventually(lambda: asyncio.to_thread(said, tmp_path), START)
            await freeze(process)
            (tmp_path / "hold").unlink()
            # When another one has done the task, and it wakes up
            async with taking_over(store, endpoint, tmp_path):
                task = await ended(store, task_id)
            await leaves(process)
        # Then the tool ran again, and the model was asked once per turn
        assert [call.turn for call in endpoint.calls] == [1, 2]
    assert task.state is State.DONE, task.error
    assert said(tmp_path).count(f"{name} starts") == 2
    assert [entry.state for entry in await store.ledger(task_id)] == [CallState.SETTLED] * 2


async def test_one_that_froze_in_a_tool_that_runs_once_does_not_double_it(
    store: Store, place: str, tmp_path: Path
) -> None:
    # Given a worker that is frozen in a tool that may run only once
    (tmp_path / "hold").touch()
    with Endpoint([Reply(tools=[ToolCall("pay", {}, id="call-1")]), "done"]) as endpoint:
        with worker_process(place, endpoint.openai_url, tmp_path) as process:
            task_id = await ask(store, buyer(endpoint.openai_url, str(tmp_path)))
            await eventually(lambda: asyncio.to_thread(said, tmp_path), START)
            await freeze(process)
            (tmp_path / "hold").unlink()
            # When its lease ends, and another one looks at the task
            async with taking_over(store, endpoint, tmp_path):
                task = await until(store, task_id, lambda task: task.paused)
                # Then it waits for a person; the frozen one wakes up, finishes what it has begun, and records nothing
                assert "pay" in task.reason
                await leaves(process)
                assert said(tmp_path) == ["pay starts", "pay ends"]
                assert endpoint.count() == 1
                # And the person's word counts
                step = next(step.key for step in await store.journal(task_id) if step.key.endswith("/pay"))
                await Client(store).resolve_step(task_id, step, "done", "pay done")
                task = await ended(store, task_id)
        assert [call.turn for call in endpoint.calls] == [1, 2]
        assert endpoint.calls[1].text.endswith("pay done")
    assert said(tmp_path).count("pay starts") == 1
