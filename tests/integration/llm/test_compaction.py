"""Histories that are shortened: by a provider, by an endpoint of its own, by a function, by another agent."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pydantic_ai
import pytest
from pydantic_ai.capabilities import ProcessHistory
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicCompaction
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.openai import OpenAICompaction

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.context import AgentContext
from tenuto.agents.llm.durability import TenutoDurability
from tenuto.agents.llm.models import build_model
from tenuto.agents.llm.replay import replay_task
from tenuto.client import Client
from tenuto.stores.base import Store
from tenuto.tasks.states import State
from tenuto.tasks.turns import log_of
from tenuto.tasks.usage import CallState
from tenuto.testing import CrashRun, Endpoint, Reply, ToolCall, Usage, crash_matrix
from tests.integration.llm.rig import ask, call, prompts, returns, stored
from tests.integration.workers.rig import Clock, crashed, ended, submit, working

USED = Usage(input=1_000, output=100)
EARLIER = [{"role": role, "content": f"{role} {number}"} for number in range(3) for role in ("user", "assistant")]
"""Six messages."""


def look(place: str) -> str:
    """Looks something up."""
    return f"{place} is open"


def looks(place: str, **more: Any) -> Reply:
    return Reply(tools=[ToolCall("look", {"place": place})], usage=USED, **more)


def openai(url: str) -> Model:
    return build_model("openai-responses:gpt-5-mini", base_url=url, keys={"openai": "sk-test"})


def anthropic(url: str) -> Model:
    return build_model("anthropic:claude-haiku-4-5", base_url=url, keys={"anthropic": "sk-test"})


def long_since(messages: list[ModelMessage]) -> bool:
    return len(messages) > 5 and not isinstance(messages[-2], ModelRequest) and not messages[-2].tool_calls


def compacting(url: str) -> Agent:
    """An agent whose provider is asked for a summary when it begins with a long conversation."""
    compaction: OpenAICompaction[Any] = OpenAICompaction(trigger=long_since)
    return Agent("clerk", "Serve.", partial(openai, url), [look], capabilities=[compaction])


def script() -> list[Any]:
    """Of the turns behind the three answers of the earlier conversation."""
    return ["", "", "", looks("shop"), Reply(text="open", usage=USED)]


async def begun(store: Store, agent: Agent, **fields: Any) -> str:
    """A task that begins with the earlier conversation; its id."""
    (task_id,) = await submit(store, agent.create_task(payload=AgentContext(query="now?", messages=EARLIER), **fields))
    return task_id


async def test_a_summary_that_is_asked_for_is_a_request_like_others(store: Store) -> None:
    # Given an agent that has its conversation compacted
    with Endpoint(script()) as endpoint:
        agent = compacting(endpoint.openai_url)
        async with working(store, agent):
            # When it works
            task = await ended(store, await begun(store, agent))
        # Then the summary was asked for once, and took the place of what it is about
        assert task.state is State.DONE, task.error
        assert [call.path.rpartition("/")[2] for call in endpoint.calls] == ["compact", "responses", "responses"]
        assert [call.turn for call in endpoint.calls] == [4, 4, 5]
        assert all("assistant 2" not in call.text for call in endpoint.calls[1:])
        assert all("[a summary of 3 turns]" in call.text for call in endpoint.calls[1:])
    assert [step.key for step in await store.journal(task.id) if "model" in step.key] == [
        "turn-1/model.compact_messages#0",
        "turn-1/model#0",
        "turn-2/model#0",
    ]
    # And it was reserved and settled, and counts to its turn
    entries = {entry.call: entry for entry in await store.ledger(task.id)}
    entry = entries["turn-1/model.compact_messages#0"]
    assert entry.state is CallState.SETTLED
    assert entry.actual is not None
    assert 0 < entry.actual.money < entry.bound.money
    first, second = await Client(store).get_turns(task.id)
    assert first.cost == entry.actual.money + entries["turn-1/model#0"].counted.money
    assert [[part["part_kind"] for part in message["parts"]] for message in first.messages] == [
        ["compaction"],
        ["user-prompt"],
    ]
    assert (second.kept, len(second.messages)) == (3, 1)
    assert not (await replay_task(store, task.id, agent)).departs


async def test_a_summary_that_a_budget_has_no_room_for_is_not_asked_for(store: Store) -> None:
    with Endpoint(script()) as endpoint:
        agent = compacting(endpoint.openai_url)
        async with working(store, agent):
            task = await ended(store, await begun(store, agent, budget=0.000_1))
        assert task.state is State.FAILED
        assert task.error is not None
        assert task.error.type == "BudgetExceeded"
        assert endpoint.count() == 0


@pytest.mark.timeout(600)
async def test_a_summary_is_paid_for_once_wherever_the_worker_is_killed(tmp_path: Path) -> None:
    with Endpoint(script()) as endpoint:
        seen = Counter[str]()

        def check(run: CrashRun) -> None:
            # Then at most the one request that was under way was made again
            asked = Counter(call.path for call in endpoint.calls) - seen
            seen.update(asked)
            assert sum(asked.values()) <= 3 + len(run.crashes), run.place
            assert asked["/v1/responses/compact"] <= 1 + len(run.crashes)
            assert sum(entry.state is CallState.SETTLED for entry in run.ledger) >= 3, run.place

        # Given a task whose conversation is compacted, and when its worker is killed
        agent = compacting(endpoint.openai_url)
        task = agent.create_task(payload=AgentContext(query="now?", messages=EARLIER))
        runs = await crash_matrix(agent, task, folder=tmp_path, check=check, every=5)
    assert {run.result for run in runs} == {stored("open")}
    assert len(runs) > 4


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_what_a_provider_compacts_by_itself_lasts_beyond_the_worker(
    store: Store, clock: Clock, provider: str
) -> None:
    # Given a provider that puts a summary into its second answer
    turns: list[Any] = [looks("shop"), looks("bank", compaction="The shop is open."), looks("bar"), "all are open"]
    with Endpoint(turns) as endpoint:
        url = endpoint.openai_url if provider == "openai" else endpoint.anthropic_url
        compaction: Any = OpenAICompaction() if provider == "openai" else AnthropicCompaction()
        model = partial(openai if provider == "openai" else anthropic, url)
        agent = Agent("clerk", "Serve.", model, [look], capabilities=[compaction])
        task_id = await ask(store, agent, "Look around.")
        # When the worker is cut off after that, and another one goes on
        assert await crashed(store, task_id, [agent], 8, answered=True)
        clock.forward(60)
        async with working(store, agent):
            task = await ended(store, task_id)
        # Then what is said to it goes on from the summary
        assert task.state is State.DONE, task.error
        assert "Look around." in endpoint.calls[1].text
        after = [call.text for call in endpoint.calls if call.turn > 2]
        assert len(after) >= 2
        assert all("The shop is open." in text and "Look around." not in text for text in after)
    turns_read = await Client(store).get_turns(task_id)
    assert [turn.kept for turn in turns_read] == [0, 2, 4, 6], "nothing is recorded twice"
    assert turns_read[1].response["parts"][0]["part_kind"] == "compaction"


async def test_a_history_that_a_function_shortens_is_on_record_as_the_model_has_it(store: Store, clock: Clock) -> None:
    was_cut, after = True, 0
    while was_cut:
        after += 1
        # Given an agent that forgets the oldest of what was said, and a worker that is cut off
        kept: list[ModelMessage] = []
        asked_with: list[str] = []

        def shortened(messages: list[ModelMessage], kept: list[ModelMessage] = kept) -> list[ModelMessage]:
            kept[:] = messages[2:] if len(messages) > 3 else messages
            return list(kept)

        def answer(
            messages: list[ModelMessage],
            _: AgentInfo,
            kept: list[ModelMessage] = kept,
            asked_with: list[str] = asked_with,
        ) -> ModelResponse:
            asked_with[:] = map(said, kept)
            last = returns(messages)[-1:]
            number = int(last[0]) if last else 0
            return ModelResponse(
                parts=[call("count", f"call-{number}", number=number)] if number < 5 else [TextPart("done")]
            )

        def count(number: int) -> int:
            """Counts."""
            return number + 1

        agent = Agent("clerk", None, FunctionModel(answer), [count], capabilities=[ProcessHistory(shortened)])
        task_id = await ask(store, agent)
        was_cut = await crashed(store, task_id, [agent], after, answered=True)
        clock.forward(60)
        # When another one goes on
        async with working(store, agent):
            task = await ended(store, task_id)
        # Then what is on record is what it was shortened to when the model was asked
        assert task.state is State.DONE, (after, task.error)
        turns = await Client(store).get_turns(task_id)
        *asked, answered = log_of(turns)
        assert [said(message) for message in asked] == asked_with, after
        assert answered["parts"][0]["content"] == "done"
        assert len(turns) == 6
    assert after > 10


def said(message: Any) -> str:
    """What a message comes to, in either form."""
    part: Any = message["parts"][-1] if isinstance(message, dict) else message.parts[-1]
    if not isinstance(part, dict):
        part = {"tool_call_id": getattr(part, "tool_call_id", None), "content": getattr(part, "content", None)}
        part |= {"part_kind": "tool-call"} if part["content"] is None else {}
    if part.get("part_kind") == "tool-call":
        return str(part["tool_call_id"])
    return f"{part.get('content')} {part.get('tool_call_id') or ''}".strip()


async def test_an_agent_that_shortens_the_history_is_asked_once(store: Store, clock: Clock) -> None:
    was_cut, after = True, 0
    while was_cut:
        after += 1
        # Given an agent that has another one sum up what was said before its third request
        asked = Counter[str]()

        def sum_up(messages: list[ModelMessage], _: AgentInfo, asked: Counter[str] = asked) -> ModelResponse:
            asked["summary"] += 1
            return ModelResponse(parts=[TextPart(f"{len(prompts(messages))} prompts")])

        summarizer = pydantic_ai.Agent(FunctionModel(sum_up), name="summarizer", capabilities=[TenutoDurability()])

        async def shorter(messages: list[ModelMessage]) -> list[ModelMessage]:
            if len(messages) != 5:
                return messages
            summary = (await summarizer.run("Sum it up.", message_history=messages[:-2])).output  # noqa: B023
            return [ModelRequest(parts=[UserPromptPart(summary)]), *messages[-2:]]

        def answer(messages: list[ModelMessage], _: AgentInfo, asked: Counter[str] = asked) -> ModelResponse:
            asked["answer"] += 1
            turn = sum(isinstance(message, ModelResponse) for message in messages)
            if prompts(messages) == ["go"]:
                return ModelResponse(parts=[call("look", f"call-{turn}", place="shop")])
            return ModelResponse(parts=[TextPart("; ".join(prompts(messages)))])

        capability: ProcessHistory[Any] = ProcessHistory(shorter)
        agent = Agent("clerk", None, FunctionModel(answer), [look], capabilities=[capability], price=(1, 1))
        task_id = await ask(store, agent)
        # When its worker is cut off, and another one goes on
        was_cut = await crashed(store, task_id, [agent], after, answered=True)
        clock.forward(60)
        async with working(store, agent):
            task = await ended(store, task_id)
        # Then each was asked once, but for what was under way, and their entries are apart
        assert task.state is State.DONE, (after, task.error)
        assert task.result is not None
        assert bytes(task.result) == stored("2 prompts")
        assert sum(asked.values()) <= 4 + was_cut, (after, asked)
        keys = [step.key for step in await store.journal(task_id) if "model" in step.key]
        assert keys == ["turn-1/model#0", "turn-2/model#0", "turn-3/agent-summarizer/model#0", "turn-3/model#0"], after
        assert {entry.call: entry.bound.money > 0 for entry in await store.ledger(task_id)} == {
            "turn-1/model#0": True,
            "turn-2/model#0": True,
            "turn-3/agent-summarizer/model#0": False,
            "turn-3/model#0": True,
        }
    assert after > 6
