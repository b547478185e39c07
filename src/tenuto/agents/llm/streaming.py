"""Tokens as events: what the model is saying, told in batches to those who follow the task, while it says it.

    agent = Agent("writer", model="openai:gpt-5", stream=True)
    async for event in client.subscribe_to_updates(task_ids=task_id, event_types=["tokens"]):
        print(event.data["data"]["text"], end="")

Each event has the `turn`, the `text` that was added, and `at`, how many characters of that turn came before it: an
event with `at` 0 begins a turn, or begins it again when the stream broke and the model was asked once more. What counts
is the whole message, which only the journal has, under the same key as without streaming.

Telling never holds up the turn: what is said while a batch is on its way goes with the next one, and a batch that
cannot be stored is dropped with its attempt. Batches are events of the task like others: whoever comes late reads them
from the beginning, a cursor goes on where it was, any engine carries them to any process, and they are removed with the
tree. That costs storage, so it is off unless an agent asks for it, and the pauses between batches grow: a turn has at
most about 250 of them in ten minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from typing import Any

import msgspec
from pydantic_ai.messages import AgentStreamEvent, PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta
from pydantic_ai.models import Model
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.tools import RunContext

from tenuto.agents.llm.current import ATTEMPT
from tenuto.tasks.event import TOKENS
from tenuto.tasks.outcome import Record, Recorded
from tenuto.tasks.values import encode
from tenuto.workers.journal import Journal

__all__ = ["Tokens", "can_stream", "pause_after", "tell_tokens"]

_FIRST = 0.075
"""Seconds that the first batch of a turn is collected for."""
_GROWTH = 1.02


def pause_after(batches: int) -> float:
    """Seconds to collect the next batch for, after so many of the same turn."""
    return float(_FIRST * _GROWTH**batches)


class Tokens:
    """What the model says in one turn, on its way to those who listen."""

    def __init__(self, journal: Journal, turn: int) -> None:
        self._journal = journal
        self._turn = turn
        self._said: list[str] = []
        self._at = 0
        self._batches = 0
        self._sender: asyncio.Task[None] | None = None
        self._on_its_way: asyncio.Future[Recorded] | None = None

    def say(self, text: str) -> None:
        """The model has said `text`. Never waits."""
        self._said.append(text)
        if self._sender is None:
            self._sender = asyncio.create_task(self._send())

    def end(self) -> None:
        """The model has said everything, or will say no more. Never waits."""
        if self._sender is not None:
            self._sender.cancel()
        self._tell()

    async def _send(self) -> None:
        while self._said:
            await asyncio.sleep(pause_after(self._batches))
            self._tell()
            if self._on_its_way is not None:
                await asyncio.wait((self._on_its_way,))
        self._sender = None

    def _tell(self) -> None:
        text = "".join(self._said)
        self._said.clear()
        if text:
            told = encode({"turn": self._turn, "text": text, "at": self._at}, "what the model says")
            record = Record(self._journal.lease.hold, events=((TOKENS, msgspec.Raw(told)),))
            self._on_its_way = self._journal.services.recorder.put(record)
            self._at += len(text)
            self._batches += 1


def can_stream(model: object) -> bool:
    """Whether a model says something before it has said everything."""
    while isinstance(model, WrapperModel):
        model = model.wrapped
    return not isinstance(model, Model) or type(model).request_stream is not Model.request_stream


async def tell_tokens(_: RunContext[Any], stream: AsyncIterable[AgentStreamEvent]) -> None:
    """An event stream handler for `TenutoDurability`: tells the text of the running turn. Outside a task, nobody."""
    attempt = ATTEMPT.get()
    if attempt is None:
        return
    tokens = Tokens(attempt.journal, attempt.conversation.turn)
    try:
        async for event in stream:
            match event:
                case (
                    PartStartEvent(part=TextPart(content=text))
                    | PartDeltaEvent(delta=TextPartDelta(content_delta=text))
                ) if text:
                    tokens.say(text)
    finally:
        tokens.end()
