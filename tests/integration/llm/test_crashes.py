"""The crash matrix of LLM agents: the worker is cut off at every single request to the store, and the next goes on.

On SQLite at every third: `chaos/llm` kills workers there.
"""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest
from pydantic_ai import RunContext
from pydantic_ai.capabilities import Hooks
from pydantic_ai.models import ModelRequestContext

from tenuto.agents.function import task_agent
from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.context import AgentContext
from tenuto.agents.llm.current import current_context
from tenuto.agents.llm.tools import deferred, tool
from tenuto.stores.base import Store
from tenuto.stores.memory import MemoryStore
from tenuto.stores.sqlite import SqliteStore
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.waits import answer_topic
from tests.integration.llm.rig import Scripted, ask, call, stored
from tests.integration.workers.rig import Clock, crashed, ended, working

ran: Counter[str] = Counter()


@tool(effect="once", reconcile=lambda _: "retry")
def pay(cents: int) -> str:
    """Pays, which may happen only once."""
    ran["pay"] += 1
    return f"paid {cents}"


def look(place: str) -> str:
    """Looks something up."""
    ran[f"look {place}"] += 1
    return f"{place} is open"


@deferred()
def ask_ann(question: str) -> None:
    """Asks a person."""
    ran["ask_ann"] += 1


@task_agent
async def double(payload: int) -> int:
    return payload * 2


async def doubles(numbers: list[int]) -> list[int]:
    """Has other agents do the work."""
    context = current_context()
    children = await context.spawn_batch([double.create_task(payload=number) for number in numbers])
    return [each.result for each in await context.wait_for(children)]


def make(store: Store) -> tuple[Scripted, Agent]:
    """An agent that is steered in the last instant before its second request."""
    hooks: Hooks[AgentContext] = Hooks()

    @hooks.on.before_model_request
    async def speak(ctx: RunContext[AgentContext], request: ModelRequestContext) -> ModelRequestContext:
        if sum(message.kind == "response" for message in request.messages) == 1:
            steering = Signal(str(ctx.conversation_id), SignalKind.STEER, data="and mind the step", key="late")
            await store.signal([steering])
        return request

    script = Scripted(
        [call("look", "c1", place="shop"), call("look", "c2", place="bank")],
        [call("pay", "c3", cents=5), call("doubles", "c4", numbers=[1, 2])],
        [call("ask_ann", "c5", question="enough?")],
        "all done",
    )
    return script, Agent("buyer", "Buy things.", script.model, [look, pay, ask_ann, doubles], hooks=hooks)


@pytest.mark.parametrize("answered", [False, True], ids=["request lost", "answer lost"])
@pytest.mark.parametrize("engine", ["memory", "sqlite"])
async def test_an_agent_goes_on_where_its_worker_was_cut_off(engine: str, answered: bool, tmp_path: Path) -> None:
    for after in itertools.count(step=1 if engine == "memory" else 3):
        # Given an agent of four turns whose worker is cut off at one of its requests
        ran.clear()
        clock = Clock()
        store: Store = MemoryStore(clock=clock)
        if engine == "sqlite":
            store = SqliteStore(tmp_path / f"{after}.db", clock=clock)
        await store.open()
        script, agent = make(store)
        task_id = await ask(store, agent, "begin")
        await store.signal([Signal(task_id, SignalKind.STEER, data="and hurry")])
        await store.signal([Signal(task_id, SignalKind.ANSWER, answer_topic("c5"), "yes", key="c5")])
        was_cut = await crashed(store, task_id, [agent, double], after, answered)
        # When the lease has ended and another worker takes over
        clock.forward(60)
        async with working(store, agent, double):
            task = await ended(store, task_id)
        # Then the answer is the same, no recorded response was asked for again, and nothing was done twice
        assert task.state is State.DONE, (after, task.error)
        assert task.result is not None
        assert bytes(task.result) == stored("all done")
        asked = Counter(script.asked)
        assert set(asked) == {1, 2, 3, 4}
        assert sum(asked.values()) <= 4 + was_cut, (after, asked)
        assert script.said[-1] == ["begin", "and hurry", "and mind the step"]
        assert ran["pay"] <= 1 + was_cut
        assert all(count <= 1 + was_cut for count in ran.values()), (after, ran)
        assert sum(ran.values()) <= 4 + 2 * was_cut, (after, ran)
        await store.close()
        if not was_cut:
            break
    assert after > 10, "the matrix covers every request of the task"
