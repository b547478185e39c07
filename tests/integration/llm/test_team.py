"""Agents that work for agents: their answers, their failures, and what they cost."""

from __future__ import annotations

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.current import current_context
from tenuto.agents.llm.team import as_tool, hand_off
from tenuto.stores.base import Store
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.usage import UsageBy
from tests.integration.llm.rig import Scripted, ask, asking, call, returns, stored
from tests.integration.workers.rig import ended, until, waits, working


async def test_agents_are_tools_of_others_side_by_side(store: Store) -> None:
    # Given a writer with a researcher as its tool, whose second question fails
    heard: list[object] = []

    def find(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        if "moon" in str(messages[0]):
            raise ValueError("too far")
        return ModelResponse(parts=[TextPart("rivers are long")])

    def write(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        if not any(isinstance(message, ModelResponse) for message in messages):
            return ModelResponse(
                parts=[call("researcher", "c1", query="rivers"), call("researcher", "c2", query="moon")]
            )
        heard.extend(returns(messages))
        return ModelResponse(parts=[TextPart("written")])

    researcher = Agent("researcher", None, FunctionModel(find), max_retries=0)
    writer = Agent("writer", None, FunctionModel(write), [as_tool(researcher, "Finds facts.")])
    # When it works
    async with working(store, writer, researcher):
        task_id = await ask(store, writer)
        task = await ended(store, task_id)
    # Then it has heard the answer of one and the failure of the other
    assert task.state is State.DONE, task.error
    assert heard[0] == "rivers are long"
    assert "researcher ended as failed: too far" in str(heard[1])
    # And what both have used counts for the tree
    (row,) = await store.usage(UsageBy.TREE, prefix=task_id)
    own = await store.ledger(task_id)
    assert row.spent.requests > len(own)


async def test_a_conversation_is_handed_over(store: Store) -> None:
    # Given a triage agent that hands questions of law over
    lawyer = Agent("lawyer", None, Scripted("you may").model)
    script = Scripted([call("final_result", "c1", query="may I?")])
    triage = Agent("triage", None, script.model, output_type=[str, hand_off(lawyer, "For questions of law.")])
    # When such a question comes
    async with working(store, triage, lawyer):
        task = await ended(store, await ask(store, triage))
    # Then the lawyer's answer is the result, and triage was asked once
    assert task.state is State.DONE, task.error
    assert task.result is not None
    assert bytes(task.result) == stored("you may")
    assert script.asked == [1]


async def test_cancelling_reaches_the_agents_below(store: Store) -> None:
    # Given an agent that waits for another, for which there is no worker
    helper = Agent("helper", None, Scripted("x").model)
    boss = Agent("boss", None, Scripted([call("helper", "c1", query="do it")]).model, [as_tool(helper, "Helps.")])
    async with working(store, boss):
        task_id = await ask(store, boss)
        task = await until(store, task_id, waits)
        assert task.wait is not None
        child = task.wait.on[0].removeprefix("task:")
        # When it is cancelled
        await store.signal([Signal(task_id, SignalKind.CANCEL, reason="no more")])
        # Then so is the other
        assert (await ended(store, child)).state is State.CANCELLED


async def test_who_waits_for_all_of_a_batch_wakes_once(store: Store) -> None:
    # Given an agent whose tool has ten others work, and waits for all of them
    helper = Agent("helper", None, Scripted("helped").model)

    async def survey() -> list[str]:
        """Asks ten."""
        context = current_context()
        children = await context.spawn_batch([asking(helper, f"question {number}") for number in range(10)])
        return [each.result for each in await context.wait_for(children)]

    boss = Agent("boss", None, Scripted([call("survey", "c1")], "surveyed").model, [survey])
    # When it works
    async with working(store, boss, helper):
        task = await ended(store, await ask(store, boss))
    # Then it was claimed twice: to ask, and when all had answered
    assert task.state is State.DONE, task.error
    assert task.attempt == 2
