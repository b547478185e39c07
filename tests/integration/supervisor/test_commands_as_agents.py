"""Command lines as agents."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from tenuto.errors import InvalidInput
from tenuto.observability.agent_logs import log_file
from tenuto.supervisor.agents.command import CommandAgent
from tenuto.supervisor.states import AgentState
from tests.integration.supervisor.stage import LIMIT, dead, stage, until

TERMINATED, FAILED = AgentState.TERMINATED, AgentState.FAILED
Config = CommandAgent.Config


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def logged(name: str) -> str:
    """The agent's log, empty while there is none."""
    return log_file(name).read_text() if log_file(name).exists() else ""


@pytest.fixture(autouse=True)
def private_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENUTO_LOG_DIR", str(tmp_path / "logs"))


@pytest.mark.parametrize("executor", ["process", "thread"])
def test_a_command_runs_and_what_it_writes_is_its_log(executor: str, tmp_path: Path) -> None:
    with stage(executor=executor) as world:
        command = python("import os; print(os.environ['WHO'], os.getcwd())")
        world.register_agent(
            CommandAgent, "hello", Config(command=command, environment={"WHO": "Ada"}, folder=str(tmp_path))
        )
        world.simple_join()
        assert world["hello"].state is TERMINATED
        assert f"Ada {tmp_path}" in log_file("hello").read_text()


def test_its_exit_code_is_that_of_the_agent() -> None:
    with stage() as world:
        world.register_agent(CommandAgent, "a", {"command": "sh -c 'exit 3'"})
        world.register_agent(CommandAgent, "b", {"command": python("import os; os.kill(os.getpid(), 9)")})
        world.register_agent(CommandAgent, "c", {"command": "no-such-program --at all"})
        world.register_agent(CommandAgent, "d", {"command": "true", "folder": "/no/such"})
        world.simple_join()
        assert world["d"].reason == "setup: FileNotFoundError: there is no folder '/no/such' to run it in"
        assert (world["a"].state, world["a"].reason, world["a"].exit_code) == (FAILED, "exit code 3", 3)
        assert world["b"].reason == "execute: ChildProcessError: the command was killed by SIGKILL"
        assert world["c"].reason == "setup: FileNotFoundError: there is no program 'no-such-program'"


@pytest.mark.parametrize("executor", ["process", "thread"])
def test_it_is_asked_to_stop(executor: str, tmp_path: Path) -> None:
    program = """
import signal, sys, time
def end(*_):
    print("bye", flush=True)
    sys.exit(5)
signal.signal(signal.SIGINT, end)
print("up", flush=True)
time.sleep(1000)
"""
    with stage(executor=executor) as world:
        world.register_agent(CommandAgent, "a", Config(command=python(program), stop_signal=signal.SIGINT))
        world.start()
        until(lambda: "up" in logged("a"))
        world.lifecycle_manager.stop_agent("a")
        assert (world["a"].state, world["a"].reason) == (TERMINATED, "")
        assert "bye" in log_file("a").read_text()


def test_one_that_does_not_stop_is_killed_and_dies_with_its_agent() -> None:
    program = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(1000)"
    )
    with stage() as world:
        for name in ("stopped", "killed"):
            world.register_agent(CommandAgent, name, Config(command=python(program)))
        world.start()
        for name in ("stopped", "killed"):
            world.running(name)
            until(lambda: "up" in logged(name))  # noqa: B023 - called before the next turn
        pid = world["killed"].pid
        assert pid is not None
        (command,) = psutil.Process(pid).children()
        os.kill(pid, signal.SIGKILL)
        command.wait(LIMIT)
        assert world.lifecycle_manager.stop_agent("stopped", timeout=0.2)
        assert world["stopped"].state is TERMINATED


def test_a_command_that_is_none_is_refused() -> None:
    with stage() as world, pytest.raises(InvalidInput, match="command is missing"):
        world.register_agent(CommandAgent, "a")
    with stage() as world, pytest.raises(InvalidInput, match="command must be a program and its arguments, not ''"):
        world.register_agent(CommandAgent, "a", Config(command=""))
    with (
        stage() as world,
        pytest.raises(InvalidInput, match="command cannot be read: No closing quotation: \"sh -c 'x"),
    ):
        world.register_agent(CommandAgent, "a", Config(command="sh -c 'x"))


def test_it_may_be_asked_by_sigint() -> None:
    with stage() as world:
        # Given
        world.register_agent(CommandAgent, "a", Config(command="sleep 1000", stop_signal=signal.SIGINT))
        world.start()
        world.running("a")
        # When
        assert world.lifecycle_manager.stop_agent("a", timeout=LIMIT)
        # Then it was the signal that ended it, and not the end of its time
        assert "AGENT_TIMEOUT" not in world.events("a")


def test_a_line_without_an_end_is_logged_in_pieces() -> None:
    with stage() as world:
        world.register_agent(CommandAgent, "a", {"command": python("print('x' * 100_000, end='')")})
        world.simple_join()
        pieces = [json.loads(line)["event"] for line in log_file("a").read_text().splitlines()]
        assert len(pieces) == 7
        assert "".join(pieces) == "x" * 100_000


@pytest.mark.parametrize("executor", ["process", "thread"])
def test_what_it_has_started_ends_with_it(executor: str, tmp_path: Path) -> None:
    with stage(executor=executor) as world:
        # Given
        note = tmp_path / "pid"
        world.register_agent(CommandAgent, "a", {"command": ["sh", "-c", f"sleep 1000 & echo $! > {note}; wait"]})
        world.start()
        process = psutil.Process(int(until(lambda: note.exists() and note.read_text().strip())))
        # When
        world.lifecycle_manager.stop_agent("a")
        # Then
        until(lambda: dead(process))
