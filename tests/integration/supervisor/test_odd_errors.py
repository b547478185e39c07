"""Agents that raise what can hardly be told: without a text, with one that has no encoding, with a huge one."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest

from tenuto.supervisor.agents.base import BaseAgent, BaseProcessAgent, BaseThreadAgent
from tenuto.supervisor.command_client import CommandClient
from tenuto.supervisor.states import AgentState
from tests.integration.supervisor.service_agents import Noted
from tests.integration.supervisor.stage import stage


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Raises:
    class Plugin(BaseAgent.Plugin):
        noted = Noted()

    how: str

    def execute(self) -> Any:
        match self.how:
            case "mute":
                raise Mute
            case "odd":
                raise OSError("no file \udcff")
            case "huge":
                raise ValueError("x" * 20_000_000)

    def on_close(self) -> Any:
        self.execute()


class RaisesInProcess(Raises, BaseProcessAgent):
    pass


class RaisesInThread(Raises, BaseThreadAgent):
    pass


@pytest.mark.parametrize("kind", [RaisesInProcess, RaisesInThread])
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("mute", "execute: Mute: (its text cannot be made: RuntimeError)"),
        ("odd", "execute: OSError: no file \\udcff"),
        ("huge", f"execute: ValueError: {'x' * 4_000}…"),
    ],
)
def test_any_error_is_told_and_plugins_are_finalized(kind: type[BaseAgent], how: str, reason: str) -> None:
    with stage(enable_command_interface=True, agent_logs=None) as world:
        # When
        world.register_agent(kind, "a", how=how)
        world.start()
        # Then
        assert world.over("a", AgentState.FAILED).reason == reason
        assert [each.message for each in world.records("a", "AGENT_MESSAGE")] == ["initialize", "finalize"]
        assert len(world.records("a", "AGENT_ERROR")) == 2  # of execute, and of on_close
        assert world.command_interface is not None
        with CommandClient(world.command_interface.address) as client:
            assert client.request("ps")[0]["reason"] == reason


class Talks(BaseProcessAgent):
    def setup(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))  # as good as a full disk

    def execute(self) -> None:
        for _ in range(100):
            self.logger.info("x" * 1_000)


def test_an_agent_whose_log_is_full_goes_on_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TENUTO_LOG_DIR", str(tmp_path))
    with stage() as world:
        world.register_agent(Talks, "a")
        world.start()
        assert world.over("a").state is AgentState.TERMINATED
    assert capfd.readouterr().err.count("log is lost") == 1
