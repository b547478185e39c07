"""The payload of an event as it is kept in the history: JSON of a limited size.

The history must stay small whatever agents send, so that a long error message costs its limit and no more. Every field
stays, and the longest values give way first; but a `traceback` is kept whole or not at all, because its beginning says
little and would take the room of what the error says.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

__all__ = ["Kept", "kept"]

_CUT = "…"
_WHOLE = "traceback"
_text = reprlib.Repr()
_text.maxstring = _text.maxother = 200


class Kept(NamedTuple):
    """A payload as the history keeps it."""

    content: bytes
    """JSON"""
    cut: bool
    """whether something had to be left out"""


_EMPTY = Kept(b"{}", False)


def _other(value: Any) -> str:
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    return _text.repr(value)


_encode = msgspec.json.Encoder(enc_hook=_other).encode


def kept(payload: Mapping[str, Any], limit: int) -> Kept:
    """`payload` as JSON of at most `limit` bytes. Raises nothing.

    A value without a JSON form is kept as text. Where not even the names of the fields fit, the last are left out.
    """
    if not payload:
        return _EMPTY
    for value in payload.values():
        if isinstance(value, str | bytes | bytearray) and len(value) > limit:
            break  # too long already: encoding it whole would cost as much as it is long
    else:
        content = _json(payload)
        if content is not None and len(content) <= limit:
            return Kept(content, False)
    if _WHOLE in payload:
        return kept({name: value for name, value in payload.items() if name != _WHOLE}, limit)._replace(cut=True)
    return _shortened({name: _field(value, limit) for name, value in payload.items()}, limit)


def _json(value: Any) -> bytes | None:
    try:
        return _encode(value)
    except Exception:  # noqa: BLE001 - whatever it is (a cycle, a huge number, a `__repr__` that raises), it is no JSON
        return None


def _field(value: Any, limit: int) -> bytes:
    """One value as JSON, at most a little longer than `limit` when it is text."""
    if isinstance(value, str | bytes | bytearray):
        value = value[: limit + 1]
    content = _json(value)
    if content is None:
        try:
            content = _json(_other(value).encode("utf-8", "replace").decode())
        except Exception:  # noqa: BLE001 - its `__repr__` raises
            content = None
    return content if content is not None else _encode(f"<{type(value).__name__}>")


def _shortened(fields: Mapping[str, bytes], limit: int) -> Kept:
    names = {name: _encode(str(name)[:64].encode("utf-8", "replace").decode()) for name in fields}
    room = limit - 2
    chosen: list[str] = []
    for name in fields:
        room -= len(names[name]) + 2  # the colon and a comma
        if room < 2 * (len(chosen) + 1):  # at least `""` for each
            break
        chosen.append(name)
    left = limit - 2 - sum(len(names[name]) + 2 for name in chosen)
    values: dict[str, bytes] = {}
    cut = len(chosen) < len(fields)
    for position, name in enumerate(sorted(chosen, key=lambda each: len(fields[each]))):
        share = left // (len(chosen) - position)
        value = fields[name]
        if len(value) > share:
            value, cut = _cut(value, share), True
        values[name] = value
        left -= len(value)
    return Kept(b"{" + b",".join(names[name] + b":" + values[name] for name in chosen) + b"}", cut)


def _cut(value: bytes, room: int) -> bytes:
    """The beginning of a value as a JSON text of at most `room` bytes."""
    text = msgspec.json.decode(value) if value.startswith(b'"') else value.decode()
    low, high = 0, min(len(text), room)
    while low < high:  # the longest beginning that fits: how long a character is as JSON depends on the character
        middle = (low + high + 1) // 2
        if len(_encode(text[:middle] + _CUT)) <= room:
            low = middle
        else:
            high = middle - 1
    content = _encode(text[:low] + _CUT)
    return content if len(content) <= room else b'""'
