"""What one source file says about itself: the values that reading it gives, whatever the language."""

from typing import Literal

import msgspec

READ_LIMIT = 16 * 1024 * 1024
"""Bytes. A larger file is not read: it is data in the clothes of source."""

When = Literal["load", "later", "typing"]
"""When an import runs: as its module is loaded, in a function that is called later, or never (type checkers only)."""


class Lines(msgspec.Struct, frozen=True, array_like=True):
    """Lines of code, lines that are only comment or documentation, and blank lines. Each line is one of the three."""

    code: int = 0
    comment: int = 0
    blank: int = 0

    @property
    def total(self) -> int:
        """All lines."""
        return self.code + self.comment + self.blank

    def __add__(self, other: "Lines") -> "Lines":
        return Lines(self.code + other.code, self.comment + other.comment, self.blank + other.blank)


class Documented(msgspec.Struct, frozen=True, array_like=True):
    """How many public definitions (module, classes, functions) there are, and how many of them have a docstring."""

    defined: int = 0
    documented: int = 0

    @property
    def missing(self) -> int:
        """How many have none."""
        return self.defined - self.documented

    def __add__(self, other: "Documented") -> "Documented":
        return Documented(self.defined + other.defined, self.documented + other.documented)


class Function(msgspec.Struct, frozen=True, array_like=True):
    """A function, by its name inside the file (`Class.method`), its first line, and its length in lines."""

    name: str
    line: int
    length: int


class Import(msgspec.Struct, frozen=True, array_like=True):
    """One import statement: the module as it is written, with its leading dots, and the names taken from it."""

    module: str
    names: list[str]
    when: When = "load"


class Broken(msgspec.Struct, frozen=True, array_like=True):
    """Why a file could not be parsed. `line` is 0 where the fault has no line."""

    line: int
    reason: str


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One source file as it was read."""

    lines: Lines
    functions: list[Function] = []
    classes: int = 0
    documentation: Documented = Documented()
    imports: list[Import] = []
    broken: Broken | None = None


def split_lines(text: str) -> list[str]:
    """Return the lines of a source text, split where compilers split them, and not at form feeds or the like."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return lines
