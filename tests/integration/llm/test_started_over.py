"""Tasks that are started over: their turns are those of the new run alone, and nothing that was paid is forgotten."""

from __future__ import annotations

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage

from tenuto.agents.llm.agent import Agent
from tenuto.client import Client
from tenuto.stores.base import Store
from tenuto.tasks.states import State
from tenuto.tasks.usage import UsageBy
from tests.integration.llm.rig import ask, call
from tests.integration.workers.rig import ended, until, working


def look() -> str:
    """Looks."""
    return "nothing"


def answer(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
    said = any(isinstance(message, ModelResponse) for message in messages)
    parts = [TextPart("done")] if said else [call("look", "c1")]
    return ModelResponse(parts=parts, usage=RequestUsage(input_tokens=10, output_tokens=1))


async def test_turns_of_a_task_that_was_started_over_cost_what_they_cost(engine: Store) -> None:
    # Given a task that was done in two turns, with what each has cost
    agent = Agent("clerk", None, FunctionModel(answer), [look], price=(1, 1))
    client = Client(engine)
    async with working(engine, agent):
        task_id = await ask(engine, agent)
        await ended(engine, task_id)
        before = [turn.cost for turn in await client.get_turns(task_id)]
        assert before == [11_000, 11_000]
        for run in (2, 3):
            # When it is started over
            await client.retry_task(task_id, fresh=True)
            await until(engine, task_id, lambda task: task.run == run and task.state is State.DONE)  # noqa: B023
            # Then its turns cost what they cost this time
            assert [turn.cost for turn in await client.get_turns(task_id)] == before
    # And all that was paid is counted
    (row,) = await engine.usage(UsageBy.TASK, prefix=task_id)
    assert row.spent.money == 66_000
    assert len(await engine.ledger(task_id)) == 6


async def test_turns_of_a_task_that_went_on_cost_what_they_did(engine: Store) -> None:
    # Given a task whose second turn fails the first time, after a first one that was paid
    broken = True

    async def look() -> str:
        """Looks."""
        if broken:
            raise RuntimeError("not now")
        return "nothing"

    agent = Agent("clerk", None, FunctionModel(answer), [look], price=(1, 1), max_retries=0)
    client = Client(engine)
    async with working(engine, agent):
        task_id = await ask(engine, agent)
        await ended(engine, task_id)
        # When it is retried from where it failed
        broken = False
        await client.retry_task(task_id)
        await until(engine, task_id, lambda task: task.state is State.DONE)
    # Then the first turn still has its cost
    assert [turn.cost for turn in await client.get_turns(task_id)] == [11_000, 11_000]
