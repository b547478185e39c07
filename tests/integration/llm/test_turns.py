"""Turns: what is said between them, where they stop, and what ends an agent that does not come to an end."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pydantic_ai
import pytest
from pydantic import BaseModel
from pydantic_ai import RunContext
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tenuto.agents.base import TaskAgent
from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.context import AgentContext
from tenuto.agents.llm.tools import tool
from tenuto.errors import InvalidInput
from tenuto.orchestrator import Orchestrator
from tenuto.stores.base import Store
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tests.integration.llm.rig import Scripted, ask, asking, call, stored
from tests.integration.workers.rig import CONFIG, ended, submit, until, working


def look(place: str) -> str:
    """Looks something up."""
    return f"{place} is open"


async def steer(store: Store, task_id: str, *messages: object) -> None:
    await store.signal([Signal(task_id, SignalKind.STEER, data=message) for message in messages])


async def test_steering_comes_before_the_next_turn_in_order(store: Store) -> None:
    # Given an agent whose tool is called while somebody steers it
    script = Scripted([call("look", "c1", place="shop")], "done")

    async def look(ctx: RunContext[AgentContext], place: str) -> str:
        await steer(store, str(ctx.conversation_id), {"role": "user", "content": "first"}, "second")
        return place

    agent = Agent("buyer", "Buy.", script.model, [look])
    # When it works
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then the next request has both, in order
    assert task.state is State.DONE
    assert script.said == [["go"], ["go", "first", "second"]]
    assert not await store.inbox(task.id)


async def test_a_pause_holds_the_agent_between_two_turns(store: Store) -> None:
    # Given an agent that is paused while it works on its first turn
    script = Scripted([call("look", "c1", place="shop")], "done")

    async def look(ctx: RunContext[AgentContext], place: str) -> str:
        await store.signal([Signal(str(ctx.conversation_id), SignalKind.PAUSE, reason="wait")])
        return place

    agent = Agent("buyer", "Buy.", script.model, [look])
    async with working(store, agent):
        task_id = await ask(store, agent)
        await until(store, task_id, lambda task: task.paused and task.state is State.READY)
        # When it is steered and let go on
        assert script.asked == [1]
        await steer(store, task_id, "be quick")
        await store.signal([Signal(task_id, SignalKind.RESUME)])
        task = await ended(store, task_id)
    # Then nothing was asked for twice
    assert task.state is State.DONE, task.error
    assert script.asked == [1, 2]
    assert script.said[-1] == ["go", "be quick"]


async def test_turns_are_limited_over_all_attempts(store: Store) -> None:
    # Given an agent that never comes to an end, and whose worker changes
    calls = [[call("look", f"c{number}", place=f"p{number}")] for number in range(20)]
    script = Scripted(*calls)
    agent = Agent("buyer", "Buy.", script.model, [look], max_turns=5)
    # When it works
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then it is stopped, at once and with a reason
    assert task.state is State.FAILED
    assert task.error is not None
    assert task.error.type.endswith("AgentStuck")
    assert "5 turns" in task.error.message
    assert script.asked == [1, 2, 3, 4, 5]


async def test_a_turn_has_a_time_limit_and_is_tried_again(store: Store) -> None:
    # Given a model that does not answer the first time
    asked = 0

    async def answer(_: list[ModelMessage], __: AgentInfo) -> ModelResponse:
        nonlocal asked
        asked += 1
        if asked == 1:
            await asyncio.Event().wait()
        return ModelResponse(parts=[TextPart("here")])

    agent = Agent("slow", None, FunctionModel(answer), retry=None, max_retries=1)
    config = replace(CONFIG, turn_timeout=2)
    # When it works
    async with working(store, agent, config=config):
        task = await ended(store, await ask(store, agent))
    # Then the turn was interrupted, and asked again
    assert task.state is State.DONE
    assert asked == 2


async def test_a_turn_that_is_over_ends_although_its_tool_does_not_notice(store: Store) -> None:
    # Given a tool that takes being cancelled for an answer, the first time
    script = Scripted([call("wait", "c1")], "done")
    ran = 0

    async def wait() -> str:
        nonlocal ran
        ran += 1
        if ran == 1:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return "here"

    agent = Agent("slow", None, script.model, [wait], retry=None, max_retries=0)
    config = replace(CONFIG, turn_timeout=2)
    # When it works
    async with working(store, agent, config=config):
        task = await ended(store, await ask(store, agent))
    # Then its time was over all the same, and the next turn did not begin
    assert task.state is State.FAILED
    assert task.error is not None
    assert "turn 1 of agent 'slow' took longer than its time limit of 2 s" in task.error.message
    assert script.asked == [1]


async def test_output_that_never_fits_ends_the_task(store: Store) -> None:
    # Given an agent that must give a number, and a model that cannot
    class Answer(BaseModel):
        number: int

    script = Scripted(*[[call("final_result", f"c{turn}", number="many")] for turn in range(20)])
    agent = Agent("counter", None, script.model, output_type=Answer)
    # When it works
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then it is asked again a few times, and then it is over
    assert task.state is State.FAILED
    assert task.error is not None
    assert task.error.type.endswith("AgentStuck")
    assert len(script.asked) <= 5


async def test_structured_output_is_the_result(store: Store) -> None:
    class Answer(BaseModel):
        number: int

    script = Scripted([call("final_result", "c1", number=7)])
    agent = Agent("counter", None, script.model, output_type=Answer)
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert task.result is not None
    assert bytes(task.result) == stored({"number": 7})


async def test_a_tool_that_is_not_there_and_arguments_that_do_not_fit_are_told_to_the_model(store: Store) -> None:
    # Given a model that asks for what cannot be
    script = Scripted([call("fly", "c1")], [call("look", "c2", place=["no", "text"])], "sorry")
    agent = Agent("buyer", "Buy.", script.model, [look])
    # When it works
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then it learns of it, and the task ends well
    assert task.state is State.DONE
    assert script.asked == [1, 2, 3]


async def test_calls_without_ids_or_with_equal_ones_are_calls_of_their_own(store: Store) -> None:
    # Given a model that gives its calls no ids, or the same
    paid: list[int] = []

    @tool(effect="once")
    def pay(cents: int) -> str:
        paid.append(cents)
        return f"paid {cents}"

    turns = [
        [call("pay", call_id, cents=turn), call("pay", call_id, cents=turn + 1)]
        for turn, call_id in ((1, ""), (3, "c"))
    ]
    script = Scripted(*turns, [call("pay", "c", cents=5)], "done")
    agent = Agent("payer", None, script.model, [pay])
    # When it works
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then each was carried out once
    assert task.state is State.DONE, task.error
    assert sorted(paid) == [1, 2, 3, 4, 5]


async def test_a_payment_beside_a_tool_that_fails_comes_to_its_end(engine: Store) -> None:
    # Given a tool that fails while a payment is under way, which takes its time
    paying, paid, looked = asyncio.Event(), list[int](), list[str]()

    @tool(effect="once")
    async def pay(cents: int) -> str:
        paying.set()
        await asyncio.sleep(0.3)
        paid.append(cents)
        return "paid"

    async def look(place: str) -> str:
        looked.append(place)
        if len(looked) == 1:
            await paying.wait()
            raise ConnectionError("gone")
        return "open"

    script = Scripted([call("look", "c1", place="shop"), call("pay", "c2", cents=5)], "done")
    agent = Agent("payer", None, script.model, [pay, look], retry=RetryPolicy(max_retries=1, base=1))
    # When its task is tried again
    async with working(engine, agent):
        task = await ended(engine, await ask(engine, agent))
    # Then nobody has to say what became of the payment, and it was made once
    assert task.state is State.DONE, task.error
    assert (task.attempt, paid, looked, script.asked) == (2, [5], ["shop", "shop"], [1, 2])


async def test_an_earlier_conversation_and_fields_of_the_callers_own(store: Store) -> None:
    # Given a payload with messages and a field that only tools know
    seen: list[object] = []
    script = Scripted("never said", [call("who", "c1")], "done")

    def who(ctx: RunContext[AgentContext]) -> str:
        seen.append(ctx.deps.customer)  # type: ignore[attr-defined]  # a field of the caller's own
        return "Ann"

    agent = Agent("clerk", "Serve.", script.model, [who])
    earlier = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "how can I help?"}]
    task = agent.create_task(payload=AgentContext(query="who am I?", messages=earlier, customer=17))  # type: ignore[call-arg]
    # When it works
    async with working(store, agent):
        ended_task = await ended(store, (await submit(store, task))[0])
    # Then the model has seen all of it, in order, and the tool its field
    assert ended_task.state is State.DONE, ended_task.error
    assert script.said[0] == ["hello", "who am I?"]
    assert seen == [17]


async def test_a_turn_too_large_to_be_kept_is_not_paid_for(store: Store) -> None:
    # Given tools whose results can be kept each by itself, but not in one request
    def read(part: int) -> str:
        return "x" * 9_000_000

    script = Scripted([call("read", "c1", part=1), call("read", "c2", part=2)], "done")
    agent = Agent("reader", None, script.model, [read])
    # When an agent has both
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then the task fails with a reason, before the model is asked
    assert task.state is State.FAILED
    assert task.error is not None
    assert "what turn 2 adds to the messages is 18," in task.error.message
    assert script.asked == [1]


async def test_a_response_too_large_to_be_kept_is_paid_for_once(store: Store) -> None:
    script = Scripted("y" * 17_000_000)
    agent = Agent("talker", None, script.model)
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert task.state is State.FAILED
    assert script.asked == [1]


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ([1, 2], "must be a text or an AgentContext"),
        ({"querry": "go"}, "by 'querry', did you mean 'query'?"),
        ("", "asks nothing"),
        (None, "has no payload"),
    ],
)
async def test_a_payload_that_asks_nothing_fails_at_once_and_is_not_paid_for(
    store: Store, payload: object, why: str
) -> None:
    # Given a task that somebody made who does not know the agent
    script = Scripted("x")
    agent = Agent("buyer", None, script.model)
    async with working(store, agent):
        (task_id,) = await submit(store, TaskAgent("buyer").create_task("ann", payload))
        # When the agent gets it
        task = await ended(store, task_id)
    # Then it fails with the reason, and no model was asked
    assert (task.state, task.attempt, script.asked) == (State.FAILED, 1, [])
    assert task.error is not None
    assert why in task.error.message


async def test_a_history_processor_may_rewrite_what_was_said(store: Store) -> None:
    # Given an agent that only ever remembers the last two messages
    from pydantic_ai.capabilities import ProcessHistory

    seen: list[int] = []
    script = Scripted(*[[call("look", f"c{turn}", place=f"p{turn}")] for turn in range(4)], "done")
    turns = script.turns

    def answer(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        seen.append(len(messages))
        parts = turns[len(seen) - 1]
        return ModelResponse(parts=[TextPart(parts)] if isinstance(parts, str) else list(parts))

    agent = Agent("short", None, FunctionModel(answer), [look], capabilities=[ProcessHistory(lambda all_: all_[-3:])])
    # When it works
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then it ends like any other
    assert task.state is State.DONE, task.error
    assert len(seen) == 5


async def test_an_agent_of_pydantic_ai_is_registered_as_it_is(store: Store) -> None:
    # Given one that knows nothing of tasks
    script = Scripted([call("look", "c1", place="shop")], "open")
    theirs = pydantic_ai.Agent(script.model, name="theirs", tools=[look])
    orchestrator = Orchestrator(store=store, executor="async")
    orchestrator.register_runner(theirs)
    # When a task is addressed to its name
    async with orchestrator:
        task = Agent.of(theirs).create_task(payload="is it open?")
        await orchestrator.enqueue_task("theirs", task)
        result = await orchestrator.get_task_result(task.id, timeout=60)
    # Then it answers
    assert result == "open"
    assert script.said[0] == ["is it open?"]
    await store.open()


async def test_one_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidInput, match="has no name"):
        Agent.of(pydantic_ai.Agent(Scripted("x").model))


async def test_what_one_says_itself_is_not_said_again() -> None:
    # Given an agent with instructions of its own
    theirs = pydantic_ai.Agent(Scripted("x").model, name="theirs", instructions="Be brief.")
    # When it is given others, and tools, on its way, Then that is refused rather than forgotten
    with pytest.raises(InvalidInput, match="instructions, tools of agent 'theirs': give it"):
        Agent.of(theirs, instructions="Be long.", tools=[look], max_turns=3)


async def test_a_slow_agent_delays_no_fast_one(store: Store) -> None:
    # Given an agent that waits for its model, in a worker with few slots
    go_on = asyncio.Event()

    async def late(_: list[ModelMessage], __: AgentInfo) -> ModelResponse:
        await go_on.wait()
        return ModelResponse(parts=[TextPart("late")])

    slow, fast = Agent("slow", None, FunctionModel(late)), Agent("fast", None, Scripted("quick").model)
    async with working(store, slow, fast, config=CONFIG):
        slow_ids = await submit(store, *[asking(slow) for _ in range(CONFIG.concurrency - 1)])
        # When others come
        for _ in range(20):
            task = await ended(store, await ask(store, fast))
            assert task.state is State.DONE
        # Then they are served meanwhile
        go_on.set()
        assert all([(await ended(store, task_id)).state is State.DONE for task_id in slow_ids])


async def test_hooks_are_called_around_requests(store: Store) -> None:
    # Given an agent with a hook of the library
    from pydantic_ai.capabilities import Hooks
    from pydantic_ai.models import ModelRequestContext

    seen: list[int] = []
    hooks: Hooks[AgentContext] = Hooks()

    @hooks.on.before_model_request
    async def before(ctx: RunContext[AgentContext], request: ModelRequestContext) -> ModelRequestContext:
        seen.append(len(ctx.messages))
        return request

    script = Scripted([call("look", "c1", place="shop")], "done")
    agent = Agent("buyer", "Buy.", script.model, [look], hooks=hooks)
    # When it works
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then it was called for each turn
    assert task.state is State.DONE, task.error
    assert seen == [1, 3]
