"""Agents without an orchestrator: their loops, their pace, their plugins, and states that cannot follow each other."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tenuto.errors import Conflict, InvalidInput
from tenuto.supervisor.agents.base import BaseAgent, BaseThreadAgent
from tenuto.supervisor.agents.life import Outcome, live, run_now
from tenuto.supervisor.agents.looping import LoopingAsyncAgent, LoopingThreadAgent
from tenuto.supervisor.agents.periodic import PeriodicAsyncAgent, PeriodicThreadAgent, pace
from tenuto.supervisor.exceptions import RecoverableException
from tenuto.supervisor.messages import Message, MessageKind
from tenuto.supervisor.plugins import Plugin
from tenuto.supervisor.states import AgentState, check_step


def lived(agent: BaseAgent) -> Outcome:
    return run_now(live(agent))


class Counts(LoopingThreadAgent):
    rounds = 0

    def cycle(self) -> None:
        self.rounds += 1
        if self.rounds == 7:
            self.ask_stop()


def test_a_loop_ends_at_its_limit_or_when_it_is_stopped() -> None:
    limited = Counts.made("a", config=Counts.Config(limit=3))
    assert lived(limited).reason == ""
    assert limited.rounds == 3
    unlimited = Counts.made("a")
    lived(unlimited)
    assert unlimited.rounds == 7
    none = Counts.made("a", config=Counts.Config(limit=0))
    lived(none)
    assert none.rounds == 0


def test_pauses_lie_between_rounds_only() -> None:
    config = PeriodicThreadAgent.Config(execution_interval=2.0)
    assert pace(config)(10.0) == 2.0


def test_with_compensation_rounds_begin_at_fixed_instants() -> None:
    now = 0.0
    after = pace(PeriodicThreadAgent.Config(execution_interval=2.0, delay_compensation=True), lambda: now)
    now = 100.5  # the first round, begun at 100, took half a second
    assert after(100.0) == 1.5
    now = 102.5
    assert after(102.0) == 1.5
    now = 107.0  # a round that took five seconds: two instants are left out
    assert after(102.0) == 1.0


class Stumbles(PeriodicThreadAgent):
    rounds = 0

    def runner(self) -> None:
        self.rounds += 1
        raise RecoverableException("not this time")


def test_a_periodic_agent_goes_on_after_a_recoverable_exception() -> None:
    told: list[Message] = []
    agent = Stumbles.made("a", config=Stumbles.Config(limit=3, execution_interval=0.001), send=told.append)
    assert lived(agent).error is None
    assert agent.rounds == 3
    assert [each.fields["recoverable"] for each in told if each.kind is MessageKind.ERROR] == [True] * 3


def test_a_stop_ends_the_pause() -> None:
    agent = PeriodicThreadAgent.made("a", config=PeriodicThreadAgent.Config(execution_interval=1_000))
    threading.Timer(0.05, agent.ask_stop).start()
    lived(agent)


async def test_async_agents_do_the_same_on_an_event_loop() -> None:
    class Loops(LoopingAsyncAgent):
        rounds = 0

        async def cycle(self) -> None:
            self.rounds += 1

    class Ticks(PeriodicAsyncAgent):
        rounds = 0

        async def runner(self) -> None:
            self.rounds += 1

    loops = Loops.made("a", config=Loops.Config(limit=5))
    ticks = Ticks.made("b", config=Ticks.Config(limit=3, execution_interval=0.001))
    await asyncio.gather(live(loops), live(ticks))
    assert (loops.rounds, ticks.rounds) == (5, 3)


async def test_an_async_agent_waits_for_messages_and_for_its_stop() -> None:
    class Waits(LoopingAsyncAgent):
        got: Any = None
        stopped = False

        async def execute(self) -> None:
            self.got = [await self.receive_message(), await self.receive_message(timeout=0.01)]
            await self.wait()

        async def on_stop(self) -> None:
            self.stopped = True

    agent = Waits.made("a")
    running = asyncio.create_task(live(agent))
    agent.deliver(Message(kind=MessageKind.MESSAGE, agent="a", generation=1, content="hello"))
    assert not await agent.wait(0.05)
    agent.deliver(Message(kind=MessageKind.STOP, agent="a", generation=1))
    assert (await running).reason == ""
    assert (agent.got, agent.stopped) == (["hello", None], True)


def test_a_coroutine_where_none_can_run_says_so() -> None:
    class Wrong(BaseThreadAgent):
        async def execute(self) -> None: ...

    assert "derive Wrong from an async agent" in lived(Wrong.made("a")).reason


class Waker(BaseThreadAgent):
    """What `on_stop` is for: waking what blocks."""

    def setup(self) -> None:
        self.event = threading.Event()

    def execute(self) -> None:
        assert self.event.wait(60)

    def on_stop(self) -> None:
        self.event.set()


def test_on_stop_is_called_beside_what_blocks() -> None:
    agent = Waker.made("a", send=None)
    thread = threading.Thread(target=lived, args=(agent,))
    thread.start()
    while not hasattr(agent, "event"):
        continue
    agent.ask_stop()
    agent.ask_stop()
    thread.join(60)
    assert not thread.is_alive()


class Carried(Plugin):
    def __init__(self, calls: list[str], name: str, *, fails: str = "") -> None:
        self.calls, self.name, self.fails = calls, name, fails

    def __deepcopy__(self, memo: Any) -> Plugin:
        return Carried(self.calls, self.name, fails=self.fails)

    def initialize(self) -> None:
        self._do("initialize")

    def finalize(self) -> None:
        self._do("finalize")

    def _do(self, what: str) -> None:
        self.calls.append(f"{self.name} {what} {self.owner.name}")
        if self.fails == what:
            raise OSError(what)


def test_plugins_begin_in_order_and_end_in_the_other_each_once_whatever_happens() -> None:
    calls: list[str] = []

    class Carrying(BaseThreadAgent):
        class Plugin(BaseThreadAgent.Plugin):
            first = Carried(calls, "first", fails="finalize")
            second = Carried(calls, "second")
            third = Carried(calls, "third", fails="initialize")

        def execute(self) -> None:
            calls.append("never")

    outcome = lived(Carrying.made("a"))
    assert outcome.reason == "plugin third: initialize: OSError: initialize"
    assert calls == [
        "first initialize a",
        "second initialize a",
        "third initialize a",
        "second finalize a",
        "first finalize a",
    ]


def test_plugins_are_per_agent_and_can_be_replaced() -> None:
    class Carrying(BaseThreadAgent):
        class Plugin(BaseThreadAgent.Plugin):
            tool = Plugin()

    one, two = Carrying.made("one"), Carrying.made("two")
    assert one.plugin.tool is not two.plugin.tool
    assert (one.plugin.tool.owner, two.plugin.tool.owner) == (one, two)
    own = Carried([], "own")
    assert Carrying.made("three", plugin=Carrying.Plugin(tool=own)).plugin.tool.name == "own"
    with pytest.raises(InvalidInput, match="plugin 'tool' must be a Plugin, not int"):
        Carrying.Plugin(tool=7)  # type: ignore[arg-type]


def test_arguments_become_attributes_unless_the_name_is_taken() -> None:
    assert BaseThreadAgent.made("a", arguments={"path": "x"}).path == "x"  # type: ignore[attr-defined]
    with pytest.raises(InvalidInput, match="agent 'a': 'config' is taken"):
        BaseThreadAgent.made("a", arguments={"config": 1})


def test_states_follow_each_other_as_drawn() -> None:
    check_step("a", AgentState.QUEUED, AgentState.STARTING)
    check_step("a", AgentState.FAILED, AgentState.QUEUED)
    with pytest.raises(Conflict, match="agent 'a' is TERMINATED and cannot become RUNNING"):
        check_step("a", AgentState.TERMINATED, AgentState.RUNNING)
