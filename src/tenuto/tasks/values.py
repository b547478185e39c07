"""How payloads, results and step values become stored text, and back.

Everything is stored as JSON in UTF-8: readable in any shell, the same on every engine. Anything
that JSON, msgspec, dataclasses, attrs or Pydantic can express is accepted; what cannot be stored
is refused with a sentence that says which type it was.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, TypeVar

import msgspec

from tenuto.errors import TooLarge, Unstorable

__all__ = ["LARGEST_VALUE", "LARGE_VALUE", "decode", "digest", "encode", "is_blob", "to_blob", "writable"]

T = TypeVar("T")

LARGEST_VALUE = 16 * 1024 * 1024
"""Bytes of JSON in one payload, result or step value. More belongs into a file or an object store."""

LARGE_VALUE = 16 * 1024
"""From this many bytes on, a value is stored once per tree under the hash of its content."""

_BLOB = b'{"$blob":"'


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
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(_finite, value.values()))
        case list() | tuple():
            return all(map(_finite, value))
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


def writable(text: str) -> str:
    """`text` with a question mark for what is no character: names of files, for example, may contain that."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def digest(data: bytes) -> str:
    """The content hash of `data`: BLAKE2b, 160 bits, hexadecimal."""
    return hashlib.blake2b(data, digest_size=20).hexdigest()


def to_blob(data: bytes) -> tuple[bytes, str | None]:
    """What to store in place of `data`, and its hash when it is stored apart: large, or looking like a reference."""
    if len(data) < LARGE_VALUE and is_blob(data) is None:
        return data, None
    key = digest(data)
    return _BLOB + key.encode() + b'"}', key


def is_blob(data: bytes) -> str | None:
    """The hash that `data` refers to, when it stands for a value stored apart."""
    return data[len(_BLOB) : -2].decode() if data.startswith(_BLOB) and len(data) == len(_BLOB) + 42 else None
