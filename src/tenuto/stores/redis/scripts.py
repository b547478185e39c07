"""The scripts that run inside the server: one Lua file each, put together with the pieces that it needs.

A script of `lua/` names its pieces in its first line (`-- needs: rows, lanes`); those of `lua/reads/` need none. A
piece is a table of functions under the name of its file, and may use the others'. Each is a block of its own, which
makes scripts begin sooner: a server takes longer to make a function the more local names are in sight. It keeps scripts
under the hash of their text until it is restarted or told to forget them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["SCRIPTS", "Script", "script"]

_NEEDS = "-- needs: "

SCRIPTS = (
    "submit",
    "exchange",
    "record",
    "renew",
    "signal",
    "ring",
    "fire",
    "tidy",
    "purge",
    "schedule",
    "settings",
    "reads/tasks",
    "reads/find",
    "reads/feed",
    "reads/goal",
    "reads/counts",
    "reads/limits",
    "reads/workers",
    "reads/needs",
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
        blocks = (f"do\n{_read(f'pieces/{piece}')}end" for piece in pieces)
        text = "\n".join([f"local {', '.join(pieces)}", *blocks, text])
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return (files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8")
