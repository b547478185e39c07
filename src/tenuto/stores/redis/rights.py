"""What the user of a store may do on its server: all that the scripts do, or the store is not opened.

A right that is missing would otherwise show in the middle of a script, with half of its work done. So the commands are
looked up in the scripts themselves, and tried on a key that is gone afterwards (`lua/probe.lua`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

import redis

from tenuto.errors import StoreError
from tenuto.stores.redis.connection import Connections
from tenuto.stores.redis.errors import refusal, translate

__all__ = ["check_rights", "commands", "script_commands"]

_FIRST = re.compile(r"\b(?:p?call|in_parts)\(([^,()]*)")
"""The first argument of what runs a command: of Redis' own functions, and of `session.in_parts`."""
_NAME = re.compile(r"""['"]([A-Za-z]+)['"]""")
_LUA = resources.files("tenuto.stores.redis") / "lua"


@cache
def script_commands() -> frozenset[str]:
    """The commands that the scripts of this engine run."""
    return frozenset[str]().union(*(commands(text) for text in _texts(_LUA)))


def _texts(folder: Traversable) -> Iterator[str]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _texts(each)
        elif each.name.endswith(".lua"):
            yield each.read_text(encoding="utf-8")


def commands(text: str) -> frozenset[str]:
    """The commands that a script of this text runs."""
    return frozenset(name.upper() for first in _FIRST.findall(text) for name in _NAME.findall(first))


def check_rights(connections: Connections, run: Iterable[str]) -> None:
    """Raises `StoreError` when the user may not run one of the commands `run`, or not touch the namespace.

    `run`: the commands that scripts are going to run, `script_commands()`. Leaves nothing behind.
    """
    address = connections.address
    used = sorted(run)
    (known,) = connections.ask([("COMMAND", "INFO", *used)], patience=0)
    if isinstance(known, redis.ResponseError):
        raise translate(known, address.url)
    missing = [name for name, each in zip(used, known, strict=True) if each is None]
    if missing:
        raise StoreError(
            f"The store {address.url} is on a server without {', '.join(missing)}: use Redis 6.2 or later, with its "
            "commands under their own names (rename-command)."
        )
    words: list[str | int] = []
    for name, each in zip(used, known, strict=True):
        words += [name, abs(each[1]) - 1]
    refused, *answers = connections.ask(
        [
            ("EVAL", (_LUA / "probe.lua").read_bytes(), 1, f"{address.prefix}probe", *words),
            ("EVALSHA", "0" * 40, 0),
            ("PUBLISH", f"{address.prefix}hints", ""),
            *([("WAIT", 0, 0)] if address.wait_replicas else []),
        ],
        patience=0,
    )
    for answer in (refused, *answers):
        if isinstance(answer, redis.ResponseError) and not isinstance(answer, redis.exceptions.NoScriptError):
            raise translate(answer, address.url)
    if refused:
        raise refusal(address.url, "it may not use " + ", ".join(each.decode() for each in refused))
