"""The scripts that run inside the server: one Lua file each, put together with the pieces that it needs.

A script of `lua/` names its pieces in its first line (`-- needs: rows, lanes`); those of `lua/reads/` need none. A
piece is a table of functions under the name of its file, and may use the others'. It is begun when something of it is
used. What it knows of a request it forgets when the next one begins (`session.each_request`).

There are two forms of the same text. Redis 7 and Valkey keep a library of functions, in which pieces stay as they were
begun. Other servers keep each script under the hash of its text, and begin its pieces anew whenever it runs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["SCRIPTS", "Library", "Script", "function_library", "script"]

_NEEDS = "-- needs: "
_READS = "reads/"

SCRIPTS = (
    "stage",
    "submit",
    "exchange",
    "record",
    "renew",
    "signal",
    "walk",
    "plan",
    "ring",
    "fire",
    "tidy",
    "purge",
    "schedule",
    "settings",
    "money",
    "reads/tasks",
    "reads/blobs",
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

_REGISTER = """local function register(name, body, flags)
  redis.register_function({ function_name = '{library}_' .. name, flags = flags, callback = function(keys, args)
    KEYS, ARGV = keys, args
    if not session then
      lay_out()
    end
    return body()
  end })
end
"""


@dataclass(frozen=True)
class Script:
    """A script as the server knows it."""

    text: str
    sha: str


@dataclass(frozen=True)
class Library:
    """All scripts as functions of one library, named for its text, so that several versions can use one server."""

    name: str
    text: str

    def function(self, name: str) -> str:
        """The name of the function that is the script `name`."""
        return f"{self.name}_{_word(name)}"


@cache
def script(name: str) -> Script:
    """The script in the file `lua/<name>.lua`."""
    text = _read(name)
    pieces = _needs(text)
    if pieces:
        text = "\n".join([_declared(pieces), *map(_begun_when_used, pieces), text])
    return Script(text, _sha(text))


@cache
def function_library() -> Library:
    """The library of all `SCRIPTS`."""
    texts = {name: _read(name) for name in SCRIPTS}
    pieces = list(dict.fromkeys(piece for text in texts.values() for piece in _needs(text)))
    parts = ["local KEYS, ARGV", _declared(pieces)]
    parts += ["local function lay_out()", *map(_begun_when_used, pieces), "end", _REGISTER]  # not while it is loaded
    for name, text in texts.items():
        flags = "{ 'no-writes' }" if name.startswith(_READS) else "{}"
        parts.append(f"register('{_word(name)}', function()\n{text}end, {flags})")
    text = "\n".join(parts)
    name = f"tenuto_{_sha(text)[:12]}"
    return Library(name, f"#!lua name={name}\n{text.replace('{library}', name)}")


def _word(name: str) -> str:
    return name.replace("/", "_")


def _sha(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _needs(text: str) -> list[str]:
    first = text.partition("\n")[0]
    return [piece.strip() for piece in first.removeprefix(_NEEDS).split(",")] if first.startswith(_NEEDS) else []


def _declared(pieces: list[str]) -> str:
    return f"local {', '.join(pieces)}"


def _begun_when_used(piece: str) -> str:
    """A piece in whose place a table stands that puts the piece there when something of it is used first."""
    text = _read(f"pieces/{piece}")
    return f"{piece} = setmetatable({{}}, {{ __index = function(_, name)\n{text}return {piece}[name]\nend }})"


def _read(name: str) -> str:
    return (files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8")
