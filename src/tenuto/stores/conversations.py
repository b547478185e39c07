"""Reading the recorded turns of a task from its journal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from tenuto.stores import large
from tenuto.stores.base import Store
from tenuto.tasks.outcome import Step, StepState
from tenuto.tasks.segments import and_then, belongs_to, next_segment
from tenuto.tasks.task import Task
from tenuto.tasks.turns import Turn, model_key

__all__ = ["Entries", "entry_at", "turns_of"]


class Entries:
    """A task's journal as somebody reads it: its entries by their keys, and their values."""

    def __init__(self, store: Store, task: Task, steps: Sequence[Step]) -> None:
        self._task = task
        self._steps = {step.key: step for step in steps}
        self._parts = large.parts_of(store, task.root)
        self._parts.expect(steps)

    def get(self, key: str) -> Step | None:
        """The entry under `key`."""
        return self._steps.get(key)

    def done(self, key: str) -> Step | None:
        """The same, where it has come to its end well."""
        step = self._steps.get(key)
        return step if step is not None and step.state is StepState.DONE else None

    async def value(self, step: Step) -> Any:
        """What `step` recorded. Raises `Unstorable` where a part of it is not in the store any more."""
        return await large.value_of(self._parts, self._task, bytes(step.value or b"null"))


async def entry_at(key: str, find: Callable[[str], Awaitable[Mapping[str, Any] | None]]) -> tuple[Any, str] | None:
    """What is on record of the request `key` to the model, together with the requests that have gone on with its
    response, or were made in its place, and the key of the last of them. find: what is recorded under a key, None where
    nothing is."""
    entry = await find(key)
    if entry is None:
        return None
    while (following := await find(next_segment(key))) is not None and belongs_to(entry, following):
        entry, key = and_then(entry, following), next_segment(key)
    return entry, key


async def turns_of(entries: Entries) -> list[Turn]:
    """The turns that have a response, in order."""
    last: dict[str, Step] = {}

    async def find(key: str) -> Mapping[str, Any] | None:
        step = entries.done(key)
        if step is None:
            return None
        last[key] = step
        value: Mapping[str, Any] = await entries.value(step)
        return value

    found: list[Turn] = []
    while (recorded := await entry_at(model_key(len(found) + 1), find)) is not None:
        entry, key = recorded
        if entry["response"] is None:
            break
        found.append(msgspec.convert(entry | {"number": len(found) + 1, "at": last[key].at}, Turn))
    return found
