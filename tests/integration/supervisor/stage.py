"""A supervisor for a test, which leaves nothing behind: no process, no thread, no descriptor."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tenuto.supervisor.entry import AgentEntry
from tenuto.supervisor.states import AgentState
from tenuto.supervisor.supervisor import Supervisor

__all__ = ["LIMIT", "Stage", "children", "dead", "descriptors", "stage", "until"]

LIMIT = 60.0
"""Seconds after which a test has waited long enough."""


def until(condition: Callable[[], Any], what: str = "it", limit: float = LIMIT) -> Any:
    """Waits for `condition` and returns what it says."""
    end = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {limit} s"
        time.sleep(0.005)
    return found


def descriptors() -> set[str]:
    """The open descriptors of this process that are worth something."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # that of the listing
            found.add(f"{each.name} {each.readlink()}")
    return found


class Stage(Supervisor):
    """A supervisor with what tests ask of it."""

    def __getitem__(self, name: str) -> AgentEntry:
        return self.lifecycle_manager.entry(name)

    def events(self, agent: str | None = None, event: str | None = None) -> list[str]:
        """The names of what has happened, in order."""
        return [each.event_name for each in self.records(agent, event)]

    def records(self, agent: str | None = None, event: str | None = None) -> list[Any]:
        return list(self.event_bus.event_store.query(event, agent, limit=100_000))

    def running(self, name: str) -> AgentEntry:
        assert self[name].wait(AgentState.RUNNING, timeout=LIMIT), self[name]
        return self[name]

    def over(self, name: str, state: AgentState | None = None) -> AgentEntry:
        """Waits for its end."""
        assert self[name].wait(AgentState.TERMINATED, AgentState.FAILED, timeout=LIMIT), self[name]
        assert state in (None, self[name].state), self[name]
        return self[name]


def children() -> set[psutil.Process]:
    """The processes below this one; other tests keep servers among them."""
    return set(psutil.Process().children())


def dead(process: psutil.Process) -> bool:
    """Whether it has ended; perhaps nobody has asked how."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@contextmanager
def stage(*, survivors: tuple[str, ...] = (), **settings: Any) -> Iterator[Stage]:
    """A supervisor that is shut down at the end, with what it leaves behind: nothing but `survivors`."""
    processes, threads, open_before = children(), set(threading.enumerate()), descriptors()
    made = Stage(
        **{"history_max_events": 100_000, "history_payload_bytes": 4_000, "agent_stop_timeout": 20, **settings}
    )
    try:
        yield made
    finally:
        left = made.shutdown()
    made.event_bus.close()
    assert tuple(left) == survivors
    assert children() <= processes
    if not survivors:
        until(lambda: set(threading.enumerate()) <= threads, f"the end of {set(threading.enumerate()) - threads}")
        assert descriptors() - open_before == set()
