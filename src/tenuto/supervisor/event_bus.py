"""The event bus: whoever does something says so once; it is recorded, and everybody who asked for it is called.

    bus = OrchestratorEventBus()
    bus.register_callback(OrchestratorEvent.AGENT_ERROR, lambda agent_name, error_message: print(agent_name))
    bus.emit(OrchestratorEvent.AGENT_ERROR, agent_name="db", error_message="no route to host")
    bus.event_store.query("AGENT_ERROR", limit=50)

`emit` costs microseconds and never waits: callbacks run in threads of their own (`callbacks`). The order of the history
is the order in which each callback is called. Events of tasks go to callbacks only; what is kept of them lies in the
task store (`tenuto task events`), with a cursor of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Self

from tenuto.errors import InvalidInput
from tenuto.supervisor.callbacks import CallbackStats, Happened, Lane
from tenuto.supervisor.event_policies import EventPolicy, RingBufferStore
from tenuto.supervisor.event_store import EventStore
from tenuto.supervisor.events import OrchestratorEvent, Severity, category_of, event_name_of
from tenuto.supervisor.payloads import kept

__all__ = ["OrchestratorEventBus", "default_history"]

_WAITING = 10_000
_ENDING = 1.0
"""Seconds that the threads of callbacks which have returned may take to end."""


class OrchestratorEventBus:
    """Records events and calls callbacks. Safe from any thread, also from within callbacks."""

    def __init__(self, event_store: EventStore | None = None, *, max_waiting: int = _WAITING) -> None:
        """event_store: the history; by default 1,000 events, and as many commands beside them.

        max_waiting: how many events may wait for one callback; what comes while so many do is left out.
        """
        if max_waiting < 1:
            raise InvalidInput(f"max_waiting must be at least 1, not {max_waiting!r}")
        self._store = default_history() if event_store is None else _a_store(event_store)
        self._max_waiting = max_waiting
        self._lanes: dict[str, tuple[Lane, ...]] = {}
        self._given = 0
        """events that were handed to callbacks"""
        self._lock = threading.Lock()
        self._listens: list[Callable[[str], None]] = []

    @property
    def event_store(self) -> EventStore:
        """The history. Another one may be put in its place at any time; it goes on with the same numbers."""
        return self._store

    @event_store.setter
    def event_store(self, store: EventStore) -> None:
        _a_store(store)
        with self._lock:
            store.continue_from(self._store.last_seq)
            self._store = store

    def register_callback(self, event: OrchestratorEvent | Enum | str, callback: Callable[..., object]) -> None:
        """Calls `callback` at each such event from now on; once per event, however often it is registered.

        Raises `InvalidInput` for an unknown event, and for a callback that cannot be called by keyword.
        """
        name = event_name_of(event)
        lane = Lane(name, callback, self._max_waiting)
        with self._lock:
            lanes = self._lanes.get(name, ())
            if all(each.callback != callback for each in lanes):
                self._lanes[name] = (*lanes, lane)
        for listener in self._listens:
            listener(name)

    def unregister_callback(self, event: OrchestratorEvent | Enum | str, callback: Callable[..., object]) -> None:
        """Calls `callback` no more for such events, those that wait for it included. Nothing happens if it was not."""
        name = event_name_of(event)
        with self._lock:
            lanes = self._lanes.get(name, ())
            self._lanes[name] = tuple(each for each in lanes if each.callback != callback)
        for lane in lanes:
            if lane.callback == callback:
                lane.close()

    def emit(
        self, event: OrchestratorEvent | Enum | str, /, *, severity: Severity | str | None = None, **payload: Any
    ) -> None:
        """Says that `event` has happened. Raises `InvalidInput` for an unknown event, nothing for its payload.

        severity: how grave it is, where it differs from what the event is by itself.
        """
        name = event_name_of(event)
        agent = payload.get("agent_name")
        content = None
        if category_of(name) != "task":
            told = payload
            if "agent_name" in payload:
                told = payload.copy()
                del told["agent_name"]
            content = kept(told, self._store.payload_max_bytes)  # before the lock: a large one takes its time
        with self._lock:
            if content is not None:
                self._store.append(name, None if agent is None else str(agent), content, severity=severity)
            lanes = self._lanes.get(name)
            if lanes:
                self._given += 1
                happened = Happened(name, time.time(), payload)
                for lane in lanes:
                    lane.put(happened)

    def listens_to(self, event: OrchestratorEvent | Enum | str) -> bool:
        """Whether a callback is registered for `event`."""
        return bool(self._lanes.get(event_name_of(event)))

    def on_listening(self, listener: Callable[[str], None]) -> None:
        """Calls `listener` with the event's name at each registration: for those that fetch events only if wanted."""
        self._listens.append(listener)

    def drain(self, timeout: float = 10.0) -> list[str]:
        """Waits until every callback has dealt with what was emitted, also by other callbacks meanwhile.

        Returns the names of those that had not after `timeout` seconds. In a callback it does not wait for that one.
        """
        end = time.monotonic() + timeout
        while True:
            given = self._given
            marks = [(lane, lane.mark()) for lane in self._all_lanes()]
            late = [
                lane.name
                for lane, mark in marks
                if mark is not None and not mark.wait(max(0.0, end - time.monotonic()))
            ]
            if late or given == self._given:
                return late

    def rest(self, timeout: float = 10.0) -> list[str]:
        """Drains, and ends the threads of callbacks until the next event. Returns the names of those that are late."""
        late = self.drain(timeout)
        lanes = [lane for lane in self._all_lanes() if lane.name not in late]
        for lane in lanes:
            lane.rest()
        _join(lanes)
        return late

    def close(self, timeout: float = 10.0) -> list[str]:
        """The same, and callbacks are called no more; the history can still be asked."""
        late = self.rest(timeout)
        with self._lock:
            lanes = self._all_lanes()
            self._lanes = {}
        for lane in lanes:
            lane.close()
        _join([lane for lane in lanes if lane.name not in late])
        return late

    def in_callback(self) -> bool:
        """Whether the caller is one of the callbacks."""
        return any(lane.is_here() for lane in self._all_lanes())

    def callbacks(self) -> list[CallbackStats]:
        """How each callback fares."""
        return [lane.stats() for lane in self._all_lanes()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _all_lanes(self) -> list[Lane]:
        return [lane for lanes in list(self._lanes.values()) for lane in lanes]


def _join(lanes: Sequence[Lane]) -> None:
    end = time.monotonic() + _ENDING
    for lane in lanes:
        lane.join(max(0.0, end - time.monotonic()))


def default_history(
    capacity: int = 1000, payload_max_bytes: int = 256, policies: Mapping[str | Enum, EventPolicy] | None = None
) -> EventStore:
    """A history in which commands have a ring of their own: who asks often must not push out what agents did."""
    own: dict[str | Enum, EventPolicy] = {OrchestratorEvent.COMMAND_EXECUTED: RingBufferStore(capacity)}
    return EventStore(capacity, payload_max_bytes, own | dict(policies or {}))


def _a_store(store: EventStore) -> EventStore:
    if not isinstance(store, EventStore):
        raise InvalidInput(f"event_store must be an EventStore, not {type(store).__name__}")
    return store
