"""Forks: a new task goes on from a turn of an old one; what was recorded up to there is neither asked nor run again."""

from __future__ import annotations

import json

import pytest
from pydantic_ai import ModelRetry, RunContext, ToolReturn
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tenuto.agents.function import task_agent
from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.context import AgentContext
from tenuto.agents.llm.tools import tool
from tenuto.client import Client
from tenuto.errors import Conflict, InvalidInput, NotFound
from tenuto.orchestrator import Orchestrator
from tenuto.stores.base import Store
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.turns import log_of
from tests.integration.llm.office import Office
from tests.integration.llm.rig import Scripted, ask, call, returns
from tests.integration.workers.rig import ended, submit, until, waits, working


class Shop:
    """An agent that looks twice and then says what it found; its tool counts its calls."""

    def __init__(self) -> None:
        self.looked: list[str] = []
        self.script = Scripted(
            [call("look", "c1", place="shop")], [call("look", "c2", place="bank")], "both are open", "and so is the bar"
        )
        self.agent = Agent("buyer", "Buy.", self.script.model, [self.look])

    def look(self, place: str) -> str:
        """Looks something up."""
        self.looked.append(place)
        return f"{place} is open"


async def test_a_fork_asks_and_runs_only_what_comes_after_its_turn(store: Store) -> None:
    # Given a task that has ended after three turns
    shop = Shop()
    async with working(store, shop.agent):
        old = await ended(store, await ask(store, shop.agent, title="the old one"))
        before = await store.journal(old.id)
        # When a new one is made from its second turn, and told something else
        client = Client(store)
        new_id = await client.fork_task(old.id, 2, message="and the bar?", id="again")
        new = await ended(store, new_id)
    # Then only the third turn was asked again, with all that was said and done before
    assert (new.state, new.id, new.title) == (State.DONE, "again", "the old one")
    assert shop.script.asked == [1, 2, 3, 3]
    assert shop.script.said[-1] == ["go", "and the bar?"]
    assert shop.looked == ["shop", "bank"]
    assert new.metadata["forked_from"] == {"task": old.id, "turn": 2}
    # And the old one is what it was
    assert await store.journal(old.id) == before
    assert (await store.task(old.id)) == old


async def test_a_fork_without_a_message_goes_on_with_what_the_tools_gave(store: Store) -> None:
    shop = Shop()
    async with working(store, shop.agent):
        old = await ended(store, await ask(store, shop.agent))
        new = await ended(store, await Client(store).fork_task(old.id, 1))
    assert new.state is State.DONE
    assert shop.script.asked == [1, 2, 3, 2, 3]
    assert shop.looked == ["shop", "bank", "bank"]


async def test_a_fork_from_the_beginning_has_another_query_and_payload(store: Store) -> None:
    seen: list[object] = []
    script = Scripted([call("who", "c1")], "done")

    def who(ctx: RunContext[AgentContext]) -> str:
        seen.append(ctx.deps.customer)  # type: ignore[attr-defined]  # a field of the caller's own
        return "somebody"

    agent = Agent("clerk", "Serve.", script.model, [who])
    async with working(store, agent):
        (old,) = await submit(store, agent.create_task(payload={"query": "who?", "customer": 17}))
        await ended(store, old)
        client = Client(store)
        for turn in (0, 1):
            new = await ended(store, await client.fork_task(old, turn, message="again", payload={"customer": 18}))
            assert new.state is State.DONE, new.error
    assert seen == [17, 18]
    assert script.said == [["who?"], ["who?"], ["again"], ["again"], ["who?", "again"]]


async def test_a_conversation_that_has_ended_goes_on_when_something_is_said(store: Store) -> None:
    shop = Shop()
    async with working(store, shop.agent):
        old = await ended(store, await ask(store, shop.agent))
        client = Client(store)
        with pytest.raises(InvalidInput, match="calls no tool"):
            await client.fork_task(old.id, 3)
        new = await ended(store, await client.fork_task(old.id, 3, message="what else?"))
    assert new.state is State.DONE, new.error
    assert shop.script.asked == [1, 2, 3, 4]
    assert shop.script.said[-1] == ["go", "what else?"]


async def test_structured_output_was_given_and_the_conversation_goes_on(store: Store) -> None:
    script = Scripted([call("final_result", "c1", response=7)], [call("final_result", "c2", response=8)])
    agent = Agent("counter", None, script.model, output_type=int)
    async with working(store, agent):
        old = await ended(store, await ask(store, agent))
        new = await ended(store, await Client(store).fork_task(old.id, 1, message="one more"))
    assert json.loads(bytes(new.result or b"")) == 8


async def test_steering_after_the_turn_does_not_come_along(store: Store) -> None:
    # Given a task that was steered while its first turn ran
    script = Scripted([call("look", "c1")], "done")

    async def look(ctx: RunContext[AgentContext]) -> str:
        await store.signal([Signal(str(ctx.conversation_id), SignalKind.STEER, data="be quick")])
        return "seen"

    agent = Agent("buyer", None, script.model, [look])
    async with working(store, agent):
        old = await ended(store, await ask(store, agent))
        new = await ended(store, await Client(store).fork_task(old.id, 1, message="be slow"))
    assert new.state is State.DONE
    assert script.said == [["go"], ["go", "be quick"], ["go", "be slow"]]


