"""A task that goes on fetches the large values of its journal together, not one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tenuto.agents.function import task_agent
from tenuto.agents.llm.agent import Agent
from tenuto.client import Client
from tenuto.stores.base import Store
from tenuto.tasks.blobs import references
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.states import State
from tenuto.workers.context import Context
from tests.conformance.engines import ENGINES
from tests.integration.llm.rig import Scripted, ask, call
from tests.integration.workers.rig import Clock, ended, submit, working

ONCE = RetryPolicy(max_retries=1, base=1)


class Counted:
    """A store that counts what it is asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked = Counter[str]()

    def __getattr__(self, name: str) -> Any:
        self.asked[name] += 1
        return getattr(self._store, name)


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    store = ENGINES[request.param].make(tmp_path, clock)
    await store.open()
    yield store
    await store.close()


async def test_a_conversation_that_goes_on_fetches_them_with_one_request(engine: Store) -> None:
    # Given an agent whose tool has given 30 kB in each of eight turns, when it fails once
    failed: list[int] = []

    def read(number: int) -> str:
        """Reads."""
        if number == 8 and not failed:
            failed.append(number)
            raise OSError("not now")
        return f"{number} " * 10_000 + "end"

    script = Scripted(*([call("read", f"c{number}", number=number)] for number in range(1, 9)), "done")
    agent = Agent("reader", None, script.model, [read], retry=ONCE)
    store: Any = Counted(engine)
    # When another attempt goes on, and somebody reads the conversation
    async with working(store, agent):
        task = await ended(engine, await ask(engine, agent))
    assert (task.state, task.attempt) == (State.DONE, 2), task.error
    reader: Any = Counted(engine)
    turns = await Client(reader).get_turns(task.id)
    # Then each has asked once for what is large
    assert sum(bool(references(bytes(step.value or b""))) for step in await engine.journal(task.id)) > 8
    assert [len(turn.messages[-1]["parts"][0]["content"]) > 20_000 for turn in turns[1:]] == [True] * 8
    assert [each.asked["blobs"] for each in (store, reader)] == [1, 1]


async def test_calls_that_run_side_by_side_read_what_one_of_them_has_fetched(engine: Store) -> None:
    # Given an agent with twenty calls in one turn, of 30 kB each, of which one fails once
    failed: list[int] = []

    async def read(number: int) -> str:
        """Reads."""
        if number == 19 and not failed:
            failed.append(number)
            raise OSError("not now")
        return f"{number:02} " * 10_000

    script = Scripted([call("read", f"c{number}", number=number) for number in range(20)], "done")
    agent = Agent("reader", None, script.model, [read], retry=ONCE)
    store: Any = Counted(engine)
    # When another attempt goes on with those that are on record
    async with working(store, agent):
        task = await ended(engine, await ask(engine, agent))
    # Then all of them come with one request
    assert (task.state, task.attempt) == (State.DONE, 2), task.error
    assert store.asked["blobs"] == 1


async def test_values_of_steps_come_in_large_pieces(engine: Store) -> None:
    # Given a function with a payload and forty steps of 200 kB, 8 MB together, that fails once
    failed: list[int] = []
    read: list[str] = []

    @task_agent
    async def collect(context: Context, payload: str) -> int:
        pages = (f"{number:05}" * 40_000 for number in range(40))
        read[:] = [await context.step("page", str, page) for page in pages]
        if not failed:
            failed.append(1)
            raise OSError("not now")
        return len(read)

    store: Any = Counted(engine)
    # When its second attempt goes through the recorded ones
    async with working(store, collect):
        (task_id,) = await submit(engine, collect.create_task(payload="x" * 20_000, retry=ONCE))
        task = await ended(engine, task_id)
    # Then it has had all of them, in order, with a few requests, beside those for the payload
    assert (task.state, task.attempt) == (State.DONE, 2), task.error
    assert read == [f"{number:05}" * 40_000 for number in range(40)]
    assert store.asked["blobs"] <= 4
