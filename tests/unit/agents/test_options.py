"""What an agent cannot be made with, told where it is typed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from pydantic_ai.models.test import TestModel

from tenuto.agents.llm import agent
from tenuto.errors import InvalidInput

Agent: Any = agent.Agent  # whatever its annotations say


def look() -> str:
    """Looks."""
    return ""


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (
            lambda: Agent("a", "x", 5),
            "model of agent 'a' must be the name of a model, a Model, or a function that makes",
        ),
        (lambda: Agent("a", 5), "instructions of agent 'a' must be a text"),
        (
            lambda: Agent("a", tools=look),
            "tools of agent 'a' must be a list of functions and tools, not .*: write .look.",
        ),
        (lambda: Agent("a", tools=["look"]), "tools of agent 'a' must be a list of functions"),
        (lambda: Agent("a", output_type=None), "output_type of agent 'a' must be a type"),
        (lambda: Agent("a", hooks={}), "hooks of agent 'a' must be of type pydantic_ai.capabilities.Hooks, not {}"),
        (lambda: Agent("a", deps=5), "deps of agent 'a' must be a function"),
        (lambda: Agent("a", fallback=3), "fallback of agent 'a' must be the name of a model"),
        (lambda: Agent("a", context_type=dict), "context_type of agent 'a' must be a subclass of AgentContext"),
        (lambda: Agent("a", toolsets=[5]), "toolsets of agent 'a' must be a list of toolsets"),
        (lambda: Agent("a", capabilities=5), "capabilities of agent 'a' must be a list"),
        (lambda: Agent("a", model_settings=5), "model_settings of agent 'a' must be settings"),
        (lambda: Agent("a", retries="3"), "retries of agent 'a' must be a whole number from 0, not '3'"),
        (lambda: Agent("a", max_turns=True), "max_turns of agent 'a' must be a whole number from 1, not True"),
        (lambda: Agent("a", limit_key=3), "limit_key of agent 'a' must be the name of a limit, not 3"),
        (lambda: Agent("a", base_url="localhost"), "base_url of agent 'a' must be an address that begins with http"),
        (lambda: Agent("a", stream="yes"), "stream of agent 'a' must be True or False, not 'yes'"),
        (lambda: Agent("a", timeout="5"), "timeout of agent 'a' must be a number of seconds or a timedelta, not str"),
        (lambda: Agent("a", max_turn=3), "Agent has no option 'max_turn': did you mean max_turns?"),
        (lambda: Agent("a", colour=3), "Agent has no option 'colour': it has attempt_timeout, base_url, "),
        (lambda: Agent.of(look), "agent must be a pydantic_ai.Agent, not <function look"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_its_name(make: Callable[[], Any], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        make()


def test_options_may_be_what_pydantic_ai_takes() -> None:
    # Given instructions, models and tools in each of their forms
    # When agents are made with them
    made = [
        Agent("a", lambda: "x", TestModel, (look,), timeout=timedelta(seconds=5), retries=0),
        Agent("a", ["x", lambda: "y"], partial(TestModel, seed=1), [look], model_settings={"max_tokens": 5}),
        Agent("a", None, "test", [], [str, int], toolsets=[lambda _: None], base_url="http://127.0.0.1:1/v1"),
    ]
    # Then they are agents
    assert [each.name for each in made] == ["a"] * 3
