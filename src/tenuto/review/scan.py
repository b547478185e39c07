"""The files of a source tree: which there are, in which languages, and which of them are source to be read.

In a git work tree the list is git's own: what is tracked, and what is not ignored. Anywhere else the tree is walked.
In both, the directories of version control, environments, installed packages and caches are left out. No symbolic link
is followed, so a loop of links has no end to reach; nothing but regular files is opened, so a pipe cannot hold the scan
up. What was left out is counted, with its reason and some examples.

Files are looked at, not read: at most the first bytes of those whose name says nothing. Memory grows with the number of
source files alone, by a name and a size for each, and the number of files has a limit.
"""

import os
from collections.abc import Collection
from pathlib import Path

from tenuto.errors import InvalidInput
from tenuto.review import git
from tenuto.review.census import IS_CLOSED, IS_REPOSITORY, Census
from tenuto.review.filenames import join, to_path, to_text
from tenuto.review.module_names import SUFFIXES, first_names, is_python
from tenuto.review.tree import Scan

FILE_LIMIT = 100_000
"""Files. What a review hands from task to task stays well below the limit of a stored value."""

_IS_TOOLS = "Directories of tools, environments and caches are not entered"
_TOOL_DIRECTORY_NAMES = (
    ".git .hg .svn .jj .bzr .tenuto",
    ".venv venv .tox .nox .eggs .direnv node_modules bower_components",
    "__pycache__ .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache .gradle .ipynb_checkpoints",
    ".idea .vs .terraform",
)
_TOOL_DIRECTORIES = frozenset(name for group in _TOOL_DIRECTORY_NAMES for name in group.split())
# Both files are signs that a directory is not source, agreed on by tools: bford.info/cachedir, and PEP 405.
_TOOL_SIGNS = frozenset({"CACHEDIR.TAG", "pyvenv.cfg"})


def scan_tree(
    root: Path, *, apart: Collection[str] = (), file_limit: int = FILE_LIMIT, git_seconds: float = 120.0
) -> Scan:
    """Return what the tree at `root` consists of, without the paths in `apart`.

    At most `file_limit` files are counted, and git is given at most `git_seconds` for its list. Raises `InvalidInput`
    when `root` is not a directory that can be listed.
    """
    root = tree_at(root)
    census = Census(str(root), file_limit, apart)
    note = _why_not_git(root, git_seconds) or _list_with_git(root, census, git_seconds)
    if note:
        census = Census(str(root), file_limit, apart)
        _walk(str(root), census)
    packages = census.packages()
    prefix = _python_prefix(root)
    modules = [
        join(package.directory, file.name) for package in packages for file in package.files if is_python(file.name)
    ]
    regular = {package.directory for package in packages if any(_is_package_file(file.name) for file in package.files)}
    return Scan(
        name=to_text(root.name) or str(root),
        listed_by="walk" if note else "git",
        listing_note=note,
        files=census.files,
        size=census.size,
        directories=len(census.directories),
        binary=census.binary,
        cut_off=census.cut_off,
        languages=census.languages(),
        packages=packages,
        skipped=census.skipped.entries(),
        python_prefix=prefix,
        own_names=first_names(modules, regular, prefix),
    )


def tree_at(root: Path) -> Path:
    """Return the path without links. Raises `InvalidInput` when it is not a directory that can be listed."""
    try:
        root = root.resolve(strict=True)
        os.scandir(root).close()
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError before Python 3.13
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(f"Cannot review {root}: {reason}. Name a directory that can be listed.") from None
    return root


def _why_not_git(root: Path, seconds: float) -> str:
    answer, inside = git.ask(root, "rev-parse", "--is-inside-work-tree", seconds=seconds)
    if not answer.complete:
        return answer.sentence(root)
    if inside != "true":
        return "The directory is not in a git work tree."
    answer, _ = git.ask(root, "check-ignore", "-q", ".", seconds=seconds)
    return "The repository around this directory ignores it." if answer.complete else ""


def _list_with_git(root: Path, census: Census, seconds: float) -> str:
    """Count every file that git lists; return why that did not work, or an empty text."""
    tools = _ToolDirectories(census)
    arguments = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    previous, rest = b"", b""
    with git.stream(root, *arguments, seconds=seconds) as (answer, chunks):
        for chunk in chunks:
            *names, rest = (rest + chunk).split(b"\0")
            for name in names:
                # A file in conflict is listed once for each of its versions, one after the other.
                if name != previous and not _add_listed(to_text(name), census, tools):
                    return ""
                previous = name
    for line in answer.errors.splitlines():
        if line.startswith("warning: could not open directory"):
            census.skipped.add(f"{IS_CLOSED}: {line.rpartition(': ')[2]}", line.partition("'")[2].rpartition("'")[0])
    return "" if answer.complete else answer.sentence(root)


def _add_listed(path: str, census: Census, tools: "_ToolDirectories") -> bool:
    if path.endswith("/"):
        census.skipped.add(IS_REPOSITORY, path[:-1])
        return True
    return tools.hold(path) or census.add(path)


class _ToolDirectories:
    """Recognises paths inside the directories of tools, and sets each such directory aside once."""

    def __init__(self, census: Census) -> None:
        self._census = census
        self._known: dict[str, bool] = {}
        self._found: set[str] = set()

    def hold(self, path: str) -> bool:
        directory = path.rpartition("/")[0]
        known = self._known.get(directory)
        if known is None:
            parts = directory.split("/")
            at = next((index for index, part in enumerate(parts) if part in _TOOL_DIRECTORIES), None)
            known = self._known[directory] = at is not None
            top = "/".join(parts[: (at or 0) + 1])
            if known and top not in self._found:
                self._found.add(top)
                self._census.skipped.add(_IS_TOOLS, top)
        return known


def _walk(root: str, census: Census) -> None:
    pending = ["."]
    while pending:
        directory = pending.pop()
        try:
            with os.scandir(f"{root}/{to_path(directory)}") as entries:
                found = sorted((to_text(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries)
        except OSError as error:
            census.skipped.add(f"{IS_CLOSED}: {error.strerror}", directory)
            continue
        if directory != "." and not _TOOL_SIGNS.isdisjoint(name for name, _ in found):
            census.skipped.add(_IS_TOOLS, directory)
            continue
        below = []
        for name, is_directory in found:
            path = join(directory, name)
            if is_directory and name in _TOOL_DIRECTORIES:
                census.skipped.add(_IS_TOOLS, path)
            elif is_directory:
                below.append(path)
            elif not census.add(path):
                return
        pending.extend(reversed(below))


def _python_prefix(root: Path) -> str:
    names: list[str] = []
    while (root / "__init__.py").is_file() and root.name:
        names.insert(0, to_text(root.name))
        root = root.parent
    return ".".join(names)


def _is_package_file(name: str) -> bool:
    return name.startswith("__init__.") and name.endswith(SUFFIXES)
