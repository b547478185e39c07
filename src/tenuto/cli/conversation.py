"""A conversation as text and as JSON: turn by turn, who said what, which tools were called, tokens and cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from rich.text import Text

from tenuto.cli.output import console, plain
from tenuto.tasks.clock import iso
from tenuto.tasks.dollars import dollars, exact
from tenuto.tasks.turns import Turn

__all__ = ["print_turns", "said", "turn_document"]

_ROLES = {"user-prompt": "user", "system-prompt": "system", "tool-return": "tool", "retry-prompt": "tool"}
_STYLES = {"user": "bold cyan", "system": "magenta", "assistant": "bold green", "tool": "yellow"}


def said(message: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What a message consists of, in order: role, the tool that it is about or nothing, text."""
    for part in message["parts"]:
        kind = part["part_kind"]
        tool = str(part.get("tool_name") or "")
        if kind == "tool-call":
            yield "assistant", tool, _text(part.get("args"))
        elif kind in _ROLES:
            yield _ROLES[kind], tool, _text(part.get("content"))
        elif kind == "thinking":
            yield "assistant", "", f"({_text(part.get('content'))})"
        else:
            yield "assistant", tool, _text(part.get("content", part.get("args")))


def turn_document(turn: Turn) -> dict[str, Any]:
    """One turn as a JSON document; `cost` in dollars, as text."""
    used = turn.response.get("usage") or {}
    return {
        "turn": turn.number,
        "at": iso(turn.at),
        "model": turn.response.get("model_name"),
        "usage": {"input_tokens": used.get("input_tokens", 0), "output_tokens": used.get("output_tokens", 0)},
        "cost": exact(turn.cost),
        "steered": turn.steered,
        "said": [
            {"role": role, "text": text} | ({"tool": tool} if tool else {})
            for message in (*turn.messages, turn.response)
            for role, tool, text in said(message)
        ],
        "messages": turn.messages,
        "response": turn.response,
    }


def print_turns(turns: Sequence[Turn], departures: Sequence[Sequence[str]] = ()) -> None:
    """Writes a conversation for people. departures: for each turn, what a replay has to say."""
    out = console()
    if not turns:
        out.print("Nothing was said yet.")
    for at, turn in enumerate(turns):
        out.print(Text(_title(turn), "bright_black"), soft_wrap=True)
        for message in (*turn.messages, turn.response):
            for role, tool, text in said(message):
                line = Text(f"  {role}", _STYLES[role])
                if tool:
                    line.append(f" {'calls ' if role == 'assistant' else ''}{plain(tool)}", "bright_black")
                out.print(line.append(": ").append(_lines(text), ""), soft_wrap=True)
        for sentence in departures[at] if departures else ():
            out.print(Text(f"  departs: {plain(sentence)}", "bold red"), soft_wrap=True)


def _title(turn: Turn) -> str:
    document = turn_document(turn)
    usage = document["usage"]
    tokens = f"{usage['input_tokens']:,} + {usage['output_tokens']:,} tokens"
    cost = f", {dollars(turn.cost)}" if turn.cost else ""
    return f"turn {turn.number}  {document['model'] or 'a model'}, {tokens}{cost}  {document['at']}"


def _lines(text: str) -> str:
    return "\n    ".join(plain(line) for line in text.splitlines())


def _text(content: Any) -> str:
    return content if isinstance(content, str) else msgspec.json.encode(content).decode()
