"""Agents in processes, threads and on event loops: their hooks, their ends, and how they are made to end."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Sequence
from typing import Any

import psutil
import pytest

from tenuto.errors import Conflict, InvalidInput, NotFound
from tenuto.supervisor import start
from tenuto.supervisor.agents.base import BaseAgent, BaseProcessAgent
from tenuto.supervisor.heartbeat import HeartbeatPlugin
from tenuto.supervisor.states import AgentState
from tests.freezing import freeze
from tests.integration.supervisor import service_agents as agents
from tests.integration.supervisor.stage import LIMIT, stage, until

TERMINATED, FAILED = AgentState.TERMINATED, AgentState.FAILED


@pytest.mark.parametrize("kind", [agents.SaidInProcess, agents.SaidInThread, agents.SaidOnLoop])
def test_hooks_are_called_in_order_and_the_end_is_told_once(kind: type[BaseAgent]) -> None:
    with stage() as world:
        world.register_agent(kind, "a")
        world.simple_join()
        messages = [each.message for each in world.records("a", "AGENT_MESSAGE")]
        assert messages == ["initialize", "setup", "execute", "on_close", "finalize"]
        assert [event for event in world.events("a") if event != "AGENT_MESSAGE"] == [
            "AGENT_REGISTERED",
            "AGENT_STARTED",
            "AGENT_READY",
            "AGENT_TERMINATED",
        ]
        assert world["a"].state is TERMINATED
        pid = world.records("a", "AGENT_STARTED")[0].pid
        assert (pid == os.getpid()) == (kind is not agents.SaidInProcess)


DEATHS = [
    ("kill", "killed by SIGKILL", None, "SIGKILL"),
    ("segfault", "killed by SIGSEGV", None, "SIGSEGV"),
    ("exit", "exit code 7", 7, None),
    ("leave", "exit code 3", 3, None),
    ("raise", "execute: ValueError: no such table", 1, None),
    ("final", "it will never work", 1, None),
]


@pytest.mark.parametrize(("how", "reason", "code", "by"), DEATHS, ids=[each[0] for each in DEATHS])
def test_every_death_is_told_once_with_its_reason(how: str, reason: str, code: int | None, by: str | None) -> None:
    with stage() as world:
        world.register_agent(agents.Dies, "a", how=how)
        world.simple_join()
        entry = world["a"]
        assert (entry.state, entry.reason, entry.exit_code, entry.exit_signal_name) == (FAILED, reason, code, by)
        assert world.events("a")[-2:] == ["AGENT_ERROR", "AGENT_TERMINATED"]
        assert world.events("a").count("AGENT_ERROR") == 1
        (error,) = world.records("a", "AGENT_ERROR")
        assert error.error_message in reason
        assert world.events(event="ALL_AGENTS_TERMINATED") == ["ALL_AGENTS_TERMINATED"]


@pytest.mark.parametrize("kind", [agents.DiesInThread, agents.DiesOnLoop])
def test_a_failure_within_this_process_is_told_once(kind: type[BaseAgent]) -> None:
    with stage() as world:
        world.register_agent(kind, "a")
        world.simple_join()
        assert world["a"].reason == "execute: ValueError: no such table"
        assert isinstance(world["a"].error, ValueError)
        assert world.events("a")[-2:] == ["AGENT_ERROR", "AGENT_TERMINATED"]


def test_an_agent_whose_setup_fails_was_never_ready() -> None:
    with stage() as world:
        world.register_agent(agents.FailsInSetup, "a")
        world.simple_join()
        assert world["a"].reason == "setup: ConnectionError: no route to host"
        assert "AGENT_READY" not in world.events("a")


def test_a_killed_process_is_noticed_before_its_heartbeats_are_missed() -> None:
    with stage() as world:
        world.register_agent(Beats, "a", Beats.Config(heartbeat_timeout=2 * LIMIT))
        world.start()
        pid = world.running("a").pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        world.over("a", FAILED)
        assert world["a"].reason == "killed by SIGKILL"


def test_on_close_that_raises_frees_the_slot_and_finalizes_plugins_once() -> None:
    with stage(max_workers=1) as world:
        world.register_agent(agents.FailsToClose, "a")
        world.register_agent(agents.SaidInThread, "b")
        world.simple_join()
        assert world["a"].reason == "on_close: RuntimeError: the file is gone"
        assert [each.message for each in world.records("a", "AGENT_MESSAGE")] == ["initialize", "finalize"]
        assert world["b"].state is TERMINATED


def test_a_recoverable_exception_continues_the_loop() -> None:
    with stage() as world:
        world.register_agent(agents.Stumbles, "a")
        world.simple_join()
        assert world["a"].state is TERMINATED
        assert [each.message for each in world.records("a", "AGENT_MESSAGE")] == [2, 4]
        errors = world.records("a", "AGENT_ERROR")
        assert [(each.error_message, each.recoverable) for each in errors] == [
            ("RecoverableException: round 1", True),
            ("RecoverableException: round 3", True),
        ]


@pytest.mark.parametrize("kind", [agents.WaitsInProcess, agents.WaitsInThread, agents.WaitsOnLoop])
def test_an_agent_that_looks_at_its_stop_event_stops_at_once(kind: type[BaseAgent]) -> None:
    with stage() as world:
        world.register_agent(kind, "a")
        world.start()
        world.running("a")
        assert world.lifecycle_manager.stop_agent("a", timeout=LIMIT)
        assert (world["a"].state, world["a"].reason) == (TERMINATED, "")
        assert "AGENT_TIMEOUT" not in world.events()


@pytest.mark.parametrize("kind", [agents.SleepsInProcess, agents.SleepsOnLoop])
def test_one_that_does_not_is_interrupted_and_still_closes(
    kind: type[BaseAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "_INTERRUPTED", LIMIT)  # it is not killed, however slow the machine is
    with stage() as world:
        world.register_agent(kind, "a")
        world.start()
        world.running("a")
        assert world.lifecycle_manager.stop_agent("a", timeout=0.2)
        assert world["a"].state is TERMINATED
        assert [each.message for each in world.records("a", "AGENT_MESSAGE")] == ["closed"]
        assert world.events("a").count("AGENT_TIMEOUT") == 1


def test_one_that_ignores_everything_is_killed() -> None:
    with stage() as world:
        world.register_agent(agents.Deaf, "a")
        world.start()
        world.running("a")
        assert world.lifecycle_manager.stop_agent("a", timeout=0.2)
        assert (world["a"].state, world["a"].exit_signal_name) == (TERMINATED, "SIGKILL")
        assert "did not stop in time" in world["a"].reason
        assert "AGENT_ERROR" not in world.events("a")


def test_a_frozen_process_is_killed_when_it_has_to_stop() -> None:
    with stage() as world:
        world.register_agent(agents.WaitsInProcess, "a")
        world.start()
        pid = world.running("a").pid
        assert pid is not None
        freeze(pid)
        assert world.lifecycle_manager.stop_agent("a", timeout=0.2)
        assert world["a"].exit_signal_name == "SIGKILL"


def test_a_stuck_thread_is_named_and_its_slot_given_on() -> None:
    release = threading.Event()
    with stage(max_workers=1, survivors=("stuck",)) as world:
        world.register_agent(agents.Stuck, "stuck", release=release)
        world.register_agent(agents.SaidInThread, "next")
        world.start()
        world.running("stuck")
        assert not world.lifecycle_manager.stop_agent("stuck", timeout=0.1)
        assert world["stuck"].state is FAILED
        assert "left behind" in world["stuck"].reason
        world.over("next", TERMINATED)
        with pytest.raises(Conflict, match="still runs"):
            world.lifecycle_manager.start_agent("stuck")
    release.set()


def test_a_stuck_thread_that_ends_after_all_can_be_started_again() -> None:
    release = threading.Event()
    with stage() as world:
        world.register_agent(agents.Stuck, "stuck", release=release)
        world.start()
        world.running("stuck")
        assert not world.lifecycle_manager.stop_agent("stuck", timeout=0.1)
        release.set()
        until(lambda: not world.lifecycle_manager.survivors)
        world.lifecycle_manager.start_agent("stuck")
        world.over("stuck", TERMINATED)
        assert world["stuck"].generation == 2


def test_all_agents_share_one_budget_when_all_are_stopped() -> None:
    with stage(max_workers=11, agent_stop_timeout=3) as world:
        for number in range(11):
            world.register_agent(agents.SleepsInProcess, f"a{number}")
        world.start()
        for number in range(11):
            world.running(f"a{number}")
        assert world.shutdown() == []
        late = [each.timestamp for each in world.records(event="AGENT_TIMEOUT")]
        assert len(late) == 11
        assert max(late) - min(late) < 15  # one after the other would be half a minute


def test_an_agent_that_is_not_ready_in_time_is_given_up() -> None:
    with stage() as world:
        world.register_agent(agents.SlowToStart, "a", agents.SlowToStart.Config(start_timeout=3))
        world.simple_join()
        assert (world["a"].state, world["a"].reason) == (FAILED, "it was not ready within 3 s")
        assert world.events("a") == [
            "AGENT_REGISTERED",
            "AGENT_STARTED",
            "AGENT_TIMEOUT",
            "AGENT_ERROR",
            "AGENT_TERMINATED",
        ]


class Beats(BaseProcessAgent):
    class Config(BaseProcessAgent.Config):
        heartbeat_timeout = 3

    class Plugin(BaseProcessAgent.Plugin):
        heartbeat = HeartbeatPlugin(interval=0.05)

    def execute(self) -> None:
        self.wait()


def test_a_frozen_agent_whose_heart_was_heard_is_given_up() -> None:
    with stage() as world:
        world.register_agent(Beats, "a")
        world.start()
        pid = world.running("a").pid
        until(lambda: world.events("a", "AGENT_HEARTBEAT"))
        assert pid is not None
        freeze(pid)
        world.over("a", FAILED)
        assert world["a"].reason == "there was no heartbeat for 3 s"


def test_messages_go_both_ways() -> None:
    with stage() as world:
        world.register_agent(agents.Echo, "a")
        assert not world.lifecycle_manager.send_message("a", "nobody is there")
        world.start()
        world.running("a")
        for content in ("hello", {"n": [1, 2]}, "x" * 3_000):
            assert world.lifecycle_manager.send_message("a", content)
        until(lambda: len(world.events("a", "AGENT_MESSAGE")) == 3)
        assert [each.message for each in world.records("a", "AGENT_MESSAGE")] == ["hello", {"n": [1, 2]}, "x" * 3_000]


def test_a_frozen_agent_does_not_hold_up_who_writes_to_it() -> None:
    with stage() as world:
        world.register_agent(agents.Echo, "a")
        world.start()
        pid = world.running("a").pid
        assert pid is not None
        freeze(pid)
        began = time.monotonic()
        taken = [world.lifecycle_manager.send_message("a", "x" * 1_000_000) for _ in range(40)]
        assert taken[0]
        assert not taken[-1]
        assert time.monotonic() - began < 30
        assert [row["name"] for row in (entry.describe() for entry in world.lifecycle_manager.entries)] == ["a"]
        assert world.lifecycle_manager.stop_agent("a", timeout=0.1)


def test_what_an_agent_has_started_ends_with_it() -> None:
    with stage() as world:
        world.register_agent(agents.Parent, "a")
        world.start()
        (message,) = until(lambda: world.records("a", "AGENT_MESSAGE"))
        grandchild = psutil.Process(message.message)
        pid = world["a"].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        world.over("a", FAILED)
        grandchild.wait(LIMIT)


def test_closures_and_classes_of_functions_travel_to_processes() -> None:
    greeting = ["hello"]

    class Local(BaseProcessAgent):
        class Config(BaseProcessAgent.Config):
            say: Any

        def execute(self) -> None:
            self.send_message(self.config.say(greeting[0]) + self.name)

    with stage() as world:
        world.register_agent(Local, "Ada", Local.Config(say=lambda words: f"{words}, "))
        world.simple_join()
        assert [each.message for each in world.records("Ada", "AGENT_MESSAGE")] == ["hello, Ada"]


@pytest.mark.parametrize(
    ("preload", "told"),
    [
        ("no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("os:no_such_function", "AttributeError: module 'os' has no attribute 'no_such_function'"),
    ],
)
def test_what_cannot_be_preloaded_is_told_and_costs_nothing_else(
    preload: str, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with stage(preload=[preload]) as world:
        world.register_agent(agents.SaidInProcess, "a")
        world.simple_join()
        assert world["a"].state is TERMINATED
    assert capfd.readouterr().err == f"tenuto: {preload} cannot be preloaded: {told}\n"


def test_what_cannot_be_sent_to_a_process_says_which_attribute() -> None:
    class Holder(BaseProcessAgent):
        class Config(BaseProcessAgent.Config):
            lock: Any = None

    with stage() as world:
        world.register_agent(agents.WaitsInThread, "fine")
        world.register_agent(Holder, "holder", Holder.Config(lock=threading.Lock()))
        with pytest.raises(InvalidInput, match=r"agent 'holder' cannot be sent to a process: config\.lock \(lock\)"):
            world.start()
        assert world["fine"].state is AgentState.REGISTERED


def test_what_cannot_be_sent_is_found_where_it_is_used() -> None:
    held = threading.Lock()

    def helper() -> bool:
        return held.locked()

    class OfTheClass(BaseProcessAgent):
        shared = threading.Lock()

    class OfTheSettings(BaseProcessAgent):
        class Config(BaseProcessAgent.Config):
            lock = threading.Lock()

    class OfAFunction(BaseProcessAgent):
        def execute(self) -> None:
            helper()

    class Given(BaseProcessAgent):
        jobs: Any

    cases: Sequence[tuple[type[BaseProcessAgent], Any, str]] = (
        (OfTheClass, {}, "OfTheClass.shared (lock)"),
        (OfTheSettings, {}, "OfTheSettings.Config.lock (lock)"),
        (OfAFunction, {}, "held, used by OfAFunction.execute (lock)"),
        (Given, {"jobs": [1, {"a": threading.Lock()}]}, "jobs[1]['a'] (lock)"),
    )
    for kind, arguments, said in cases:
        with stage() as world:
            world.register_agent(kind, "a", **arguments)
            with pytest.raises(InvalidInput, match=re.escape(f"cannot be sent to a process: {said}: ")):
                world.start()


def test_what_makes_no_sense_is_refused_before_anything_starts() -> None:
    with stage() as world:
        world.register_agent(agents.WaitsInThread, "a")
        with pytest.raises(ValueError, match="there is an agent 'a' already"):
            world.register_agent(agents.WaitsInThread, "a")
        with pytest.raises(InvalidInput, match="must be a class of agents"):
            world.register_agent(dict, "b")  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match=r"custom_config of agent 'b' must be a BaseAgent\.Config, not int"):
            world.register_agent(agents.WaitsInThread, "b", 7)
        with pytest.raises(NotFound, match="there is no agent 'x'; registered: a"):
            world.lifecycle_manager.start_agent("x")
        world.start()
        world.running("a")
        with pytest.raises(Conflict, match="'a' is RUNNING already"):
            world.lifecycle_manager.start_agent("a")


def test_a_stop_before_the_start_is_the_end() -> None:
    with stage(max_workers=1) as world:
        world.register_agent(agents.WaitsInThread, "first")
        world.register_agent(agents.WaitsInThread, "second")
        world.start()
        world.running("first")
        assert world.lifecycle_manager.stop_agent("second")
        assert (world["second"].state, world["second"].reason) == (TERMINATED, "stopped before it was started")
        assert world.events("second") == ["AGENT_REGISTERED", "AGENT_TERMINATED"]


def test_restarting_an_agent_by_hand_is_a_new_generation() -> None:
    with stage() as world:
        world.register_agent(agents.WaitsInProcess, "a")
        world.start()
        first = world.running("a").pid
        world.lifecycle_manager.restart_agent("a")
        assert world.running("a").pid != first
        assert world["a"].generation == 2
        assert [each.generation for each in world.records("a", "AGENT_TERMINATED")] == [1]
