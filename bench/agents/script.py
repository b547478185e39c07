"""The conversation that all have: each turn asks for one tool, which returns a text; the last one says "done"."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic_ai.models.function import FunctionModel

__all__ = ["ANSWER", "Clock", "note", "values"]

ANSWER = "x" * 200


def note(number: int) -> str:
    """Writes a note."""
    return ANSWER


class Clock:
    """Says when each turn began, and how the model answers in it."""

    def __init__(self, turns: int) -> None:
        self.turns = turns
        self.began: list[float] = []

    def tick(self) -> int:
        """The number of the turn that begins, from 0."""
        self.began.append(time.perf_counter())
        return len(self.began) - 1

    def model(self) -> FunctionModel:
        """A model for Pydantic AI."""
        from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
        from pydantic_ai.models.function import FunctionModel

        def answer(_: Any, __: Any) -> ModelResponse:
            turn = self.tick()
            if turn == self.turns - 1:
                return ModelResponse(parts=[TextPart("done")])
            return ModelResponse(parts=[ToolCallPart("note", {"number": 1000 + turn}, f"call-{turn:04}")])

        return FunctionModel(answer, model_name="scripted")


def values(clock: Clock, disk: float | None) -> Mapping[str, float]:
    """Milliseconds per turn at the beginning and at the end; kilobytes per turn on the disk."""
    assert len(clock.began) == clock.turns, f"{len(clock.began)} turns of {clock.turns}"
    tenth = max(clock.turns // 10, 2)
    found = {"turns.early": _mean(clock.began[1 : tenth + 2]), "turns.late": _mean(clock.began[-tenth - 1 :])}
    return found if disk is None else found | {"turns.disk": disk / clock.turns / 1024}


def _mean(instants: Sequence[float]) -> float:
    return (instants[-1] - instants[0]) / (len(instants) - 1) * 1000
