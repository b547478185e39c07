"""One callback and its lane, when the system has no thread for it."""

from __future__ import annotations

import threading

import pytest

from tenuto.supervisor.event_bus import OrchestratorEventBus
from tenuto.supervisor.events import OrchestratorEvent


def test_a_callback_without_a_thread_is_called_at_the_next_event(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given
    seen: list[str] = []
    starts = threading.Thread.start

    def seen_is(agent_name: str) -> None:
        seen.append(agent_name)

    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with OrchestratorEventBus() as bus:
        bus.register_callback(OrchestratorEvent.AGENT_READY, seen_is)
        monkeypatch.setattr(threading.Thread, "start", none_left)
        # When
        bus.emit(OrchestratorEvent.AGENT_READY, agent_name="a")
        monkeypatch.setattr(threading.Thread, "start", starts)
        bus.emit(OrchestratorEvent.AGENT_READY, agent_name="b")
        # Then
        assert bus.drain() == []
    assert seen == ["a", "b"]
