"""The plugin that tells the orchestrator, every so often, that its agent is alive.

    class Shop(PeriodicProcessAgent):
        class Plugin(PeriodicProcessAgent.Plugin):
            heartbeat = HeartbeatPlugin(interval=2)

It beats from a thread of its own, so an agent that is busy beats as well; one whose process is frozen or whose
interpreter is held by a call does not. With `heartbeat_timeout` in the agent's settings its silence has consequences.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from tenuto.errors import InvalidInput
from tenuto.supervisor.messages import MessageKind
from tenuto.supervisor.plugins import Plugin

__all__ = ["HeartbeatPlugin"]


class HeartbeatPlugin(Plugin):
    """Sends AGENT_HEARTBEAT every `interval` seconds, with the number of the beat."""

    def __init__(self, interval: float = 5.0) -> None:
        """Raises `InvalidInput` for an interval that is no positive number of seconds."""
        given: Any = interval
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= 86_400:
            raise InvalidInput(f"interval must be a number of seconds, at most a day, not {interval!r}")
        self.interval = float(interval)
        self._over: threading.Event | None = None
        self._began = 0.0
        self._beats = 0

    def initialize(self) -> None:
        """Begins to beat."""
        self._over = threading.Event()
        self._began = time.monotonic()
        threading.Thread(
            target=self._beat, args=(self._over,), name=f"{self.owner.name}: heartbeat", daemon=True
        ).start()

    def finalize(self) -> None:
        """Ends it."""
        if self._over is not None:
            self._over.set()

    def get_status(self) -> dict[str, Any]:
        """How often it has beaten, and for how long: `beats`, `seconds`, `interval`."""
        return {
            "beats": self._beats,
            "seconds": round(time.monotonic() - self._began, 3) if self._over is not None else 0.0,
            "interval": self.interval,
        }

    def _beat(self, over: threading.Event) -> None:
        while True:
            self._beats += 1
            self.owner.tell(MessageKind.HEARTBEAT, number=self._beats)
            if over.wait(self.interval):
                return
