"""What the journal of an LLM agent holds: names that stored tasks depend on, and no more bytes than were added."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pydantic_ai
import pytest
from pydantic_ai import ModelRetry, durable_exec
from pydantic_ai.capabilities import ProcessHistory
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.openai import OpenAICompaction, OpenAIResponsesModelSettings
from pydantic_ai.toolsets import DynamicToolset, FunctionToolset

import tenuto.agents.llm
from tenuto.agents.llm import (
    attempt,
    background,
    conversation,
    deferred,
    durability,
    model_calls,
    model_errors,
    money,
    operations,
    team,
    tool_calls,
    tools,
)
from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.context import AgentContext
from tenuto.agents.llm.current import current_context
from tenuto.agents.llm.durability import TenutoDurability
from tenuto.agents.llm.models import build_model
from tenuto.agents.llm.tools import tool
from tenuto.client import Client
from tenuto.stores.base import Store
from tenuto.tasks.outcome import StepState
from tenuto.tasks.states import State
from tenuto.testing import Endpoint, Reply, ToolCall
from tests.integration.llm.rig import Scripted, ask, call
from tests.integration.workers.rig import ended, submit, until, working


async def test_the_names_of_entries_are_those_that_stored_tasks_have(store: Store) -> None:
    """Never adapt this list to a change: tasks that were stored before it would not find their entries."""

    async def inner(number: int) -> int:
        """Does something in a step."""
        return int(await current_context().step("double", lambda: number * 2))

    def shared(number: int) -> int:
        """Comes from a toolset."""
        return number

    # Given an agent with tools of each kind
    script = Scripted([call("inner", "c1", number=1), call("shared", "c/2 ü", number=2)], "done")
    agent = Agent("keeper", "Keep.", script.model, [inner], toolsets=[FunctionToolset([shared], id="common")])
    # When it has worked
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then its journal has exactly these entries
    assert task.state is State.DONE, task.error
    assert {step.key for step in await store.journal(task.id)} == {
        "turn-1/model#0",
        "turn-1/call-c1/double#0",
        "turn-1/call-c1/inner",
        "turn-1/call-38c44499815a2597426e4a2c/shared",
        "turn-2/model#0",
    }


async def test_the_names_of_what_is_continued_and_compacted_are_those_that_stored_tasks_have(store: Store) -> None:
    """Never adapt this list to a change, as above."""
    # Given an agent with a summary, responses in the background, a dynamic toolset and an agent beside the tools
    aside = pydantic_ai.Agent(Scripted("so be it").model, name="aside", capabilities=[TenutoDurability()])

    async def asks(messages: list[ModelMessage]) -> list[ModelMessage]:
        if len(messages) == 3:
            await aside.run("may I?")
        return messages

    def compacts(messages: list[ModelMessage]) -> bool:
        return len(messages) == 3 and len(messages[0].parts) == 1

    def shared(number: int) -> int:
        """Comes from a toolset."""
        return number

    with Endpoint(["earlier", Reply(tools=[ToolCall("shared", {"number": 1}, "c1")]), "done"]) as endpoint:
        agent = Agent(
            "keeper",
            "Keep.",
            build_model("openai-responses:gpt-5-mini", base_url=endpoint.openai_url, keys={"openai": "sk-test"}),
            toolsets=[DynamicToolset(lambda _: FunctionToolset([shared]), id="made")],
            capabilities=[ProcessHistory[Any](asks), OpenAICompaction[Any](trigger=compacts)],
            model_settings=OpenAIResponsesModelSettings(openai_background=True),
        )
        earlier = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
        spec = agent.create_task(payload=AgentContext(query="three", messages=earlier))
        # When it has worked
        async with working(store, agent):
            (task_id,) = await submit(store, spec)
            task = await ended(store, task_id)
    # Then its journal has these entries
    assert task.state is State.DONE, task.error
    assert {
        "turn-1/agent-aside/model#0",
        "turn-1/model.compact_messages#0",
        "turn-1/dynamic_toolset__made.get_tools#0",
        "turn-1/model#0",
        "turn-1/model#1",
        "turn-1/call-c1/shared",
        "turn-2/model#0",
        "turn-2/model#1",
    } <= {step.key for step in await store.journal(task.id)}


async def test_a_turn_takes_as_many_bytes_late_as_early(store: Store) -> None:
    # Given a conversation of sixty turns, each with a tool's result of the same size
    def note(number: int) -> str:
        """Writes a note."""
        return "x" * 500

    script = Scripted(*[[call("note", f"call-{turn:03}", number=100 + turn)] for turn in range(59)], "done")
    agent = Agent("writer", "Write.", script.model, [note], max_turns=100)
    # When it has ended
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then its last turns have added what its first ones did
    assert task.state is State.DONE, task.error
    sizes = {step.key: len(bytes(step.value or b"")) for step in await store.journal(task.id)}
    turns = [sizes[f"turn-{turn}/model#0"] for turn in range(2, 60)]
    assert max(turns) - min(turns) < 20


async def test_a_tool_that_runs_once_and_fails_ends_its_task_at_once(store: Store) -> None:
    # Given a tool that may run only once, and fails the first time
    ran = 0

    @tool(effect="once")
    def pay(cents: int) -> str:
        """Pays."""
        nonlocal ran
        ran += 1
        if ran == 1:
            raise RuntimeError("no money")
        return "paid"

    script = Scripted([call("pay", "c1", cents=1)], "done")
    agent = Agent("payer", None, script.model, [pay], max_retries=5)
    # When its task is worked on
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
        # Then it has failed with its first attempt, and says what a person can do
        assert (task.state, task.attempt, ran) == (State.FAILED, 1, 1)
        assert task.error is not None
        assert task.error.message.startswith(
            "agent 'payer', turn 1, tool 'pay': no money (this is on record as the outcome of step 'turn-1/call-c1/pay'"
        )
        states = {step.key: step.state for step in await store.journal(task.id)}
        assert states["turn-1/call-c1/pay"] is StepState.FAILED
        # When a person lets it run again
        client = Client(store)
        await client.resolve_step(task.id, "turn-1/call-c1/pay", "retry")
        await client.retry_task(task.id)
        task = await until(store, task.id, lambda task: task.state is State.DONE)
    # Then it does, and the model is not asked twice
    assert (ran, script.asked) == (2, [1, 2])


@pytest.mark.parametrize("kind", [ModelRetry, ToolFailed])
async def test_what_a_tool_that_runs_once_has_the_model_told_is_recorded(
    store: Store, kind: type[ModelRetry] | type[ToolFailed]
) -> None:
    ran = 0

    @tool(effect="once")
    def pay(cents: int) -> str:
        """Pays."""
        nonlocal ran
        ran += 1
        raise kind("the card was refused")

    script = Scripted([call("pay", "c1", cents=1)], "not paid")
    agent = Agent("payer", None, script.model, [pay])
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert (task.state, ran, script.asked) == (State.DONE, 1, [1, 2])


def test_only_public_names_of_the_library_are_used() -> None:
    modules = [
        attempt,
        background,
        conversation,
        deferred,
        durability,
        model_calls,
        model_errors,
        money,
        operations,
        team,
        tool_calls,
        tools,
        tenuto.agents.llm,
    ]
    for module in modules:
        source = inspect.getsource(module)
        assert not re.search(r"from pydantic_ai[\w.]*\._|import pydantic_ai[\w.]*\._|pydantic_ai\._", source), module
        names = re.findall(r"from pydantic_ai\.durable_exec import \(?([^)]*?)(?:\)|\n\n|\n[^ ])", source)
        for name in re.findall(r"\w+", " ".join(names)):
            if name not in ("from", "import", "pydantic_ai"):
                assert name in durable_exec.__all__ or hasattr(pydantic_ai, name), (module, name)
