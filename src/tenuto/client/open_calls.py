"""Calls that wait for people, as those who answer them see them. What the journal notes about each: `tasks.calls`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import msgspec

from tenuto.stores.base import Store
from tenuto.tasks.calls import Issued, OpenCall, answer_key, is_issued_key
from tenuto.tasks.clock import iso
from tenuto.tasks.outcome import Step
from tenuto.tasks.task import Task
from tenuto.tasks.values import decode
from tenuto.tasks.waits import answer_topic

__all__ = ["how_to_answer", "issued", "open_calls_of", "waits_for_answers"]

_SHOWN = 300
"""Characters of the arguments in a sentence."""


def issued(steps: Sequence[Step]) -> list[Issued]:
    """All calls that a journal says were issued, oldest first."""
    found = [step for step in steps if is_issued_key(step.key) and step.value is not None]
    return [msgspec.convert(decode(bytes(step.value or b"null")), Issued) for step in found]


def waits_for_answers(task: Task) -> bool:
    """Whether a task, as far as its state says, waits for somebody's answer."""
    return task.wait is not None and any(topic.startswith(answer_topic("")) for topic in task.wait.on)


async def open_calls_of(store: Store, task: Task) -> list[OpenCall]:
    """The calls of a task that nobody has answered yet, oldest first."""
    steps = await store.journal(task.id)
    calls = issued(steps)
    if not calls:
        return []
    answered = {message.topic for message in await store.inbox(task.id)}
    keys = {step.key for step in steps}
    return [
        OpenCall(**msgspec.structs.asdict(call), task_id=task.id, agent=task.agent, owner_id=task.owner)
        for call in calls
        if answer_key(call.id) not in keys and answer_topic(call.id) not in answered
    ]


def how_to_answer(call: OpenCall) -> str:
    """A sentence: what is asked for, until when, and the commands that answer it."""
    arguments = msgspec.json.encode(call.arguments).decode()
    shown = arguments if len(arguments) <= _SHOWN else f"{arguments[:_SHOWN]}…"
    until = "" if call.until is None else f", until {iso(call.until)}"
    names = f"{shlex.quote(call.task_id)} {shlex.quote(call.id)}"
    if call.kind == "approval":
        return (
            f"{call.tool} with {shown} waits for an approval{until}: tenuto task approve {names}, "
            f"or tenuto task reject {names}."
        )
    return f"{call.tool} with {shown} waits for an answer{until}: tenuto task answer {names} --value JSON."
