"""What reading a tree gives: the values of one parcel, and of the whole tree. Kept compact, as they are stored."""

import zlib

import msgspec

from tenuto.review.source import Broken, Documented, Import, Lines
from tenuto.review.tree import Skipped


class FileFacts(msgspec.Struct, frozen=True, array_like=True):
    """One source file: where it is, its language, its counts, and why it could not be parsed where that is so."""

    path: str
    language: str
    lines: Lines
    functions: int
    classes: int
    documentation: Documented
    is_test: bool
    broken: Broken | None = None


class FunctionAt(msgspec.Struct, frozen=True, array_like=True):
    """A function and where it stands; `length` is in lines."""

    path: str
    name: str
    line: int
    length: int
    is_test: bool


class Reading(msgspec.Struct, frozen=True):
    """One parcel, read.

    `imports` holds, by file, the imports that may mean a module of this tree. `longest` are the longest functions of
    this parcel; `lengths` says of each length how many functions outside of tests have it.
    """

    files: list[FileFacts]
    imports: dict[str, list[Import]]
    longest: list[FunctionAt]
    lengths: dict[int, int]
    skipped: list[Skipped]


class Facts(msgspec.Struct, frozen=True):
    """A whole tree, read. Imports are pairs of indices into `files`: who imports whom.

    `imports` holds those that run when the importing module is loaded, `late_imports` those that run in its functions.
    """

    files: list[FileFacts]
    imports: list[tuple[int, int]]
    late_imports: list[tuple[int, int]]
    longest: list[FunctionAt]
    lengths: dict[int, int]
    skipped: list[Skipped]


class PackedFacts(msgspec.Struct, frozen=True):
    """Facts as they are handed on: compressed, because those of a large tree would not fit into a stored value."""

    files: int
    packed: bytes


def pack(facts: Facts) -> PackedFacts:
    """Return the facts compressed."""
    return PackedFacts(len(facts.files), zlib.compress(msgspec.json.encode(facts), 3))


def unpack(packed: PackedFacts) -> Facts:
    """Return the facts that were packed."""
    return msgspec.json.decode(zlib.decompress(packed.packed), type=Facts)
