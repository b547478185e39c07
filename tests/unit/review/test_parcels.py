"""Every source file is in exactly one parcel, and parcels are of about equal size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.review.parcels import parcels
from tenuto.review.tree import Package, Scan, SourceFile


def scan_of(packages: list[Package]) -> Scan:
    return Scan(
        name="tree",
        listed_by="walk",
        listing_note="",
        files=0,
        size=0,
        directories=0,
        binary=0,
        cut_off=False,
        languages=[],
        packages=packages,
        skipped=[],
        python_prefix="",
        own_names=[],
    )


sizes = st.lists(st.lists(st.integers(0, 40_000_000), min_size=1, max_size=20), max_size=30)


@given(sizes, st.integers(1, 10))
def test_every_file_is_read_once_in_at_most_so_many_parcels(sizes: list[list[int]], limit: int) -> None:
    packages = [
        Package(f"d{at:02}", [SourceFile(f"f{number:02}.py", size) for number, size in enumerate(inside)])
        for at, inside in enumerate(sizes)
    ]

    found = parcels(scan_of(packages), limit)

    assert len(found) <= limit
    assert [parcel.number for parcel in found] == list(range(1, len(found) + 1))
    read = [(package.directory, file.name) for parcel in found for package in parcel.packages for file in package.files]
    assert read == [(package.directory, file.name) for package in packages for file in package.files]


def test_a_large_package_is_divided_and_small_ones_are_put_together() -> None:
    large = Package("large", [SourceFile(f"{number}.py", 200_000) for number in range(20)])
    small = [Package(f"small{number:03}", [SourceFile("a.py", 100)]) for number in range(500)]

    found = parcels(scan_of([large, *small]), 16)

    assert len([parcel for parcel in found if parcel.title.startswith("large")]) > 4
    assert any("more" in parcel.title for parcel in found)


def test_a_review_needs_a_parcel() -> None:
    with pytest.raises(ValueError, match="at least one parcel"):
        parcels(scan_of([]), 0)