async def test_answers_of_people_and_children_are_part_of_a_fork(store: Store) -> None:
    # Given a task whose first turn called a child, a person, an approval and a tool that asks for another try
    office, client = Office(), Client(store)
    async with working(store, office.agent, office.child):
        old_id = await office.waiting(store)
        with pytest.raises(Conflict, match="is not over: call 'c2' of tool 'ask_lawyer' has no result"):
            await client.fork_task(old_id, 1)
        await office.answered(store, old_id)
        once = sorted(office.ran)
        # When it is forked after that turn
        turns = await client.get_turns(old_id)
        heard = [part["content"] for part in turns[1].messages[-1]["parts"]]
        new = await ended(store, await client.fork_task(old_id, 1))
    # Then the model hears the same, and nothing ran again
    assert new.state is State.DONE, new.error
    assert sorted(office.ran) == once
    assert [part["content"] for part in (await client.get_turns(new.id))[0].messages[-1]["parts"]] == heard
    assert office.script.asked == [1, 2, 2]


async def test_a_task_that_failed_behind_its_tools_is_forked_from_them(store: Store) -> None:
    # Given a task that was cut off when its model was to be asked for the second turn
    ran: list[str] = []
    seen: list[list[object]] = []
    broken = True

    def answer(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        if len(messages) == 1:
            return ModelResponse(parts=[call("look", "c1"), call("wrong", "c2"), call("delete", "c3")])
        seen.append(returns(messages))
        if broken:
            raise RuntimeError("no")
        return ModelResponse(parts=[TextPart("done")])

    def look() -> dict[str, int]:
        ran.append("look")
        return {"found": 1}

    def wrong() -> str:
        ran.append("wrong")
        raise ModelRetry("not like this")

    @tool(requires_approval=True)
    def delete() -> str:
        ran.append("delete")
        return "gone"

    agent = Agent("clerk", None, FunctionModel(answer), [look, wrong, delete], max_retries=0)
    client = Client(store)
    async with working(store, agent):
        old_id = await ask(store, agent)
        await until(store, old_id, waits)
        await client.reject(old_id, "c3", "keep it")
        assert (await ended(store, old_id)).state is State.FAILED
        # When it is forked after the turn that is on record
        broken = False
        new = await ended(store, await client.fork_task(old_id, 1))
    # Then the model hears what it would have heard
    assert new.state is State.DONE, new.error
    assert sorted(ran) == ["look", "wrong"]
    assert seen[1] == seen[0]


async def test_what_cannot_be_forked_is_refused_with_a_sentence(store: Store) -> None:
    @task_agent
    def double(payload: int) -> int:
        return payload * 2

    shop, client = Shop(), Client(store)
    async with working(store, shop.agent, double):
        old = await ended(store, await ask(store, shop.agent))
        (function,) = await submit(store, double.create_task(payload=2))
        await ended(store, function)
    for task_id, turn, kind, words in (
        ("nobody", 1, NotFound, "there is no task 'nobody'"),
        (old.id, 4, NotFound, "has 3 recorded turns, so none numbered 4"),
        (old.id, -1, InvalidInput, "a whole number from 0"),
        (function, 1, InvalidInput, "has no recorded turns"),
    ):
        with pytest.raises(kind, match=words):
            await client.fork_task(task_id, turn)
    with pytest.raises(InvalidInput, match="the messages of a fork"):
        await client.fork_task(old.id, 1, payload={"messages": []})
    first = await client.fork_task(old.id, 1, id="mine")
    assert await client.fork_task(old.id, 1, id="mine") == first
    with pytest.raises(Conflict):
        await client.fork_task(old.id, 2, id="mine")


async def test_an_orchestrator_forks_too(store: Store) -> None:
    shop = Shop()
    orchestrator = Orchestrator(store=store, executor="async")
    orchestrator.register_runner(shop.agent)
    async with orchestrator:
        await orchestrator.enqueue_task("buyer", shop.agent.create_task(id="old", payload="go"))
        await orchestrator.get_task_result("old", timeout=60)
        new = await orchestrator.fork_task("old", 2)
        assert await orchestrator.get_task_result(new, timeout=60) == "both are open"
    await store.open()


async def test_what_goes_along_with_a_tools_result_is_forked_too(store: Store) -> None:
    # Given a tool that returns something and has a remark on it
    def look() -> ToolReturn[str]:
        """Looks."""
        return ToolReturn("the shop is open", content="Mind the step.")

    script = Scripted([call("look", "c1")], "done")
    agent = Agent("buyer", None, script.model, [look])
    client = Client(store)
    async with working(store, agent):
        old = await ended(store, await ask(store, agent))
        # When the task is forked behind that turn
        new = await ended(store, await client.fork_task(old.id, 1))
    # Then the model is told the same
    assert new.state is State.DONE, new.error
    said = [[part["content"] for part in log_of(await client.get_turns(task))[2]["parts"]] for task in (old.id, new.id)]
    assert said == [["the shop is open", "Mind the step."]] * 2
