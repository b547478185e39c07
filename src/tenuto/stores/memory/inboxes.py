"""The inboxes of the reference model, in dictionaries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from tenuto.tasks.signal import Message, SignalKind

__all__ = ["MemoryInboxes"]


class MemoryInboxes:
    """The messages of tasks that were not consumed."""

    def __init__(self) -> None:
        self.mail: dict[str, dict[int, Message]] = defaultdict(dict)
        self.mail_keys: set[tuple[str, str]] = set()
        self.mail_count: dict[str, int] = defaultdict(int)

    def inbox(self, task_id: str) -> list[Message]:
        return list(self.mail[task_id].values()) if task_id in self.mail else []

    def inbox_size(self, task_id: str) -> int:
        return len(self.inbox(task_id))

    def steered(self, task_id: str, after: int) -> bool:
        return any(each.number > after and each.kind is SignalKind.STEER for each in self.inbox(task_id))

    def has_message_key(self, task_id: str, key: str) -> bool:
        return (task_id, key) in self.mail_keys

    def next_message(self, task_id: str) -> int:
        return self.mail_count[task_id] + 1

    def add_message(self, task_id: str, message: Message, key: str | None) -> None:
        self.mail[task_id][message.number] = message
        self.mail_count[task_id] = message.number
        if key is not None:
            self.mail_keys.add((task_id, key))

    def consume(self, task_id: str, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.mail[task_id].pop(number, None)

    def forget_inboxes(self, gone: Collection[str]) -> None:
        """Those of tasks that are removed."""
        for task_id in gone:
            self.mail.pop(task_id, None)
            self.mail_count.pop(task_id, None)
        self.mail_keys = {(task_id, key) for task_id, key in self.mail_keys if task_id not in gone}
