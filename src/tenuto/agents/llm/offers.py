"""What goes along with each request to a model: the tools on offer, and the form of its output.

    {"tools": {"search": {"description": "…", "parameters": {…}}}, "output": {"final_result": {…}}, "form": {…}}

The entry of a turn has it (`offer`) where it differs from the turn before, so that a replay can tell what a model would
be offered now.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

__all__ = ["SHOWN", "offer_differences", "offer_of", "shortened", "text_difference"]

SHOWN = 200
"""Characters of a value that a sentence shows."""
_SCHEMA_WORDS = frozenset({"properties"})
"""Levels of a schema that a path to something in it leaves out."""


def offer_of(parameters: ModelRequestParameters) -> dict[str, Any]:
    """What a request offers, as plain data."""
    found: dict[str, Any] = {"tools": _described(parameters.function_tools)}
    if parameters.output_tools:
        found["output"] = _described(parameters.output_tools)
    if parameters.output_object is not None:
        found["form"] = parameters.output_object.json_schema
    return found


def offer_differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Sentences about what a model was offered, and would be now."""
    found: list[str] = []
    for group, what in (("tools", "tool"), ("output", "output tool")):
        before, here = then.get(group, {}), now.get(group, {})
        for name in dict.fromkeys([*before, *here]):
            found += _tool_differences(f"{what} {name!r}", before.get(name), here.get(name))
    before, here = then.get("form"), now.get("form")
    if before is not None and here is not None:  # one that is asked for in another way is a matter of the model
        found += [f"the form of the output: {each}" for each in _paths(before, here, "")]
    return found


def text_difference(what: str, then: str, now: str) -> str:
    """A sentence about a text that has changed: both where they are short, else the lines that differ."""
    if max(len(then), len(now)) <= SHOWN:
        return f"{what} read {then!r} then, and {now!r} now"
    lines = difflib.ndiff(then.splitlines(), now.splitlines())
    return f"lines of {what} differ:" + "".join(f"\n{shortened(line)}" for line in lines if line[0] in "-+")


def shortened(value: Any) -> str:
    """A value as a sentence shows it."""
    text = value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=str).decode()
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _described(tools: Sequence[ToolDefinition]) -> dict[str, Any]:
    return {
        tool.name: {"description": tool.description or "", "parameters": tool.parameters_json_schema} for tool in tools
    }


def _tool_differences(what: str, then: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> list[str]:
    if then is None:
        return [f"{what} is on offer now, and was not"]
    if now is None:
        return [f"{what} was on offer, and is not now"]
    found = []
    if then["description"] != now["description"]:
        found.append(text_difference(f"the description of {what}", then["description"], now["description"]))
    return found + [f"{what}: {each}" for each in _paths(then["parameters"], now["parameters"], "")]


def _paths(then: Any, now: Any, path: str) -> Iterator[str]:
    """Where two schemas differ, and how."""
    if isinstance(then, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*then, *now]):
            inner = path if name in _SCHEMA_WORDS else f"{path}.{name}".lstrip(".")
            yield from _paths(then.get(name), now.get(name), inner)
    elif then != now:
        yield f"{path or 'it'} was {_shown(then)} and is {_shown(now)}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else shortened(value)
