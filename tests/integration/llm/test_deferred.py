"""Calls that people answer: the task waits in the store, and every answer counts once."""

from __future__ import annotations

from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.tools import deferred, tool
from tenuto.client import Client
from tenuto.stores.base import Store
from tenuto.tasks.states import State
from tests.integration.llm.rig import ask, call, returns
from tests.integration.workers.rig import Clock, ended, eventually, until, waits, working

deleted: list[str] = []


@tool(requires_approval=True, expires=3600)
def delete(path: str) -> str:
    """Deletes a file."""
    deleted.append(path)
    return f"{path} is gone"


@deferred(timeout=100)
async def ask_lawyer(question: str) -> None:
    """Asks a lawyer."""


def hearing(*turns: Any) -> tuple[FunctionModel, list[list[Any]]]:
    """A model that follows a script, and what tools returned in each of its requests."""
    heard: list[list[Any]] = []

    def answer(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        heard.append(returns(messages))
        parts = turns[sum(isinstance(message, ModelResponse) for message in messages)]
        return ModelResponse(parts=[TextPart(parts)] if isinstance(parts, str) else list(parts))

    return FunctionModel(answer), heard


async def test_an_approved_call_runs_once_and_a_rejected_one_never(store: Store, clock: Clock) -> None:
    # Given an agent that wants to delete two files
    deleted.clear()
    model, heard = hearing([call("delete", "c1", path="a"), call("delete", "c2", path="b")], "done")
    agent = Agent("cleaner", "Clean.", model, [delete])
    client = Client(store)
    async with working(store, agent):
        task_id = await ask(store, agent)
        await until(store, task_id, waits)
        assert deleted == []
        # When a person approves one, twice, and rejects the other
        assert await client.approve(task_id, "c1")
        assert not await client.approve(task_id, "c1")
        assert not await client.reject(task_id, "c1", "too late")
        assert await client.reject(task_id, "c2", "keep it")
        task = await ended(store, task_id)
    # Then one was deleted, and the model knows why the other was not
    assert task.state is State.DONE, task.error
    assert deleted == ["a"]
    assert heard[-1][0] == "a is gone"
    assert "keep it" in heard[-1][1]


async def test_an_approval_that_does_not_come_counts_as_denied(store: Store, clock: Clock) -> None:
    # Given an agent that waits for an approval
    deleted.clear()
    model, heard = hearing([call("delete", "c1", path="a")], "done")
    agent = Agent("cleaner", "Clean.", model, [delete])
    async with working(store, agent):
        task_id = await ask(store, agent)
        await until(store, task_id, waits)
        # When its time has passed
        clock.forward(3601)
        task = await ended(store, task_id)
    # Then nothing was deleted
    assert task.state is State.DONE, task.error
    assert deleted == []
    assert "not approved in time" in heard[-1][0]


async def test_an_answer_that_does_not_come_is_told_to_the_model(store: Store, clock: Clock) -> None:
    model, heard = hearing([call("ask_lawyer", "c1", question="may I?")], "done")
    agent = Agent("clerk", "Ask.", model, [ask_lawyer])
    async with working(store, agent):
        task_id = await ask(store, agent)
        await until(store, task_id, waits)
        clock.forward(101)
        task = await ended(store, task_id)
    assert task.state is State.DONE, task.error
    assert "no answer came within 100 s" in heard[-1][0]


async def test_weeks_may_pass_and_workers_may_change(store: Store, clock: Clock) -> None:
    # Given an agent that asked a lawyer, without any worker since
    question = deferred(ask_lawyer_at_length)
    model, heard = hearing([call("ask_lawyer_at_length", "c1", question="may I?")], "done")
    agent = Agent("clerk", "Ask.", model, [question])
    async with working(store, agent):
        task_id = await ask(store, agent)
        await until(store, task_id, waits)
    clock.forward(3 * 7 * 86_400)
    # When the answer comes, and a worker
    await Client(store).complete_deferred_tool(task_id, "c1", {"allowed": True})
    async with working(store, agent):
        task = await ended(store, task_id)
    # Then the agent goes on with it
    assert task.state is State.DONE, task.error
    assert heard == [[], [{"allowed": True}]]


async def ask_lawyer_at_length(question: str) -> None:
    """Asks a lawyer who takes his time."""


async def test_an_approval_is_for_one_call_also_where_a_model_uses_its_ids_again(store: Store, clock: Clock) -> None:
    # Given a model that names every call alike, and another one in the same turn, too
    deleted.clear()
    model, _ = hearing(
        [call("delete", "c1", path="a")], [call("delete", "c1", path="b"), call("delete", "c1", path="c")], "done"
    )
    agent = Agent("cleaner", "Clean.", model, [delete])
    client = Client(store)
    async with working(store, agent):
        task_id = await ask(store, agent)
        await until(store, task_id, waits)
        # When a person approves the first
        assert await client.approve(task_id, "c1")
        await eventually(lambda: client.open_calls(task_id))
        # Then the others wait, each for a decision of its own
        await until(store, task_id, waits)
        assert deleted == ["a"]
        second, third = await client.open_calls(task_id)
        assert [second.arguments, third.arguments] == [{"path": "b"}, {"path": "c"}]
        await client.reject(task_id, second.id)
        await client.approve(task_id, third.id)
        task = await ended(store, task_id)
    assert task.state is State.DONE, task.error
    assert deleted == ["a", "c"]


async def test_an_approval_that_comes_too_late_changes_nothing(store: Store, clock: Clock) -> None:
    # Given two calls that wait for approvals, and nobody at work when their time is over
    deleted.clear()
    model, heard = hearing([call("delete", "c1", path="a"), call("delete", "c2", path="b")], "done")
    agent = Agent("cleaner", "Clean.", model, [delete])
    client = Client(store)
    async with working(store, agent):
        task_id = await ask(store, agent)
        await until(store, task_id, waits)
    await client.approve(task_id, "c1")
    clock.forward(3601)
    await client.approve(task_id, "c2")
    # When somebody is at work again
    async with working(store, agent):
        task = await ended(store, task_id)
    # Then what was approved in time is done, and only that
    assert task.state is State.DONE, task.error
    assert deleted == ["a"]
    assert "not approved in time" in heard[-1][1]


async def test_who_approves_what_is_decided_learns_that(store: Store, clock: Clock) -> None:
    # Given a call whose approval did not come in time, beside one that still waits
    model, _ = hearing([call("delete", "c1", path="a"), call("ask_lawyer_at_length", "c2", question="?")], "done")
    agent = Agent("cleaner", "Clean.", model, [delete, deferred(ask_lawyer_at_length)])
    client = Client(store)
    async with working(store, agent):
        task_id = await ask(store, agent)
        await until(store, task_id, waits)
        clock.forward(3601)

        async def denied() -> bool:
            return [each.id for each in await client.open_calls(task_id)] == ["c2"]

        await eventually(denied)
        # Then an approval is refused
        assert not await client.approve(task_id, "c1")
        assert await client.complete_deferred_tool(task_id, "c2", "yes")
        assert (await ended(store, task_id)).state is State.DONE
