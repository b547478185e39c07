"""A small supervised world for the tests of the command interface: four agents that live in a dictionary."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tenuto.errors import Conflict, NotFound

__all__ = ["CrewOfFour"]


class CrewOfFour:
    """`cook`, `waiter`, `cleaner`, and `sloth`, who stops only when `patience` is set."""

    def __init__(self) -> None:
        self.states = dict.fromkeys(("cook", "waiter", "cleaner", "sloth"), "RUNNING")
        self.patience = threading.Event()
        self.ended = threading.Event()
        self.at_shutdown: Callable[[], object] = lambda: None
        self.endless: dict[str, Any] = {}
        self.endless["again"] = self.endless
        self.calls: list[tuple[str, str]] = []
        self._began = time.time()

    def ps(self) -> Sequence[Mapping[str, Any]]:
        return [self._row(name) for name in self.states]

    def _row(self, name: str) -> dict[str, Any]:
        if name not in self.states:
            raise NotFound(f"there is no agent {name!r}: there are {', '.join(self.states)}")
        running = self.states[name] == "RUNNING"
        return {
            "name": name,
            "state": self.states[name],
            "executor": "thread",
            "pid": os.getpid() if running else None,
            "generation": 1,
            "restarts": 0,
            "reason": "",
            "started_at": self._began,
            "ended_at": None if running else time.time(),
            "seconds": round(time.time() - self._began, 3),
        }

    def status(self, name: str | None = None) -> Mapping[str, Any]:
        if name is None:
            counts: dict[str, int] = {}
            for state in self.states.values():
                counts[state] = counts.get(state, 0) + 1
            return {
                "name": "kitchen",
                "pid": os.getpid(),
                "state": "RUNNING",
                "run_mode": "DAEMON",
                "max_workers": 10,
                "started_at": self._began,
                "seconds": time.time() - self._began,
                "agents": counts,
            }
        config = {"api_key": "sk-12345", "url": "postgresql://chef:parsley@db/menu", "max_tokens": 100, "limit": -1}
        return {**self._row(name), "config": config, "depends_on": ["cook"] if name == "waiter" else []}

    def start(self, name: str) -> None:
        if self._row(name)["state"] == "RUNNING":
            raise Conflict(f"agent {name!r} is RUNNING already")
        self.calls.append(("start", name))
        self.states[name] = "RUNNING"

    def stop(self, name: str) -> Mapping[str, Any]:
        self._row(name)
        self.calls.append(("stop", name))
        if name == "sloth":
            self.patience.wait()
        self.states[name] = "TERMINATED"
        return self._row(name)

    def restart(self, name: str) -> None:
        if name == "cleaner":
            raise RuntimeError("the broom broke at postgresql://chef:parsley@db/menu")
        self.stop(name)
        self.start(name)

    def stats(self) -> Mapping[str, Any]:
        return {"agents": self.status()["agents"], "running": 4, "queued": 0, "max_workers": 10, "restarts": 0}

    def dependencies(self) -> Mapping[str, Any]:
        return {"depends_on": {"waiter": ["cook"]}, "order": list(self.states)}

    def shutdown(self) -> None:
        self.at_shutdown()
        self.ended.set()
