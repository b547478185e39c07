"""From what the scan, the reading and the history say to the numbers of a review, cut to what a report shows.

Everything is in a fixed order, so that the same tree gives the same metrics.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from tenuto.review.coverage import Reach, is_measured, reach
from tenuto.review.facts import Facts, FileFacts
from tenuto.review.filenames import parent
from tenuto.review.history import Churn, History
from tenuto.review.imports import cycles
from tenuto.review.metrics import (
    Activity,
    BrokenFile,
    Coverage,
    CycleRow,
    FileRow,
    HotSpot,
    LanguageRow,
    Metrics,
    PackageRow,
    Totals,
)
from tenuto.review.source import Documented, Lines
from tenuto.review.tree import Scan, SkipList, Skipped

PACKAGE_ROWS = 30
FUNCTION_ROWS = 15
CYCLE_ROWS = 10
CIRCLE_MODULES = 8
FILE_ROWS = 60
WORST_ROWS = 20
HOT_ROWS = 15
BROKEN_ROWS = 20

T = TypeVar("T")


def measure(scan: Scan, facts: Facts, history: History) -> Metrics:
    """Return the metrics of a tree."""
    reaches = reach(facts)
    churns = {churn.path: churn for churn in history.files}
    rows = [_file_row(file, found, churns) for file, found in zip(facts.files, reaches, strict=True)]
    own = [row for row, file in zip(rows, facts.files, strict=True) if not file.is_test]
    undocumented = [row for row in own if row.documentation.missing]
    unreached = [row for row in own if row.reach == "none"]
    packages = _packages(facts.files, reaches)
    circles = cycles(len(facts.files), facts.imports)
    broken = [(file.path, file.broken) for file in facts.files if file.broken is not None]
    return Metrics(
        name=scan.name,
        listed_by=scan.listed_by,
        listing_note=scan.listing_note,
        cut_off=scan.cut_off,
        totals=_totals(scan, facts.files),
        languages=_languages(scan, facts.files),
        packages=_first(packages, PACKAGE_ROWS, lambda row: (-row.lines.code, row.directory)),
        package_count=len(packages),
        longest_functions=[one for one in facts.longest if not one.is_test][:FUNCTION_ROWS],
        function_median=_quantile(facts.lengths, 0.5),
        function_p95=_quantile(facts.lengths, 0.95),
        cycles=[_cycle(facts.files, size, circle) for size, circle in circles[:CYCLE_ROWS]],
        cycle_count=len(circles),
        import_count=len(facts.imports) + len(facts.late_imports),
        documentation=_sum_documented(row.documentation for row in own),
        undocumented=_first(undocumented, WORST_ROWS, lambda row: (-row.documentation.missing, row.path)),
        undocumented_count=len(undocumented),
        coverage=Coverage(
            direct=reaches.count("direct"), indirect=reaches.count("indirect"), none=reaches.count("none")
        ),
        unreached=_first(unreached, WORST_ROWS, lambda row: (-row.code, row.path)),
        activity=Activity(
            note=history.note,
            commits=history.commits,
            first=history.first,
            last=history.last,
            author_count=history.author_count,
            authors=history.authors,
            months=history.months,
        ),
        hot_spots=_hot_spots(rows, churns),
        files=_first(rows, FILE_ROWS, lambda row: (-row.code, row.path)),
        broken=[BrokenFile(path, fault.line, fault.reason) for path, fault in broken[:BROKEN_ROWS]],
        broken_count=len(broken),
        skipped=_skipped(scan.skipped, facts.skipped),
    )


def _first(rows: Sequence[T], count: int, order: Callable[[T], Any]) -> list[T]:
    return sorted(rows, key=order)[:count]


def _file_row(file: FileFacts, found: Reach | None, churns: dict[str, Churn]) -> FileRow:
    churn = churns.get(file.path)
    commits = churn.commits if churn is not None else 0
    return FileRow(file.path, file.lines.code, file.functions, file.documentation, found, commits)


def _totals(scan: Scan, files: list[FileFacts]) -> Totals:
    tests = [file for file in files if file.is_test]
    return Totals(
        files=scan.files,
        size=scan.size,
        directories=scan.directories,
        binary=scan.binary,
        source_files=len(files),
        test_files=len(tests),
        lines=_sum_lines(files),
        test_lines=_sum_lines(tests),
        functions=sum(file.functions for file in files),
        classes=sum(file.classes for file in files),
    )


def _languages(scan: Scan, files: list[FileFacts]) -> list[LanguageRow]:
    lines: dict[str, Lines] = defaultdict(Lines)
    for file in files:
        lines[file.language] += file.lines
    rows = [LanguageRow(one.name, one.kind, one.files, one.size, lines[one.name]) for one in scan.languages]
    return sorted(rows, key=lambda row: (-row.lines.code, -row.size, row.name))


def _packages(files: list[FileFacts], reaches: Sequence[Reach | None]) -> list[PackageRow]:
    members: dict[str, list[int]] = defaultdict(list)
    for number, file in enumerate(files):
        members[parent(file.path)].append(number)
    rows = []
    for directory, numbers in members.items():
        inside = [files[number] for number in numbers]
        rows.append(
            PackageRow(
                directory,
                len(inside),
                _sum_lines(inside),
                sum(file.functions for file in inside),
                sum(file.classes for file in inside),
                _sum_documented(file.documentation for file in inside if not file.is_test),
                sum(reaches[number] in {"direct", "indirect"} for number in numbers),
                sum(is_measured(file) for file in inside),
            )
        )
    return rows


def _cycle(files: list[FileFacts], size: int, circle: list[int]) -> CycleRow:
    return CycleRow(size, len(circle), [files[at].path for at in circle[:CIRCLE_MODULES]])


def _hot_spots(rows: list[FileRow], churns: dict[str, Churn]) -> list[HotSpot]:
    spots = []
    for row in rows:
        if row.commits > 1 and row.code:
            churn = churns[row.path]
            score = row.commits * row.code
            spots.append(HotSpot(row.path, row.commits, row.code, score, churn.added + churn.deleted, churn.last))
    return _first(spots, HOT_ROWS, lambda spot: (-spot.score, spot.path))


def _quantile(lengths: dict[int, int], share: float) -> int:
    """Return the smallest length that at least `share` of all functions do not exceed; 0 where there are none."""
    wanted = share * sum(lengths.values())
    seen = 0
    for length, count in sorted(lengths.items()):
        seen += count
        if seen >= wanted:
            return length
    return 0


def _skipped(*lists: list[Skipped]) -> list[Skipped]:
    joined = SkipList()
    for entries in lists:
        for entry in entries:
            joined.merge(entry)
    return joined.entries()


def _sum_lines(files: Iterable[FileFacts]) -> Lines:
    return sum((file.lines for file in files), Lines())


def _sum_documented(parts: Iterable[Documented]) -> Documented:
    return sum(parts, Documented())
