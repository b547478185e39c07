"""Drawing a DAG as rails, the way `git log --graph` draws history: one line per node, edges as lines beside it.

    ●        scan
    ├─┬─╮
    ● │ │    read-core
    │ ● │    read-cli
    │ │ ●    history
    ├─┴─╯
    ●        report

Pure: names and edges in, rows of text out. A rail is an edge on its way down to its target. Rails of one target run
beside each other and meet above it, so that a line never suggests an edge that is not there. Where that would be too
wide there is no drawing, and the caller writes a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["Row", "draw", "layers_of"]

NODE = "●"


class Row(NamedTuple):
    """A line of a drawing."""

    rails: str
    node: str | None
    """the node that is drawn here; None on a line of edges alone"""
    column: int = 0
    """where in `rails` the node's mark is"""


# Directions in which a cell is connected: up, down, left, right.
_JOINTS = {
    (True, True, False, False): "│",
    (False, False, True, True): "─",
    (True, True, False, True): "├",
    (True, True, True, False): "┤",
    (True, False, True, False): "╯",
    (True, False, False, True): "╰",
    (False, True, True, False): "╮",
    (False, True, False, True): "╭",
    (True, False, True, True): "┴",
    (False, True, True, True): "┬",
    (True, True, True, True): "┼",
}


def layers_of(names: Sequence[str], edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The nodes by layer: each stands one below the lowest of its sources. Inside a layer the given order is kept."""
    targets: dict[str, list[str]] = {name: [] for name in names}
    open_edges = dict.fromkeys(names, 0)
    for source, target in edges:
        targets[source].append(target)
        open_edges[target] += 1
    depth = dict.fromkeys(names, 0)
    ready = [name for name in names if not open_edges[name]]
    while ready:
        name = ready.pop()
        for target in targets[name]:
            depth[target] = max(depth[target], depth[name] + 1)
            open_edges[target] -= 1
            if not open_edges[target]:
                ready.append(target)
    layers: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name in names:
        layers[depth[name]].append(name)
    return layers


def draw(layers: Sequence[Sequence[str]], edges: Sequence[tuple[str, str]], widest: int) -> list[Row] | None:
    """The rows of the drawing, or None when it needs more than `widest` rails."""
    return _Drawing(layers, edges, widest).rows()


class _Drawing:
    def __init__(self, layers: Sequence[Sequence[str]], edges: Sequence[tuple[str, str]], widest: int) -> None:
        self.layers = layers
        self.widest = widest
        order = {name: at for at, name in enumerate(name for layer in layers for name in layer)}
        self.targets: dict[str, list[str]] = {name: [] for name in order}
        for source, target in edges:
            self.targets[source].append(target)
        for targets in self.targets.values():
            targets.sort(key=order.__getitem__)
        self.rails: list[str | None] = []
        self.drawn: list[Row] = []

    def rows(self) -> list[Row] | None:
        for layer in self.layers:
            pending = dict.fromkeys(layer)
            while pending:
                node = next((name for name in self.rails if name in pending), None) or next(iter(pending))
                del pending[node]
                self._place(node)
                if len(self.rails) > self.widest:
                    return None
        return self.drawn

    def _place(self, node: str) -> None:
        incoming = [at for at, target in enumerate(self.rails) if target == node]
        if incoming:
            column = incoming[0]
            if len(incoming) > 1:
                for at in incoming[1:]:
                    self.rails[at] = None
                self._connect(column, up=set(incoming), down={column})
        else:
            column = self._free()
            self.rails[column] = node
            before = self.drawn[-1] if self.drawn else None
            if before is not None and before.node is not None and before.column == 2 * column:
                self.drawn.append(Row(self._verticals(without=column), None))  # or it would look like its successor
        row = self._verticals(without=column).ljust(2 * column)
        self.drawn.append(Row(row[: 2 * column] + NODE + row[2 * column + 1 :], node, 2 * column))
        self._branch(node, column)

    def _branch(self, node: str, column: int) -> None:
        """Sends the node's out-edges on their way."""
        self.rails[column] = None
        started = set[int]()
        for target in self.targets[node]:
            at = column if self.rails[column] is None else self._free(column)
            self.rails[at] = target
            started.add(at)
        if len(started) > 1:
            self._connect(column, up={column}, down=started)
        while self.rails and self.rails[-1] is None:
            self.rails.pop()

    def _free(self, beyond: int = -1) -> int:
        """An empty rail to the right of `beyond`, or a new one."""
        for at in range(beyond + 1, len(self.rails)):
            if self.rails[at] is None:
                return at
        self.rails.append(None)
        return len(self.rails) - 1

    def _connect(self, column: int, up: set[int], down: set[int]) -> None:
        """Draws a line between `column` and all rails that end (`up`) or go on (`down`) there."""
        ends = up | down | {column}
        low, high = min(ends), max(ends)
        cells = []
        for at in range(max(high + 1, len(self.rails))):
            inside = low <= at <= high
            if at in ends:
                cells.append(_JOINTS[at in up, at in down, at > low, at < high])
            elif at < len(self.rails) and self.rails[at] is not None:
                cells.append("│")  # passes over
            else:
                cells.append("─" if inside else " ")
            cells.append("─" if low <= at < high else " ")
        self.drawn.append(Row("".join(cells).rstrip(), None))

    def _verticals(self, without: int) -> str:
        return " ".join("│" if rail is not None and at != without else " " for at, rail in enumerate(self.rails))
