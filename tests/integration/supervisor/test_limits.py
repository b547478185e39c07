"""Who runs when: the pool's limit, first-in-first-out, dependencies, restarts, and a thousand agents."""

from __future__ import annotations

import re
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tenuto.errors import Conflict, InvalidInput, NotFound
from tenuto.supervisor.agents.base import BaseThreadAgent
from tenuto.supervisor.restart import RestartPolicy
from tenuto.supervisor.states import AgentState
from tests.integration.supervisor import service_agents as agents
from tests.integration.supervisor.stage import LIMIT, Stage, stage, until

TERMINATED, FAILED, QUEUED = AgentState.TERMINATED, AgentState.FAILED, AgentState.QUEUED


class Short(BaseThreadAgent):
    """Runs for as long as it is told."""

    seconds: float = 0.0

    def execute(self) -> None:
        self.wait(self.seconds)


def most_at_once(world: Stage) -> int:
    most = now = 0
    for event in world.events():
        now += (event == "AGENT_STARTED") - (event == "AGENT_TERMINATED")
        most = max(most, now)
    return most


@pytest.mark.parametrize("kind", [Short, agents.SaidInProcess])
def test_a_hundred_agents_ten_at_once_first_in_first_out(kind: Any) -> None:
    with stage(max_workers=10) as world:
        names = [f"a{number}" for number in range(100)]
        for name in names:
            world.register_agent(kind, name)
        world.simple_join()
        assert {world[name].state for name in names} == {TERMINATED}
        assert 1 < most_at_once(world) <= 10
        began = [world[name].started_at or 0.0 for name in names]
        assert began == sorted(began)


