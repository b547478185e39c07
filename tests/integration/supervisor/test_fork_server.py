"""The fork server, killed and frozen at any moment, and asked for much at once."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from tenuto.supervisor import processes
from tenuto.supervisor.agents.base import BaseProcessAgent
from tenuto.supervisor.states import AgentState
from tests.freezing import freeze
from tests.integration.supervisor import service_agents as agents
from tests.integration.supervisor.stage import LIMIT, Stage, children, stage, until

FAILED, TERMINATED = AgentState.FAILED, AgentState.TERMINATED


class LeavesWithALargeCode(BaseProcessAgent):
    def execute(self) -> None:
        raise SystemExit(1 << 40)


def frozen_server(world: Stage, others: set[psutil.Process]) -> psutil.Process:
    world.lifecycle_manager.warm_up()
    (server,) = until(lambda: children() - others)
    until(lambda: "fork_server" in str(server.cmdline()), "its program")
    freeze(server.pid)
    return server


def test_a_killed_fork_server_takes_its_agents_along_and_another_follows() -> None:
    others = children()
    with stage() as world:
        world.register_agent(agents.WaitsInProcess, "a")
        world.start()
        world.running("a")
        (server,) = children() - others
        server.kill()
        world.over("a", FAILED)
        assert world["a"].reason == "the fork server has died"
        world.lifecycle_manager.start_agent("a")
        world.running("a")


def test_a_frozen_fork_server_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    others = children()
    with stage() as world:
        world.register_agent(agents.WaitsInProcess, "a")
        world.register_agent(agents.WaitsInProcess, "b")
        world.start()
        world.running("b")
        world.lifecycle_manager.stop_agent("b")
        world.running("a")
        (server,) = children() - others
        freeze(server.pid)
        with monkeypatch.context() as impatient:
            impatient.setattr(processes, "_ANSWERS", 0.5)
            world.lifecycle_manager.start_agent("b")
            world.over("b", FAILED)
        assert world["b"].reason == "the fork server did not answer within 0.5 s"
        world.over("a", FAILED)
        world.lifecycle_manager.start_agent("b")
        world.running("b")


def test_a_frozen_fork_server_hides_no_death_and_keeps_no_agent_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given
    others = children()
    with stage(agent_stop_timeout=0.1) as world:
        world.register_agent(agents.WaitsInProcess, "dies")
        world.register_agent(agents.Deaf, "deaf")
        world.start()
        pid = world.running("dies").pid
        world.running("deaf")
        (server,) = children() - others
        # When
        freeze(server.pid)
        with monkeypatch.context() as impatient:
            impatient.setattr(processes, "_ANSWERS", 0.5)
            psutil.Process(pid).kill()
            # Then
            world.over("dies", FAILED)
            world.over("deaf", FAILED)
        # When
        world.lifecycle_manager.start_agent("deaf")
        world.running("deaf")
        (server,) = children() - others
        freeze(server.pid)
        # Then
        assert world.lifecycle_manager.stop_agent("deaf")
        assert world["deaf"].state is TERMINATED


def test_a_fork_server_that_never_answers_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    others = children()
    with stage() as world:
        # Given
        server = world.lifecycle_manager._lives.processes
        monkeypatch.setattr(server, "_start_timeout", 2.0)
        frozen_server(world, others)
        world.register_agent(agents.WaitsInProcess, "a")
        # When
        world.start()
        # Then
        world.over("a", FAILED)
        assert world["a"].reason == "the fork server did not answer within 2 s"
        # When
        monkeypatch.setattr(server, "_start_timeout", LIMIT)
        world.lifecycle_manager.start_agent("a")
        # Then
        assert world.running("a").pid is not None


def test_an_agent_can_be_stopped_while_it_is_being_started() -> None:
    others = children()
    with stage(agent_start_timeout=60) as world:
        # Given
        server = frozen_server(world, others)
        world.register_agent(agents.WaitsInProcess, "a")
        world.start()
        assert world["a"].wait(AgentState.STARTING, timeout=LIMIT)
        # When
        assert world.lifecycle_manager.stop_agent("a", timeout=0.1)
        # Then
        assert (world["a"].state, world["a"].reason) == (TERMINATED, "stopped while it was being started")
        assert world.events("a")[-1] == "AGENT_TERMINATED"
        # When
        server.resume()
        world.lifecycle_manager.start_agent("a")
        # Then
        world.running("a")
        until(lambda: len(server.children()) == 1, "the end of the first one")


def test_hundreds_of_agents_can_be_started_at_once() -> None:
    class Ends(BaseProcessAgent):
        """Travels by value, so that its process need not import this module."""

    others = children()
    with stage(max_workers=1_000, agent_logs=None) as world:
        # Given: requests pile up, more than a socket takes
        server = frozen_server(world, others)
        names = [f"a{number}" for number in range(320)]
        for name in names:
            world.register_agent(Ends, name)
        # When
        world.start()
        server.resume()
        # Then
        assert world.join(120)
        assert {world[name].state for name in names} == {TERMINATED}


def test_an_exit_code_that_is_no_exit_code_is_cut_as_the_system_does() -> None:
    with stage() as world:
        world.register_agent(LeavesWithALargeCode, "a")
        world.start()
        assert world.over("a").exit_code in (0, None)


class Daemonizes(BaseProcessAgent):
    """Starts a process that leaves its group and loses its parent."""

    def execute(self) -> None:
        program = (
            "import os, time; os.setsid(); os.fork() and os._exit(0); print(os.getpid(), flush=True); time.sleep(1e4)"
        )
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            self.send_message(int(process.stdout.readline()))


def test_a_daemon_that_an_agent_has_started_ends_with_the_orchestrator() -> None:
    with stage(agent_logs=None) as world:
        world.register_agent(Daemonizes, "a")
        world.start()
        (message,) = until(lambda: world.records("a", "AGENT_MESSAGE"))
        daemon = psutil.Process(message.message)
    assert daemon.wait(LIMIT) in (None, -9)
