"""What a waiting task waits for.

A wait names *topics*: a named event, the answer to a deferred call, the end of another task or goal (a child
is one), room in a budget, room in a rate. The first two have come when a message with that topic lies in the inbox, the
third when that task is final, or unknown; room in a budget has come when the task was called (`tasks.money`). Room in a
rate comes with time. Time is the one exception: `until` ends any wait. A wait is checked under the same lock that
stores it, so whatever has already happened ends it at once.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from tenuto.tasks.clock import Millis

__all__ = ["Wait", "answer_topic", "budget_topic", "event_topic", "in_words", "rate_topic", "task_topic"]


class Wait(msgspec.Struct, frozen=True, omit_defaults=True):
    """A condition on a task's inbox and the clock."""

    on: tuple[str, ...] = ()
    """topics"""
    need: int = 1
    """how many of `on` must have come (all: `len(on)`, any: 1, the first k: k)"""
    until: Millis | None = None
    """the instant at which the wait ends whatever has arrived"""
    people: bool = False
    """waits for a person or an outside system: the task's total time limit stands still"""

    def outstanding(self, come: Collection[str]) -> tuple[list[str], int]:
        """The topics that are not among those that have come, in order, and how many of them are still needed."""
        topics = dict.fromkeys(self.on)
        missing = [topic for topic in topics if topic not in come]
        return missing, max(min(self.need, len(topics)) - (len(topics) - len(missing)), 0)


def event_topic(name: str) -> str:
    """A named event, sent by anyone."""
    return f"event:{name}"


def answer_topic(call_id: str) -> str:
    """The answer to deferred work or to a request for approval."""
    return f"answer:{call_id}"


def task_topic(task_id: str) -> str:
    """The end of a task or goal, in any way."""
    return f"task:{task_id}"


def budget_topic(scope: str) -> str:
    """Room in a budget, which calls under way hold."""
    return f"budget:{scope}"


def rate_topic(key: str) -> str:
    """Room in a rate."""
    return f"rate:{key}"


_WORDS = {
    "event": "the event {}",
    "answer": "the answer to {}",
    "task": "the task {}",
    "budget": "calls under way that hold the rest of the budget {}",
    "rate": "room in the rate {}",
}


def in_words(topic: str) -> str:
    """A topic as a sentence names it."""
    kind, _, name = topic.partition(":")
    return _WORDS.get(kind, f"{kind} {{}}").format(repr(name))
