"""Which source files the tests of a tree reach: a static measure, from imports and names alone.

A Python file is reached *directly* when a test imports it, and *indirectly* when only files that tests reach import it,
or a module of its package is reached. A file in another language is reached directly when there is a test file named
for it. Nothing is run: which lines a test executes is not known, and a program that tests start as a process is not
seen.
"""

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Literal

from tenuto.review.facts import Facts, FileFacts
from tenuto.review.filenames import parent
from tenuto.review.tested import name_under_test

_UNTESTED = frozenset(
    {"Makefile", "Dockerfile", "CMake", "Starlark", "Batch", "Shell", "PowerShell", "HTML", "CSS", "Sass, Less", "SQL"}
    | {"Protocol Buffers", "GraphQL", "Terraform", "Nix"}
)

Reach = Literal["direct", "indirect", "none"]


def reach(facts: Facts) -> list[Reach | None]:
    """Return, for each file of `facts`, how tests reach it; None where `is_measured` says no."""
    direct = _imported_by_tests(facts) | _named_by_tests(facts.files)
    every = _reachable(facts, direct)
    found: list[Reach | None] = []
    for number, file in enumerate(facts.files):
        if not is_measured(file):
            found.append(None)
        else:
            found.append("direct" if number in direct else "indirect" if number in every else "none")
    return found


def is_measured(file: FileFacts) -> bool:
    """Return whether tests are expected of a file: it is none itself, and has code of a kind that is tested."""
    return not file.is_test and file.lines.code > 0 and file.language not in _UNTESTED


def _imported_by_tests(facts: Facts) -> set[int]:
    imports = (*facts.imports, *facts.late_imports)
    return {target for source, target in imports if facts.files[source].is_test}


def _named_by_tests(files: list[FileFacts]) -> set[int]:
    tests = [file for file in files if file.is_test and file.language != "Python"]
    named = {(file.language, name_under_test(file.path)) for file in tests}
    return {number for number, file in enumerate(files) if (file.language, _stem(file.path)) in named}


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0].lower()


def _reachable(facts: Facts, start: Iterable[int]) -> set[int]:
    below: dict[int, list[int]] = defaultdict(list)
    for source, target in (*facts.imports, *facts.late_imports):
        below[source].append(target)
    packages = {
        parent(file.path): number
        for number, file in enumerate(facts.files)
        if file.path.rpartition("/")[2] == "__init__.py"
    }
    seen = set(start)
    pending = deque(seen)
    while pending:
        number = pending.popleft()
        for target in (*below[number], *_packages_above(facts.files[number].path, packages)):
            if target not in seen:
                seen.add(target)
                pending.append(target)
    return seen


def _packages_above(path: str, packages: dict[str, int]) -> Iterable[int]:
    directory = parent(path)
    if not path.endswith(".py"):
        return
    while directory in packages:
        yield packages[directory]
        if directory == ".":
            return
        directory = parent(directory)
