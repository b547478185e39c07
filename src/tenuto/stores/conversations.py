"""Reading the recorded turns of a task from its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tenuto.stores import large
from tenuto.stores.base import Store
from tenuto.tasks.outcome import Step, StepState
from tenuto.tasks.task import Task
from tenuto.tasks.turns import Turn, model_key

__all__ = ["by_key", "turns_of"]


def by_key(steps: Sequence[Step]) -> Mapping[str, Step]:
    """A journal's entries by their keys."""
    return {step.key: step for step in steps}


async def turns_of(store: Store, task: Task, steps: Mapping[str, Step]) -> list[Turn]:
    """The turns that have a response, in order. steps: the journal of `task`."""
    found: list[Turn] = []
    while (step := steps.get(model_key(len(found) + 1))) is not None and step.state is StepState.DONE:
        value = await large.value_of(store, task, bytes(step.value or b"null"))
        found.append(msgspec.convert(value | {"number": len(found) + 1, "at": step.at}, Turn))
    return found
