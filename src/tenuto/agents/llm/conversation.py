"""The message log of one task: append-only, turn by turn, in its journal.

The entry of a turn holds what was added to the messages since the turn before, and the model's response. How large it
is does not depend on how long the conversation is. Where the history itself was changed (compacted, or cut by a history
processor), the entry says how many messages of the log still stand, and what follows them now.

    {"from": 7, "messages": [<what the tools returned, what people said>], "response": {…}}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from pydantic_ai.durable_exec import JSON_CODEC
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.usage import RunUsage

from tenuto.tasks.outcome import StepState
from tenuto.tasks.turns import model_key
from tenuto.workers.journal import Journal

__all__ = ["Conversation"]


class Conversation:
    """What has been said, as the journal has it and as the running attempt adds to it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.turn = 0
        """the turn that is open, from 1; 0 before the first"""
        self.recorded = 0
        """turns that have a response"""
        self.usage = RunUsage()
        """what the turns before the last recorded one have used"""
        self._log: list[ModelMessage] = []

    async def load(self) -> list[ModelMessage]:
        """Reads the log. The messages from which the conversation goes on: they end with the request of the last turn
        that has a response; none where there is no such turn."""
        turn = 1
        while (entry := self._journal.note(model_key(turn))) is not None and entry.state is StepState.DONE:
            value = await self._journal.value(entry)
            kept: int = value["from"]
            added: list[ModelMessage] = JSON_CODEC.load(list[ModelMessage], value["messages"])
            if self._log and isinstance(last := self._log[-1], ModelResponse):
                self.usage.incr(last.usage)
                self.usage.requests += 1
            self._log[kept:] = [*added, JSON_CODEC.load(ModelResponse, value["response"])]
            turn += 1
        self.recorded = turn - 1
        self.turn = max(self.recorded - 1, 0)
        return self._log[:-1]

    @property
    def replays(self) -> bool:
        """The open turn has a response already."""
        return self.turn <= self.recorded

    @property
    def one_call(self) -> bool:
        """The model's last response asks for one tool call: what follows on its result is the next request."""
        last = self._log[-1] if self._log else None
        return isinstance(last, ModelResponse) and len(last.tool_calls) == 1

    def addition(self, messages: Sequence[ModelMessage]) -> dict[str, Any]:
        """What the open turn adds to the log, as the journal keeps it: `messages` is the whole history, with the
        turn's request at its end. Call `add` once that is durable, with the response."""
        kept = self._standing(messages)
        return {"from": kept, "messages": _recorded(messages[kept:])}

    def most_tokens(self, messages: Sequence[ModelMessage], addition: dict[str, Any], others: Any) -> int:
        """The most tokens that `messages` can be: what the last request and response were counted as, and one for each
        byte since. others: what goes along with each request, such as tools; counted the first time."""
        last = self._log[-1] if self._log else None
        if isinstance(last, ModelResponse) and addition["from"] == len(self._log) and last.usage.input_tokens:
            return last.usage.input_tokens + last.usage.output_tokens + _bytes(addition["messages"])
        return _bytes(_recorded(messages)) + _bytes(others)

    def add(self, messages: Sequence[ModelMessage], response: ModelResponse) -> None:
        """The entry of the open turn is durable."""
        self._log = [*messages, response]
        self.recorded = max(self.recorded, self.turn)

    def _standing(self, messages: Sequence[ModelMessage]) -> int:
        """How many messages of the log `messages` begins with."""
        count = 0
        for known, now in zip(self._log, messages, strict=False):
            if known is not now and not _same(known, now):
                break
            count += 1
        return count


def _same(known: ModelMessage, now: ModelMessage) -> bool:
    """Whether they say the same: the library adds the run's id and the like to what was recorded."""
    return type(known) is type(now) and known.parts == now.parts


def _recorded(messages: Sequence[ModelMessage]) -> Any:
    return JSON_CODEC.dump(list[ModelMessage], list(messages))


def _bytes(value: Any) -> int:
    return len(msgspec.json.encode(value))
