"""What a task begins with, and what it is told meanwhile: payloads, earlier conversations, steering."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_ai.messages import SystemPromptPart, UserPromptPart

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.context import AgentContext, beginning, request_parts
from tenuto.errors import InvalidPayload


def said(message: Any) -> list[tuple[type, Any]]:
    """The parts of the next request, without their times."""
    return [(type(part), part.content) for part in request_parts(message)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("faster", (UserPromptPart, "faster")),
        ({"content": "faster"}, (UserPromptPart, "faster")),
        ({"role": "user", "content": "faster"}, (UserPromptPart, "faster")),
        ({"role": "system", "content": "faster"}, (SystemPromptPart, "faster")),
    ],
)
def test_a_steering_message_is_one_part_of_the_next_request(message: Any, told: tuple[type, str]) -> None:
    # Given a message in one of its forms
    # When an agent is steered with it
    # Then the model is told so
    assert said(message) == [told]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"role": "tool", "content": "x"}, '{"role":"tool","content":"x"}'),
        ({"role": "assistant", "content": "x"}, '{"role":"assistant","content":"x"}'),
        ({"role": "user"}, '{"role":"user"}'),
        ({"content": 5}, '{"content":5}'),
        (5, "5"),
    ],
)
def test_what_is_no_message_does_not_end_the_task_that_is_steered_with_it(message: Any, told: str) -> None:
    # Given something that no conversation has
    # When an agent is steered with it
    # Then the model is told as it is, for the task would fail by it at each of its attempts
    assert said(message) == [(UserPromptPart, told)]


def test_an_earlier_conversation_that_cannot_be_read_is_a_payload_that_is_not_tried_again() -> None:
    # Given an earlier conversation with a role that is none
    # When a task begins with it
    with pytest.raises(InvalidPayload, match="a message of task 't1' has the role 'tool'"):
        beginning([{"role": "tool", "content": "x"}], "task 't1'")


class Order(AgentContext):
    """What an agent needs whose instructions say what is asked."""

    article: str = "strings"


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (None, "has no payload: give a text or an AgentContext as payload \\(create_task takes the owner first"),
        ("", "asks nothing: give it a query, or messages"),
        (" \n", "asks nothing"),
        ({}, "asks nothing"),
        (AgentContext(), "asks nothing"),
        ({"querry": "q"}, "by 'querry', did you mean 'query'?"),
        ({"Query": "q"}, "by 'Query', did you mean 'query'?"),
        (["q"], "must be a text or an AgentContext, not list"),
        ({"query": 5}, "does not fit AgentContext: query"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "has the role 'tool'"),
    ],
)
def test_a_payload_that_asks_nothing_is_refused_where_the_task_is_made(payload: Any, why: str) -> None:
    with pytest.raises(InvalidPayload, match=why):
        Agent("a").create_task("ann", payload)


@pytest.mark.parametrize(
    ("agent", "payload"),
    [
        (Agent("a"), "q"),
        (Agent("a"), {"query": "q", "querry": 5}),
        (Agent("a"), {"messages": [{"role": "user", "content": "q"}]}),
        (Agent("a"), {"customer": 17}),
        (Agent("a", context_type=Order), {}),
    ],
)
def test_a_payload_need_not_have_a_query_where_something_else_is_in_it(agent: Agent, payload: Any) -> None:
    assert agent.create_task("ann", payload).agent == "a"
