"""What the tests of LLM agents share: models that follow a script, and count how often they are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ModelResponsePart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.context import AgentContext
from tenuto.stores.base import Store
from tenuto.tasks.task import TaskSpec
from tenuto.tasks.values import encode
from tests.integration.workers.rig import submit

Turn = Sequence[ModelResponsePart] | str
Script = Callable[[int, list[ModelMessage]], Turn]


class Scripted:
    """A model that gives, in the n-th turn of a conversation, the n-th of `turns`."""

    def __init__(self, *turns: Turn) -> None:
        self.turns = turns
        self.asked: list[int] = []
        """the turn of each request, in order"""
        self.said: list[list[str]] = []
        """what people said in each request"""
        self.model = FunctionModel(self._answer, model_name="scripted")

    def _answer(self, messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        turn = sum(isinstance(message, ModelResponse) for message in messages)
        self.asked.append(turn + 1)
        self.said.append(prompts(messages))
        parts = self.turns[turn]
        return ModelResponse(parts=[TextPart(parts)] if isinstance(parts, str) else list(parts))


def call(tool: str, call_id: str, **arguments: Any) -> ToolCallPart:
    """What a model says to have a tool called."""
    return ToolCallPart(tool, arguments, call_id)


def prompts(messages: Sequence[ModelMessage]) -> list[str]:
    """What people said."""
    parts = [part for message in messages if isinstance(message, ModelRequest) for part in message.parts]
    return [str(part.content) for part in parts if isinstance(part, UserPromptPart)]


def returns(messages: Sequence[ModelMessage]) -> list[Any]:
    """What tools returned."""
    parts = [part for message in messages if isinstance(message, ModelRequest) for part in message.parts]
    return [part.content for part in parts if isinstance(part, ToolReturnPart)]


def asking(agent: Agent, query: str = "go", **fields: Any) -> TaskSpec:
    """A task for `agent`."""
    return agent.create_task(owner_id="ann", payload=AgentContext(query=query), **fields)


async def ask(store: Store, agent: Agent, query: str = "go", **fields: Any) -> str:
    """Submits a task for `agent`; its id."""
    (task_id,) = await submit(store, asking(agent, query, **fields))
    return task_id


def stored(value: Any) -> bytes:
    """A result as the store holds it."""
    return encode(value, "a result")
