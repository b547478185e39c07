"""Large submissions in parts: one transaction, or one script, takes a few milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

from tenuto.tasks.goal import Tree

__all__ = ["in_parts", "tasks_in"]


def tasks_in(trees: Sequence[Tree]) -> int:
    """How many tasks these are, goals counted."""
    return sum(1 + len(tree.nodes) for tree in trees)


def in_parts(trees: Sequence[Tree], most: int) -> list[Sequence[Tree]]:
    """`trees` in parts of about `most` tasks; in one where an id is used twice, which must be seen together."""
    if len({tree.root.id for tree in trees}) < len(trees):
        return [trees]
    found: list[Sequence[Tree]] = []
    begin = tasks = 0
    for index, tree in enumerate(trees):
        tasks += 1 + len(tree.nodes)
        if tasks >= most:
            found.append(trees[begin : index + 1])
            begin, tasks = index + 1, 0
    if begin < len(trees):
        found.append(trees[begin:])
    return found
