"""What has been said to a running task, as far as its worker knows."""

from __future__ import annotations

from collections.abc import Iterable

from tenuto.tasks.signal import Message, SignalKind

__all__ = ["Inbox"]


class Inbox:
    """The messages of one attempt. Each is consumed at most once."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self.read = 0
        """how far it was read: the number of the last message known here"""
        self._messages: dict[int, Message] = {}
        self._consumed: set[int] = set()
        self.receive(messages)

    def receive(self, messages: Iterable[Message]) -> None:
        """Takes in what the store has now."""
        self._messages = {message.number: message for message in messages}
        self.read = max((self.read, *self._messages))

    def consume(self, numbers: Iterable[int]) -> None:
        """Those messages are used up by what is being recorded."""
        self._consumed.update(numbers)

    def about(self, topic: str) -> Message | None:
        """The oldest message about `topic` that was not consumed."""
        found = (each for each in self._left() if each.topic == topic)
        return min(found, key=lambda message: message.number, default=None)

    def steering(self) -> tuple[Message, ...]:
        """The steering messages that were not consumed, in order."""
        found = (each for each in self._left() if each.kind is SignalKind.STEER)
        return tuple(sorted(found, key=lambda message: message.number))

    def _left(self) -> Iterable[Message]:
        return (each for each in self._messages.values() if each.number not in self._consumed)
