"""Source files divided into parcels of work.

A package is a parcel, unless it is so large that other workers would wait for it, or there are more packages than
parcels are wanted; then a package is divided, or neighbours are put together. The order of the tree is kept, so a
parcel is a stretch of the tree with a name a person recognises, and the same scan gives the same parcels.
"""

from collections.abc import Iterator

import msgspec

from tenuto.review.source import READ_LIMIT
from tenuto.review.tree import Package, Scan, SourceFile

# To open and parse the smallest file takes about as long as two kilobytes of source more in a large one.
_FILE_WEIGHT = 2_048
_SMALLEST_SHARE = 256 * 1024


class Parcel(msgspec.Struct, frozen=True):
    """Some packages to be read by one task; `number` counts from 1."""

    number: int
    packages: list[Package]

    @property
    def title(self) -> str:
        """A line that says what is read."""
        first = self.packages[0].directory
        more = f" and {len(self.packages) - 1} more" if len(self.packages) > 1 else ""
        part = " (part)" if self.packages[0].part and not more else ""
        return f"{first}{part}{more}"


def parcels(scan: Scan, limit: int = 64) -> list[Parcel]:
    """Return the source files of a scan as at most `limit` parcels of about equal work; none for a tree without source.

    Raises `ValueError` for a limit below 1.
    """
    if limit < 1:
        raise ValueError(f"A review needs at least one parcel of work, not {limit}.")
    total = sum(_weight(package.files) for package in scan.packages)
    share = max(_SMALLEST_SHARE, 2 * total // limit)
    pieces = [piece for package in scan.packages for piece in _divided(package, share)]
    groups = [[piece] for piece in pieces] if len(pieces) <= limit else list(_joined(pieces, total, limit))
    return [Parcel(number, group) for number, group in enumerate(groups, start=1)]


def _weight(files: list[SourceFile]) -> int:
    return sum(_file_weight(file) for file in files)


def _file_weight(file: SourceFile) -> int:
    return min(file.size, READ_LIMIT) + _FILE_WEIGHT


def _divided(package: Package, share: int) -> list[Package]:
    parts: list[list[SourceFile]] = []
    room = 0
    for file in package.files:
        weight = _file_weight(file)
        if weight > room or not parts:
            parts.append([])
            room = share
        parts[-1].append(file)
        room -= weight
    return [package] if len(parts) == 1 else [Package(package.directory, files, part=True) for files in parts]


def _joined(pieces: list[Package], total: int, limit: int) -> Iterator[list[Package]]:
    group: list[Package] = []
    current = 0
    before = 0
    for piece in pieces:
        weight = _weight(piece.files)
        # A piece belongs to the parcel in which its middle falls.
        parcel = min(limit - 1, (2 * before + weight) * limit // (2 * total))
        if group and parcel != current:
            yield group
            group = []
        current = parcel
        group.append(piece)
        before += weight
    if group:
        yield group