def test_a_free_slot_is_refilled_at_once() -> None:
    # Given two slots, and agents whose ends do not fall together
    with stage(max_workers=2) as world:
        for number in range(20):
            world.register_agent(Short, f"a{number}", seconds=0.02 + 0.001 * number)
        world.simple_join()

        # Then from each end to the begin of the next it takes at most 20 ms, nearly always
        ends = sorted(entry.ended_at or 0.0 for entry in world.lifecycle_manager.entries)
        begins = sorted(entry.started_at or 0.0 for entry in world.lifecycle_manager.entries)[2:]
        gaps = sorted(begin - end for begin, end in zip(begins, ends, strict=False))
        assert gaps[len(gaps) // 2] < 0.02, gaps


def test_a_thousand_thread_agents_leave_nothing_behind() -> None:
    with stage(max_workers=1_000) as world:
        for number in range(1_000):
            world.register_agent(agents.WaitsInThread, f"a{number}")
        world.start()
        until(lambda: len(world.worker_pool.running) == 1_000)
        until(lambda: all(entry.state is AgentState.RUNNING for entry in world.lifecycle_manager.entries))
        world.stop()
        assert {entry.state for entry in world.lifecycle_manager.entries} == {TERMINATED}


def test_waves_of_agents_go_through_the_pool_and_are_joined() -> None:
    all_there = threading.Event()
    with stage(max_workers=3) as world:
        world.register_agent(agents.Stuck, "first", release=all_there)
        world.start()
        for number in range(30):
            world.register_agent(agents.Stuck, f"a{number}", release=all_there)
            world.lifecycle_manager.start_agent(f"a{number}")
        until(lambda: len(world.worker_pool.running) == 3)
        all_there.set()
        assert world.join(timeout=LIMIT)
        assert len(world.events(event="AGENT_TERMINATED")) == 31
        assert most_at_once(world) == 3


def test_an_agent_can_be_forgotten_once_it_has_ended() -> None:
    with stage(run_mode="DAEMON") as world:
        world.start()
        for _ in range(3):
            world.register_agent(agents.WaitsInProcess, "a")
            world.lifecycle_manager.start_agent("a")
            world.running("a")
            with pytest.raises(Conflict, match="agent 'a' is RUNNING: stop it first"):
                world.lifecycle_manager.unregister("a")
            world.lifecycle_manager.stop_agent("a")
            world.lifecycle_manager.unregister("a")
        with pytest.raises(NotFound):
            world.lifecycle_manager.entry("a")
        assert len(world.events("a", "AGENT_TERMINATED")) == 3


def test_an_agent_that_a_callback_starts_is_joined_as_well() -> None:
    with stage() as world:
        world.register_agent(Short, "first")
        world.register_agent(Short, "second")

        def follow(agent_name: str) -> None:
            if agent_name == "first":
                time.sleep(0.2)
                world.lifecycle_manager.start_agent("second")

        world.register_event("AGENT_TERMINATED", follow)
        world.start()
        assert world.join(timeout=LIMIT)
        assert world["second"].generation == 2  # once with all others, once by the callback


def test_a_callback_cannot_start_agents_when_everything_ends() -> None:
    # Given
    refused: list[str] = []
    with stage(run_mode="DAEMON") as world:

        def again(survivors: list[str]) -> None:
            try:
                world.lifecycle_manager.start_agent("a")
            except Conflict as error:
                refused.append(str(error))

        world.register_agent(agents.WaitsInThread, "a")
        world.register_event("SHUTDOWN", again)  # when all have ended already
        world.start()
        world.running("a")
        # When
        world.stop()
        # Then
        assert world["a"].state is TERMINATED
        assert refused == ["the orchestrator is stopping its agents: it starts none"]


def test_the_supervisor_can_be_started_again() -> None:
    with stage() as world:
        world.register_agent(agents.SaidInProcess, "a")
        world.simple_join()
        world.simple_join()
        assert world["a"].generation == 2
        assert world.events().count("INIT") == world.events().count("SHUTDOWN") == 2


# -- dependencies


def test_a_dependent_starts_when_what_it_needs_is_ready_and_holds_no_slot_until_then() -> None:
    ready = threading.Event()

    class Slow(BaseThreadAgent):
        def setup(self) -> None:
            ready.wait(LIMIT)

    with stage(max_workers=2) as world:
        world.register_agent(Short, "api")
        world.register_agent(Slow, "db")
        world.register_agent(Short, "other")
        world.add_dependency("api", ["db"])
        world.start()
        world.over("other", TERMINATED)
        assert world["api"].state is QUEUED
        ready.set()
        world.join()
        events = [(each.agent_name, each.event_name) for each in world.records()]
        assert events.index(("db", "AGENT_READY")) < events.index(("api", "AGENT_STARTED"))


def test_a_dependency_that_fails_is_told_and_nothing_hangs() -> None:
    with stage() as world:
        world.register_agent(agents.FailsInSetup, "db")
        world.register_agent(Short, "cache")
        world.register_agent(Short, "api")
        world.add_dependency("cache", ["db"])
        world.add_dependency("api", ["cache"])
        assert world.start() is None  # type: ignore[func-returns-value]
        assert world.join(timeout=LIMIT)
        assert world["cache"].reason == (
            "it depends on 'db', which is FAILED: setup: ConnectionError: no route to host"
        )
        assert world["api"].reason.startswith("it depends on 'cache', which is FAILED: it depends on 'db'")
        assert world.events("api") == ["AGENT_REGISTERED", "AGENT_ERROR", "AGENT_TERMINATED"]


def test_one_that_others_need_and_that_waits_long_for_a_slot_is_told_once() -> None:
    with stage(max_workers=1, agent_start_timeout=2) as world:
        world.register_agent(agents.WaitsInThread, "holder")
        world.register_agent(Short, "nobody waits for me")
        world.register_agent(Short, "db")
        world.register_agent(Short, "api")
        world.add_dependency("api", ["db"])
        world.start()
        until(lambda: len(world.events(event="AGENT_TIMEOUT")) == 2)
        told = {each.agent_name: each.reason for each in world.records(event="AGENT_TIMEOUT")}
        assert told == {
            "db": "it has waited 2 s for one of 1 slots",
            "api": "it has waited 2 s for 'db', which is QUEUED",
        }
        world.lifecycle_manager.stop_agent("holder")
        assert world.join(timeout=LIMIT)
        assert world["api"].state is TERMINATED


def test_starting_one_agent_starts_what_it_needs() -> None:
    with stage(run_mode="DAEMON") as world:
        world.start()
        world.register_agent(Short, "api")
        world.register_agent(agents.WaitsInThread, "db")
        world.add_dependency("api", ["db"])
        world.lifecycle_manager.start_agent("api")
        world.over("api", TERMINATED)
        world.running("db")


def test_what_depends_on_others_is_stopped_first() -> None:
    with stage() as world:
        world.register_agent(agents.WaitsInThread, "db")
        world.register_agent(agents.WaitsInProcess, "api")
        world.add_dependency("api", ["db"])
        world.start()
        world.running("api")
        world.stop()
        ended = [each.agent_name for each in world.records(event="AGENT_TERMINATED")]
        assert ended == ["api", "db"]


def test_wrong_dependencies_are_a_value_error_before_anything_starts() -> None:
    with stage() as world:
        world.register_agent(Short, "a")
        world.register_agent(Short, "b")
        world.add_dependency("a", ["b"])
        world.add_dependency("b", ["a"])
        with pytest.raises(ValueError, match=r"circular dependency: '[ab]' → '[ab]' → '[ab]'"):
            world.start()
        assert world.events() == ["AGENT_REGISTERED"] * 2
        with pytest.raises(InvalidInput, match="circular"):
            world.validate_dependencies()


# -- restarts


def test_a_failing_agent_is_restarted_after_a_growing_delay(tmp_path: Path) -> None:
    policy = RestartPolicy(mode="on-failure", max_restarts=5, backoff=0.1)
    with stage() as world:
        config = agents.Restarted.Config(restart=policy)
        world.register_agent(agents.Restarted, "a", config, path=str(tmp_path / "lives"), lives=4)
        world.simple_join()
        assert (world["a"].state, world["a"].generation, world["a"].restarts) == (TERMINATED, 4, 3)
        times = [float(line) for line in (tmp_path / "lives").read_text().splitlines()]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert all(gap >= wanted for gap, wanted in zip(gaps, (0.1, 0.2, 0.4), strict=True))
        assert [each.generation for each in world.records("a", "AGENT_TERMINATED")] == [1, 2, 3, 4]
        assert world.events().count("ALL_AGENTS_TERMINATED") == 1


def test_a_crash_loop_is_capped_and_told() -> None:
    policy = RestartPolicy(mode="on-failure", max_restarts=2, backoff=0.01)
    with stage() as world:
        world.register_agent(agents.Dies, "a", agents.Dies.Config(restart=policy), how="kill")
        world.simple_join()
        assert (world["a"].state, world["a"].generation) == (FAILED, 3)
        assert world["a"].reason == "killed by SIGKILL; given up after 2 restarts"
        assert world.events("a").count("AGENT_TERMINATED") == 3


def test_neither_a_final_failure_nor_a_stop_is_followed_by_a_restart() -> None:
    policy = RestartPolicy(mode="always", backoff=0.01)
    with stage() as world:
        world.register_agent(agents.Dies, "final", agents.Dies.Config(restart=policy), how="final")
        world.register_agent(agents.WaitsInProcess, "stopped", agents.WaitsInProcess.Config(restart=policy))
        world.start()
        world.running("stopped")
        world.lifecycle_manager.stop_agent("stopped")
        assert world.join(timeout=LIMIT)
        assert (world["final"].generation, world["stopped"].generation) == (1, 1)


def test_an_agent_that_waits_for_its_restart_holds_no_slot_and_can_be_stopped() -> None:
    policy = RestartPolicy(mode="on-failure", backoff=1_000, max_backoff=1_000)
    with stage(max_workers=1) as world:
        world.register_agent(agents.Dies, "a", agents.Dies.Config(restart=policy), how="raise")
        world.register_agent(Short, "b")
        world.start()
        world.over("b", TERMINATED)
        assert world["a"].state is QUEUED
        shown = world.lifecycle_manager.describe("a")
        assert re.match(r"restarts in [\d.,]+ s, after: execute: ValueError", shown["reason"])
        assert shown["seconds"] < 900  # how long it ran, not how long ago that began
        world.lifecycle_manager.stop_agent("a")
        assert world.join(timeout=LIMIT)
        assert world["a"].reason == "stopped before it was started again"
        assert world["a"].exit_code == 1  # that of its start


def test_a_listing_says_what_a_queued_agent_waits_for() -> None:
    policy = RestartPolicy(mode="on-failure", backoff=0.0)
    with stage(max_workers=1) as world:
        world.register_agent(agents.Dies, "crashed", agents.Dies.Config(restart=policy), how="raise")
        world.register_agent(agents.WaitsInThread, "holder")
        world.register_agent(Short, "next")
        world.register_agent(Short, "dependent")
        world.add_dependency("dependent", ["next"])
        world.start()
        world.running("holder")
        shown = {row["name"]: row["reason"] for row in world.lifecycle_manager.describe_all()}
        assert shown == {
            "crashed": "waits for a slot, after: execute: ValueError: no such table",
            "holder": "",
            "next": "waits for a slot",
            "dependent": "waits for next",
        }
        assert "waits for a slot, after" in world.report()


def test_a_callback_knows_whether_an_agent_that_has_ended_is_started_again() -> None:
    policy = RestartPolicy(mode="on-failure", max_restarts=1, backoff=0.01)
    with stage() as world:
        world.register_agent(agents.Dies, "a", agents.Dies.Config(restart=policy), how="raise")
        world.simple_join()
        ends = [each.data.get("restarts_in") for each in world.records("a", "AGENT_TERMINATED")]
        assert ends == [0.01, None]
