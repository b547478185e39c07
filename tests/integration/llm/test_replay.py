"""Replay: the record of a task through the agent's present code; no model, no tool, nothing written."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_ai import ModelRetry, RunContext, TextOutput

from tenuto.agents.function import task_agent
from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.context import AgentContext
from tenuto.agents.llm.current import current_context
from tenuto.agents.llm.replay import Replay, replay_task
from tenuto.agents.llm.team import hand_off
from tenuto.agents.llm.tools import deferred, tool
from tenuto.client import Client
from tenuto.errors import InvalidInput
from tenuto.stores.base import Store
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tests.integration.llm.rig import Scripted, ask, call
from tests.integration.workers.rig import ended, submit, until, waits, working


def look(place: str) -> str:
    """Looks something up."""
    return f"{place} is open"


def buyer(script: Scripted, tools: list[Any], instructions: str = "Buy.", **options: Any) -> Agent:
    return Agent("buyer", instructions, script.model, tools, **options)


async def recorded(store: Store) -> str:
    """A task that looked twice, and said so; its id."""
    script = Scripted([call("look", "c1", place="shop")], [call("look", "c2", place="bank")], "both are open")
    agent = buyer(script, [look])
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert task.state is State.DONE
    return task.id


def departures(replay: Replay) -> list[list[str]]:
    return [turn.departures for turn in replay.turns]


async def test_the_same_code_does_what_is_on_record_and_nothing_is_asked_run_or_written(store: Store) -> None:
    # Given a task with everything: a child, a person, approvals, steering, a tool that asks for another try
    ran: list[str] = []
    script = Scripted(
        [
            call("delegate", "c1"),
            call("ask_lawyer", "c2", question="may I?"),
            call("delete", "c3", path="a"),
            call("delete", "c4", path="b"),
            call("wrong", "c5"),
            call("fly", "c6"),
        ],
        "done",
    )

    @task_agent
    def child(payload: str) -> str:
        ran.append("child")
        return "from the child"

    async def delegate() -> str:
        ran.append("delegate")
        context = current_context()
        await context.step("note", lambda: ran.append("step"))
        return str((await context.wait_for(await context.spawn(child.create_task(payload="x"))))[0].result)

    @deferred
    def ask_lawyer(question: str) -> None:
        ran.append("asked")

    @tool(requires_approval=True)
    def delete(path: str) -> str:
        ran.append(f"deleted {path}")
        return f"{path} is gone"

    def wrong() -> str:
        ran.append("wrong")
        raise ModelRetry("not like this")

    agent = Agent("clerk", "Serve.", script.model, [delegate, ask_lawyer, delete, wrong])
    client = Client(store)
    async with working(store, agent, child):
        task_id = await ask(store, agent)
        await until(store, task_id, lambda task: waits(task) and task.wait is not None and task.wait.people)
        await store.signal([Signal(task_id, SignalKind.STEER, data="be quick")])
        await client.complete_deferred_tool(task_id, "c2", {"allowed": True})
        await client.approve(task_id, "c3")
        await client.reject(task_id, "c4", "keep it")
        task = await ended(store, task_id)
    assert task.state is State.DONE, task.error
    done = list(ran), list(script.asked)
    events = (await store.events()).events
    # When it is replayed, by the same code
    replay = await replay_task(store, task_id, agent)
    # Then it does the same, without doing it
    assert departures(replay) == [[], []]
    assert not replay.departs
    assert (ran, script.asked) == done
    assert (await store.events()).events == events
    assert await store.task(task_id) == task


async def test_a_tool_that_is_gone_and_one_with_other_arguments_are_told_where_they_matter(store: Store) -> None:
    task_id = await recorded(store)
    gone = await replay_task(store, task_id, buyer(Scripted(), []))
    assert [len(each) for each in departures(gone)] == [1, 1, 0]
    assert "call 'c1' of tool 'look' was shop is open and is Unknown tool name: 'look'" in gone.turns[0].departures[0]

    def number(place: int) -> str:
        """Looks something up."""
        raise AssertionError

    number.__name__ = "look"
    other = await replay_task(store, task_id, buyer(Scripted(), [number]))
    assert [len(each) for each in departures(other)] == [1, 1, 0]
    assert "valid integer" in other.turns[0].departures[0]


async def test_instructions_and_output_that_differ(store: Store) -> None:
    task_id = await recorded(store)
    told = await replay_task(store, task_id, buyer(Scripted(), [look], "Buy little."))
    assert departures(told) == [["the instructions were Buy. and are Buy little."]] * 3
    output = await replay_task(store, task_id, buyer(Scripted(), [look], output_type=int))
    assert departures(output)[:2] == [[], []]
    assert "the task ended here, and goes on now" in output.turns[2].departures[0]


async def test_another_query_in_the_beginning(store: Store) -> None:
    task_id = await recorded(store)

    class Renamed(AgentContext):
        def model_post_init(self, _: object) -> None:
            self.query = self.query.upper()

    replay = await replay_task(store, task_id, buyer(Scripted(), [look], context_type=Renamed))
    assert departures(replay) == [["what the model is told was go and is GO"], [], []]


async def test_code_that_fails_now(store: Store) -> None:
    task_id = await recorded(store)

    def broken(*_: object) -> object:
        raise RuntimeError("no database")

    failing = await replay_task(store, task_id, buyer(Scripted(), [look], deps=broken))
    assert departures(failing) == [["it fails now: RuntimeError: no database"]] * 3


async def test_an_end_where_the_task_went_on(store: Store) -> None:
    # Given an agent that once asked for a better answer
    def better(text: str) -> str:
        if text == "no":
            raise ModelRetry("say yes")
        return text

    script = Scripted("no", "yes")
    agent = buyer(script, [], output_type=TextOutput(better))
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert script.asked == [1, 2]
    assert departures(await replay_task(store, task.id, agent)) == [[], []]
    # When it is content with any, then that is told
    replay = await replay_task(store, task.id, buyer(Scripted(), []))
    assert departures(replay) == [["the task went on here, and ends now with no"], []]


async def test_a_call_that_was_refused_then_and_would_run_now(store: Store) -> None:
    # Given a model that once called a tool that was not there
    script = Scripted([call("pay", "c1", cents=1)], "sorry")
    agent = buyer(script, [look])
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    paid: list[int] = []

    def pay(cents: int) -> None:
        """Pays."""
        paid.append(cents)

    # When it is replayed with that tool
    replay = await replay_task(store, task.id, buyer(Scripted(), [look, pay]))
    # Then that is told, and the tool has not run
    assert "and is (the tool runs)" in replay.turns[0].departures[0]
    assert not paid


async def test_a_hand_off_is_not_done_again(store: Store) -> None:
    ran: list[str] = []

    @task_agent(name="lawyer")
    def lawyer(payload: AgentContext) -> str:
        ran.append(payload.query)
        return "it is legal"

    script = Scripted([call("final_result", "c1", query="is it?")])
    agent = Agent("triage", None, script.model, output_type=[str, hand_off(lawyer, "For questions of law.")])
    async with working(store, agent, lawyer):
        task = await ended(store, await ask(store, agent))
    assert task.state is State.DONE, task.error
    assert ran == ["is it?"]
    assert departures(await replay_task(store, task.id, agent)) == [[]]
    assert ran == ["is it?"]


async def test_a_task_in_the_middle_of_its_turn_is_replayed_as_far_as_it_is(store: Store) -> None:
    script = Scripted([call("look", "c1", place="shop"), call("ask_lawyer", "c2", question="may I?")], "done")

    @deferred
    def ask_lawyer(question: str) -> None:
        """Asks."""

    agent = buyer(script, [look, ask_lawyer])
    async with working(store, agent):
        task_id = await ask(store, agent)
        await until(store, task_id, waits)
        assert departures(await replay_task(store, task_id, agent)) == [[]]


async def test_a_model_by_name_needs_no_key(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = await recorded(store)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    replay = await replay_task(store, task_id, Agent("buyer", "Buy.", "openai:gpt-5", [look]))
    assert not replay.departs


async def test_what_cannot_be_replayed_is_said(store: Store) -> None:
    @task_agent
    def double(payload: int) -> int:
        return payload * 2

    task_id = await recorded(store)
    (function,) = await submit(store, double.create_task(payload=2))
    with pytest.raises(InvalidInput, match="has no recorded turns"):
        await replay_task(store, function, buyer(Scripted(), []))
    with pytest.raises(InvalidInput, match="is one of agent 'buyer', not of 'seller'"):
        await replay_task(store, task_id, Agent("seller", None, Scripted().model))


async def test_tools_see_a_context_that_only_reads(store: Store) -> None:
    # Given instructions that read the task's context
    def instructions(ctx: RunContext[AgentContext]) -> str:
        return f"Work on {current_context().owner_id}."

    script = Scripted("hello")
    agent = buyer(script, [], instructions=instructions)  # type: ignore[arg-type]  # a function as well
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert task.state is State.DONE, task.error
    assert departures(await replay_task(store, task.id, agent)) == [[]]
