"""Which file each import of a tree means, and which modules import each other in a circle.

An import is resolved by names alone, so it is an estimate: a search path that a program changes is not known. What is
imported from a package is its submodule of that name where there is one, else the package itself. That a submodule's
package is loaded before it is no import here: every package that imports its own modules would be a circle.
"""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

from tenuto.review.filenames import parent
from tenuto.review.module_names import ModuleName, is_python, module_path, names_of
from tenuto.review.source import Import

Edges = list[tuple[int, int]]


class Resolver:
    """Finds the files that imports mean, among the files at these paths."""

    def __init__(self, paths: Sequence[str], prefix: str) -> None:
        self._number = {path: number for number, path in enumerate(paths)}
        self._by_path: dict[str, int] = {}
        self._by_name: dict[str, list[tuple[ModuleName, int]]] = defaultdict(list)
        python = [path for path in paths if is_python(path)]
        regular = {parent(path) for path in python if path.rpartition("/")[2].startswith("__init__.")}
        # A stub stands for its module only where there is no module.
        for path in sorted(python, key=lambda path: (path.endswith(".pyi"), path)):
            self._by_path.setdefault(module_path(path), self._number[path])
            for name in names_of(path, regular, prefix):
                self._by_name[name.dotted].append((name, self._number[path]))

    def edges(self, imports: Mapping[str, Sequence[Import]]) -> tuple[Edges, Edges]:
        """Return who imports whom, when it is loaded and later, for the imports of each path."""
        loaded: set[tuple[int, int]] = set()
        late: set[tuple[int, int]] = set()
        for path, entries in imports.items():
            if path.endswith(".pyi"):  # a stub is never loaded
                continue
            source = self._number[path]
            for entry in entries:
                kind = loaded if entry.when == "load" else late
                kind.update((source, target) for target in self._targets(entry, path) if target != source)
        return sorted(loaded), sorted(late - loaded)

    def _targets(self, entry: Import, path: str) -> set[int]:
        if entry.module.startswith("."):
            return self._relative(entry, path)
        names = [f"{entry.module}.{name}" for name in entry.names if name != "*"] or [entry.module]
        found = {self._absolute(name, path) for name in names}
        return {number for number in found if number is not None}

    def _relative(self, entry: Import, path: str) -> set[int]:
        rest = entry.module.lstrip(".")
        parts = path.split("/")[:-1]
        up = len(entry.module) - len(rest) - 1
        if up > len(parts):
            return set()
        parts = [*parts[: len(parts) - up], *(rest.split(".") if rest else [])]
        base = self._by_path.get("/".join(parts) or ".")
        found = {self._by_path.get("/".join([*parts, name]), base) for name in entry.names if name != "*"} or {base}
        return {number for number in found if number is not None}

    def _absolute(self, dotted: str, path: str) -> int | None:
        directory = parent(path)
        # A name that is no module is taken from the module before its last dot; more is not asked of a name.
        for name in (dotted, dotted.rpartition(".")[0]):
            seen = [entry for entry in self._by_name.get(name, ()) if entry[0].seen_from(directory)]
            if seen:
                return max(seen, key=lambda entry: (_nearness(entry[0].root, directory), -entry[1]))[1]
        return None


def _nearness(root: str, directory: str) -> int:
    return len(root) if directory == root or directory.startswith(f"{root}/") else 0


def cycles(count: int, edges: Edges) -> list[tuple[int, list[int]]]:
    """Return, for each group of nodes that all reach each other, its size and a shortest circle through its first node.

    `count` is the number of nodes. The largest groups come first, each circle begins with its smallest node.
    """
    below: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        below[source].append(target)
    groups = [group for group in _components(below) if len(group) > 1]
    groups.sort(key=lambda group: (-len(group), min(group)))
    return [(len(group), _circle(min(group), below, set(group))) for group in groups]


def _components(below: list[list[int]]) -> list[list[int]]:
    """Return the strongly connected components (Tarjan 1972), with a stack of our own because chains can be long."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found: list[list[int]] = []
    for start in range(len(below)):
        if start in index:
            continue
        work = [(start, 0)]
        while work:
            node, position = work.pop()
            if position == 0:
                index[node] = low[node] = len(index)
                stack.append(node)
                on_stack.add(node)
            elif below[node][position - 1] in on_stack:
                low[node] = min(low[node], low[below[node][position - 1]])
            if position < len(below[node]):
                work.append((node, position + 1))
                if below[node][position] not in index:
                    work.append((below[node][position], 0))
            elif low[node] == index[node]:
                component = [stack.pop()]
                while component[-1] != node:
                    component.append(stack.pop())
                on_stack.difference_update(component)
                found.append(component)
    return found


def _circle(start: int, below: list[list[int]], group: set[int]) -> list[int]:
    before = {start: start}
    pending = deque([start])
    while pending:
        node = pending.popleft()
        for target in below[node]:
            if target == start:
                circle = [node]
                while circle[-1] != start:
                    circle.append(before[circle[-1]])
                return circle[::-1]
            if target in group and target not in before:
                before[target] = node
                pending.append(target)
    return sorted(group)
