"""The message log of one task: append-only, turn by turn, in its journal.

The entry of a turn holds what was added to the messages since the turn before, and the model's response. How large it
is does not depend on how long the conversation is. Where the history itself was changed (compacted, or cut by a history
processor), the entry says how many messages of the log still stand, and what follows them now.

    {"from": 7, "messages": [<what the tools returned, what people said>], "response": {…}}

Where the model is offered something else than in the turn before, the entry has that, too: see `offers`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from operator import is_
from typing import Any

import msgspec
from pydantic_ai.durable_exec import JSON_CODEC
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.usage import RunUsage

from tenuto.stores.conversations import entry_at
from tenuto.tasks.outcome import StepState
from tenuto.tasks.turns import model_key
from tenuto.workers.journal import Journal

__all__ = ["Conversation", "bytes_of", "request_on_record"]


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
        self._offer: Mapping[str, Any] = {}
        """what the model was offered with the last recorded turn"""

    async def load(self) -> list[ModelMessage]:
        """Reads the log. The messages from which the conversation goes on: they end with the request of the last turn
        that has a response; none where there is no such turn."""
        turn = 1
        while (found := await request_on_record(self._journal, model_key(turn))) is not None:
            value, _ = found
            self._offer = value.get("offer", self._offer)
            kept: int = value["from"]
            added: list[ModelMessage] = JSON_CODEC.load(list[ModelMessage], value["messages"])
            if self._log and isinstance(last := self._log[-1], ModelResponse):
                self.usage.incr(last.usage)
                self.usage.requests += 1
            self._log[kept:] = added
            if value["response"] is None:  # lost: the request is made anew, with what was said since
                self.recorded = self.turn = turn - 1
                return [*self._log[:-1], replace(self._log[-1])]
            self._log.append(JSON_CODEC.load(ModelResponse, value["response"]))
            turn += 1
        self.recorded = turn - 1
        self.turn = max(self.recorded - 1, 0)
        return self._log[:-1]

    @property
    def replays(self) -> bool:
        """The open turn has a response already."""
        return self.turn <= self.recorded

    @property
    def response(self) -> ModelResponse | None:
        """What the model said last."""
        last = self._log[-1] if self._log else None
        return last if isinstance(last, ModelResponse) else None

    @property
    def one_call(self) -> bool:
        """The model's last response asks for one tool call: what follows on its result is the next request."""
        return self.response is not None and len(self.response.tool_calls) == 1

    def addition(self, messages: Sequence[ModelMessage], offer: Mapping[str, Any]) -> dict[str, Any]:
        """What the open turn adds to the log, as the journal keeps it: `messages` is the whole history, with the
        turn's request at its end; offer: what goes along with it. Call `add` once it is durable, with the response."""
        kept = self._standing(messages)
        return {"from": kept, "messages": _recorded(messages[kept:])} | self.changed(offer)

    def changed(self, offer: Mapping[str, Any]) -> dict[str, Any]:
        """`offer` as the journal keeps it: nothing where it is that of the turn before."""
        return {} if offer == self._offer else {"offer": offer}

    def most_tokens(
        self, sent: Sequence[ModelMessage], messages: Sequence[ModelMessage], addition: dict[str, Any], others: Any
    ) -> int:
        """The most tokens that `sent` can be: what the last request and response were counted as, and one for each byte
        since; one for each byte of all where `sent` is not what the conversation consists of, its `messages`. others:
        what goes along with each request, such as tools; counted the first time, and when it has changed."""
        last = self._log[-1] if self._log else None
        grown = addition["from"] == len(self._log) and len(sent) == len(messages) and all(map(is_, sent, messages))
        if grown and isinstance(last, ModelResponse) and last.usage.input_tokens:
            added = bytes_of(addition["messages"]) + (bytes_of(others) if "offer" in addition else 0)
            return last.usage.input_tokens + last.usage.output_tokens + added
        return bytes_of(_recorded(sent)) + bytes_of(others)

    def add(self, messages: Sequence[ModelMessage], offer: Mapping[str, Any], response: ModelResponse) -> None:
        """The entry of the open turn is durable."""
        self._log, self._offer = [*messages, response], offer
        self.recorded = max(self.recorded, self.turn)

    def go_on(self, response: ModelResponse, offer: Mapping[str, Any] | None = None) -> None:
        """The same for what has continued the response of the open turn, or stands in its place. response: as it is
        now; offer: with what it was asked for, if anew."""
        self._log[-1] = response
        self._offer = self._offer if offer is None else offer

    def _standing(self, messages: Sequence[ModelMessage]) -> int:
        """How many messages of the log `messages` begins with."""
        # As a rule all but the last are the very same objects.
        before = max(len(self._log) - 1, 0)
        count = before if len(messages) > before and all(map(is_, islice(self._log, before), messages)) else 0
        for known, now in zip(self._log[count:], messages[count:], strict=False):
            if known is not now and not _same(known, now):
                break
            count += 1
        return count


def _same(known: ModelMessage, now: ModelMessage) -> bool:
    """Whether they say the same: the library adds the run's id and the like to what was recorded."""
    return type(known) is type(now) and known.parts == now.parts


def _recorded(messages: Sequence[ModelMessage]) -> Any:
    return JSON_CODEC.dump(list[ModelMessage], list(messages))


def bytes_of(value: Any) -> int:
    """How long a value is as JSON."""
    return len(msgspec.json.encode(value))


async def request_on_record(journal: Journal, key: str) -> tuple[dict[str, Any], str] | None:
    """What is on record of the request `key`, with what has gone on with it: see `stores.conversations.entry_at`."""

    async def find(key: str) -> dict[str, Any] | None:
        step = journal.note(key)
        found: dict[str, Any] | None = None
        if step is not None and step.state is StepState.DONE:
            found = await journal.value(step)
        return found

    return await entry_at(key, find)
