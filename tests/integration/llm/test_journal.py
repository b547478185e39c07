"""What the journal of an LLM agent holds: names that stored tasks depend on, and no more bytes than were added."""

from __future__ import annotations

import inspect
import re

import pydantic_ai
from pydantic_ai import durable_exec
from pydantic_ai.toolsets import FunctionToolset

import tenuto.agents.llm
from tenuto.agents.llm import attempt, conversation, deferred, durability, model_calls, money, team, tool_calls, tools
from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.current import current_context
from tenuto.agents.llm.tools import tool
from tenuto.stores.base import Store
from tenuto.tasks.outcome import StepState
from tenuto.tasks.states import State
from tests.integration.llm.rig import Scripted, ask, call
from tests.integration.workers.rig import ended, working


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


async def test_a_tool_that_failed_once_and_for_all_fails_again_on_replay(store: Store) -> None:
    # Given a tool that may run only once, and fails
    ran = 0

    @tool(effect="once")
    def pay(cents: int) -> str:
        """Pays."""
        nonlocal ran
        ran += 1
        raise RuntimeError("no money")

    script = Scripted([call("pay", "c1", cents=1)], "done")
    agent = Agent("payer", None, script.model, [pay], max_retries=2)
    # When its task is tried three times
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then it ran once
    assert task.state is State.FAILED
    assert task.error is not None
    assert "no money" in task.error.message
    assert ran == 1
    states = {step.key: step.state for step in await store.journal(task.id)}
    assert states["turn-1/call-c1/pay"] is StepState.FAILED


def test_only_public_names_of_the_library_are_used() -> None:
    modules = [
        attempt,
        conversation,
        deferred,
        durability,
        model_calls,
        money,
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
