"""What a person says became of a tool that runs once is its result: the model must not learn anything else."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.tools import tool
from tenuto.client import Client
from tenuto.stores.base import Store
from tenuto.tasks.states import State
from tests.integration.llm.rig import ask, call, returns
from tests.integration.workers.rig import ended, until, working

STEP = "turn-1/call-c1/pay"


@pytest.mark.parametrize(
    "value", ["paid 5", None, 5, [1, 2], {"receipt": 7}, {"kind": "a receipt"}, "x" * 300_000, {"kind": 3}]
)
async def test_the_model_gets_what_a_person_says(store: Store, value: Any) -> None:
    # Given a tool that may run only once, and has failed
    ran = 0

    @tool(effect="once")
    def pay() -> str:
        """Pays."""
        nonlocal ran
        ran += 1
        raise RuntimeError("the line went dead")

    heard: list[ModelMessage] = []

    def answer(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        heard[:] = messages
        return ModelResponse(parts=[TextPart("done") if len(messages) > 1 else call("pay", "c1")])

    agent = Agent("payer", None, FunctionModel(answer), [pay])
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
        assert task.state is State.FAILED
        # When a person says that it has worked all the same, and what came of it
        client = Client(store)
        await client.resolve_step(task.id, STEP, "done", value)
        await client.retry_task(task.id)
        await until(store, task.id, lambda task: task.state is State.DONE)
    # Then that is what the model is told, and nothing has run again
    assert returns(heard) == [value]
    assert ran == 1
