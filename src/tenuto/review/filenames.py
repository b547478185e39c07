r"""File names as text that can be stored as JSON, shown to people, and turned back into the same file name.

A file name is bytes. Nearly all are UTF-8 and printable, and those are written as they are. Any other byte, and any
control, invisible or direction-changing character, is written as `\xNN`, and a backslash as `\\`; so no name can break
a line of a report, and `to_path(to_text(name)) == name` holds for each of them.

Paths in this package are relative to the reviewed tree, with `/` between the parts; the tree itself is `.`.
"""

import os
import re

_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|\\)")


def to_text(name: str | bytes) -> str:
    """Return the name in its stored form. A `str` is one as `os` gives it, with surrogates for undecodable bytes."""
    plain = os.fsdecode(name)
    if plain.isprintable() and "\\" not in plain:
        return plain
    return "".join(_escaped(character) for character in plain)


def to_path(text: str) -> str:
    """Return the name as `os` takes it, for a text that `to_text` made."""
    if "\\" not in text:
        return text
    raw = bytearray()
    position = 0
    for match in _ESCAPE.finditer(text):
        raw += os.fsencode(text[position : match.start()])
        raw += bytes.fromhex(match[1]) if match[1] else b"\\"
        position = match.end()
    raw += os.fsencode(text[position:])
    return os.fsdecode(bytes(raw))


def join(directory: str, name: str) -> str:
    """Return the path of a name in a directory of the tree."""
    return name if directory == "." else f"{directory}/{name}"


def parent(path: str) -> str:
    """Return the directory that holds this path; of a path without one, the tree itself."""
    return path.rpartition("/")[0] or "."


def _escaped(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
