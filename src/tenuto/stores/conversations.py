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

__all__ = ["by_key", "entry_at", "turns_of"]


def by_key(steps: Sequence[Step]) -> Mapping[str, Step]:
    """A journal's entries by their keys."""
    return {step.key: step for step in steps}


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


async def turns_of(store: Store, task: Task, steps: Mapping[str, Step]) -> list[Turn]:
    """The turns that have a response, in order. steps: the journal of `task`."""

    async def find(key: str) -> Mapping[str, Any] | None:
        step = steps.get(key)
        if step is None or step.state is not StepState.DONE:
            return None
        value: Mapping[str, Any] = await large.value_of(store, task, bytes(step.value or b"null"))
        return value

    found: list[Turn] = []
    while (recorded := await entry_at(model_key(len(found) + 1), find)) is not None:
        entry, last = recorded
        if entry["response"] is None:
            break
        found.append(msgspec.convert(entry | {"number": len(found) + 1, "at": steps[last].at}, Turn))
    return found
