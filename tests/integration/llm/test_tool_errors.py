"""Errors out of tools: whoever reads them learns which tool it was, and in which turn."""

from __future__ import annotations

import asyncio
from typing import Any

import pydantic_ai
import pytest
from pydantic_ai.exceptions import ModelHTTPError, UnexpectedModelBehavior
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.durability import TenutoDurability
from tenuto.agents.llm.tools import tool
from tenuto.client import Client
from tenuto.errors import ModelError, TaskFailed
from tenuto.stores.base import Store
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.states import State
from tests.integration.llm.rig import Scripted, ask, call
from tests.integration.workers.rig import ended, until, working

FIRST = [call("look", "c1", at="here")]


def look(at: str) -> str:
    """Looks somewhere."""
    if at == "secret-7":
        raise ValueError("there is nothing")
    return "something"


async def test_an_error_of_a_tool_says_which_one_and_in_which_turn(store: Store) -> None:
    # Given a tool that fails in the second turn
    script = Scripted(FIRST, [call("look", "c2", at="secret-7")], "done")
    agent = Agent("clerk", None, script.model, [look], retry=RetryPolicy(max_retries=1, base=60_000))
    async with working(store, agent):
        # When the task waits for its next attempt
        task_id = await ask(store, agent)
        task = await until(store, task_id, lambda task: task.error is not None)
        # Then it says what has happened where, and not what the tool was given
        assert (task.state, task.attempt) == (State.SCHEDULED, 1)
        assert task.error is not None
        assert (task.error.type, task.error.message) == (
            "ValueError",
            "agent 'clerk', turn 2, tool 'look': there is nothing",
        )


async def test_whoever_waits_for_the_result_learns_it(store: Store) -> None:
    # Given a tool whose error is fatal by its class
    script = Scripted([call("look", "c1", at="secret-7")], "done")
    agent = Agent("clerk", None, script.model, [look], retry=RetryPolicy(fatal=("ValueError",)))
    async with working(store, agent):
        # When somebody waits for the result
        with pytest.raises(TaskFailed) as caught:
            await Client(store).get_task_result(await ask(store, agent), timeout=20)
    # Then they are told, and the class still counts
    assert str(caught.value).endswith("failed: ValueError: agent 'clerk', turn 1, tool 'look': there is nothing")


@pytest.mark.parametrize(("retryable", "state"), [(True, State.SCHEDULED), (False, State.FAILED)])
async def test_an_error_that_says_when_to_try_again_is_heeded(store: Store, retryable: bool, state: State) -> None:
    # Given a tool with an error of ours
    async def fetch() -> str:
        """Fetches something."""
        raise ModelError("come back later", retryable=retryable, retry_after=3600)

    script = Scripted([call("fetch", "c1")], "done")
    agent = Agent("clerk", None, script.model, [fetch], retry=RetryPolicy(base=1))
    async with working(store, agent):
        # When it is raised
        task = await until(store, await ask(store, agent), lambda task: task.error is not None)
    # Then the task does as it says
    assert task.error is not None
    assert task.error.message == "agent 'clerk', turn 1, tool 'fetch': come back later"
    assert (task.error.type, task.state, task.attempt) == ("ModelError", state, 1)
    if task.run_at is not None and retryable:
        assert task.run_at - task.error.at >= 3_600_000


async def test_a_tool_that_takes_too_long_is_named(store: Store) -> None:
    @tool(timeout=0.01)
    async def wait() -> str:
        """Waits."""
        await asyncio.Event().wait()
        return "never"

    agent = Agent("clerk", None, Scripted([call("wait", "c1")]).model, [wait], max_retries=0)
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert task.error is not None
    assert task.error.type == "TimeLimit"
    assert task.error.message.startswith("agent 'clerk', turn 1, tool 'wait': step 'turn-1/call-c1/wait' took longer")


def _broken(error: Exception) -> FunctionModel:
    def answer(_: list[ModelMessage], __: AgentInfo) -> ModelResponse:
        raise error

    return FunctionModel(answer, model_name="broken")


INNER: dict[str, tuple[Any, str]] = {
    "its tool": (Scripted([call("look", "c2", at="secret-7")]).model, ", tool 'look': there is nothing"),
    "its model": (_broken(ModelHTTPError(503, "broken", None)), ": the model 'broken' answered with HTTP 503"),
    "its end": (_broken(UnexpectedModelBehavior("nonsense")), ": the model did not answer usably: nonsense"),
}


@pytest.mark.parametrize("what", INNER)
async def test_an_agent_inside_a_tool_fails_in_that_tool(store: Store, what: str) -> None:
    # Given a tool that runs an agent of its own, of which something fails
    model, said = INNER[what]
    inner = pydantic_ai.Agent(model, name="inner", tools=[look], capabilities=[TenutoDurability()])

    async def consult() -> str:
        """Asks an expert."""
        return (await inner.run("what is there?")).output

    agent = Agent("clerk", None, Scripted([call("consult", "c1")]).model, [consult], max_retries=0)
    # When the task has failed
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then it says once where, from the outside in
    assert task.error is not None
    assert task.error.message.startswith(f"agent 'clerk', turn 1, tool 'consult'{said}")


async def test_an_agent_inside_a_tool_that_cannot_come_to_an_end_is_found_by_that_tool(store: Store) -> None:
    # Given a tool whose agent never says what it should
    expert = pydantic_ai.Agent(
        Scripted("a", "b", "c").model, name="inner", output_type=int, capabilities=[TenutoDurability()]
    )

    async def count() -> int:
        """Counts."""
        return (await expert.run("how many?")).output

    agent = Agent("clerk", None, Scripted([call("count", "c1")]).model, [count])
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert task.error is not None
    assert task.error.type == "AgentStuck"
    assert task.error.message.startswith("agent 'clerk', turn 1, tool 'count', cannot come to an end: Exceeded maximum")
