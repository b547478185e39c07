"""What the model is saying, told in batches to those who follow the task, while it says it.

    agent = Agent("writer", model="openai:gpt-5", stream=True)
    async for event in client.subscribe_to_updates(task_ids=task_id, event_types=["tokens"]):
        print(event.data["data"]["text"], end="")

The events, by name, and their data. All have the `turn`; `request` is there where a provider paused its answer and was
asked to go on, and counts these.

    tokens         part, at, text              text that was added to a part of the answer
    thinking       part, at, text              the same of what the model thinks
    tool_args      part, at, args, tool, call  the same of the arguments of a tool call, as JSON text
    tokens_reset   attempt                     what was told of this request is void: it is made again

A `part` is counted from 0; `at` is how many characters of it came before; the last event of a part has `end`. What
counts is the whole message, which only the journal has, under the same key as without streaming: its event is `turn`.

Telling never holds up the turn: what is said while a batch is on its way goes with the next one, and a batch that
cannot be stored is dropped with its attempt. Batches are events of the task like others: whoever comes late reads them
from the beginning, a cursor goes on where it was, any engine carries them to any process, and they are removed with the
tree. That costs storage, so it is off unless an agent asks for it, and the pauses between batches grow: a turn has at
most about 250 of them in ten minutes, each with one event for each part that went on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from pydantic_ai.messages import (
    AgentStreamEvent,
    BaseToolCallPart,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPartDelta,
)
from pydantic_ai.models import Model
from pydantic_ai.tools import RunContext

from tenuto.agents.llm.current import ATTEMPT
from tenuto.agents.llm.money import unwrapped
from tenuto.tasks.event import THINKING, TOKENS, TOKENS_RESET, TOOL_ARGS
from tenuto.tasks.outcome import Record, Recorded, StepState
from tenuto.tasks.turns import model_key
from tenuto.tasks.values import encode, joined
from tenuto.workers.journal import Journal

__all__ = ["Tokens", "can_stream", "pause_after", "tell_tokens"]

_FIRST = 0.075
"""Seconds that the first batch of a turn is collected for."""
_GROWTH = 1.02


def pause_after(batches: int) -> float:
    """Seconds to collect the next batch for, after so many of the same turn."""
    return float(_FIRST * _GROWTH**batches)


@dataclass
class _Part:
    """A part of the answer, and how far it was told."""

    name: str
    """of its events"""
    number: int
    tool: str = ""
    call: str = ""
    at: int = 0
    begun: bool = False


@dataclass
class _Piece:
    """What was said of a part at a stretch."""

    part: _Part
    texts: list[str] = field(default_factory=list)
    end: bool = False


class Tokens:
    """What the model says in one request, on its way to those who listen."""

    def __init__(self, journal: Journal, turn: int, request: int = 0) -> None:
        self._journal = journal
        self._place = {"turn": turn} | ({"request": request} if request else {})
        self._parts: dict[int, _Part] = {}
        self._said: list[_Piece] = []
        """since the last batch"""
        self._batches = 0
        self._sender: asyncio.Task[None] | None = None
        self._on_its_way: asyncio.Future[Recorded] | None = None

    def begin_again(self) -> None:
        """What was told of this request before is void. Never waits."""
        self._send_events([(TOKENS_RESET, {**self._place, "attempt": self._journal.lease.attempt})])

    def hear(self, event: AgentStreamEvent) -> None:
        """Takes in what the model has said. Never waits."""
        match event:
            case PartStartEvent(index=number, part=TextPart(content=text)):
                self._begin(_Part(TOKENS, number), text)
            case PartStartEvent(index=number, part=ThinkingPart(content=text)):
                self._begin(_Part(THINKING, number), text)
            case PartStartEvent(index=number, part=BaseToolCallPart() as call):
                self._begin(_Part(TOOL_ARGS, number, call.tool_name, call.tool_call_id), _text(call.args))
            case PartDeltaEvent(index=number, delta=TextPartDelta(content_delta=text)):
                self._say(number, text)
            case PartDeltaEvent(index=number, delta=ThinkingPartDelta(content_delta=str(text))):
                self._say(number, text)
            case PartDeltaEvent(index=number, delta=ToolCallPartDelta(args_delta=args, tool_name_delta=name)):
                if name and number in self._parts:
                    self._parts[number].tool += name
                self._say(number, _text(args))
            case PartEndEvent(index=number):
                self._say(number, "", end=True)

    def end(self) -> None:
        """The model has said everything, or will say no more. Never waits."""
        if self._sender is not None:
            self._sender.cancel()
        self._tell()

    def _begin(self, part: _Part, text: str) -> None:
        self._parts[part.number] = part
        if text or part.name == TOOL_ARGS:  # that a tool is called is something said
            self._add(part, text)

    def _say(self, number: int, text: str, *, end: bool = False) -> None:
        part = self._parts.pop(number, None) if end else self._parts.get(number)
        if part is not None and (text or (end and part.begun)):
            self._add(part, text, end=end)

    def _add(self, part: _Part, text: str, *, end: bool = False) -> None:
        part.begun = True
        if not self._said or self._said[-1].part is not part:
            self._said.append(_Piece(part))
        self._said[-1].texts.append(text)
        self._said[-1].end = end
        if self._sender is None:
            self._sender = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while self._said:
            await asyncio.sleep(pause_after(self._batches))
            self._tell()
            if self._on_its_way is not None:
                await asyncio.wait((self._on_its_way,))
        self._sender = None

    def _tell(self) -> None:
        told = []
        for piece in self._said:
            part, text = piece.part, "".join(piece.texts)
            data: dict[str, Any] = {**self._place, "part": part.number, "at": part.at}
            if part.name == TOOL_ARGS:
                data |= {"args": text, "tool": part.tool, "call": part.call}
            else:
                data["text"] = text
            told.append((part.name, data | ({"end": True} if piece.end else {})))
            part.at += len(text)
        self._said.clear()
        if told:
            self._send_events(told)
            self._batches += 1

    def _send_events(self, told: list[tuple[str, dict[str, Any]]]) -> None:
        events = tuple((name, msgspec.Raw(encode(joined(data), "what the model says"))) for name, data in told)
        self._on_its_way = self._journal.services.recorder.put(Record(self._journal.lease.hold, events=events))


def can_stream(model: object) -> bool:
    """Whether a model says something before it has said everything."""
    return not isinstance(model, Model) or type(unwrapped(model)).request_stream is not Model.request_stream


async def tell_tokens(_: RunContext[Any], stream: AsyncIterable[AgentStreamEvent]) -> None:
    """An event stream handler for `TenutoDurability`: tells what the model says in the running turn. Outside a task,
    nobody."""
    attempt = ATTEMPT.get()
    if attempt is None:
        return
    turn, request = attempt.conversation.turn, 0
    while (announced := attempt.journal.note(model_key(turn, request))) and announced.state is StepState.DONE:
        request += 1
    tokens = Tokens(attempt.journal, turn, request)
    if announced is not None and announced.attempt:  # by an earlier attempt, which has no answer on record
        tokens.begin_again()
    try:
        async for event in stream:
            tokens.hear(event)
    finally:
        tokens.end()


def _text(arguments: str | dict[str, Any] | None) -> str:
    """Arguments as they are added to those before: providers that have them whole give them as a dictionary."""
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return msgspec.json.encode(arguments).decode()
