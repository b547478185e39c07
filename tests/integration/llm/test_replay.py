"""Replay: the record of a task through the agent's present code; no model, no tool, nothing written."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic_ai import ModelRetry, NativeOutput, RunContext, TextOutput, Tool, ToolOutput
from pydantic_ai.tools import ToolDefinition

from tenuto.agents.function import task_agent
from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.context import AgentContext
from tenuto.agents.llm.current import current_context
from tenuto.agents.llm.replay import Replay, replay_task
from tenuto.agents.llm.team import hand_off
from tenuto.agents.llm.tools import deferred
from tenuto.client import Client
from tenuto.errors import InvalidInput
from tenuto.stores.base import Store
from tenuto.tasks.money import DOLLAR, AtLimit, Budget
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.testing import Endpoint, Reply, ToolCall
from tests.integration.llm.office import Office
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
    office = Office()
    async with working(store, office.agent, office.child):
        task_id = await office.waiting(store)
        await store.signal([Signal(task_id, SignalKind.STEER, data="be quick")])
        task = await office.answered(store, task_id)
    done = list(office.ran), list(office.script.asked)
    events = (await store.events()).events
    # When it is replayed, by the same code
    replay = await replay_task(store, task_id, office.agent)
    # Then it does the same, without doing it
    assert departures(replay) == [[], []]
    assert not replay.departs
    assert (office.ran, office.script.asked) == done
    assert (await store.events()).events == events
    assert await store.task(task_id) == task


async def test_a_fork_that_was_told_something_does_what_is_on_record(store: Store) -> None:
    # Given a task that was forked behind a tool, and told something
    async with Client(store) as client:
        fork = await client.fork_task(await recorded(store), 1, message="Hurry.")
    agent = buyer(Scripted([call("look", "c1", place="shop")], "it is open"), [look])
    async with working(store, agent):
        assert (await ended(store, fork)).state is State.DONE
    # When it is replayed with the same code
    replay = await replay_task(store, fork, buyer(Scripted(), [look]))
    # Then nothing departs
    assert departures(replay) == [[]]


async def test_an_earlier_conversation_that_ends_with_a_question_does_what_is_on_record(store: Store) -> None:
    # Given a task that begins with something that a person has said, and adds a question
    agent = buyer(Scripted("both are open"), [look])
    said = AgentContext(query="And the bank?", messages=[{"role": "user", "content": "Is the shop open?"}])
    async with working(store, agent):
        (task_id,) = await submit(store, agent.create_task(payload=said))
        await ended(store, task_id)
    # When it is replayed with the same code, Then nothing departs
    assert departures(await replay_task(store, task_id, buyer(Scripted(), [look]))) == [[]]


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
    assert told.requests == {"the instructions read 'Buy.' then, and 'Buy little.' now": [1, 2, 3]}
    assert departures(told) == [[], [], []]
    assert told.departs
    output = await replay_task(store, task_id, buyer(Scripted(), [look], output_type=int))
    assert output.requests == {"output tool 'final_result' is on offer now, and was not": [1, 2, 3]}
    assert departures(output)[:2] == [[], []]
    assert "the task ended here, and goes on now" in output.turns[2].departures[0]


async def test_tools_that_are_described_in_another_way(store: Store) -> None:
    # Given a task whose agent had a tool, and another one from its second turn on
    later: list[bool] = []

    def fly(to: str) -> str:
        """Flies."""
        return "flown"

    def prepared(_: RunContext[Any], definition: ToolDefinition) -> ToolDefinition | None:
        return definition if later else None

    def found(place: str) -> str:
        """Looks something up."""
        later.append(True)
        return look(place)

    script = Scripted([call("look", "c1", place="shop")], [call("look", "c2", place="bank")], "open")
    tools, output = [Tool(found, name="look"), Tool(fly, prepare=prepared)], [str, ToolOutput(int, name="count")]
    agent = buyer(script, tools, output_type=output)
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert task.state is State.DONE, task.error
    # Then what is offered is on record where it changes
    turns = await Client(store).get_turns(task.id)
    assert [turn.offer and sorted(turn.offer["tools"]) for turn in turns] == [["look"], ["fly", "look"], None]
    # And an agent that never offers the other tool asks otherwise from there on
    later.clear()
    replay = await replay_task(store, task.id, agent)
    assert replay.requests == {"tool 'fly' was on offer, and is not now": [2, 3]}

    # When it is replayed with tools and an output that are described in another way
    def other(place: Literal["shop", "bank"], floor: int = 0) -> str:
        """Looks something up, carefully."""
        raise AssertionError

    changed = buyer(Scripted(), [Tool(other, name="look")], output_type=[str, ToolOutput(float, name="count")])
    replay = await replay_task(store, task.id, changed)
    # Then all of that is told, with the turns for which it holds
    words = "'Looks something up.' then, and 'Looks something up, carefully.' now"
    assert replay.requests == {
        f"the description of tool 'look' read {words}": [1, 2, 3],
        'tool \'look\': place.enum was nothing and is ["shop","bank"]': [1, 2, 3],
        'tool \'look\': floor was nothing and is {"default":0,"type":"integer"}': [1, 2, 3],
        "output tool 'count': response.type was integer and is number": [1, 2, 3],
        "tool 'fly' was on offer, and is not now": [2, 3],
    }


@pytest.mark.parametrize("model", ["openai-chat:gpt-5-mini", "openai:gpt-5-mini", "anthropic:claude-haiku-4-5"])
@pytest.mark.parametrize("native", [False, True])
async def test_the_same_agent_asks_any_model_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch, model: str, native: bool
) -> None:
    # Given a task of an agent with a tool and a form of output, with the real model classes
    turns = [Reply(tools=[ToolCall("look", {"place": "shop"})]), Reply(output=[1, 2])]
    output: Any = NativeOutput(list[int]) if native else list[int]
    async with Endpoint(turns) as endpoint:
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        agent = Agent("buyer", "Buy.", model, [look], output_type=output)
        async with working(store, agent):
            task = await ended(store, await ask(store, agent))
    # When it is replayed by the same agent
    assert task.state is State.DONE, task.error
    replay = await replay_task(store, task.id, Agent("buyer", "Buy.", model, [look], output_type=output))
    # Then nothing differs
    assert (replay.requests, departures(replay)) == ({}, [[], []])


async def test_long_instructions_are_compared_by_lines(store: Store) -> None:
    lines = [f"{number}. Look at shelf {number}, and write down what is missing there." for number in range(20)]
    script = Scripted("done")
    agent = buyer(script, [], "\n".join(lines))
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    changed = "\n".join([*lines[:3], "Rest a while.", *lines[4:]])
    (sentence,) = (await replay_task(store, task.id, buyer(Scripted(), [], changed))).requests
    assert sentence == f"lines of the instructions differ:\n- {lines[3]}\n+ Rest a while."


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


async def test_a_task_that_went_on_with_a_cheaper_model_is_replayed_like_any_other(store: Store) -> None:
    # Given a task whose budget had no room for a second request to the dear model
    turns = ([call("look", "c1", place="shop")], [call("look", "c2", place="bank")], "open")
    dear, cheap = Scripted(*turns), Scripted(*turns)
    prices: dict[str, Any] = {"price": (0, 1), "fallback_price": (0, 0), "model_settings": {"max_tokens": 1_000_000}}
    agent = buyer(dear, [look], fallback=cheap.model, **prices)
    budget = Budget(money=DOLLAR, at_limit=AtLimit.FALLBACK)
    async with working(store, agent):
        task = await ended(store, await ask(store, agent, budget=budget))
    assert task.state is State.DONE, task.error
    assert (dear.asked, cheap.asked) == ([1], [2, 3])
    # When it is replayed
    replay = await replay_task(store, task.id, agent)
    # Then it does what is on record
    assert departures(replay) == [[], [], []]
