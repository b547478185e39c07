"""Under which dotted names the Python files of a tree can be imported, and by whom.

A file does not say its own module name: that follows from the directories around it and from the search path of the
program that imports it. The search path is not known here, so the rules are those that hold in nearly every project:

- a directory with `__init__.py` is a regular package, and its name begins where the chain of such directories begins;
- without one, a file may be imported from the tree itself, or from the last directory named `src`, `lib` or `python`
  above it (a namespace package), or by its bare name (a script beside its importer).

A bare name is seen only from the directory it belongs to and below: a script called `json.py` somewhere in the tree is
not what the rest of the tree means by `import json`.
"""

import sys
from collections.abc import Collection, Iterable
from typing import NamedTuple

from tenuto.review.filenames import join, parent

SUFFIXES = (".py", ".pyi", ".pyw")
_SEARCH_ROOTS = frozenset({"src", "lib", "python"})
_NAME_LIMIT = 2_000
_OUTSIDE = ""


class ModuleName(NamedTuple):
    """One name of a module: the dotted name, and the directory from which it counts (empty: outside the tree)."""

    dotted: str
    root: str
    regular: bool

    def seen_from(self, directory: str) -> bool:
        """Return whether a module in this directory may mean this one by its name."""
        if self.root in {_OUTSIDE, "."} or self.root.rpartition("/")[2] in _SEARCH_ROOTS:
            return True
        if directory == self.root or directory.startswith(f"{self.root}/"):
            return True
        return self.regular and self.dotted.partition(".")[0] not in sys.stdlib_module_names


def is_python(name: str) -> bool:
    """Return whether a file with this name holds a Python module."""
    return name.endswith(SUFFIXES)


def module_path(path: str) -> str:
    """Return what a path-like import of this file says: without the suffix, and a package by its directory."""
    directory, _, name = path.rpartition("/")
    stem = name.partition(".")[0]
    return (directory or ".") if stem == "__init__" else join(directory or ".", stem)


def names_of(path: str, regular: Collection[str], prefix: str) -> list[ModuleName]:
    """Return the names of a Python file, the most usual first.

    `regular` holds the directories with `__init__.py`; `prefix` is the dotted name of the tree, where that is in turn
    a regular package.
    """
    spoken = module_path(path)
    parts = [] if spoken == "." else spoken.split("/")
    directory = parent(path)
    root = directory
    while root in regular and root != ".":
        root = parent(root)
    if root == "." and prefix:
        return [ModuleName(".".join([prefix, *parts]), _OUTSIDE, regular=True)]
    beginnings = [0 if root == "." else root.count("/") + 1, 0]
    beginnings += [index + 1 for index, part in enumerate(parts[:-1]) if part in _SEARCH_ROOTS][-1:]
    names: dict[str, ModuleName] = {}
    for start in beginnings:
        dotted = ".".join(parts[start:])
        root = "/".join(parts[:start]) or "."
        names.setdefault(dotted, ModuleName(dotted, root, regular=directory in regular))
    return [name for name in names.values() if name.dotted]


def first_names(paths: Iterable[str], regular: Collection[str], prefix: str) -> list[str] | None:
    """Return the first part of every name these Python files have, or None where there are too many of them."""
    first: set[str] = set()
    for path in paths:
        first.update(name.dotted.partition(".")[0] for name in names_of(path, regular, prefix))
        if len(first) > _NAME_LIMIT:
            return None
    return sorted(first)
