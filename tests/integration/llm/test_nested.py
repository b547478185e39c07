"""Agents that a tool runs by itself, with `agent.run()`: their turns are remembered as part of that tool call."""

from __future__ import annotations

import asyncio
from collections import Counter

import pydantic_ai
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.current import current_context
from tenuto.agents.llm.durability import TenutoDurability
from tenuto.agents.llm.tools import deferred
from tenuto.client import Client
from tenuto.stores.base import Store
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.states import State
from tests.integration.llm.rig import Scripted, ask, call, prompts, returns, stored
from tests.integration.workers.rig import ended, until, waits, working


async def test_agents_in_two_tools_of_one_turn_keep_their_answers_apart(store: Store) -> None:
    # Given two tools at a time that ask an agent each; the attempt fails then, and they come in another order
    asked = Counter[str]()
    order = {1: "ab", 2: "ba"}
    done = {(attempt, question): asyncio.Event() for attempt in order for question in "ab"}

    def answer(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        (question,) = prompts(messages)
        asked[question] += 1
        usage = RequestUsage(input_tokens=10, output_tokens=1)
        return ModelResponse(parts=[TextPart(f"about {question}")], usage=usage)

    inner = pydantic_ai.Agent(FunctionModel(answer), name="inner", capabilities=[TenutoDurability()])

    async def research(question: str) -> str:
        attempt = current_context().attempt
        if question == order[attempt][1]:
            await done[attempt, order[attempt][0]].wait()
        found = (await inner.run(question)).output
        done[attempt, question].set()
        if attempt == 1:
            await done[attempt, order[attempt][1]].wait()
            raise ConnectionError("not now")
        return found

    script = Scripted([call("research", "c1", question="a"), call("research", "c2", question="b")], "done")
    agent = Agent("writer", None, script.model, [research], price=(1, 1), retry=RetryPolicy(base=1))
    # When it works
    async with working(store, agent):
        task_id = await ask(store, agent)
        task = await ended(store, task_id)
    # Then each tool has the answer to its own question, which was asked once
    assert task.state is State.DONE, task.error
    assert asked == {"a": 1, "b": 1}
    steps = {step.key: bytes(step.value or b"") for step in await store.journal(task_id)}
    assert b"about a" in steps["turn-1/call-c1/research"]
    assert b"about b" in steps["turn-1/call-c2/research"]
    # And what they cost is in the ledger, not at the price of the agent around them
    spent = {entry.call: entry.actual for entry in await store.ledger(task_id)}
    assert {call: amount.money > 0 for call, amount in spent.items() if amount is not None} == {
        "turn-1/model#0": True,
        "turn-1/call-c1/model#0": False,
        "turn-1/call-c2/model#0": False,
        "turn-2/model#0": True,
    }


async def test_an_agent_in_a_tool_may_wait_for_people(store: Store) -> None:
    # Given a tool whose agent asks a person
    @deferred
    def ask_ann(question: str) -> None:
        """Asks a person."""

    heard: list[object] = []

    def answer(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        if not any(isinstance(message, ModelResponse) for message in messages):
            return ModelResponse(parts=[call("ask_ann", "c1", question="may I?")])
        heard.extend(returns(messages))
        return ModelResponse(parts=[TextPart("she agrees")])

    inner = pydantic_ai.Agent(FunctionModel(answer), name="inner", tools=[ask_ann], capabilities=[TenutoDurability()])

    async def consult(question: str) -> str:
        return (await inner.run(question)).output

    script = Scripted([call("consult", "c1", question="a")], "done")
    agent = Agent("writer", None, script.model, [consult])
    client = Client(store)
    async with working(store, agent):
        task_id = await ask(store, agent)
        await until(store, task_id, waits)
        (open_call,) = await client.open_calls(task_id)
        # When she answers
        await client.complete_deferred_tool(task_id, open_call.id, "yes")
        task = await ended(store, task_id)
    # Then the tool goes on
    assert task.state is State.DONE, task.error
    assert bytes(task.result or b"") == stored("done")
    assert heard == ["yes"]


async def test_steps_named_as_the_library_names_its_own_do_not_meet_them(store: Store) -> None:
    # Given an agent whose answer is made by a function with a step of that name
    async def finish(text: str) -> str:
        return str(await current_context().step("model", lambda: f"{text}!"))

    script = Scripted([call("final_result", "c1", text="well")])
    agent = Agent("writer", None, script.model, output_type=finish)
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert task.state is State.DONE, task.error
    assert bytes(task.result or b"") == stored("well!")
