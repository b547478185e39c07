"""Money of LLM agents: reserved before each request, settled after it, and what happens where there is none left."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.models import build_model
from tenuto.stores.base import Store
from tenuto.tasks.limits import Limit
from tenuto.tasks.money import DOLLAR, Amount, AtLimit, Budget
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.usage import CallState, UsageBy
from tenuto.testing import Endpoint, Reply, ToolCall, Usage
from tests.integration.llm.rig import Scripted, ask, call
from tests.integration.workers.rig import CONFIG, Clock, ended, until, waits, working


def look(place: str) -> str:
    """Looks something up."""
    return f"{place} is open"


def at(endpoint: Endpoint, name: str = "gpt-5-mini") -> Model:
    return build_model(f"openai-chat:{name}", base_url=endpoint.openai_url, keys={"openai": "sk-test"})


def two_turns() -> list[Reply]:
    return [
        Reply(tools=[ToolCall("look", {"place": "shop"})], usage=Usage(input=100, output=20)),
        Reply(text="open", usage=Usage(input=150, output=10)),
    ]


async def test_each_request_is_in_the_ledger_at_its_public_price(store: Store) -> None:
    # Given an agent with a model that the price lists know: $0.25 and $2 per million tokens
    with Endpoint(two_turns()) as endpoint:
        agent = Agent("clerk", "Serve.", at(endpoint), [look])
        # When it works on a task of Ann's
        async with working(store, agent):
            task_id = await ask(store, agent)
            await ended(store, task_id)
    # Then every request was reserved at more, and settled at what it cost
    entries = await store.ledger(task_id)
    assert [entry.call for entry in entries] == ["turn-1/model#0", "turn-2/model#0"]
    assert [entry.state for entry in entries] == [CallState.SETTLED] * 2
    assert [entry.actual for entry in entries] == [Amount(65_000, 120, 1), Amount(57_500, 160, 1)]
    assert all(entry.bound.money > (entry.actual or entry.bound).money for entry in entries)
    (row,) = await store.usage(UsageBy.OWNER, prefix="ann")
    assert row.spent == Amount(122_500, 280, 2)
    (row,) = await store.usage(UsageBy.MODEL)
    assert row.key == "gpt-5-mini"


@pytest.mark.parametrize(("given", "sent"), [(None, 8_192), (0, 8_192), (77, 77)])
async def test_each_request_says_how_long_its_response_may_be(store: Store, given: int | None, sent: int) -> None:
    with Endpoint(["here"]) as endpoint:
        agent = Agent("clerk", None, at(endpoint), model_settings={"max_tokens": given})  # type: ignore[arg-type]  # as people do
        async with working(store, agent):
            task_id = await ask(store, agent)
            assert (await ended(store, task_id)).state is State.DONE
        assert [call.max_tokens for call in endpoint.calls] == [sent]
    (entry,) = await store.ledger(task_id)
    assert entry.bound.tokens >= sent


async def test_a_task_ends_before_the_request_that_its_budget_has_no_room_for(store: Store) -> None:
    # Given a budget that the first request fits into, and the second does not
    with Endpoint(two_turns()) as endpoint:
        agent = Agent("clerk", "Serve.", at(endpoint), [look], model_settings={"max_tokens": 100})
        async with working(store, agent):
            task = await ended(store, await ask(store, agent, budget=0.0004))
            # Then it failed with a reason, and nobody was paid for the second
            assert task.state is State.FAILED
            assert task.error is not None
            assert task.error.type.endswith("BudgetExceeded")
            assert "$0.000" in task.error.message
            assert endpoint.count() == 1


async def test_a_budget_may_hold_the_task_for_a_person_who_raises_it(store: Store) -> None:
    # Given an owner with a budget of one request, which pauses what it has no room for
    await store.put_budget(Budget("owner:ann", requests=1, at_limit=AtLimit.PAUSE))
    script = Scripted([call("look", "c1", place="shop")], "done")
    agent = Agent("clerk", "Serve.", script.model, [look])
    async with working(store, agent):
        task_id = await ask(store, agent)
        task = await until(store, task_id, lambda task: task.paused and task.state is State.READY)
        assert "budget of owner:ann" in task.reason
        assert script.asked == [1]
        # When a person raises it
        await store.put_budget(Budget("owner:ann", requests=2))
        await store.signal([Signal(task_id, SignalKind.RESUME)])
        task = await ended(store, task_id)
    # Then the agent goes on where it was
    assert task.state is State.DONE, task.error
    assert script.asked == [1, 2]


async def test_agents_wait_for_what_others_have_only_set_aside(store: Store) -> None:
    # Given twelve agents of one owner, and a budget with room for what three of them may use, and what all of them do
    gate = asyncio.Event()

    async def answer(_: list[ModelMessage], __: AgentInfo) -> ModelResponse:
        await gate.wait()
        return ModelResponse(parts=[TextPart("here")], usage=RequestUsage(input_tokens=10, output_tokens=5))

    agent = Agent("clerk", None, FunctionModel(answer), model_settings={"max_tokens": 4_000})
    await store.put_budget(Budget("owner:ann", tokens=15_000, at_limit=AtLimit.PAUSE))
    async with working(store, agent, config=replace(CONFIG, concurrency=20)):
        ids = [await ask(store, agent) for _ in range(12)]
        # When three of them are asking their model
        tasks = [await until(store, task_id, lambda task: waits(task) or task.open_calls > 0) for task_id in ids]
        # Then the others wait in the store, and say for what
        held = [task.id for task in tasks if waits(task)]
        assert len(held) == 9
        why = await store.why(held[0])
        assert why is not None
        assert "budget 'owner:ann'" in why.because[0]
        # When the model answers, then all come to their end, and nobody was refused
        gate.set()
        for task_id in ids:
            assert (await ended(store, task_id)).state is State.DONE
    (use,) = await store.budgets("owner:ann")
    assert (use.spent.tokens, use.reserved.tokens) == (12 * 15, 0)


async def test_a_budget_may_go_on_with_a_cheaper_model(store: Store) -> None:
    # Given an agent with a cheaper model beside its own, and a budget for one request to the dear one
    dear = Reply(tools=[ToolCall("look", {"place": "shop"})], usage=Usage(input=100, output=900))
    with Endpoint([dear, "open"]) as endpoint:
        agent = Agent(
            "clerk",
            "Serve.",
            at(endpoint, "gpt-5"),
            [look],
            fallback=at(endpoint, "gpt-5-nano"),
            model_settings={"max_tokens": 1_000},
        )
        budget = Budget(money=round(0.015 * DOLLAR), at_limit=AtLimit.FALLBACK)
        # When it works
        async with working(store, agent):
            task_id = await ask(store, agent, budget=budget)
            task = await ended(store, task_id)
        # Then the cheap one has taken over, and nothing was asked twice
        assert task.state is State.DONE, task.error
        assert [(call.turn, call.model) for call in endpoint.calls] == [(1, "gpt-5"), (2, "gpt-5-nano")]


async def test_a_model_without_a_price_is_refused_under_a_budget_in_money(store: Store) -> None:
    # Given a model that no price list knows
    script = Scripted("done")
    unpriced = Agent("unpriced", None, script.model)
    priced = Agent("priced", None, script.model, price=(0.1, 0.4))
    async with working(store, unpriced, priced):
        # Then it is refused where money is counted, and only there
        task = await ended(store, await ask(store, unpriced, budget=10.0))
        assert task.error is not None
        assert "price of the model is not known" in task.error.message
        assert (await ended(store, await ask(store, unpriced))).state is State.DONE
        assert (await ended(store, await ask(store, priced, budget=10.0))).state is State.DONE


async def test_a_request_without_an_upper_end_is_refused_under_a_budget_in_money(store: Store) -> None:
    # Given an agent whose requests may ask for anything, and a budget that pauses what it has no room for
    with Endpoint(["done"]) as endpoint:
        agent = Agent("clerk", None, at(endpoint), model_settings={"extra_body": {"n": 3}})
        await store.put_budget(Budget("owner:ann", money=10 * DOLLAR, at_limit=AtLimit.PAUSE))
        async with working(store, agent):
            # When it works on a task of Ann's, then that fails with a reason, and nobody is paid
            task = await ended(store, await ask(store, agent))
            assert task.error is not None
            assert task.error.message.endswith(
                "is in money, and extra_body may ask for anything: leave it out, or give the agent no budget in money"
            )
            assert endpoint.count() == 0
            # And without a budget in money it is sent
            await store.drop_budget("owner:ann")
            assert (await ended(store, await ask(store, agent))).state is State.DONE


async def test_what_the_provider_does_not_say_is_counted_at_its_most(store: Store) -> None:
    # Given a model whose responses say nothing of what they have used
    async def answer(_: list[ModelMessage], __: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[TextPart("here")], usage=RequestUsage(unmeasured_requests=1))

    agent = Agent("quiet", None, FunctionModel(answer), price=(1, 1))
    async with working(store, agent):
        task_id = await ask(store, agent)
        assert (await ended(store, task_id)).state is State.DONE
    (entry,) = await store.ledger(task_id)
    assert (entry.state, entry.counted) == (CallState.UNKNOWN, entry.bound)
    assert entry.bound.money > 0


async def test_a_rate_that_is_used_up_is_waited_for_in_the_store(store: Store, clock: Clock) -> None:
    # Given an address with one request a minute, and a provider of that name with none to spare
    with Endpoint(["one", "one"]) as endpoint:
        await store.put_limit(Limit(f"model:127.0.0.1:{endpoint.port}", rate=1, period=60_000))
        await store.put_limit(Limit("model:openai:tokens", rate=1, period=60_000))
        agent = Agent("clerk", None, at(endpoint))
        async with working(store, agent):
            first = await ask(store, agent)
            await ended(store, first)
            # When a second task comes in the same minute
            second = await ask(store, agent)
            await until(store, second, waits)
            assert endpoint.count() == 1
            # Then it waits, holding nothing, until there is room
            clock.forward(60)
            assert (await ended(store, second)).state is State.DONE
            assert endpoint.count() == 2


async def test_too_many_requests_holds_everybody_back_who_uses_the_key(store: Store, clock: Clock) -> None:
    # Given a provider that asks to be left alone for half a minute, once
    with Endpoint([[Reply(status=429, retry_after=30), "here"]]) as endpoint:
        agent = Agent("clerk", None, at(endpoint))
        async with working(store, agent):
            first = await ask(store, agent)
            task = await until(store, first, lambda task: task.state is State.SCHEDULED)
            assert task.error is not None
            assert "HTTP 429" in task.error.message
            asked = endpoint.count()
            # When another task comes meanwhile
            second = await ask(store, agent)
            await until(store, second, waits)
            # Then nobody asks before the time is over
            assert endpoint.count() == asked
            clock.forward(31)
            assert (await ended(store, first)).state is State.DONE
            assert (await ended(store, second)).state is State.DONE
    entries = await store.ledger(first)
    assert [entry.counted.money > 0 for entry in entries] == [False, True]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_request_that_is_refused_gives_its_tokens_back(store: Store, clock: Clock, status: int) -> None:
    # Given a rate in tokens with room for one request in days, and a provider that refuses it once
    await store.put_limit(Limit("k:tokens", rate=1, period=60_000, burst=10_000))
    with Endpoint([[Reply(status=status), "here"]]) as endpoint:
        agent = Agent("clerk", None, at(endpoint), limit_key="k")
        async with working(store, agent):
            task_id = await ask(store, agent)
            await until(store, task_id, lambda task: task.state is State.SCHEDULED)
            # When it is tried again, then there is room
            clock.forward(10)
            assert (await ended(store, task_id)).state is State.DONE
        assert endpoint.count() == 2


async def test_a_request_that_is_refused_is_one_for_the_provider(store: Store, clock: Clock) -> None:
    # Given a rate of one request a day, and a provider that refuses it
    await store.put_limit(Limit("k", rate=1, period=86_400_000))
    with Endpoint([[Reply(status=503), "here"]]) as endpoint:
        agent = Agent("clerk", None, at(endpoint), limit_key="k")
        async with working(store, agent):
            task_id = await ask(store, agent)
            await until(store, task_id, lambda task: task.state is State.SCHEDULED)
            # When it is tried again, then it waits for the next day
            clock.forward(10)
            await until(store, task_id, waits)
            assert endpoint.count() == 1


async def test_a_request_that_reaches_nobody_is_none(store: Store, clock: Clock) -> None:
    # Given a rate of one request a day, and nobody at the provider's address
    await store.put_limit(Limit("k", rate=1, period=86_400_000))
    with Endpoint(["here"]) as endpoint:
        agent = Agent("clerk", None, at(endpoint), limit_key="k")
    async with working(store, agent):
        task_id = await ask(store, agent)
        await until(store, task_id, lambda task: task.state is State.SCHEDULED)
        # When somebody is there, then it is sent the same day
        with Endpoint(["here"], port=endpoint.port) as endpoint:
            clock.forward(10)
            assert (await ended(store, task_id)).state is State.DONE
            assert endpoint.count() == 1


async def test_a_lost_request_stays_in_the_ledger_as_unknown(store: Store, clock: Clock) -> None:
    # Given a worker that loses its lease while the model thinks
    asked = asyncio.Event()

    async def answer(_: list[ModelMessage], __: AgentInfo) -> ModelResponse:
        if not asked.is_set():
            asked.set()
            await asyncio.Event().wait()
        return ModelResponse(parts=[TextPart("here")], usage=RequestUsage(input_tokens=10, output_tokens=5))

    agent = Agent("slow", None, FunctionModel(answer), price=(1, 1))
    async with working(store, agent):
        task_id = await ask(store, agent)
        await asked.wait()
        clock.forward(60)
        task = await ended(store, task_id)
    # Then what may have been paid for is counted at its most, beside what was
    assert task.state is State.DONE
    states = [entry.state for entry in await store.ledger(task_id)]
    assert states == [CallState.UNKNOWN, CallState.SETTLED]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(status=401), "HTTP 401"),
        (Reply(status=404), "HTTP 404"),
        (Reply(status=400), "HTTP 400"),
    ],
    ids=["wrong key", "unknown model", "too long"],
)
async def test_what_does_not_pass_by_itself_fails_at_once(store: Store, reply: Reply, words: str) -> None:
    with Endpoint([reply]) as endpoint:
        agent = Agent("clerk", None, at(endpoint))
        async with working(store, agent):
            task_id = await ask(store, agent)
            task = await ended(store, task_id)
        assert task.state is State.FAILED
        assert task.error is not None
        assert words in task.error.message
        assert "sk-test" not in task.error.message
        assert endpoint.count() == 1
    assert [entry.counted.money for entry in await store.ledger(task_id)] == [0]
