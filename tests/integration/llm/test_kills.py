"""The crash matrix with real processes, real kills and real HTTP: what is paid for is paid for once."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from tenuto.agents.function import task_agent
from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.current import current_context
from tenuto.agents.llm.tools import deferred, tool
from tenuto.client import Client
from tenuto.stores.base import Store
from tenuto.stores.postgres.store import PostgresStore
from tenuto.stores.redis.store import RedisStore
from tenuto.stores.sqlite import SqliteStore
from tenuto.tasks.clock import Millis
from tenuto.tasks.states import State
from tenuto.testing import CrashRun, Endpoint, Reply, ToolCall, crash_matrix
from tests.integration.llm.rig import stored
from tests.servers.postgres import shared_postgres
from tests.servers.redis import shared_redis

TURNS = 10
"""of the agent that is killed. The environment's TENUTO_TEST_CRASH_EVERY=1 kills it at every single request."""


def written(log: str, line: str) -> None:
    with Path(log).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


@task_agent
async def double(payload: int) -> int:
    return payload * 2


async def doubles(numbers: list[int]) -> list[int]:
    """Has other agents do the work."""
    context = current_context()
    children = await context.spawn_batch([double.create_task(payload=number) for number in numbers])
    return [each.result for each in await context.wait_for(children)]


def buyer(url: str, log: str) -> Agent:
    """An agent of ten turns: tools, a payment, children, a question to a person."""

    def find_payment(_: str) -> tuple[str, str] | str:
        return ("done", "paid 5") if "pay 5\n" in Path(log).read_text(encoding="utf-8") else "retry"

    @tool(effect="once", reconcile=find_payment)
    def pay(cents: int) -> str:
        """Pays, which may happen only once."""
        written(log, f"pay {cents}")
        return f"paid {cents}"

    def look(place: str) -> str:
        """Looks something up."""
        written(log, f"look {place}")
        return f"{place} is open"

    @deferred
    def ask_ann(question: str) -> None:
        """Asks a person."""
        written(log, "ask_ann")

    return Agent("buyer", "Buy things.", partial(model_at, url), [look, pay, ask_ann, doubles])


def model_at(url: str) -> OpenAIChatModel:
    return OpenAIChatModel("gpt-test", provider=OpenAIProvider(base_url=url, api_key="sk-test"))


def script() -> list[Reply | str]:
    looks = [
        Reply(tools=[ToolCall("look", {"place": f"{turn}a"}), ToolCall("look", {"place": f"{turn}b"})])
        for turn in range(TURNS - 4)
    ]
    return [
        *looks,
        Reply(tools=[ToolCall("pay", {"cents": 5}, id="call-pay")]),
        Reply(tools=[ToolCall("doubles", {"numbers": [1, 2]}, id="call-doubles")]),
        Reply(tools=[ToolCall("ask_ann", {"question": "enough?"}, id="call-ann")]),
        "all done",
    ]


def engine_store(engine: str, where: str, run: int, clock: Callable[[], Millis]) -> Store:
    """A store of its own for each run."""
    place = where.replace("RUN", str(run))
    match engine:
        case "redis":
            return RedisStore(place, clock=clock)
        case "postgres":
            return PostgresStore(place, clock=clock)
    return SqliteStore(place, clock=clock)


def place_of(engine: str, folder: Path) -> str:
    name = f"kills_{secrets.token_hex(4)}_RUN"
    match engine:
        case "redis":
            return shared_redis().url(namespace=name)
        case "postgres":
            return (
                f"{shared_postgres().url()}&schema={name}"
                if "?" in shared_postgres().url()
                else f"{shared_postgres().url()}?schema={name}"
            )
    return str(folder / f"{name}.db")


async def told_ahead(client: Client, task_id: str) -> None:
    """What people say before the agent begins."""
    await client.steer_task(task_id, "and hurry")
    await client.complete_deferred_tool(task_id, "call-ann", "yes")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("engine", ["sqlite", "redis", "postgres"])
async def test_an_agent_killed_anywhere_pays_for_no_recorded_response_twice(engine: str, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.touch()
    with Endpoint(script()) as endpoint:
        seen = Counter[str]()

        def check(run: CrashRun) -> None:
            # Then the task has ended as it should, or waits for a person to say whether the payment was made
            killed = run.after is not None
            asked = Counter(call.turn for call in endpoint.calls[seen["calls"] :])
            done = Counter(log.read_text(encoding="utf-8").splitlines())
            seen["calls"] += sum(asked.values())
            log.write_text("")
            assert set(asked) == set(range(1, TURNS + 1)), run.place
            assert sum(asked.values()) <= TURNS + killed, (run.place, asked)
            assert done["pay 5"] == 1, run.place
            assert all(count <= 1 + killed for count in done.values()), (run.place, done)
            assert sum(done.values()) <= 14 + 2 * killed, (run.place, done)

        # Given an agent, and when its worker is killed at each of its requests
        agent = buyer(endpoint.openai_url, str(log))
        runs = await crash_matrix(
            agent,
            agent.create_task(payload="begin"),
            agents=[double],
            store=partial(engine_store, engine, place_of(engine, tmp_path)),
            prepare=told_ahead,
            check=check,
            every=int(os.environ.get("TENUTO_TEST_CRASH_EVERY", "9")),
        )
    assert len(runs) > 6
    assert {run.state for run in runs} == {State.DONE}
    assert {run.result for run in runs} == {stored("all done")}
