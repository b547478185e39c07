"""What must happen once where an agent goes on with another model: steering, and requests that are on record."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

import pydantic_ai
import pytest
from pydantic_ai.capabilities import ModelFallback
from pydantic_ai.exceptions import FallbackExceptionGroup, ModelAPIError
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.durability import TenutoDurability
from tenuto.stores.base import Store
from tenuto.stores.memory import MemoryStore
from tenuto.tasks.money import DOLLAR, AtLimit, Budget
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.usage import CallState, UsageBy
from tenuto.testing import Reply, Rule, ScriptedModel, ToolCall, Usage
from tests.integration.llm.rig import Scripted, ask, call, stored
from tests.integration.llm.test_model_fallback import Failing, look
from tests.integration.workers.rig import Clock, crashed, ended, until, working


class Counted:
    """A model that does what `answer` does, and counts how often."""

    def __init__(self, answer: Callable[[], ModelResponse]) -> None:
        self.asked = 0
        self._answer = answer
        self.model = FunctionModel(self._said, model_name="counted")

    def _said(self, _: list[ModelMessage], __: AgentInfo) -> ModelResponse:
        self.asked += 1
        return self._answer()


class OutOfOrder(Exception):
    """What a model that somebody has written himself may raise."""


def out_of_order() -> ModelResponse:
    raise OutOfOrder("not now")


def refusing() -> ModelResponse:
    return ModelResponse(parts=[TextPart("I would rather not.")])


def reluctant(response: ModelResponse) -> bool:
    return "rather not" in str(response.text)


def fragile() -> Callable[[], str]:
    """A tool that fails the first time."""
    tries = itertools.count()

    def once_more() -> str:
        """Works the second time."""
        if next(tries) == 0:
            raise ConnectionError("gone")
        return "fine"

    return once_more


def asking(agent: pydantic_ai.Agent[None, str]) -> Callable[[], Awaitable[str]]:
    """A tool that asks `agent`."""

    async def consult() -> str:
        return (await agent.run("well?")).output

    return consult


@pytest.mark.parametrize("answered", [False, True])
async def test_steering_is_read_once_whoever_dies_between_two_models(answered: bool) -> None:
    for after in itertools.count():
        # Given a task that was steered, of an agent whose first model is down, and whose worker is cut off
        clock = Clock()
        store = MemoryStore(clock=clock)
        await store.open()
        script = Scripted([call("look", "c1", place="shop")], "open")
        agent = Agent("clerk", None, Failing().model, [look], capabilities=[ModelFallback(script.model)])
        task_id = await ask(store, agent, "begin")
        await store.signal([Signal(task_id, SignalKind.STEER, data="hurry")])
        was_cut = await crashed(store, task_id, [agent], after, answered)
        # When another one takes over
        clock.forward(60)
        async with working(store, agent):
            task = await ended(store, task_id)
        # Then each request says it, once
        assert task.state is State.DONE, (after, task.error)
        assert all(said == ["begin", "hurry"] for said in script.said), (after, script.said)
        assert not await store.inbox(task_id)
        await store.close()
        if not was_cut:
            break


async def test_a_model_that_fails_in_its_own_way_is_not_asked_again(store: Store) -> None:
    # Given a model whose error is nobody else's, another one behind it, and a tool that fails in the second turn
    broken = Counted(out_of_order)
    script = Scripted([call("look", "c1", place="shop")], [call("once_more", "c2")], "open")
    others = ModelFallback(script.model, fallback_on=(OutOfOrder,))
    retry = RetryPolicy(max_retries=1, base=1)
    agent = Agent("clerk", None, broken.model, [look, fragile()], capabilities=[others], retry=retry)
    # When its task is tried twice
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then both models were asked once for each turn
    assert bytes(task.result or b"") == stored("open"), task.error
    assert (task.attempt, broken.asked, script.asked) == (2, 3, [1, 2, 3])


async def test_several_models_that_come_to_nothing_are_not_asked_again(store: Store) -> None:
    # Given several models in one, of which none gives an answer, another one behind them, and a tool that fails
    refuses, down = Counted(refusing), Failing()
    script = Scripted([call("look", "c1", place="shop")], [call("once_more", "c2")], "open")
    several = FallbackModel(refuses.model, down.model, fallback_on=[ModelAPIError, reluctant])
    others = ModelFallback(script.model, fallback_on=(FallbackExceptionGroup,))
    retry = RetryPolicy(max_retries=1, base=1)
    agent = Agent("clerk", None, several, [look, fragile()], capabilities=[others], retry=retry)
    # When its task is tried twice
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then each was asked once for each turn
    assert bytes(task.result or b"") == stored("open"), task.error
    assert (task.attempt, refuses.asked, down.asked, script.asked) == (2, 3, 3, [1, 2, 3])


@pytest.mark.parametrize("answered", [False, True])
async def test_what_a_fallback_model_has_not_accepted_is_not_paid_for_again(answered: bool) -> None:
    for after in itertools.count():
        # Given a model of several, of which the first one's answers are not accepted, and a worker that is cut off
        clock = Clock()
        store = MemoryStore(clock=clock)
        await store.open()
        refuses = Counted(refusing)
        script = Scripted([call("look", "c1", place="shop")], "open")
        several = FallbackModel(refuses.model, script.model, fallback_on=[ModelAPIError, reluctant])
        agent = Agent("clerk", None, several, [look])
        task_id = await ask(store, agent, "begin")
        was_cut = await crashed(store, task_id, [agent], after, answered)
        # When another one takes over
        clock.forward(60)
        async with working(store, agent):
            task = await ended(store, task_id)
        # Then each answer was asked for once, but for the one that was under way, accepted or not
        assert task.state is State.DONE, (after, task.error)
        assert refuses.asked + len(script.asked) <= 4 + was_cut, (after, refuses.asked, script.asked)
        entries = await store.ledger(task_id)
        assert sum(entry.state is not CallState.SETTLED for entry in entries) <= was_cut
        await store.close()
        if not was_cut:
            break


async def test_an_answer_that_was_not_accepted_is_asked_for_again_where_something_else_is_said() -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    await store.open()
    # Given a model of several, of which the first one does not give what is wanted, and the second one is down at first
    refuses, down = Counted(refusing), Failing()
    script = Scripted("open")

    def later(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        model = down.model if down.asked == 0 else script.model
        assert model.function is not None
        answer = model.function(messages, info)
        assert isinstance(answer, ModelResponse)
        return answer

    several = FallbackModel(refuses.model, FunctionModel(later), fallback_on=[ModelAPIError, reluctant])
    agent = Agent("clerk", None, several, retry=RetryPolicy(max_retries=1, base=50_000))
    async with working(store, agent):
        # When its task is steered before it is tried again
        task_id = await ask(store, agent, "begin")
        await until(store, task_id, lambda task: task.failures == 1)
        await store.signal([Signal(task_id, SignalKind.STEER, data="hurry")])
        clock.forward(100)
        task = await ended(store, task_id)
    # Then the first one is asked that, too
    assert bytes(task.result or b"") == stored("open"), task.error
    assert (refuses.asked, script.said) == (2, [["begin", "hurry"]])
    await store.close()


@pytest.mark.parametrize("answered", [False, True])
async def test_an_agent_in_a_tool_goes_on_with_its_own_other_models(answered: bool) -> None:
    for after in itertools.count():
        # Given a tool with an agent of its own, both agents' first models down, and a worker that is cut off
        clock = Clock()
        store = MemoryStore(clock=clock)
        await store.open()
        down, script = Failing(), Scripted([call("consult", "c1")], "fine")
        inner_script = Scripted([call("look", "i1", place="bank")], "it is")
        inner = pydantic_ai.Agent(
            down.model,
            name="inner",
            tools=[look],
            capabilities=[TenutoDurability(), ModelFallback(inner_script.model)],
        )

        tool = pydantic_ai.Tool(asking(inner), name="consult", description="Asks somebody else.")
        agent = Agent("clerk", None, down.model, [tool], capabilities=[ModelFallback(script.model)])
        task_id = await ask(store, agent, "begin")
        was_cut = await crashed(store, task_id, [agent], after, answered)
        # When another one takes over
        clock.forward(60)
        async with working(store, agent):
            task = await ended(store, task_id)
        # Then each answer was asked for once, but for the one that was under way
        assert bytes(task.result or b"") == stored("fine"), (after, task.error)
        assert set(inner_script.asked) == {1, 2}
        assert len(script.asked) + len(inner_script.asked) <= 4 + was_cut, (after, script.asked, inner_script.asked)
        await store.close()
        if not was_cut:
            break


@pytest.mark.parametrize("answered", [False, True])
async def test_each_request_is_counted_whoever_dies_between_two_models(answered: bool) -> None:
    for after in itertools.count():
        # Given an agent under a budget whose first model is down, and whose worker is cut off
        clock = Clock()
        store = MemoryStore(clock=clock)
        await store.open()
        await store.put_budget(Budget("owner:ann", money=DOLLAR))
        turns = [
            Reply(tools=[ToolCall("look", {"place": "shop"})], usage=Usage(input=100, output=20)),
            Reply(text="open", usage=Usage(input=150, output=10)),
        ]
        down = ScriptedModel([Rule(turns=[Reply(status=503)], repeat=True)], name="gpt-5", provider="openai")
        able = ScriptedModel(turns, name="gpt-5-mini", provider="openai")
        agent = Agent("clerk", None, down, [look], capabilities=[ModelFallback(able)])
        task_id = await ask(store, agent, "begin")
        was_cut = await crashed(store, task_id, [agent], after, answered)
        # When another one takes over
        clock.forward(60)
        async with working(store, agent):
            task = await ended(store, task_id)
        assert task.state is State.DONE, (after, task.error)
        # Then each request is a call of its own in the ledger, and at least what was paid for is counted
        entries = await store.ledger(task_id)
        assert len(entries) >= down.count() + able.count(), (after, [entry.call for entry in entries])
        paid = sum({1: 65_000, 2: 57_500}[made.turn] for made in able.calls)
        (row,) = await store.usage(UsageBy.OWNER, prefix="ann")
        assert row.spent.money >= paid, after
        await store.close()
        if not was_cut:
            break


@pytest.mark.parametrize("library_class", [ModelFallback, FallbackModel])
async def test_what_the_cheaper_model_costs_is_counted(
    engine: Store, library_class: type[ModelFallback] | type[FallbackModel]
) -> None:
    # Given an agent with a model that is down, another one that its budget has no room for, and a cheaper one
    await engine.put_budget(Budget("owner:ann", money=DOLLAR // 1000, at_limit=AtLimit.FALLBACK))
    down = ScriptedModel([Rule(turns=[Reply(status=503)], repeat=True)], name="gpt-5-nano", provider="openai")
    dear = ScriptedModel(["never"], name="gpt-5", provider="openai")
    yes = Reply(text="Here.", usage=Usage(input=150, output=10))
    cheap = ScriptedModel([yes], name="gpt-5-mini", provider="openai")
    several = library_class is FallbackModel
    agent = Agent(
        "clerk",
        None,
        FallbackModel(down, dear) if several else down,
        capabilities=() if several else [ModelFallback(dear)],
        fallback=cheap,
        model_settings={"max_tokens": 200},
    )
    # When its task is done
    async with working(engine, agent):
        task = await ended(engine, await ask(engine, agent))
    # Then the dearer one was not asked, and what the cheaper one has cost is counted
    assert bytes(task.result or b"") == stored("Here."), task.error
    assert (down.count(), dear.count(), cheap.count()) == (1, 0, 1)
    entries = await engine.ledger(task.id)
    assert [(entry.model, entry.counted.money) for entry in entries] == [("gpt-5-nano", 0), ("gpt-5-mini", 57_500)]
    (row,) = await engine.usage(UsageBy.OWNER, prefix="ann")
    assert row.spent.money == 57_500


async def test_answers_that_are_never_accepted_come_to_an_end(store: Store) -> None:
    # Given several models in one, whose answers are not accepted, and a model behind them that is down
    refuses, down = Counted(refusing), Failing()
    several = FallbackModel(refuses.model, down.model, fallback_on=[ModelAPIError, reluctant])
    others = ModelFallback(Failing().model, fallback_on=(ModelAPIError, FallbackExceptionGroup))
    agent = Agent("clerk", None, several, capabilities=[others], retry=RetryPolicy(max_retries=2, base=1))
    # When its task is worked on
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then it is tried as often as it may be: what was not accepted is no progress
    assert (task.state, task.attempt) == (State.FAILED, 3)
    assert down.asked == 3
