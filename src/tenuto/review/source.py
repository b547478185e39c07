"""What one source file says about itself: the values that reading it gives, whatever the language."""

import re
from typing import Literal

import msgspec

READ_LIMIT = 16 * 1024 * 1024
"""Bytes. A larger file is not read: it is data in the clothes of source."""

_MARK = re.compile(r"\b(?:TODO|FIXME|HACK|XXX)\b")
_MARK_LENGTH = 100

When = Literal["load", "later", "typing"]
"""When an import runs: while its module is loaded, in a function that is called later, or never (type checkers only)."""


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
    """How many definitions of one kind there are, and how many of them have a docstring."""

    defined: int = 0
    documented: int = 0

    @property
    def missing(self) -> int:
        """How many have none."""
        return self.defined - self.documented

    def __add__(self, other: "Documented") -> "Documented":
        return Documented(self.defined + other.defined, self.documented + other.documented)


class Documentation(msgspec.Struct, frozen=True, array_like=True):
    """Docstrings by kind. `public` counts again those of the three kinds whose names are public."""

    modules: Documented = Documented()
    classes: Documented = Documented()
    functions: Documented = Documented()
    public: Documented = Documented()

    @property
    def whole(self) -> Documented:
        """All three kinds together."""
        return self.modules + self.classes + self.functions

    def __add__(self, other: "Documentation") -> "Documentation":
        return Documentation(
            self.modules + other.modules,
            self.classes + other.classes,
            self.functions + other.functions,
            self.public + other.public,
        )


class Function(msgspec.Struct, frozen=True):
    """A function, by its name inside the file (`Class.method`), its first line, and its length in lines."""

    name: str
    line: int
    length: int


class Import(msgspec.Struct, frozen=True, array_like=True):
    """One import statement: the module, and the names taken from it (`name`, or `name=alias`).

    A relative module begins with its dots in what `python_source` gives, and with `/` and its path in the tree once
    the package is known.
    """

    module: str
    names: list[str]
    when: When = "load"


class Mark(msgspec.Struct, frozen=True):
    """A note its author left in a comment: a line that says TODO, FIXME, HACK or XXX."""

    line: int
    text: str


class Broken(msgspec.Struct, frozen=True):
    """Why a file is not valid source. `line` is 0 where the fault has no line."""

    line: int
    reason: str


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One source file as it was read.

    `bound` holds the names a package's `__init__.py` defines, or None where that cannot be listed; other files have
    none. `own_tests` is true of a file that holds tests of itself.
    """

    lines: Lines
    functions: list[Function] = []
    classes: int = 0
    documentation: Documentation = Documentation()
    imports: list[Import] = []
    bound: list[str] | None = []
    marks: list[Mark] = []
    own_tests: bool = False
    broken: Broken | None = None


def split_lines(text: str) -> list[str]:
    """Return the lines of a source text, split where compilers split them, and not at form feeds or the like."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return lines


def mark_in(line: str, number: int, starts: tuple[str, ...]) -> Mark | None:
    """Return the mark in the comment of this line, or None; `starts` are what a comment can start with."""
    found = _MARK.search(line)
    if found is None:
        return None
    before = [line.find(start) for start in starts if 0 <= line.find(start) < found.start()]
    return Mark(number, line[min(before) :].strip()[:_MARK_LENGTH]) if before else None
