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

__all__ = ["decided", "print_turns", "said", "turn_document"]

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
        elif kind == "compaction":  # OpenAI's cannot be read
            text = _text(part.get("content") or "")
            yield "assistant", "", f"(a summary of what was said before{': ' if text else ''}{text})"
        elif kind == "thinking":
            yield "assistant", "", f"({_text(part.get('content'))})"
        else:
            yield "assistant", tool, _text(part.get("content", part.get("args")))


def decided(answer: Mapping[str, Any]) -> str:
    """What came of a call that waited for people, in one line: who has said what, and why."""
    about = f"{answer['tool']} ({answer['tool_call_id']})"
    if "failed" in answer:
        return f"{about}: {answer['failed']}"
    if answer["kind"] != "approval":
        return f"{about} was answered"
    by = f" by {answer['by']}" if answer.get("by") else ""
    why = f": {answer['note']}" if answer.get("note") else ""
    return f"{about} was {'approved' if answer.get('approved') is True else 'rejected'}{by}{why}"


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
        "answered": turn.answered,
        "messages": turn.messages,
        "response": turn.response,
    }


def print_turns(
    turns: Sequence[Turn], departures: Sequence[Sequence[str]] = (), requests: Mapping[str, Sequence[int]] | None = None
) -> None:
    """Writes a conversation for people. departures: for each turn, what a replay has to say; requests: what it has to
    say of the requests of several turns, each with their numbers."""
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
        for answer in turn.answered:
            out.print(Text(f"  people: {_lines(decided(answer))}", "bold blue"), soft_wrap=True)
        for sentence in departures[at] if departures else ():
            out.print(Text(f"  departs: {plain(sentence)}", "bold red"), soft_wrap=True)
    if requests:
        out.print(Text("What the model would be asked now is not what is on record:", "bold red"), soft_wrap=True)
    for sentence, numbers in (requests or {}).items():
        out.print(Text(f"  {_turns(numbers)}: {_lines(sentence)}", "red"), soft_wrap=True)


def _title(turn: Turn) -> str:
    document = turn_document(turn)
    usage = document["usage"]
    tokens = f"{usage['input_tokens']:,} + {usage['output_tokens']:,} tokens"
    cost = f", {dollars(turn.cost)}" if turn.cost else ""
    return f"turn {turn.number}  {document['model'] or 'a model'}, {tokens}{cost}  {document['at']}"


def _turns(numbers: Sequence[int]) -> str:
    """`turn 3`, `turns 1 to 4`, `turns 1, 2, 5`."""
    first, last = numbers[0], numbers[-1]
    if len(numbers) == 1:
        return f"turn {first}"
    if len(numbers) > 2 and last - first == len(numbers) - 1:
        return f"turns {first} to {last}"
    return f"turns {', '.join(map(str, numbers))}"


def _lines(text: str) -> str:
    return "\n    ".join(plain(line) for line in text.splitlines())


def _text(content: Any) -> str:
    return content if isinstance(content, str) else msgspec.json.encode(content).decode()
