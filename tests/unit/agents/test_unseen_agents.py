"""Agents that tools run by themselves: who gives workers to an agent is warned of those that nobody would know of."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pydantic_ai
import pytest
from pydantic_ai import FunctionToolset, RunContext
from pydantic_ai.models.test import TestModel

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.context import AgentContext
from tenuto.agents.llm.current import current_context
from tenuto.agents.llm.durability import TenutoDurability
from tenuto.agents.llm.tools import deferred, tool
from tenuto.workers.handler import check_able

expert = pydantic_ai.Agent(TestModel(), name="expert")
durable = pydantic_ai.Agent(TestModel(), name="durable", capabilities=[TenutoDurability()])
numbers = count()


async def consult(question: str) -> str:
    """Asks an expert."""
    return (await expert.run(question)).output


async def consult_durable(question: str) -> str:
    """Asks an expert whose work is known."""
    return (await durable.run(question)).output


async def consult_for_now(question: str) -> str:
    """Asks an expert whose work is known this time."""
    return (await expert.run(question, capabilities=[TenutoDurability()])).output


async def delegate(question: str) -> None:
    """Has an expert's own workers do it."""
    await current_context().spawn(Agent.of(expert).create_task(payload=question))


def in_closure() -> Callable[..., Any]:
    nameless = pydantic_ai.Agent(TestModel())

    @deferred
    async def ask(ctx: RunContext[AgentContext], question: str) -> None:
        """Asks."""
        await nameless.run(question)

    return ask


def around(**options: Any) -> Callable[[str], Agent]:
    return lambda name: Agent(name, "Work.", TestModel(), **options)


def of(made: Callable[[str], pydantic_ai.Agent[Any, Any]]) -> Callable[[str], Agent]:
    return lambda name: Agent.of(made(name))


@pytest.mark.parametrize(
    ("make", "tool_name", "names"),
    [
        (around(tools=[consult]), "consult", "names=expert"),
        (around(tools=[tool(name="help")(consult)]), "help", "names=expert"),
        (around(toolsets=[FunctionToolset([consult])]), "consult", "names=expert"),
        (around(tools=[in_closure()]), "ask", "names='an agent without a name'"),
        (of(lambda name: pydantic_ai.Agent(TestModel(), name=name, tools=[consult])), "consult", "names=expert"),
    ],
    ids=["function", "tool", "toolset", "closure", "theirs"],
)
def test_an_agent_in_a_tool_that_nobody_knows_of_is_told_once(
    make: Callable[[str], Agent], tool_name: str, names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given an agent whose tool runs another one
    agent = make(f"clerk-{next(numbers)}")
    # When it gets its workers, twice
    for _ in range(2):
        check_able(agent)
    # Then there is one warning, which names both agents and the tool, and says what to do
    (warning,) = capsys.readouterr().err.splitlines()
    assert "neither recorded nor counted in budgets" in warning
    assert "capabilities=[TenutoDurability()]" in warning
    assert {f"of={agent.name}", f"tool={tool_name}"} <= set(warning.split())
    assert names in warning


def test_nobody_is_told_of_an_agent_that_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    # Given tools that run none, one whose work is part of the task, or one with workers of its own
    agent = Agent("known", "Work.", TestModel(), [consult_durable, consult_for_now, delegate, print])
    # When it gets its workers
    check_able(agent)
    # Then all is well
    assert capsys.readouterr().err == ""
