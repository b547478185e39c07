"""Managers on their own, and managers that are replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tenuto.errors import InvalidInput
from tenuto.supervisor.agents.base import BaseThreadAgent
from tenuto.supervisor.lifecycle import AgentLifecycleManager
from tenuto.supervisor.message_router import MessageRouter
from tenuto.supervisor.messages import OrchestratorEnd
from tenuto.supervisor.plugins import Plugin
from tenuto.supervisor.settings import OrchestratorConfig
from tenuto.supervisor.states import AgentState
from tenuto.supervisor.worker_pool import WorkerPoolScheduler
from tests.integration.supervisor import service_agents as agents
from tests.integration.supervisor.stage import Stage, stage


class Named(BaseThreadAgent):
    def execute(self) -> None:
        self.send_message(self.name)


def test_a_lifecycle_manager_alone() -> None:
    manager = AgentLifecycleManager(OrchestratorConfig(max_workers=2))
    entry = manager.register(agents.WaitsInProcess, "a")
    manager.start_agent("a")
    assert entry.wait(AgentState.RUNNING, timeout=60)
    assert manager.stop_all(5) == []
    assert entry.state is AgentState.TERMINATED
    assert manager.close()


class UrgentFirst(WorkerPoolScheduler):
    """Lets agents go first whose name begins with `urgent`."""

    def candidates(self, queued: Sequence[str]) -> Sequence[str]:
        return sorted(queued, key=lambda name: not name.startswith("urgent"))


class MyOrchestrator(Stage):
    def create_worker_pool(self) -> WorkerPoolScheduler:
        return UrgentFirst(self.config.max_workers)


def test_a_manager_that_is_replaced() -> None:
    world = MyOrchestrator(max_workers=1)
    for name in ("holder", "a", "b", "urgent-c"):
        world.register_agent(Named, name)
    world.simple_join()
    began = [each.agent_name for each in world.records(event="AGENT_STARTED")]
    assert began == ["holder", "urgent-c", "a", "b"]


def test_an_override_that_returns_no_manager_says_which() -> None:
    class Forgetful(Stage):
        def create_worker_pool(self) -> WorkerPoolScheduler:
            return None  # type: ignore[return-value]  # the mistake

    with pytest.raises(InvalidInput, match=r"create_worker_pool\(\) must return a manager of type WorkerPoolScheduler"):
        Forgetful()


class Full(MessageRouter):
    """A router that cannot take another channel, as when there is no descriptor left."""

    def attach(self, channel: OrchestratorEnd) -> None:
        if channel.agent == "unlucky":
            raise OSError(24, "too many open files")
        super().attach(channel)


class Crowded(Stage):
    def create_message_router(self) -> MessageRouter:
        return Full(self.event_bus)


def test_an_agent_that_cannot_be_started_is_told_and_its_slot_given_on() -> None:
    world = Crowded(max_workers=1)
    for kind in (agents.SaidInProcess, agents.SaidInThread):
        world.register_agent(kind, "unlucky" if kind is agents.SaidInProcess else "lucky")
    world.simple_join()
    assert "too many open files" in world["unlucky"].reason
    assert (world["unlucky"].state, world["lucky"].state) == (AgentState.FAILED, AgentState.TERMINATED)
    assert world.events("unlucky") == ["AGENT_REGISTERED", "AGENT_ERROR", "AGENT_TERMINATED"]


class Opened(Plugin):
    """A plugin of the orchestrator."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def initialize(self) -> None:
        self.calls.append(f"initialize {type(self.owner).__name__}")

    def finalize(self) -> None:
        self.calls.append("finalize")
        raise RuntimeError("it was closed already")


class Carrying(Stage):
    class Plugin(Stage.Plugin):
        opened = Opened()


def test_plugins_of_the_orchestrator_are_its_own() -> None:
    first, second = Carrying(), Carrying()
    first.register_agent(Named, "a")
    first.simple_join()
    plugin: Any = first.plugin
    other: Any = second.plugin
    assert plugin.opened.calls == ["initialize Carrying", "finalize"]
    assert other.opened.calls == []


def test_settings_of_a_class_and_of_an_instance() -> None:
    class Quick(Stage):
        class Config(Stage.Config):
            max_workers = 3
            greeting = "hello"

    with stage() as world:
        assert world.config.max_workers == 10
    made = Quick(agent_stop_timeout=1)
    assert (made.config.max_workers, made.config.agent_stop_timeout, made.worker_pool.max_workers) == (3, 1, 3)
    assert made.config.greeting == "hello"  # type: ignore[attr-defined]  # added by the class
