"""What travels between an agent and its orchestrator, and the channel on which it does: a new one for each start.

    agent ──► orchestrator    STARTED, READY, HEARTBEAT, ERROR, MESSAGE, TERMINATED
    orchestrator ──► agent    STOP, MESSAGE

Every message carries the agent's name and its *generation*, the number of the start that it belongs to; what comes
from an older start than the present one is to be dropped. `fields` is the payload of the event that a message turns
into (`pid` of STARTED; `error_message`, `error_type`, `traceback`, `recoverable` of ERROR); `content` is what the
program of one side sent to that of the other: any object, as are the `fields` of MESSAGE.

An agent in a process holds one end of a socket pair, an agent in a thread or on an event loop one end of a pair of
queues; see `channels`. The orchestrator's end (`OrchestratorEnd`) never waits: `receive` hands out what has come, and
its very last message is CLOSED, put there by the end itself when the agent's side is gone and everything that it had
sent has been handed out.

The message router turns STARTED, READY, HEARTBEAT, ERROR and MESSAGE into events, and tells the lifecycle manager of
every message. TERMINATED and CLOSED are no events: an agent's last word is not its end. The event AGENT_TERMINATED is
emitted by the lifecycle manager alone, once for each start, when the process or thread is gone and its channel closed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Protocol

import msgspec

__all__ = ["Message", "MessageKind", "OrchestratorEnd"]


class MessageKind(StrEnum):
    """What a message is about."""

    STARTED = "started"
    """the agent's own code begins, in the process or thread that it will live in; its modules are imported"""
    READY = "ready"
    """its `setup()` is over"""
    HEARTBEAT = "heartbeat"
    ERROR = "error"
    """something was raised; `recoverable` says whether the agent goes on"""
    MESSAGE = "message"
    """from the program of one side to that of the other"""
    TERMINATED = "terminated"
    """the agent's last word: `on_close` and its plugins are over"""
    CLOSED = "closed"
    """nothing more will come on this channel"""
    STOP = "stop"
    """please end"""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message on a channel."""

    kind: MessageKind
    agent: str
    generation: int
    at: float = msgspec.field(default_factory=time.time)
    """Unix seconds, by the sender's clock"""
    fields: dict[str, Any] = {}
    content: Any = None


class OrchestratorEnd(Protocol):
    """The orchestrator's end of a channel. Nothing here waits."""

    @property
    def agent(self) -> str:
        """The name of the agent on the other side."""

    @property
    def generation(self) -> int:
        """Which of its starts this is."""

    def fileno(self) -> int | None:
        """What to select for reading; None for an end without a descriptor, which calls its listener instead."""

    def listen(self, wake: Callable[[], None]) -> None:
        """`wake` is called, by the sender's thread, after each message that can be received. For ends without
        a descriptor; it is called at once when something waits already."""

    def receive(self) -> Sequence[Message]:
        """What has come since the last call, in order. CLOSED is the very last message."""

    def send(self, message: Message) -> bool:
        """Hands `message` to the agent; False when its side is full or gone."""

    def close(self) -> None:
        """Ends the channel from this side and frees its descriptor."""
