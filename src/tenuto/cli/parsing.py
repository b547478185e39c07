"""What people type, turned into values: lengths of time, instants, JSON, key=value. Errors name the option."""

from __future__ import annotations

import math
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from tenuto.errors import InvalidInput, NotFound, TooLarge
from tenuto.tasks.values import LARGEST_VALUE

__all__ = ["instant", "json_value", "pairs", "read_text", "seconds"]

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.ASCII)
_LONGEST = 3_155_760_000.0


def seconds(text: str, option: str) -> float:
    """A length of time in seconds: `90`, `90s`, `1.5h`, `2d`, `1h30m`. Raises `InvalidInput`."""
    rest, total = text.strip().lower(), 0.0
    while rest:
        found = _LENGTH.match(rest)
        if found is None or found[2] not in _UNITS:
            break
        total += float(found[1]) * _UNITS[found[2]]
        rest = rest[found.end() :].lstrip()
    if rest or not text.strip():
        raise InvalidInput(f"{option} {text[:40]!r} is no length of time: write seconds, or 500ms, 30s, 5m, 2h, 1d")
    if not math.isfinite(total) or total > _LONGEST:
        raise InvalidInput(f"{option} {text[:40]!r} is longer than 100 years")
    return total


def instant(text: str, option: str) -> datetime:
    """A point in time: ISO 8601 (UTC unless it names a zone), or `+5m` from now. Raises `InvalidInput`."""
    if text.startswith("+"):
        return datetime.now(UTC) + timedelta(seconds=seconds(text[1:], option))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"{option} {text[:40]!r} is no time: write ISO 8601 such as 2030-01-31T08:00Z, or +5m for in five minutes"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def read_text(name: str, option: str) -> str:
    """The content of the file `name`; `-` is standard input. Raises `NotFound`, `InvalidInput`."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode()
    except FileNotFoundError:
        raise NotFound(f"{option}: there is no file {name!r}") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{option}: {name!r} is not UTF-8 text (byte {error.start:,})") from None
    except ValueError as error:
        raise InvalidInput(f"{option}: {name[:80]!r} cannot be a file name: {error}") from None
    except OSError as error:
        raise InvalidInput(f"{option}: {name!r} cannot be read: {error.strerror or error}") from None


def json_value(text: str, option: str) -> Any:
    """JSON as typed, from a file (`@file`) or from standard input (`-`). Raises `InvalidInput`."""
    source = option
    if text == "-" or text.startswith("@"):
        name = text.removeprefix("@")
        text, source = read_text(name, option), f"{option}: {'standard input' if name == '-' else repr(name)}"
    if len(text) > LARGEST_VALUE:
        raise TooLarge(f"{source} has {len(text):,} characters, more than the limit of {LARGEST_VALUE:,} bytes")
    try:
        return msgspec.json.decode(text.encode())
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError) as error:
        hint = f"; a text needs quotes: '\"{text}\"'" if re.fullmatch(r"[\w .-]{1,40}", text) else ""
        raise InvalidInput(f"{source} is not JSON: {error}{hint}") from None


def pairs(texts: list[str], option: str) -> dict[str, Any]:
    """`key=value` arguments as a dict; a value that is JSON is read as such, anything else as text."""
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InvalidInput(f"{option} {text[:40]!r} must be written key=value")
        try:
            found[key] = msgspec.json.decode(value.encode())
        except msgspec.MsgspecError:
            found[key] = value
    return found
