"""The sections of a report, one method each: its lines in Markdown, and why it has no numbers where it has none."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from tenuto.review.findings import findings
from tenuto.review.markdown import code, count, plain, share, table
from tenuto.review.metrics import CycleRow, FileRow, Metrics

Lines = Iterator[str]

GONE = " (no longer there)"
"""What follows a path that has vanished since it was read."""

_REACH = {"direct": "imported", "indirect": "indirectly", "none": "no", None: "–"}


class Sections:
    """The sections of the report on these metrics. Paths in `gone` are marked as no longer there."""

    def __init__(self, metrics: Metrics, gone: frozenset[str]) -> None:
        self._metrics = metrics
        self._gone = gone

    def findings(self) -> Lines:
        for sentence in findings(self._metrics):
            yield f"- {sentence}"

    def size(self) -> Lines:
        totals = self._metrics.totals
        rows = [
            ("Files", totals.files),
            ("Bytes", totals.size),
            ("Directories", totals.directories),
            ("Binary files", totals.binary),
            ("Source files", totals.source_files),
            ("Test files", totals.test_files),
            ("Lines of code", totals.lines.code),
            ("Lines of code in tests", totals.test_lines.code),
            ("Lines of comment", totals.lines.comment),
            ("Blank lines", totals.lines.blank),
            ("Functions", totals.functions),
            ("Classes", totals.classes),
        ]
        yield from table(("What", " Number"), ((what, count(number)) for what, number in rows))
        yield ""
        if not self._metrics.languages:
            yield "No language was recognised, because there are no text files."
            return
        yield from table(
            ("Language", "Kind", " Files", " Bytes", " Code", " Comment", " Blank"),
            (
                (
                    row.name,
                    row.kind,
                    *map(count, (row.files, row.size, row.lines.code, row.lines.comment, row.lines.blank)),
                )
                for row in self._metrics.languages
            ),
        )

    def packages(self) -> Lines:
        if not self._metrics.packages:
            yield "There is no source file, so there are no packages."
            return
        yield from self._shown(len(self._metrics.packages), self._metrics.package_count, "directories", "most code")
        yield from table(
            ("Directory", " Files", " Code", " Comment", " Functions", " Classes", " Documented", " Tested"),
            (
                (
                    self._path(row.directory),
                    *map(count, (row.files, row.lines.code, row.lines.comment, row.functions, row.classes)),
                    share(row.documentation.documented, row.documentation.defined),
                    share(row.reached, row.measured),
                )
                for row in self._metrics.packages
            ),
        )

    def functions(self) -> Lines:
        if not self._metrics.longest_functions:
            yield "No function was read: only Python is parsed, and there is none outside of tests."
            return
        yield (
            f"Half of all functions have at most {count(self._metrics.function_median)} lines, 95 of 100 at most"
            f" {count(self._metrics.function_p95)}. The longest, tests left out:"
        )
        yield ""
        yield from table(
            ("Function", " Lines", "File", " At line"),
            (
                (code(one.name), count(one.length), self._path(one.path), count(one.line))
                for one in self._metrics.longest_functions
            ),
        )

    def cycles(self) -> Lines:
        if not self._metrics.cycle_count:
            reason = f"None among {count(self._metrics.import_count)} imports inside the tree."
            yield reason if self._metrics.import_count else "No import of one Python file by another was found."
            return
        yield from self._shown(len(self._metrics.cycles), self._metrics.cycle_count, "cycles", "most modules")
        yield from table(
            (" Modules", "A shortest circle"),
            (
                (count(row.size), " → ".join([*map(self._path, row.paths), *self._back(row)]))
                for row in self._metrics.cycles
            ),
        )

    def documentation(self) -> Lines:
        documented = self._metrics.documentation
        if not documented.defined:
            yield "No public definition was read: only Python is parsed, and there is none outside of tests."
            return
        yield (
            f"{count(documented.documented)} of {count(documented.defined)} public definitions have a docstring"
            f" ({share(documented.documented, documented.defined)})."
        )
        if not self._metrics.undocumented:
            return
        yield ""
        yield from self._shown(
            len(self._metrics.undocumented), self._metrics.undocumented_count, "files that lack some", "most missing"
        )
        yield from table(
            ("File", " Public definitions", " Without docstring", " Documented"),
            (
                (
                    self._path(row.path),
                    count(row.documentation.defined),
                    count(row.documentation.missing),
                    share(row.documentation.documented, row.documentation.defined),
                )
                for row in self._metrics.undocumented
            ),
        )

    def tests(self) -> Lines:
        coverage = self._metrics.coverage
        if not coverage.measured:
            yield "There is no source file with code outside of tests."
            return
        if not self._metrics.totals.test_files:
            yield "No test file was recognised, so no source file is reached by one."
            return
        yield "Which source files are imported by tests: a static measure, not the lines that tests execute."
        yield ""
        yield from table(
            ("Reached by tests", " Number", " Share"),
            (
                (what, count(number), share(number, coverage.measured))
                for what, number in (
                    ("imported by a test", coverage.direct),
                    ("indirectly", coverage.indirect),
                    ("not at all", coverage.none),
                )
            ),
        )
        if self._metrics.unreached:
            yield ""
            yield from self._shown(len(self._metrics.unreached), coverage.none, "files no test reaches", "most code")
            yield from table(
                ("File", " Code", " Functions"),
                ((self._path(row.path), count(row.code), count(row.functions)) for row in self._metrics.unreached),
            )

    def activity(self) -> Lines:
        activity = self._metrics.activity
        if activity.note:
            yield activity.note
        if not activity.commits:
            return
        authors = "1 author" if activity.author_count == 1 else f"{count(activity.author_count)} authors"
        yield (
            f"{count(activity.commits)} commits by {authors}, from {_day(activity.first)}"
            f" to {_day(activity.last)}; merges are not counted."
        )
        yield ""
        yield from table(
            ("Month", " Commits", " Lines added", " Lines deleted"),
            (
                (month.month, *map(count, (month.commits, month.added, month.deleted)))
                for month in reversed(activity.months)
            ),
        )
        yield ""
        yield from table(
            ("Author", " Commits", " Share"),
            (
                (code(author.name), count(author.commits), share(author.commits, activity.commits))
                for author in activity.authors
            ),
        )

    def hot_spots(self) -> Lines:
        if not self._metrics.hot_spots:
            known = self._metrics.activity.commits
            yield "No source file was changed more than once." if known else "Without a history there are none."
            return
        yield "Files that are both large and often changed, where work on the structure pays first."
        yield ""
        yield from table(
            ("File", " Commits", " Code", " Commits × code", " Lines changed", "Last"),
            (
                (
                    self._path(spot.path),
                    *map(count, (spot.commits, spot.code, spot.score, spot.changed)),
                    _day(spot.last),
                )
                for spot in self._metrics.hot_spots
            ),
        )

    def files(self) -> Lines:
        if not self._metrics.files:
            yield "There is no source file."
            return
        yield from self._shown(len(self._metrics.files), self._metrics.totals.source_files, "source files", "most code")
        yield from table(
            ("File", " Code", " Functions", " Documented", "Tested", " Commits"), map(self._file, self._metrics.files)
        )

    def left_out(self) -> Lines:
        if self._metrics.cut_off:
            yield f"The tree has more than the {count(self._metrics.totals.files)} files that were counted."
            yield ""
        if not self._metrics.skipped and not self._metrics.broken:
            yield "Nothing was left out."
            return
        if self._metrics.skipped:
            yield from table(
                ("Reason", " Number", "For example"),
                (
                    (plain(entry.reason), count(entry.count), ", ".join(map(code, entry.examples[:3])))
                    for entry in self._metrics.skipped
                ),
            )
        if self._metrics.broken:
            yield ""
            yield from self._shown(len(self._metrics.broken), self._metrics.broken_count, "files not parsed", "paths")
            yield from table(
                ("File", " At line", "Fault"),
                ((self._path(one.path), count(one.line), plain(one.reason)) for one in self._metrics.broken),
            )

    def method(self) -> Lines:
        listed = "git's list of tracked and not ignored files" if self._metrics.listed_by == "git" else "a walk"
        told = self._metrics.listing_note.rstrip(".")
        note = f" ({told[0].lower()}{told[1:]})" if told else ""
        yield f"- The files are those of {listed}{plain(note)}. Nothing in the tree was imported, run or changed."
        yield "- Lines are code, comment (with docstrings) or blank. Python is parsed, the rest read by line."
        yield "- *Documented* is the share of public modules, classes and functions with a docstring, outside of tests."
        yield (
            "- *Tested* says whether test files import a Python file, directly or through others; in other languages,"
            " whether there is a test file named for it. What tests execute, or start as a process, is not seen."
        )
        yield "- Cycles are counted among imports that run while modules are loaded, resolved by their names alone."
        yield "- Commits follow renames, and merges are left out."

    def _file(self, row: FileRow) -> tuple[str, ...]:
        documented = "–" if row.reach is None else share(row.documentation.documented, row.documentation.defined)
        return (
            self._path(row.path),
            count(row.code),
            count(row.functions),
            documented,
            _REACH[row.reach],
            count(row.commits),
        )

    def _path(self, path: str) -> str:
        return f"{code(path)}{GONE}" if path in self._gone else code(path)

    def _back(self, cycle: CycleRow) -> Iterator[str]:
        if cycle.length > len(cycle.paths):
            yield f"… {count(cycle.length - len(cycle.paths))} more"
        yield self._path(cycle.paths[0])

    def _shown(self, shown: int, whole: int, what: str, order: str) -> Iterable[str]:
        if shown == whole:
            return ()
        return (f"The {count(shown)} of {count(whole)} {what} with the {order}:", "")


def _day(when: int) -> str:
    try:
        return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d")
    except (OverflowError, ValueError, OSError):  # a commit may claim any time at all
        return "an unknown day"
