"""The code of an agent changes while its task waits in the middle of a turn: what is done is done, and is not lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
from pydantic import BaseModel
from pydantic_ai import PromptedOutput
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, ModelResponsePart, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.current import current_context
from tenuto.agents.llm.tools import deferred, tool
from tenuto.client import Client
from tenuto.errors import StoreClosed
from tenuto.stores.base import Store
from tenuto.tasks.clock import Millis
from tenuto.tasks.outcome import Record, Recorded, StepState
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.waits import answer_topic
from tenuto.workers.worker import Worker
from tests.integration.llm.rig import ask, call, returns, stored
from tests.integration.workers.rig import CONFIG, Clock, CutStore, ended, eventually, until, waits, working

Editions = dict[str, Sequence[Any]]


@deferred
def ask_ann(question: str) -> None:
    """Asks a person."""


PAY = "turn-1/call-c1/pay"
QUESTION = call("ask_ann", "c2", question="enough?")


class Model:
    """Asks for some calls, then says that it is done, and remembers what it was told."""

    def __init__(self, *calls: ModelResponsePart) -> None:
        self.calls = calls
        self.heard: list[ModelMessage] = []
        self.model = FunctionModel(self._answer)

    def _answer(self, messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        self.heard = list(messages)
        said = any(isinstance(each, ModelResponse) for each in messages)
        return ModelResponse(parts=[TextPart('{"n": 1}')] if said else list(self.calls))


def editions(ran: list[str]) -> Editions:
    """Tools of several states of one program."""

    @tool(effect="once")
    def pay(cents: int) -> str:
        """Pays."""
        ran.append("old")
        return "paid"

    @tool(effect="once", name="pay_now")
    def renamed(cents: int) -> str:
        """Pays."""
        ran.append("renamed")
        return "paid again"

    @tool(effect="once", name="pay")
    def changed(euros: int, account: str) -> str:
        """Pays."""
        ran.append("changed")
        return "paid again"

    @tool(effect="once", name="pay", requires_approval=True)
    def careful(cents: int) -> str:
        """Pays."""
        ran.append("careful")
        return "paid again"

    return {
        "as it was": [pay, ask_ann],
        "a tool has another name": [renamed, ask_ann],
        "a tool takes other arguments": [changed, ask_ann],
        "a tool needs an approval": [careful, ask_ann],
        "the tool that asks is gone": [pay],
        "no tool is left": [],
    }


@pytest.mark.parametrize("change", editions([]))
async def test_what_a_tool_has_done_is_told_and_not_done_again(store: Store, change: str) -> None:
    # Given an agent that has paid, and waits for a person in the same turn
    ran: list[str] = []
    shop = Model(call("pay", "c1", cents=5), QUESTION)
    old = Agent("shop", None, shop.model, editions(ran)["as it was"])
    async with working(store, old):
        task_id = await ask(store, old)
        await until(store, task_id, waits)
    # When its code has changed before the answer comes
    new = Agent("shop", None, shop.model, editions(ran)[change])
    async with working(store, new):
        await Client(store).complete_deferred_tool(task_id, "c2", "yes")
        task = await ended(store, task_id)
    # Then the model is told what came of both calls, and nothing has run twice
    assert task.state is State.DONE, task.error
    assert returns(shop.heard) == ["paid", "yes"]
    assert ran == ["old"]


@pytest.mark.parametrize("change", editions([]))
async def test_what_was_in_flight_in_a_tool_that_runs_once_waits_for_a_person(
    store: Store, clock: Clock, change: str
) -> None:
    # Given an agent whose worker died when it was about to pay
    ran: list[str] = []
    shop = Model(call("pay", "c1", cents=5), QUESTION)
    old = Agent("shop", None, shop.model, editions(ran)["as it was"])
    task_id = await died(store, old)
    # When its code has changed before another worker goes on
    clock.forward(60)
    new = Agent("shop", None, shop.model, editions(ran)[change])
    await store.signal([Signal(task_id, SignalKind.ANSWER, answer_topic("c2"), "yes")])
    async with working(store, new):
        task = await until(store, task_id, lambda task: task.paused or task.is_final)
        # Then it is not known whether it has paid, and a person is asked
        assert task.paused, task.error
        assert repr(PAY) in task.reason
        await Client(store).resolve_step(task_id, PAY, "done", "paid")
        task = await ended(store, task_id)
    assert task.state is State.DONE, task.error
    assert returns(shop.heard) == ["paid", "yes"]
    assert ran == []


class Dying(CutStore):
    """A store as a worker sees it that dies when it is on record that its agent will pay."""

    async def record(self, records: Sequence[Record], lease: Millis) -> Sequence[Recorded]:
        answers = await self._store.record(records, lease)
        self.cut = self.cut or any(step.key == PAY for record in records for step in record.steps)
        if self.cut:
            raise StoreClosed("cut off")
        return answers


async def died(store: Store, agent: Agent) -> str:
    """A task whose worker died when it was on record that the agent would pay."""
    task_id = await ask(store, agent)
    with pytest.raises(StoreClosed):
        await Worker(cast(Store, Dying(store, 10**6, answered=True)), [agent], CONFIG).run()
    await store.drop_limit("none")  # behind whatever the worker still had on its way
    return task_id


@pytest.mark.parametrize("approved", [True, False])
async def test_a_persons_word_counts_when_the_tool_needs_no_approval_any_more(store: Store, approved: bool) -> None:
    # Given an agent that waits for an approval
    ran: list[str] = []
    shop = Model(call("pay", "c1", cents=5))
    old = Agent("shop", None, shop.model, editions(ran)["a tool needs an approval"])
    async with working(store, old):
        task_id = await ask(store, old)
        await until(store, task_id, waits)
    # When its code has changed before somebody decides
    new = Agent("shop", None, shop.model, editions(ran)["as it was"])
    async with working(store, new):
        client = Client(store)
        await (client.approve(task_id, "c1") if approved else client.reject(task_id, "c1", "no"))
        task = await ended(store, task_id)
    # Then that is kept to
    assert task.state is State.DONE, task.error
    assert ran == ["old"] * approved
    assert returns(shop.heard) == ["paid" if approved else "The call was rejected: no"]


async def test_an_approved_call_does_not_run_again_when_the_tool_needs_no_approval_any_more(
    store: Store, clock: Clock
) -> None:
    # Given an agent that has paid with an approval, and failed with the other call of the same turn
    ran: list[str] = []

    async def paid() -> bool:
        states = {step.key: step.state for step in await store.journal(current_context().task_id)}
        return states.get(f"{PAY}@approved") is StepState.DONE

    @tool(requires_approval=True)
    async def ship(to: str) -> str:
        """Ships."""
        ran.append("ship")
        if ran.count("ship") == 1:
            await eventually(paid)
            raise RuntimeError("no van")
        return "shipped"

    shop = Model(call("pay", "c1", cents=5), call("ship", "c2", to="ann"))
    careful, careless = editions(ran)["a tool needs an approval"][0], editions(ran)["as it was"][0]
    old = Agent("shop", None, shop.model, [careful, ship], retry=RetryPolicy(base=60_000))
    client = Client(store)
    async with working(store, old):
        task_id = await ask(store, old)
        await until(store, task_id, waits)
        await client.approve(task_id, "c1")
        await client.approve(task_id, "c2")
        await until(store, task_id, lambda task: task.state is State.SCHEDULED)
    # When its code has changed before it is tried again
    clock.forward(120)
    new = Agent("shop", None, shop.model, [careless, ship])
    async with working(store, new):
        task = await ended(store, task_id)
    # Then what was done is what the model is told
    assert task.state is State.DONE, task.error
    assert returns(shop.heard) == ["paid again", "shipped"]
    assert ran.count("careful") == 1
    assert "old" not in ran


async def test_another_output_type_and_model_hold_from_the_next_turn_on(store: Store) -> None:
    # Given an agent that waits for a person
    class Answer(BaseModel):
        n: int

    shop, other = Model(QUESTION), Model(QUESTION)
    old = Agent("shop", "Old.", shop.model, [ask_ann])
    async with working(store, old):
        task_id = await ask(store, old)
        await until(store, task_id, waits)
    # When it has another model, other instructions and another output type before the answer comes
    new = Agent("shop", "New.", other.model, [ask_ann], output_type=PromptedOutput(Answer))
    async with working(store, new):
        await Client(store).complete_deferred_tool(task_id, "c2", "yes")
        task = await ended(store, task_id)
    # Then the new ones go on where the old ones stood
    assert task.result is not None, task.error
    assert bytes(task.result) == stored({"n": 1})
    request = other.heard[-1]
    assert isinstance(request, ModelRequest)
    assert (request.instructions or "").startswith("New.")
    assert returns(other.heard) == ["yes"]
