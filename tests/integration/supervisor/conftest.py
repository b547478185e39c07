"""A supervised world with its command interface on a private socket, and clients of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tenuto.supervisor.command_client import CommandClient
from tenuto.supervisor.command_interface import CommandInterface
from tenuto.supervisor.event_bus import OrchestratorEventBus
from tests.integration.supervisor.crew_of_four import CrewOfFour
from tests.integration.supervisor.stage import LIMIT


class Kitchen:
    """The four agents, the bus and what listens."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.crew = CrewOfFour()
        self.bus = stack.enter_context(OrchestratorEventBus())
        self.interface: CommandInterface

    def listen(self, address: str | None = None, **settings: Any) -> CommandInterface:
        self.interface = self._stack.enter_context(CommandInterface(self.crew, self.bus, address, **settings))
        return self.interface

    def client(self, **settings: Any) -> CommandClient:
        return self._stack.enter_context(CommandClient(self.interface.address, timeout=LIMIT, **settings))

    def audited(self) -> list[tuple[str, int]]:
        """The commands in the history, each with its code."""
        return [(each.command, each.code) for each in self.bus.event_store.query(category="command", limit=1_000)]


@pytest.fixture(autouse=True)
def private_run_directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("r")
    monkeypatch.setenv("TENUTO_RUN_DIR", str(folder))
    for name in ("TENUTO_COMMAND_TOKEN", "TENUTO_COMMAND_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def kitchen() -> Iterator[Kitchen]:
    with ExitStack() as stack:
        made = Kitchen(stack)
        try:
            yield made
        finally:
            made.crew.patience.set()


@pytest.fixture
def ask(kitchen: Kitchen) -> Callable[..., Any]:
    kitchen.listen()
    return kitchen.client().request
