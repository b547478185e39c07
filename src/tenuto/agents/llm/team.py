"""Agents that work for agents: as tools, and to hand a conversation over.

    writer = Agent("writer", tools=[as_tool(researcher, "Finds facts about one subject.")])
    triage = Agent("triage", output_type=[str, hand_off(lawyer, "For questions of law.")])

Each runs as a task of its own, a child of the one that called it: with its own attempts and its own journal, on any
worker. The caller waits in the store and holds nothing meanwhile. What a child costs counts against the caller's
budget, and cancelling the caller cancels it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic_ai import Tool
from pydantic_ai.exceptions import ModelRetry, ToolFailed

from tenuto.agents.base import TaskAgent
from tenuto.agents.llm.context import AgentContext
from tenuto.agents.llm.current import current_context
from tenuto.errors import AgentStuck, InvalidPayload
from tenuto.tasks.states import State
from tenuto.workers.children import ChildResult

__all__ = ["as_tool", "hand_off"]


def as_tool(agent: TaskAgent, description: str, *, name: str | None = None) -> Tool[Any]:
    """A tool that puts a question to `agent` and returns its answer; of one that failed, the model learns why.

    description: what the model reads about it. name: as the model calls it; the agent's own name unless given.
    """

    async def ask(query: str) -> object:
        ended = await _asked(agent, query)
        if ended.state is not State.DONE:
            raise ToolFailed(f"{agent.name} {_why(ended)}")
        return ended.result

    return Tool(ask, name=name or _word(agent.name), description=description)


def hand_off(agent: TaskAgent, description: str) -> Callable[[str], Awaitable[Any]]:
    """Something for an agent's `output_type`: where the model chooses it, the answer of `agent` is the result.

    description: when it is to be chosen.
    """

    async def go_on(query: str) -> object:  # annotated with what is known in every process
        ended = await _asked(agent, query)
        if ended.state is not State.DONE:
            raise AgentStuck(f"the task was handed over to {agent.name!r}, which {_why(ended)}")
        return ended.result

    go_on.__name__ = f"hand_off_to_{_word(agent.name)}"
    go_on.__doc__ = description
    return go_on


async def _asked(agent: TaskAgent, query: str) -> ChildResult:
    context = current_context()
    try:
        task = agent.create_task(owner_id=context.owner_id, payload=AgentContext(query=query))
    except InvalidPayload as error:
        raise ModelRetry(str(error)) from error
    child = await context.spawn(task)
    return (await context.wait_for(child))[0]


def _why(ended: ChildResult) -> str:
    reason = ended.error.message if ended.error is not None else ended.reason
    return f"ended as {ended.state.value}" + (f": {reason}" if reason else "")


def _word(name: str) -> str:
    """A name as providers let tools be called."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)
