"""One line that runs an agent to its end, and tools that stay functions."""

from __future__ import annotations

import pytest

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.tools import deferred, tool
from tenuto.client import Client
from tenuto.errors import TaskFailed, Unstorable, WaitTimeout
from tenuto.stores.base import Store
from tests.integration.llm.rig import Scripted
from tests.integration.workers.rig import working


async def test_an_agent_is_asked_in_one_line_and_under_one_id_only_once(store: Store) -> None:
    # Given an agent that is served
    script = Scripted("forty-two")
    agent = Agent("oracle", None, script.model)
    client = Client(store)
    async with working(store, agent):
        # When it is asked twice under one id
        answers = [await client.ask(agent, "Well?", owner_id="ann", id="q", timeout=60) for _ in range(2)]
        # Then it has answered once, for the owner that was named
        assert answers == ["forty-two"] * 2
        assert script.asked == [1]
        task = await store.task("q")
        assert task is not None
        assert task.owner == "ann"
        # And an answer that does not fit the type that is wanted is an error
        with pytest.raises(Unstorable):
            await client.ask(agent, "Well?", owner_id="ann", id="q", timeout=30, type=int)


async def test_who_asks_an_agent_that_fails_or_is_not_served_is_told(store: Store) -> None:
    client = Client(store)
    stuck = Agent("stuck", None, Scripted("never").model)
    with pytest.raises(WaitTimeout, match="it goes on"):
        await client.ask(stuck, "Well?", timeout=0.05)

    def refuse(_: object, __: object) -> None:
        raise ValueError("no")

    failing = Agent("failing", None, Scripted("never").model, deps=refuse, max_retries=0)
    async with working(store, failing):
        with pytest.raises(TaskFailed, match="no"):
            await client.ask(failing, "Well?", timeout=60)


async def test_a_function_that_became_a_tool_is_called_as_before() -> None:
    @tool
    def double(number: int) -> int:
        """Twice a number."""
        return 2 * number

    @tool(requires_approval=True)
    async def send(to: str, *, urgent: bool = False) -> str:
        """Sends a letter."""
        return f"{to}{'!' if urgent else ''}"

    asked: list[str] = []

    @deferred(timeout=60)
    def ask_lawyer(question: str) -> None:
        """Asks a lawyer."""
        asked.append(question)

    assert double(4) == 8
    assert await send("ann", urgent=True) == "ann!"
    ask_lawyer("may I?")
    assert asked == ["may I?"]
