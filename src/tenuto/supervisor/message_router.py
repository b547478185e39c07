"""The message router: what agents send becomes events of the bus, at once and in the order in which each has sent it.

One thread reads every channel. It sleeps until one of them has something: descriptors are selected, channels without
one ring a bell; so an idle router costs nothing, and a message waits for nothing. An agent that floods its channel is
read in turn with the others.

A channel belongs to one start of one agent. As soon as the next start's is attached, whatever still comes on the old
one is dropped; so is what claims to be from another agent or another start.

    STARTED  AGENT_STARTED         ERROR    AGENT_ERROR
    READY    AGENT_READY           MESSAGE  AGENT_MESSAGE
    HEARTBEAT AGENT_HEARTBEAT      TERMINATED, CLOSED: no event, the lifecycle manager is told
"""

from __future__ import annotations

import selectors
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tenuto.observability.logging import logger
from tenuto.supervisor.doorbell import Doorbell
from tenuto.supervisor.event_bus import OrchestratorEventBus
from tenuto.supervisor.events import OrchestratorEvent, Severity
from tenuto.supervisor.messages import Message, MessageKind, OrchestratorEnd

__all__ = ["MessageRouter"]

log = logger("tenuto.supervisor")

_EVENTS: Mapping[MessageKind, OrchestratorEvent] = {
    MessageKind.STARTED: OrchestratorEvent.AGENT_STARTED,
    MessageKind.READY: OrchestratorEvent.AGENT_READY,
    MessageKind.HEARTBEAT: OrchestratorEvent.AGENT_HEARTBEAT,
    MessageKind.ERROR: OrchestratorEvent.AGENT_ERROR,
    MessageKind.MESSAGE: OrchestratorEvent.AGENT_MESSAGE,
}
_SEVERITIES = tuple(Severity)
_NONE = (None, None)
_ENDING = 3.0


class MessageRouter:
    """Reads channels from the first `attach` to `stop`. Every method may be called from any thread."""

    def __init__(self, event_bus: OrchestratorEventBus, on_message: Callable[[Message], object] | None = None) -> None:
        """on_message: is told of every message that counts, after its event; called by the router's thread, so that it
        must not wait."""
        self._bus = event_bus
        self.on_message = on_message
        self._channels: dict[str, tuple[OrchestratorEnd, int | None]] = {}
        """by the agent's name: the channel of its newest start, and the descriptor that is selected"""
        self._ready: deque[OrchestratorEnd] = deque()
        self._rung = False
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self.dropped = 0
        """messages of older starts, or in somebody else's name"""

    def attach(self, channel: OrchestratorEnd) -> None:
        """Reads `channel` from now on, in place of the channel of an older start. A newer start's stays."""
        with self._guard:
            known, _ = self._channels.get(channel.agent, _NONE)
            if known is not None and known.generation > channel.generation:
                return
            if known is not None:
                self._forget(known.agent)
            if self._thread is None:
                self._begin()
            descriptor = channel.fileno()
            self._channels[channel.agent] = channel, descriptor  # first: what is selected is read at once
            if descriptor is not None:
                if descriptor in self._selector.get_map():  # somebody closed a channel without a word
                    self._selector.unregister(descriptor)
                self._selector.register(descriptor, selectors.EVENT_READ, channel)
        channel.listen(partial(self._wake, channel))

    def detach(self, name: str, generation: int) -> None:
        """Reads that start's channel no more; the caller closes it. Nothing happens where another start has followed.

        A channel that has ended (CLOSED) is detached before anybody is told so.
        """
        with self._guard:
            channel, _ = self._channels.get(name, _NONE)
            if channel is not None and channel.generation == generation:
                self._forget(name)

    def stop(self) -> None:
        """Detaches everything and ends the thread. A later `attach` starts it again."""
        with self._guard:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            self._channels.clear()
            self._stopping.set()
            self._bell.ring()
        if thread is not threading.current_thread():
            thread.join(_ENDING)

    def _begin(self) -> None:
        self._bell, self._selector, self._stopping = Doorbell(), selectors.DefaultSelector(), threading.Event()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._rung = False
        session = self._selector, self._bell, self._stopping
        self._thread = threading.Thread(target=self._serve, args=session, name="tenuto messages", daemon=True)
        self._thread.start()

    def _forget(self, name: str) -> None:
        channel, descriptor = self._channels.pop(name)
        if descriptor is not None:
            selected = self._selector.get_map().get(descriptor)
            if selected is not None and selected.data is channel:  # else its number is another channel's by now
                self._selector.unregister(descriptor)

    def _wake(self, channel: OrchestratorEnd) -> None:
        self._ready.append(channel)
        if not self._rung:  # else the thread has not looked yet, and will see this one too
            self._rung = True
            self._bell.ring()

    # -- the router's thread

    def _serve(self, selector: selectors.BaseSelector, bell: Doorbell, stopping: threading.Event) -> None:
        try:
            while True:
                found = [key.data for key, _ in selector.select() if key.data is not None]
                if stopping.is_set():
                    return
                bell.answer()
                self._rung = False
                found += [self._ready.popleft() for _ in range(len(self._ready))]
                for channel in found:
                    self._read(channel)
        finally:
            selector.close()
            bell.close()

    def _read(self, channel: OrchestratorEnd) -> None:
        try:
            messages = channel.receive()
        except Exception as error:  # noqa: BLE001 - one broken channel must not end the others
            log.warning("a channel cannot be read and is given up", agent=channel.agent, error=repr(error))
            messages = [_closed(channel)]
        for message in messages:
            if self._channels.get(channel.agent, _NONE)[0] is not channel:
                self.dropped += 1
            elif message.kind is MessageKind.CLOSED:
                self.detach(channel.agent, channel.generation)
                self._tell(message)
            elif (message.agent, message.generation) != (channel.agent, channel.generation):
                self.dropped += 1
            else:
                event = _EVENTS.get(message.kind)
                if event is not None:
                    self._bus.emit(event, **_payload(message))
                self._tell(message)

    def _tell(self, message: Message) -> None:
        if self.on_message is None:
            return
        try:
            self.on_message(message)
        except Exception:
            log.exception("a message could not be dealt with", agent=message.agent, kind=message.kind)


def _payload(message: Message) -> dict[str, Any]:
    told = {name: value for name, value in message.fields.items() if name != "severity"}
    if message.kind is MessageKind.MESSAGE:
        told["message"] = message.content
        if message.fields.get("severity") in _SEVERITIES:
            told["severity"] = message.fields["severity"]
    return told | {"agent_name": message.agent, "generation": message.generation}


def _closed(channel: OrchestratorEnd) -> Message:
    return Message(kind=MessageKind.CLOSED, agent=channel.agent, generation=channel.generation)
