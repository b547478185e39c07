"""What git says about a tree: how often each file was changed, by how many people, and when.

`git log` is read as it is written, newest commit first, at most `COMMIT_LIMIT` commits and for a limited time; what was
read until then counts, and the history says that it is not whole. A file that was renamed keeps its earlier changes
under its present name. Merges are left out, because their changes are those of the commits they bring.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from heapq import nsmallest
from pathlib import Path

import msgspec

from tenuto.review import git
from tenuto.review.filenames import to_text

COMMIT_LIMIT = 10_000
"""Commits. More are not read."""

_PATH_LIMIT = 200_000
_KEPT_FILES = 20_000
_KEPT_AUTHORS = 10
_KEPT_MONTHS = 12
_COMMIT = b"\x02"


class Churn(msgspec.Struct, frozen=True, array_like=True):
    """How a file was changed: in how many commits, lines added and deleted, and when last (seconds since 1970)."""

    path: str
    commits: int
    added: int
    deleted: int
    last: int


class Month(msgspec.Struct, frozen=True, array_like=True):
    """What happened in a month, written as `2026-01`."""

    month: str
    commits: int
    added: int
    deleted: int


class Author(msgspec.Struct, frozen=True, array_like=True):
    """A person, and how many commits are theirs."""

    name: str
    commits: int


class History(msgspec.Struct, frozen=True, kw_only=True):
    """The history of a tree. `note` says why there is none, or what is missing from it; times are seconds since 1970.

    `files` holds those that were changed most often, under the names they have now; `months` the latest that had
    commits, oldest first.
    """

    note: str = ""
    commits: int = 0
    first: int = 0
    last: int = 0
    author_count: int = 0
    authors: list[Author] = []
    months: list[Month] = []
    files: list[Churn] = []


def read_history(root: Path, *, commit_limit: int = COMMIT_LIMIT, seconds: float = 90.0) -> History:
    """Return what git knows about the tree at `root`, from at most `commit_limit` commits and within `seconds`."""
    answer, shallow = git.ask(root, "rev-parse", "--is-shallow-repository", seconds=seconds)
    if not answer.complete:
        return History(note=answer.sentence(root))
    log = _Log()
    limited = False
    arguments = (
        *("log", "-z", "--numstat", "--no-merges", "--relative", "-M", "-l400", "--no-ext-diff", "--no-textconv"),
        *(f"--max-count={commit_limit + 1}", "--format=tformat:%x02%ct%x00%aN", "HEAD", "--", "."),
    )
    with git.stream(root, *arguments, seconds=seconds) as (answer, chunks):
        for header, changes in _commits(_tokens(chunks)):
            if log.commits == commit_limit:
                limited = True
                break
            log.add(header, changes)
    notes = []
    if limited:
        notes.append(f"Only the newest {commit_limit:,} commits were read.")
    elif not answer.complete:
        notes.append(answer.sentence(root))
    if shallow == "true":
        notes.append("This is a shallow clone: its oldest commits are missing.")
    if not log.commits and not notes:
        notes.append("No commit has changed a file in this directory.")
    return log.history(" ".join(notes))


Change = tuple[bytes, bytes, bytes, bytes]
"""Lines added and deleted (`-` in binary files), the path, and the former path of a renamed file."""


def _tokens(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *tokens, rest = (rest + chunk).split(b"\0")
        yield from tokens
    if rest:
        yield rest


def _commits(tokens: Iterator[bytes]) -> Iterator[tuple[tuple[bytes, bytes], list[Change]]]:
    """Group the output of `git log -z --numstat` by commit. What was cut off in the middle is left out."""
    header: tuple[bytes, bytes] | None = None
    changes: list[Change] = []
    for token in tokens:
        token = token.lstrip(b"\n")
        if token.startswith(_COMMIT):
            if header is not None:
                yield header, changes
            header, changes = (token[1:], next(tokens, b"")), []
            continue
        added, _, rest = token.partition(b"\t")
        deleted, tab, path = rest.partition(b"\t")
        if not tab:
            continue
        former = b""
        if not path:
            former, path = next(tokens, b""), next(tokens, b"")
        changes.append((added, deleted, path, former))
    if header is not None:
        yield header, changes


class _Log:
    """Adds up commits, newest first."""

    def __init__(self) -> None:
        self.commits = 0
        self._first = self._last = 0
        self._authors: Counter[str] = Counter()
        self._months: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        self._files: dict[str, list[int]] = {}
        self._renamed: dict[str, str] = {}

    def add(self, header: tuple[bytes, bytes], changes: list[Change]) -> None:
        when = int(header[0])
        self.commits += 1
        self._first = min(self._first or when, when)
        self._last = max(self._last, when)
        self._authors[to_text(header[1]) or "(no name)"] += 1
        month = self._months[_month(when)]
        month[0] += 1
        renames: dict[str, str] = {}
        for added, deleted, raw, former in changes:
            lines = [int(count) if count.isdigit() else 0 for count in (added, deleted)]
            month[1] += lines[0]
            month[2] += lines[1]
            path = to_text(raw)
            path = self._renamed.get(path, path)
            if former and len(self._renamed) < _PATH_LIMIT:
                renames[to_text(former)] = path
            self._change(path, lines, when)
        self._renamed.update(renames)

    def history(self, note: str) -> History:
        kept = nsmallest(_KEPT_FILES, self._files.items(), key=lambda item: (-item[1][0], item[0]))
        authors = sorted(self._authors.items(), key=lambda item: (-item[1], item[0]))
        return History(
            note=note,
            commits=self.commits,
            first=self._first,
            last=self._last,
            author_count=len(authors),
            authors=[Author(*entry) for entry in authors[:_KEPT_AUTHORS]],
            months=[Month(month, *counts) for month, counts in sorted(self._months.items())[-_KEPT_MONTHS:]],
            files=[Churn(path, *counts) for path, counts in kept],
        )

    def _change(self, path: str, lines: list[int], when: int) -> None:
        counts = self._files.get(path)
        if counts is None:
            if len(self._files) >= _PATH_LIMIT:
                return
            counts = self._files[path] = [0, 0, 0, when]
        counts[0] += 1
        counts[1] += lines[0]
        counts[2] += lines[1]
        counts[3] = max(counts[3], when)


def _month(when: int) -> str:
    try:
        return datetime.fromtimestamp(when, UTC).strftime("%Y-%m")
    except (OverflowError, ValueError, OSError):  # a commit may claim any time at all
        return "unknown"
