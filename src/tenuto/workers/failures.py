"""Exceptions as records, and back.

What is kept of an exception is its class, its text and the end of its traceback, without API keys. When a recorded
failure of a step is raised again, it is an exception of the same class wherever that class is loaded, so that the
program's own `except ValueError` catches it the second time as it did the first.

A failure that is on record is the same in every attempt. An exception that is one says so (`on_record`), and a task
that ends with it is not tried again.

An exception may know where in the task's work it came about (`placed`): the record of the attempt that it ends begins
with that.
"""

from __future__ import annotations

import builtins
import re
import sys
import traceback
from typing import Any

import msgspec
from msgspec.structs import replace

from tenuto.errors import StepFailed
from tenuto.tasks.task import ErrorRecord

__all__ = [
    "class_of",
    "conceal",
    "describe",
    "describe_end",
    "on_record",
    "place_of",
    "placed",
    "restored",
    "step_behind",
]

_LONGEST = 4_000
"""Characters of a message, and of the end of a traceback, that are kept."""

_MOST_OF_A_GROUP = 5
"""Exceptions of a group that its text names."""

_STEP = "__tenuto_step__"
"""The attribute of an exception that is on record: the task, and the step's key."""

_PLACE = "__tenuto_place__"
"""The attribute of an exception that knows where it came about: the task, and the place in words."""

_KEY = re.compile(r"(?<![\w-])(sk-|xai-|gsk_|AIza|(?i:bearer) )[\w.~+/-]{8,}")
"""API keys as OpenAI, Anthropic, xAI, Groq and Google write them, and what follows `Bearer` in a header."""
_SHORTEST_KEY = 8
_LONGEST_KEY = 1_000

_concealed: set[str] = set()
"""Keys of other forms."""


def conceal(key: object) -> None:
    """From now on no record of an exception shows `key`. What is too short to be a secret is none."""
    if isinstance(key, str) and _SHORTEST_KEY <= len(key) <= _LONGEST_KEY:
        _concealed.add(key)


def describe(error: BaseException) -> ErrorRecord:
    """The record of `error`. The engine adds when it happened and in which attempt."""
    lines = "".join(traceback.format_exception(error))
    text = _clean(_text(error)[: _LONGEST + _LONGEST_KEY])[:_LONGEST]
    return ErrorRecord(type(error).__name__, text, _clean(lines[-_LONGEST - _LONGEST_KEY :])[-_LONGEST:])


def describe_end(error: BaseException, task_id: str) -> ErrorRecord:
    """The record of `error` as the end of an attempt at a task: it begins with the place, where that is known."""
    record, place = describe(error), place_of(error, task_id)
    if record.message.startswith(place):
        return record
    return replace(record, message=f"{place}: {record.message}"[:_LONGEST])


def placed(error: Exception, task_id: str, place: str) -> None:
    """`error` came about at `place` of the task; where that is known more exactly, nothing changes."""
    if not place_of(error, task_id).startswith(place):
        error.__dict__[_PLACE] = task_id, place


def place_of(error: BaseException, task_id: str) -> str:
    """Where in the task's work `error` came about; empty where that is not known."""
    match error.__dict__.get(_PLACE):
        case (known, str() as place) if known == task_id:
            return place
    return ""


def _text(error: BaseException) -> str:
    try:
        text = str(error) or repr(error)
    except Exception as second:  # noqa: BLE001 - an exception whose text cannot be had is a failure like any other
        return f"(its text cannot be had: {type(second).__name__})"
    if isinstance(error, BaseExceptionGroup):  # which says no more of them than how many there are
        each = (f"{type(one).__name__}: {_text(one)}" for one in error.exceptions[:_MOST_OF_A_GROUP])
        text = f"{text}: {'; '.join(each)}"
    return text


def _clean(text: str) -> str:
    """Without what JSON cannot carry, halves of surrogate pairs, and without keys: providers repeat the one that they
    refuse."""
    text = _KEY.sub(r"\1***", text.encode("utf-8", "replace").decode())
    for key in tuple(_concealed):
        text = text.replace(key, "***")
    return text


def class_of(error: BaseException) -> msgspec.Raw:
    """Where the class of `error` is found: the value of a failed step."""
    return msgspec.Raw(msgspec.json.encode([type(error).__module__, type(error).__qualname__]))


def on_record(error: Exception, task_id: str, step: str) -> Exception:
    """`error`, which is from now on known to be the recorded outcome of `step`."""
    setattr(error, _STEP, (task_id, step))
    return error


def step_behind(error: BaseException, task_id: str) -> str | None:
    """The step of the task whose recorded outcome `error` is, was raised from, or has among its group."""
    seen: set[int] = set()
    left = [error]
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        match getattr(each, _STEP, None):
            case (known, str() as step) if known == task_id:
                return step
        if isinstance(each, BaseExceptionGroup):
            left.extend(each.exceptions)
        if each.__cause__ is not None:
            left.append(each.__cause__)
    return None


def restored(step: str, record: ErrorRecord | None, where: Any) -> Exception:
    """The failure that `step` recorded, to be raised again. `where` is what `class_of` gave, decoded."""
    record = record or ErrorRecord("StepFailed", "it failed")
    error = _instance(where, record.message)
    if error is None:
        error = StepFailed(f"step {step!r} failed: {record.type}: {record.message}", error=record)
    error.add_note(f"recorded as the outcome of step {step!r}: {record.type}: {record.message}")
    return error


def _instance(where: Any, message: str) -> Exception | None:
    if not (isinstance(where, list) and len(where) == 2 and all(isinstance(part, str) for part in where)):
        return None
    found: Any = builtins if where[0] == "builtins" else sys.modules.get(where[0])
    for part in where[1].split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, Exception)):
        return None
    try:
        # Past its own `__init__`, whose arguments are not known any more.
        error = found.__new__(found, message)
        Exception.__init__(error, message)
    except TypeError:
        return None
    return error
