"""Whether a report is acceptable: it is read back as any reader would, and held against the metrics and the tree.

The acceptance criteria: every section is there, once, in order; none is empty; every number that the metrics have for a
row of a table stands in that row; every file and directory that a table names exists.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from tenuto.review.filenames import to_path
from tenuto.review.markdown import Section, count, read_number, read_sections
from tenuto.review.metrics import Metrics
from tenuto.review.report import SECTIONS
from tenuto.review.sections import GONE

_PATH_COLUMNS = ("File", "Directory")


class Finding(msgspec.Struct, frozen=True):
    """Something that keeps a report from being accepted. `subject` is the section, row or path it is about."""

    kind: Literal["section", "number", "path"]
    subject: str
    sentence: str


def judge(report: str, metrics: Metrics, root: Path) -> list[Finding]:
    """Return what is wrong with the report on the tree at `root`; nothing when it is acceptable."""
    sections = read_sections(report)
    found = [*_check_sections(sections), *_check_paths(sections, root)]
    by_title = {section.title: section for section in sections}
    for title, column, expected in _criteria(metrics):
        if title in by_title:
            found += _check_numbers(by_title[title], column, expected)
    return found


def _check_sections(sections: list[Section]) -> Iterator[Finding]:
    titles = [section.title for section in sections]
    if titles != list(SECTIONS):
        for title in SECTIONS:
            times = titles.count(title)
            if times != 1:
                yield Finding("section", title, f"The section {title!r} is there {times} times instead of once.")
        if sorted(titles) == sorted(SECTIONS):
            yield Finding("section", "order", "The sections are not in their order.")
    for section in sections:
        if not section.rows and not any(line.strip() for line in section.text):
            yield Finding("section", section.title, f"The section {section.title!r} is empty and gives no reason.")


def _check_paths(sections: list[Section], root: Path) -> Iterator[Finding]:
    paths = {row[column] for section in sections for row in section.rows for column in _PATH_COLUMNS if column in row}
    for path in sorted(paths):
        if not path.endswith(GONE) and not os.path.lexists(f"{root}/{to_path(path)}"):
            yield Finding("path", path, f"The report names {path}, which is not in the tree.")


def _check_numbers(section: Section, column: str, expected: dict[str, dict[str, int]]) -> Iterator[Finding]:
    rows = {row[column].removesuffix(GONE): row for row in section.rows if column in row}
    for key, numbers in expected.items():
        row = rows.get(key)
        if row is None:
            yield Finding("number", key, f"The section {section.title!r} has no row for {key}.")
            continue
        for heading, number in numbers.items():
            if read_number(row.get(heading, "")) != number:
                told = row.get(heading, "nothing")
                sentence = f"The section {section.title!r} says {told} under {heading} for {key}, not {count(number)}."
                yield Finding("number", key, sentence)


def _criteria(metrics: Metrics) -> Iterator[tuple[str, str, dict[str, dict[str, int]]]]:
    """Yield a section, the column that names the rows of a table in it, and the numbers each row must hold."""
    totals = metrics.totals
    yield (
        "Size and languages",
        "What",
        {
            "Files": {"Number": totals.files},
            "Bytes": {"Number": totals.size},
            "Source files": {"Number": totals.source_files},
            "Test files": {"Number": totals.test_files},
            "Lines of code": {"Number": totals.lines.code},
            "Functions": {"Number": totals.functions},
        },
    )
    yield (
        "Size and languages",
        "Language",
        {row.name: {"Files": row.files, "Code": row.lines.code} for row in metrics.languages},
    )
    yield (
        "Packages",
        "Directory",
        {row.directory: {"Files": row.files, "Code": row.lines.code} for row in metrics.packages},
    )
    yield (
        "Documentation",
        "File",
        {row.path: {"Without docstring": row.documentation.missing} for row in metrics.undocumented},
    )
    if totals.test_files:
        yield "Tests", "File", {row.path: {"Code": row.code} for row in metrics.unreached}
    yield "Activity", "Month", {month.month: {"Commits": month.commits} for month in metrics.activity.months}
    yield (
        "Hot spots",
        "File",
        {spot.path: {"Commits": spot.commits, "Commits × code": spot.score} for spot in metrics.hot_spots},
    )
    yield "Files", "File", {row.path: {"Code": row.code, "Commits": row.commits} for row in metrics.files}
    yield "Left out", "File", {one.path: {"At line": one.line} for one in metrics.broken}
