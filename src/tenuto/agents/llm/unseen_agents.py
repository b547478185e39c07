"""Agents that a tool runs by itself, without `TenutoDurability`: nobody knows of their requests, no budget counts them.

What happens in such a run cannot be seen from outside it. But a tool that runs an agent names it in its code, as a
global or in its closure, and that is looked at where an agent gets its workers. (One that is only named by what the
tool calls is not found.)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydantic_ai import FunctionToolset
from pydantic_ai.agent import AbstractAgent
from pydantic_ai.toolsets import AbstractToolset

from tenuto.agents.base import TaskAgent
from tenuto.agents.llm.durability import TenutoDurability
from tenuto.observability.logging import logger

__all__ = ["functions_of", "warn_of_unseen"]

log = logger("tenuto.agents")

_warned: set[tuple[str, str, str]] = set()
"""Agents, their tools, and the agents in these, that a warning was given for in this process."""


def warn_of_unseen(agent: str, tools: Iterable[tuple[str, Callable[..., Any]]]) -> None:
    """Warns, once in a process, of each agent without `TenutoDurability` that one of the `tools` of `agent` names."""
    for tool, function in tools:
        for unseen in _unseen_in(function):
            known = agent, tool, unseen.name or ""
            if known in _warned:
                continue
            _warned.add(known)
            log.warning(
                "the code of a tool names an agent whose requests are neither recorded nor counted in budgets: give it "
                "a name and capabilities=[TenutoDurability()]",
                tool=tool,
                of=agent,
                names=unseen.name or "an agent without a name",
            )


def functions_of(toolsets: Iterable[AbstractToolset[Any] | object]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The functions behind the tools of `toolsets`, as far as these are made of functions, with the tools' names."""
    for toolset in toolsets:
        if isinstance(toolset, FunctionToolset):
            yield from ((name, tool.function) for name, tool in toolset.tools.items())


def _unseen_in(function: Callable[..., Any]) -> list[AbstractAgent[Any, Any]]:
    """The agents that the code of `function` names, and that have no durability; none where it names that as well, or a
    class that makes tasks of agents (`Agent.of(expert).create_task(…)`)."""
    try:
        names = inspect.getclosurevars(inspect.unwrap(function))
    except (TypeError, ValueError):  # not written in Python, or not complete yet
        return []
    values = [*names.nonlocals.values(), *names.globals.values()]
    if any(isinstance(value, type) and issubclass(value, TenutoDurability | TaskAgent) for value in values):
        return []
    agents = (value for value in values if isinstance(value, AbstractAgent))
    return [each for each in agents if TenutoDurability.from_agent(each) is None]
