"""How payloads, results and step values become stored text, and back.

Everything is stored as JSON in UTF-8: readable in any shell, the same on every engine. Anything
that JSON, msgspec, dataclasses, attrs or Pydantic can express is accepted; what cannot be stored
is refused with a sentence that says which type it was. What is large is stored apart: see `blobs`.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import msgspec

from tenuto.errors import TooLarge, Unstorable

__all__ = ["LARGEST_VALUE", "decode", "encode", "joined", "writable"]

T = TypeVar("T")

LARGEST_VALUE = 16 * 1024 * 1024
"""Bytes of JSON in one payload, result or step value. More belongs into a file or an object store."""


def _other(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)  # a Pydantic model, without importing Pydantic
    if dump is not None and not isinstance(value, type):
        return dump(mode="json")
    raise TypeError(f"a value of type {type(value).__module__}.{type(value).__qualname__}")


_encoder = msgspec.json.Encoder(enc_hook=_other)


def encode(value: Any, what: str) -> bytes:
    """`value` as JSON.

    `what` names it in errors ("the payload of task-1").
    Raises `Unstorable` for a type that has no JSON form and for NaN and infinities, which have none either; `TooLarge`
    above `LARGEST_VALUE`.
    """
    try:
        data = _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise Unstorable(
            f"{what} cannot be stored: {_reason(error)}; use JSON types, dataclasses, msgspec or Pydantic models"
        ) from None
    if b"null" in data and not _finite(msgspec.to_builtins(value, enc_hook=_other)):
        raise Unstorable(
            f"{what} cannot be stored: it contains NaN or an infinity, which JSON has not; use None or text"
        )
    if len(data) > LARGEST_VALUE:
        raise TooLarge(
            f"{what} is {len(data):,} bytes as JSON, more than the limit of {LARGEST_VALUE:,}: "
            "store it in a file or an object store and pass its name"
        )
    return data


def _finite(value: Any) -> bool:
    """Whether every number in `value`, made of plain lists and dictionaries, is one."""
    left = [value]
    while left:
        each = left.pop()
        kind = type(each)
        if kind is dict:
            left.extend(each.values())
        elif kind is list or kind is tuple:
            left.extend(each)
        elif kind is float and not math.isfinite(each):
            return False
    return True


def _reason(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return "it is nested too deeply or contains itself" if isinstance(error, RecursionError) else text


def decode(data: bytes, type: type[T] | Any = Any) -> Any:
    """The value stored as `data`, as `type` where one is given (dataclass, msgspec or Pydantic model).

    Raises `Unstorable` when the stored value does not fit `type`.
    """
    validate = getattr(type, "model_validate_json", None)
    try:
        return validate(data) if validate is not None else msgspec.json.decode(data, type=type)
    except (msgspec.MsgspecError, ValueError) as error:
        name = getattr(type, "__name__", str(type))
        raise Unstorable(f"a stored value does not fit {name}: {error}") from None


def joined(value: Any) -> Any:
    """`value`, of plain JSON types, in a form that can be stored: models say halves of characters (surrogates), one
    after the other or alone. Those that belong together become the character, others the sign for what is none."""
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        return _joined(value)
    return value


def _joined(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case dict():
            return {_joined(key): _joined(each) for key, each in value.items()}
        case list():
            return list(map(_joined, value))
    return value


def writable(text: str) -> str:
    """`text` with a question mark for what is no character: names of files, for example, may contain that."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
