"""Responses that come in several segments: the provider suspends one, and goes on with it when it is asked again.

    turn-4/model#0             {"from": 7, "messages": [...], "response": {"state": "suspended", ...}}
    turn-4/model#1             {"from": 0, "messages": [], "response": {...}}

Each segment is an entry of its own, so that what was paid for is on record before the next one is asked for. Whoever
reads a turn reads it as if it had come at once. A segment without a response says that what was suspended came to
nothing: the provider has lost it, or failed. What follows then is a new request, which may have added something.

A response that a hook did not accept, and had another one asked for, is no part of the conversation: the entry of the
other one says that it stands in its place, `"instead": true`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["and_then", "belongs_to", "continued", "is_open", "next_segment", "previous_segment"]


def next_segment(key: str) -> str:
    """The journal's key of the request behind `key`."""
    name, _, number = key.rpartition("#")
    return f"{name}#{int(number) + 1}"


def previous_segment(key: str) -> str:
    """The key of the request before `key`, which is not the first of its name."""
    name, _, number = key.rpartition("#")
    return f"{name}#{int(number) - 1}"


def is_open(response: Mapping[str, Any] | None) -> bool:
    """Whether something is to come yet."""
    return response is None or response.get("state") == "suspended"


def belongs_to(entry: Mapping[str, Any], following: Mapping[str, Any]) -> bool:
    """Whether the request recorded as `following`, the next of its name, is for the same response as `entry`."""
    return is_open(entry["response"]) or "instead" in following


def and_then(entry: Mapping[str, Any], following: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a turn with that of the next request for its response. `lost`: how many responses of the turn came
    to nothing."""
    whole = dict(entry)
    if following["messages"]:
        whole["messages"] = [*entry["messages"][: following["from"] - entry["from"]], *following["messages"]]
    if "offer" in following:
        whole["offer"] = following["offer"]
    if steered := entry.get("steered", 0) + following.get("steered", 0):
        whole["steered"] = steered
    before, then = entry["response"], following["response"]
    if then is None:
        whole["lost"] = entry.get("lost", 0) + 1
    anew = before is None or then is None or "instead" in following
    whole["response"] = then if anew else continued(before, then)
    return whole


def continued(before: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    """A suspended response with what has continued it, joined by the rules of the library that asks for it."""
    whole = dict(then)
    name = then.get("provider_response_id")
    if not name or name != before.get("provider_response_id"):  # where it is the same one, it tells all so far
        whole["usage"] = _sum(before["usage"], then["usage"])
        if not _begins_anew(before, then):
            whole["parts"] = [*before["parts"], *then["parts"]]
            whole["provider_response_id"] = name or before.get("provider_response_id")
    for field in ("provider_details", "metadata"):
        if before.get(field):
            whole[field] = {**before[field], **(then.get(field) or {})}
    return whole


def _begins_anew(before: Mapping[str, Any], then: Mapping[str, Any]) -> bool:
    """Whether another model has answered, in place of the one that was to go on."""
    models = {each.get("model_name") for each in (before, then)} - {None, ""}
    marks = (then.get("metadata") or {}).get("__pydantic_ai__")
    return len(models) > 1 or bool(isinstance(marks, dict) and marks.get("replace_previous_response"))


def _sum(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The usage of two requests."""
    whole: dict[str, Any] = {**one, **other}
    for name in one.keys() & other.keys():
        first, second = one[name], other[name]
        if isinstance(first, dict) and isinstance(second, dict):
            whole[name] = _sum(first, second)
        else:
            whole[name] = first + second if isinstance(first, int | float) and isinstance(second, int | float) else None
    return whole
