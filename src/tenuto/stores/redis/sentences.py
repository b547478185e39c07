"""Signals as the scripts take them, and what became of them in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenuto.errors import Unstorable
from tenuto.stores.base import MOST_MESSAGES, Delivered
from tenuto.stores.redis.codec import dump
from tenuto.tasks.signal import Delivery, Signal, SignalKind
from tenuto.tasks.values import decode, encode

__all__ = ["delivered", "signal_parts"]

_MOST_PRIORITY = 1_000_000_000


def signal_parts(signal: Signal) -> dict[str, Any] | Delivered:
    """A signal as `signal.lua` takes it, or why it cannot be stored."""
    what = f"the {signal.kind.value} to {signal.task_id!r}"
    try:
        written = encode((signal.topic, signal.key, signal.reason, signal.data), what)
    except Unstorable as error:
        return Delivered(Delivery.REFUSED, str(error))
    data = decode(written)[3]
    parts: dict[str, Any] = {"id": signal.task_id, "kind": signal.kind.value}
    match signal.kind:
        case SignalKind.RETRY:
            parts["fresh"] = isinstance(data, dict) and data.get("fresh") is True
        case SignalKind.RESOLVE:
            parts |= _resolution(data if isinstance(data, dict) else {})
        case SignalKind.ELEVATE:
            if isinstance(data, int) and not isinstance(data, bool) and abs(data) <= _MOST_PRIORITY:
                parts["priority"] = data
        case SignalKind.CANCEL | SignalKind.PAUSE | SignalKind.RESUME:
            if signal.reason:
                parts["reason"] = signal.reason
        case _:
            parts |= {"topic": signal.topic or signal.kind.value, "data": dump(data)}
            if signal.key is not None:
                parts["key"] = signal.key
    return parts


def _resolution(data: dict[str, Any]) -> dict[str, Any]:
    how, value = data.get("how"), data.get("value")
    parts: dict[str, Any] = {"step": str(data.get("key", ""))}
    if how == "done":
        parts |= {"how": how, "value": dump(value)}
    elif how == "fail":
        parts |= {"how": how, "value": str(value or "resolved as failed")}
    elif how == "retry":
        parts["how"] = how
    return parts


def delivered(signal: Signal, told: Sequence[str]) -> Delivered:
    """What became of `signal`, as the script says it."""
    delivery, *rest = told
    if not rest:
        return Delivered(Delivery(delivery))
    data = decode(encode(signal.data, "a signal"))
    of_data = data if isinstance(data, dict) else {}
    sentence = _SENTENCES[rest[0]].format(
        *rest[1:],
        task=signal.task_id,
        data=data,
        key=signal.key,
        step=str(of_data.get("key", "")),
        how=of_data.get("how"),
    )
    return Delivered(Delivery(delivery), sentence)


_SENTENCES = {
    "unknown": "there is no task {task!r}",
    "final": "{task!r} is {0}",
    "paused": "{task!r} is paused already",
    "not paused": "{task!r} is not paused",
    "priority": f"a priority is a whole number within ±{_MOST_PRIORITY:,}, not {{data!r}}",
    "goal": "{task!r} is a goal: messages go to its nodes",
    "key": "{task!r} has had a message under the key {key!r}",
    "full": f"the inbox of {{task!r}} is full ({MOST_MESSAGES:,} messages)",
    "how": "a step is resolved as done, retry or fail, not {how!r}",
    "running": "{task!r} is running: its worker decides",
    "step": "{task!r} has no step {step!r} whose outcome is unknown, or with which it has failed",
    "active": "{task!r} is {0}: only what has ended can be retried",
    "unique": "the unique key {0!r} of {task!r} is held by {1!r} now",
    "goal over": "the goal {task!r} is {0} and has no node that can run again",
    "goal ended": "the goal of {task!r} has ended: retry the goal {0!r}",
    "node": "{task!r} is {0}: in a running goal, only a failed node can be retried",
    "node depends": "{task!r} depends on a node that did not end as it needs: retry that one",
}
"""Why a signal was not accepted, by the words of `signal.lua` and `revival.lua`."""
