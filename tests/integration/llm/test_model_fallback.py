"""Agents whose `ModelFallback` goes on with another model where one does not answer, or not usably."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pydantic_ai
import pytest
from pydantic_ai import RunContext
from pydantic_ai.capabilities import ModelFallback
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models import Model
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.wrapper import WrapperModel

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.models import build_model
from tenuto.errors import InvalidInput
from tenuto.stores.base import Store
from tenuto.stores.conversations import Entries, turns_of
from tenuto.stores.memory import MemoryStore
from tenuto.stores.sqlite import SqliteStore
from tenuto.tasks.money import DOLLAR, Budget
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.states import State
from tenuto.tasks.usage import CallState, UsageBy
from tenuto.testing import Endpoint, Reply, ToolCall, Usage
from tests.integration.llm.rig import Scripted, ask, call, returns, stored
from tests.integration.workers.rig import Clock, crashed, ended, working


class Failing:
    """A model that answers every request with a status, and counts them."""

    def __init__(self, status: int = 503) -> None:
        self.status = status
        self.asked = 0
        self.model = FunctionModel(self._answer, model_name="failing")

    def _answer(self, _: list[ModelMessage], __: AgentInfo) -> ModelResponse:
        self.asked += 1
        raise ModelHTTPError(self.status, "failing", {"error": {"message": "not now"}})


def look(place: str) -> str:
    """Looks something up."""
    return f"{place} is open"


def at(endpoint: Endpoint, name: str) -> Model:
    return build_model(f"openai-chat:{name}", base_url=endpoint.openai_url, keys={"openai": "sk-test"})


async def test_the_next_model_answers_where_one_is_down(engine: Store) -> None:
    # Given a model that is down, and another one behind it
    down = Failing()
    script = Scripted([call("look", "c1", place="shop")], "open")
    agent = Agent("clerk", "Serve.", down.model, [look], capabilities=[ModelFallback(script.model)])
    # When a task is worked on
    async with working(engine, agent):
        task = await ended(engine, await ask(engine, agent))
    # Then it is done by the other one, in one attempt, with both of them in the ledger for each turn
    assert bytes(task.result or b"") == stored("open"), task.error
    assert (task.attempt, down.asked, script.asked) == (1, 2, [1, 2])
    entries = await engine.ledger(task.id)
    assert [entry.call for entry in entries] == [f"turn-{turn}/model#{number}" for turn in (1, 2) for number in (0, 1)]
    # And the conversation is the one with the answers
    turns = await turns_of(Entries(engine, task, await engine.journal(task.id)))
    assert [turn.response["model_name"] for turn in turns] == ["scripted", "scripted"]
    assert [len(turn.messages) for turn in turns] == [1, 1]


@pytest.mark.parametrize("engine_name", ["memory", "sqlite"])
@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("library_class", [ModelFallback, FallbackModel])
async def test_no_recorded_answer_is_paid_for_again(
    tmp_path: Path, engine_name: str, answered: bool, library_class: type[ModelFallback] | type[FallbackModel]
) -> None:
    for after in itertools.count(step=1 if engine_name == "memory" else 3):
        # Given such an agent whose worker is cut off at one of its requests
        clock = Clock()
        store: Store = MemoryStore(clock=clock)
        if engine_name == "sqlite":
            store = SqliteStore(tmp_path / f"{after}.db", clock=clock)
        await store.open()
        down = Failing()
        script = Scripted([call("look", "c1", place="shop")], [call("look", "c2", place="bank")], "open")
        if library_class is ModelFallback:
            agent = Agent("clerk", None, down.model, [look], capabilities=[ModelFallback(script.model)])
        else:
            agent = Agent("clerk", None, FallbackModel(down.model, script.model), [look])
        task_id = await ask(store, agent, "begin")
        was_cut = await crashed(store, task_id, [agent], after, answered)
        # When another one takes over
        clock.forward(60)
        async with working(store, agent):
            task = await ended(store, task_id)
        # Then each answer was asked for once, but for the one that was under way
        assert task.state is State.DONE, (after, task.error)
        assert set(script.asked) == {1, 2, 3}
        assert sum(Counter(script.asked).values()) <= 3 + was_cut, (after, script.asked)
        assert down.asked <= 3 + was_cut, after
        assert script.said[-1] == ["begin"]
        entries = await store.ledger(task_id)
        assert sum(entry.state is not CallState.SETTLED for entry in entries) <= was_cut
        await store.close()
        if not was_cut:
            break


async def test_an_answer_that_is_not_accepted_is_no_part_of_the_conversation(engine: Store) -> None:
    # Given a model whose answers are not accepted, and a tool that fails after the second turn
    async def refuse(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        refused.append(len(messages))
        return ModelResponse(parts=[TextPart("I would rather not.")])

    def reluctant(response: ModelResponse) -> bool:
        return "rather not" in str(response.text)

    def fragile(ctx: RunContext[object]) -> str:
        """Fails the first time."""
        tries.append(ctx.run_step)
        if len(tries) == 1:
            raise ConnectionError("gone")
        return "fine"

    refused: list[int] = []
    tries: list[int] = []
    script = Scripted([call("look", "c1", place="shop")], [call("fragile", "c2")], "open")
    agent = Agent(
        "clerk",
        None,
        FunctionModel(refuse, model_name="reluctant"),
        [look, fragile],
        capabilities=[ModelFallback(script.model, fallback_on=[ModelAPIError, reluctant])],
        retry=RetryPolicy(max_retries=1, base=1),
    )
    # When its task is tried twice
    async with working(engine, agent):
        task = await ended(engine, await ask(engine, agent))
    # Then nobody was asked again for what is on record
    assert bytes(task.result or b"") == stored("open"), task.error
    assert (task.attempt, refused, script.asked) == (2, [1, 3, 5], [1, 2, 3])
    # And only what was accepted was said
    turns = await turns_of(Entries(engine, task, await engine.journal(task.id)))
    assert [turn.response["model_name"] for turn in turns] == ["scripted"] * 3
    # And both were paid for
    assert len(await engine.ledger(task.id)) == 6


async def test_each_model_is_counted_at_its_own_price(store: Store) -> None:
    # Given two models that the price lists know, of which the dearer one is overloaded, and a budget
    await store.put_budget(Budget("owner:ann", money=DOLLAR))
    turns = [
        Reply(tools=[ToolCall("look", {"place": "shop"})], usage=Usage(input=100, output=20)),
        Reply(text="open", usage=Usage(input=150, output=10)),
    ]
    with Endpoint([Reply(status=529)] * 2) as dear, Endpoint([*turns]) as cheap:
        others = ModelFallback(at(cheap, "gpt-5-mini"))
        agent = Agent("clerk", None, at(dear, "gpt-5"), [look], capabilities=[others], price=(50, 50))
        # When its task is done
        async with working(store, agent):
            task = await ended(store, await ask(store, agent))
        assert task.state is State.DONE, task.error
        assert (dear.count(), cheap.count()) == (2, 2)
    # Then the one that was not served cost nothing, and the other one its own price
    entries = await store.ledger(task.id)
    assert [entry.model for entry in entries] == ["gpt-5", "gpt-5-mini"] * 2
    assert [entry.counted.money for entry in entries] == [0, 65_000, 0, 57_500]


async def test_models_by_name_use_the_keys_of_the_orchestrator(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given candidates by name, and no key in the environment
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    with Endpoint([[Reply(status=503), Reply(text="from Claude")]]) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.openai_url)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", endpoint.anthropic_url)
        other = ModelFallback("anthropic:claude-sonnet-4-5")
        agent = Agent("clerk", None, "openai-chat:gpt-5-mini", capabilities=[other])
        # When there is none for one of them, it is refused before anything is submitted
        with pytest.raises(InvalidInput, match="ANTHROPIC_API_KEY"):
            agent.with_keys({"openai": "sk-one"}).check_able()
        # When both are given, both are used
        able = agent.with_keys({"openai": "sk-one", "anthropic": "sk-two"})
        able.check_able()
        async with working(store, able):
            task = await ended(store, await ask(store, able))
    assert bytes(task.result or b"") == stored("from Claude"), task.error


async def test_an_agent_of_pydantic_ai_brings_its_own(store: Store) -> None:
    down, script = Failing(), Scripted("here")
    made = pydantic_ai.Agent(down.model, name="clerk", capabilities=[ModelFallback(script.model)])
    agent = Agent.of(made)
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert bytes(task.result or b"") == stored("here"), task.error


async def test_where_nobody_answers_the_task_says_what_each_of_them_said(store: Store) -> None:
    # Given two models, of which one may answer later
    never, later = Failing(401), Failing(503)
    agent = Agent(
        "clerk",
        None,
        never.model,
        capabilities=[ModelFallback(later.model)],
        retry=RetryPolicy(max_retries=1, base=1),
    )
    # When neither does
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then both were asked as often as the task may be tried, and both are quoted
    assert task.error is not None
    assert task.error.type == "ModelError"
    assert "HTTP 401" in task.error.message
    assert "HTTP 503" in task.error.message
    assert (never.asked, later.asked) == (2, 2)


async def test_a_tool_may_go_on_where_the_model_of_its_agent_fails(store: Store) -> None:
    # Given a tool with an agent of its own whose provider is down, and which knows what to do then
    down = Failing()
    inner = pydantic_ai.Agent(down.model, name="inner")

    async def consult() -> str:
        """Asks somebody else."""
        try:
            return (await inner.run("well?")).output
        except ModelAPIError:
            return "nobody there"

    seen: list[object] = []

    def last(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        seen.extend(returns(messages))
        return ModelResponse(parts=[TextPart("fine") if seen else call("consult", "c1")])

    agent = Agent("clerk", None, FunctionModel(last), [consult])
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert bytes(task.result or b"") == stored("fine"), task.error
    assert seen == ["nobody there"]


async def test_each_model_of_a_fallback_model_is_a_call_of_its_own(engine: Store) -> None:
    # Given a model of several under a budget, of which the first is overloaded
    await engine.put_budget(Budget("owner:ann", money=DOLLAR))
    turns = [
        Reply(tools=[ToolCall("look", {"place": "shop"})], usage=Usage(input=100, output=20)),
        Reply(text="open", usage=Usage(input=150, output=10)),
    ]
    with Endpoint([Reply(status=529)] * 2) as dear, Endpoint([*turns]) as cheap:
        several = FallbackModel(at(dear, "gpt-5"), at(cheap, "gpt-5-mini"))
        agent = Agent("clerk", None, several, [look])
        # When its task is done
        async with working(engine, agent):
            task = await ended(engine, await ask(engine, agent))
        assert task.state is State.DONE, task.error
        assert (dear.count(), cheap.count()) == (2, 2)
    # Then each request is in the ledger for the model that it went to, at what it cost there
    entries = await engine.ledger(task.id)
    assert [entry.call for entry in entries] == [f"turn-{turn}/model#0{nth}" for turn in (1, 2) for nth in ("", "~1")]
    assert [entry.model for entry in entries] == ["gpt-5", "gpt-5-mini"] * 2
    assert [entry.counted.money for entry in entries] == [0, 65_000, 0, 57_500]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wrap", [False, True], ids=["bare", "wrapped"])
async def test_a_fallback_model_stays_within_its_budget(store: Store, stream: bool, wrap: bool) -> None:
    # Given a budget that the first model's request has room in, and the second one's has not
    await store.put_budget(Budget("owner:ann", money=DOLLAR // 1000))
    with Endpoint([Reply(status=529)]) as cheap, Endpoint(["never"]) as dear:
        several = FallbackModel(at(cheap, "gpt-5-nano"), at(dear, "gpt-5"))
        model = WrapperModel(several) if wrap else several
        agent = Agent("clerk", None, model, model_settings={"max_tokens": 200}, stream=stream)
        # When the first one is overloaded
        async with working(store, agent):
            task = await ended(store, await ask(store, agent))
        # Then the second one is not asked
        assert task.error is not None
        assert task.error.type == "BudgetExceeded"
        assert (cheap.count(), dear.count()) == (1, 0)
    (row,) = await store.usage(UsageBy.OWNER, prefix="ann")
    assert row.spent.money == 0


async def test_an_answer_that_a_fallback_model_does_not_accept_is_paid_for(store: Store) -> None:
    # Given a model of several whose first answer is not accepted
    def reluctant(response: ModelResponse) -> bool:
        return "rather not" in str(response.text)

    no = Reply(text="I would rather not.", usage=Usage(input=100, output=20))
    yes = Reply(text="Here.", usage=Usage(input=150, output=10))
    with Endpoint([no]) as first, Endpoint([yes]) as second:
        models = at(first, "gpt-5-mini"), at(second, "gpt-5-mini")
        agent = Agent("clerk", None, FallbackModel(*models, fallback_on=[ModelAPIError, reluctant]))
        async with working(store, agent):
            task = await ended(store, await ask(store, agent))
    # Then both are in the ledger at what they cost
    assert bytes(task.result or b"") == stored("Here."), task.error
    entries = await store.ledger(task.id)
    assert [(entry.state, entry.counted.money) for entry in entries] == [
        (CallState.SETTLED, 65_000),
        (CallState.SETTLED, 57_500),
    ]


async def test_what_a_fallback_model_has_streamed_is_counted_for_who_said_it(store: Store) -> None:
    yes = Reply(text="Here I am.", usage=Usage(input=150, output=10))
    with Endpoint([Reply(status=503)]) as first, Endpoint([yes]) as second:
        agent = Agent("clerk", None, FallbackModel(at(first, "gpt-5"), at(second, "gpt-5-mini")), stream=True)
        async with working(store, agent):
            task = await ended(store, await ask(store, agent))
    assert bytes(task.result or b"") == stored("Here I am."), task.error
    entries = await store.ledger(task.id)
    assert [(entry.model, entry.counted.money) for entry in entries] == [("gpt-5", 0), ("gpt-5-mini", 57_500)]
