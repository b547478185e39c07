"""Facts about trees, made for tests in one line."""

from collections.abc import Mapping, Sequence

from tenuto.review.facts import Facts, FileFacts, FunctionAt
from tenuto.review.history import Churn, History, Month
from tenuto.review.languages import Kind
from tenuto.review.source import Broken, Documented, Lines
from tenuto.review.tested import is_test_file
from tenuto.review.tree import LanguageFiles, Scan

_NOTHING = Documented()


def file(
    path: str,
    code: int = 10,
    *,
    language: str = "Python",
    documentation: Documented = _NOTHING,
    broken: Broken | None = None,
) -> FileFacts:
    """Returns a file with as many lines of code."""
    return FileFacts(path, language, Lines(code), 1, 0, documentation, is_test_file(path), broken)


def facts(
    files: Sequence[FileFacts],
    imports: Mapping[str, Sequence[str]] | None = None,
    longest: Sequence[FunctionAt] = (),
) -> Facts:
    """Returns a tree of these files, of which some import others."""
    number = {file.path: at for at, file in enumerate(files)}
    edges = [(number[source], number[target]) for source, targets in (imports or {}).items() for target in targets]
    lengths = {function.length: 1 for function in longest}
    return Facts(list(files), edges, [], list(longest), lengths, [])


def scan(files: int = 0, languages: Mapping[str, Kind] | None = None) -> Scan:
    """Returns a scan that found so many files, and one of each language."""
    return Scan(
        name="tree",
        listed_by="walk",
        listing_note="The directory is not in a git work tree.",
        files=files,
        size=100 * files,
        directories=1,
        binary=0,
        cut_off=False,
        languages=[LanguageFiles(name, kind, 1, 100) for name, kind in (languages or {}).items()],
        packages=[],
        skipped=[],
        python_prefix="",
        own_names=[],
    )


def history(changes: Mapping[str, int]) -> History:
    """Returns a history in which each of these files was changed so often."""
    most = max(changes.values(), default=0)
    return History(
        note="" if changes else "The directory is not in a git work tree.",
        commits=most,
        first=1_000_000_000,
        last=1_000_000_000,
        author_count=1 if changes else 0,
        months=[Month("2001-09", most, 3, 4)] if changes else [],
        files=[Churn(path, commits, 1, 1, 1_000_000_000) for path, commits in changes.items()],
    )
