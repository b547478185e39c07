"""What a scan of a source tree says: the values that the parts of a review hand on, and nothing that computes them."""

from typing import Literal

import msgspec

from tenuto.review.languages import Kind

_EXAMPLES = 5


class SourceFile(msgspec.Struct, frozen=True, array_like=True):
    """A source file in its package; `size` is in bytes, when it was scanned."""

    name: str
    size: int


class Package(msgspec.Struct, frozen=True):
    """A directory that holds source files; `part` is set on each of several parts it was divided into."""

    directory: str
    files: list[SourceFile]
    part: bool = False


class LanguageFiles(msgspec.Struct, frozen=True):
    """How many files a language has in the tree, and how many bytes in them."""

    name: str
    kind: Kind
    files: int
    size: int


class Skipped(msgspec.Struct, frozen=True):
    """What was left out for one reason: how often, and the first examples."""

    reason: str
    count: int
    examples: list[str]


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What a source tree consists of.

    `listing_note` says why git was not asked, where it was not. `binary` counts the files that hold no text, and
    `cut_off` says that there were more files than the limit. `python_prefix` is the dotted name of the Python package
    that the tree itself is, or an empty text; `own_names` are the first names by which an import may mean a module of
    this tree, or None where they are too many to hand around.
    """

    name: str
    listed_by: Literal["git", "walk"]
    listing_note: str
    files: int
    size: int
    directories: int
    binary: int
    cut_off: bool
    languages: list[LanguageFiles]
    packages: list[Package]
    skipped: list[Skipped]
    python_prefix: str
    own_names: list[str] | None


class SkipList:
    """Counts what is left out, by reason, and keeps the first few names of each."""

    def __init__(self) -> None:
        self._reasons: dict[str, tuple[int, list[str]]] = {}

    def add(self, reason: str, example: str) -> None:
        """Count one more for this reason."""
        self.merge(Skipped(reason, 1, [example]))

    def merge(self, other: Skipped) -> None:
        """Count all of what was left out elsewhere for one reason."""
        count, examples = self._reasons.get(other.reason, (0, []))
        room = _EXAMPLES - len(examples)
        self._reasons[other.reason] = (count + other.count, examples + other.examples[:room])

    def entries(self) -> list[Skipped]:
        """Return what was counted, in the order of the reasons."""
        return [Skipped(reason, count, examples) for reason, (count, examples) in sorted(self._reasons.items())]
