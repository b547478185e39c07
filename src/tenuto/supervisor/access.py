"""Who may command what: whitelists of commands, the token of addresses that others can reach, secrets that stay hidden.

On a Unix socket the file's permissions decide who may connect, and on loopback only this machine can. Any other TCP
address needs a token, which every request then carries. It travels as it is: across a network that others listen to,
use a tunnel.
"""

from __future__ import annotations

import difflib
import hmac
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from tenuto.errors import InvalidInput
from tenuto.supervisor.addresses import Address

__all__ = ["PRESETS", "TOKEN_VARIABLE", "allowed_of", "check_allowed", "masked", "same_token", "token_for"]

PRESETS: Mapping[str, frozenset[str] | None] = {
    "basic": frozenset({"ps", "status"}),
    "monitoring": frozenset({"ps", "status", "stats", "history", "history-stats", "dependencies", "commands"}),
    "all": None,
}
"""Whitelists by name; None allows everything."""

TOKEN_VARIABLE = "TENUTO_COMMAND_TOKEN"  # noqa: S105 - the name of a variable
_SHORTEST_TOKEN = 16
_DEEPEST = 20

_SECRET = re.compile(
    r"pass(word|wd|phrase)?$|pwd$|secret|token$|credential|authorization|private_?key|api_?key|access_?key|"
    r"signing_?key|encryption_?key|cookie|dsn$",
    re.IGNORECASE,
)
_IN_URL = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]+@")
_MASK = "***"
_TELLING = (Enum, PurePath, date, time, timedelta, tzinfo, Decimal, UUID)
"""Kinds of values whose text is what they are."""


def allowed_of(allowed: str | Collection[str] | None, known: Collection[str]) -> frozenset[str] | None:
    """The commands that `allowed` lets through; None: all of them.

    allowed: None, the name of a preset, or command names. Raises `InvalidInput` for a name that is not `known`, because
    a whitelist with a typing error would refuse what somebody relies on.
    """
    check_allowed(allowed)
    if allowed is None:
        return None
    if isinstance(allowed, str):
        return PRESETS[allowed]
    names = frozenset(str(name).lower().replace("_", "-") for name in allowed)
    for name in sorted(names.difference(known)):
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(known))}"
        raise InvalidInput(f"allowed_commands: there is no command {name!r}: {hint}")
    return names


def check_allowed(allowed: Any) -> None:
    """Raises `InvalidInput` for what can be no whitelist, whatever commands there are."""
    if isinstance(allowed, str) and allowed not in PRESETS:
        raise InvalidInput(
            f"allowed_commands {allowed!r} is no preset: use {', '.join(PRESETS)}, or a set of command names"
        )
    if allowed is not None and not isinstance(allowed, Collection):
        raise InvalidInput(f"allowed_commands must be a preset or a set of command names, not {allowed!r}")


def token_for(address: Address, token: str | None) -> str | None:
    """The token that requests to `address` must carry; None where none is needed.

    token: what was configured; else `TENUTO_COMMAND_TOKEN` counts. Raises `InvalidInput` where one is needed and there
    is none, or where it is so short that it can be guessed.
    """
    if address.path is not None:
        return None
    chosen = token or os.environ.get(TOKEN_VARIABLE) or None
    if chosen is None and address.private:
        return None
    if chosen is None:
        raise InvalidInput(
            f"{address.url} can be reached by others: give command_token, or set {TOKEN_VARIABLE}, "
            "or listen on 127.0.0.1 or a Unix socket"
        )
    if len(chosen) < _SHORTEST_TOKEN:
        raise InvalidInput(f"command_token must have at least {_SHORTEST_TOKEN} characters: it could be guessed")
    return chosen


def same_token(given: str | None, expected: str) -> bool:
    """Whether a request's token is the right one, in a time that does not tell how much of it is right."""
    return hmac.compare_digest((given or "").encode("utf-8", "replace"), expected.encode("utf-8", "replace"))


def masked(value: Any, *, depth: int = 0) -> Any:
    """`value` in JSON types, with everything hidden that looks like a secret: fields by their names, passwords in URLs.

    Of an object of another kind only its type is told: nobody knows what its text would show.
    """
    if isinstance(value, str):
        return _IN_URL.sub(r"\1:***@", value) if "://" in value else value
    if isinstance(value, bytes | bytearray):
        return masked(value.decode("utf-8", "replace"), depth=depth)
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {
            str(name): _MASK if _SECRET.search(str(name)) and _hides(each) else masked(each, depth=depth + 1)
            for name, each in value.items()
        }
    if isinstance(value, Sequence | set | frozenset):
        return [masked(each, depth=depth + 1) for each in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return masked({each.name: getattr(value, each.name, None) for each in fields(value)}, depth=depth)
    if isinstance(value, _TELLING):
        return masked(str(value))
    name = getattr(value, "__qualname__", None)  # of a class or a function
    return f"<{name if isinstance(name, str) else type(value).__name__}>"


def _hides(value: Any) -> bool:
    """Whether a field that is called like a secret holds one: a number of tokens or an empty setting is none."""
    return value is not None and not isinstance(value, bool | int | float) and value not in ("", b"")
