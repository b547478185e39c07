"""The scripts that run inside the server: one Lua file each, put together with the pieces that it needs.

A script of `lua/` names its pieces in its first line (`-- needs: rows, lanes`); those of `lua/reads/` need none. A
piece is a table of functions under the name of its file, and may use the others'. The functions of a script are made
anew whenever it runs, so a piece is begun when something of it is used, which most requests do of few pieces. A server
keeps scripts under the hash of their text until it is restarted or told to forget them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["SCRIPTS", "Script", "script"]

_NEEDS = "-- needs: "

SCRIPTS = (
    "stage",
    "submit",
    "exchange",
    "record",
    "renew",
    "signal",
    "walk",
    "ring",
    "fire",
    "tidy",
    "purge",
    "schedule",
    "settings",
    "money",
    "reads/tasks",
    "reads/find",
    "reads/feed",
    "reads/goal",
    "reads/counts",
    "reads/limits",
    "reads/workers",
    "reads/needs",
    "reads/scan",
    "reads/fields",
)


@dataclass(frozen=True)
class Script:
    """A script as the server knows it."""

    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """The script in the file `lua/<name>.lua`."""
    text = _read(name)
    first = text.partition("\n")[0]
    if first.startswith(_NEEDS):
        pieces = [piece.strip() for piece in first.removeprefix(_NEEDS).split(",")]
        text = "\n".join([f"local {', '.join(pieces)}", *map(_begun_when_used, pieces), text])
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _begun_when_used(piece: str) -> str:
    """A piece in whose place a table stands that puts the piece there when something of it is used first."""
    text = _read(f"pieces/{piece}")
    return f"{piece} = setmetatable({{}}, {{ __index = function(_, name)\n{text}return {piece}[name]\nend }})"


def _read(name: str) -> str:
    return (files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8")
