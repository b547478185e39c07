"""The numbers of a review, as values: what a report is written from and judged by. `measure` computes them.

Wherever a list is cut, the whole count stands beside it.
"""

import msgspec

from tenuto.review.coverage import Reach
from tenuto.review.facts import FunctionAt
from tenuto.review.history import Author, Month
from tenuto.review.languages import Kind
from tenuto.review.source import Documented, Lines
from tenuto.review.tree import Skipped


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The size of a tree. `files`, `size` (bytes), `directories` and `binary` count every file; the rest, source."""

    files: int
    size: int
    directories: int
    binary: int
    source_files: int
    test_files: int
    lines: Lines
    test_lines: Lines
    functions: int
    classes: int


class LanguageRow(msgspec.Struct, frozen=True, array_like=True):
    """A language: its files and bytes, and its lines where its files were read."""

    name: str
    kind: Kind
    files: int
    size: int
    lines: Lines


class PackageRow(msgspec.Struct, frozen=True, array_like=True):
    """A directory with source files. `reached` of its `measured` files are reached by tests."""

    directory: str
    files: int
    lines: Lines
    functions: int
    classes: int
    documentation: Documented
    reached: int
    measured: int


class FileRow(msgspec.Struct, frozen=True, array_like=True):
    """A source file. `reach` is None for tests and for files without code; `commits` is 0 where none is known."""

    path: str
    code: int
    functions: int
    documentation: Documented
    reach: Reach | None
    commits: int


class CycleRow(msgspec.Struct, frozen=True, array_like=True):
    """A group of `size` modules that all import each other, and a shortest circle: its length and first modules."""

    size: int
    length: int
    paths: list[str]


class HotSpot(msgspec.Struct, frozen=True, array_like=True):
    """A file that is both large and often changed: `score` is commits times lines of code.

    `changed` counts the lines that were added or deleted; `last` is the time of the last commit, in seconds since 1970.
    """

    path: str
    commits: int
    code: int
    score: int
    changed: int
    last: int


class BrokenFile(msgspec.Struct, frozen=True, array_like=True):
    """A file that could not be parsed; `line` is 0 where the fault has no line."""

    path: str
    line: int
    reason: str


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How many source files tests reach, and of how many that is asked."""

    direct: int
    indirect: int
    none: int

    @property
    def measured(self) -> int:
        """Files that are no tests and have code."""
        return self.direct + self.indirect + self.none


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """What the history says about the tree as a whole; `note` says why there is none, or what is missing."""

    note: str
    commits: int
    first: int
    last: int
    author_count: int
    authors: list[Author]
    months: list[Month]


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """All numbers of a review. See the fields' own types; a `…_count` is the whole of which a list shows the first."""

    name: str
    listed_by: str
    listing_note: str
    cut_off: bool
    totals: Totals
    languages: list[LanguageRow]
    packages: list[PackageRow]
    package_count: int
    longest_functions: list[FunctionAt]
    function_median: int
    function_p95: int
    cycles: list[CycleRow]
    cycle_count: int
    import_count: int
    documentation: Documented
    undocumented: list[FileRow]
    undocumented_count: int
    coverage: Coverage
    unreached: list[FileRow]
    activity: Activity
    hot_spots: list[HotSpot]
    files: list[FileRow]
    broken: list[BrokenFile]
    broken_count: int
    skipped: list[Skipped]
