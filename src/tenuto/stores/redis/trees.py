"""Trees on their way to the server.

A tree of usual size is part of the request that submits it. What is too large for one script of some milliseconds is
sent ahead in parts, which lie aside, seen by nobody, until the request that submits it refers to them; from then on
they are stored one after the other, by whoever comes (`lua/pieces/walks.lua`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from tenuto.stores.redis.codec import dump, fields_of, limit_parts, text
from tenuto.tasks.goal import Edge, Tree, When

__all__ = ["is_large", "parts_of", "tree_parts"]

_MOST_AT_ONCE = 500
"""Nodes of a goal, or four times as many edges, that one script stores."""
_NODES = 150
"""Nodes in one part."""
_LINKS = 250
"""Edges from one source in one entry of `dag:<goal>:next`: `IN_PART` in `lua/pieces/ends.lua`."""
_EDGES = 4 * _LINKS
"""Edges in one part, about."""


def is_large(tree: Tree) -> bool:
    """Whether `tree` is sent ahead in parts."""
    return len(tree.nodes) + len(tree.edges) // 4 > _MOST_AT_ONCE


def tree_parts(tree: Tree, staged: tuple[str, int] | None = None) -> dict[str, Any]:
    """A tree as `submission.submit` takes it.

    `staged`: under which name its nodes and edges were sent ahead, and in how many parts.
    """
    root = tree.root
    parts: dict[str, Any] = {"id": root.id, "fields": fields_of(root), "owner": root.owner}
    if root.idempotency_key is not None:
        parts["key"] = root.idempotency_key
    if root.unique is not None:
        parts["unique"] = (root.unique.key, [state.value for state in root.unique.states])
    if tree.limits:
        parts["limits"] = [limit_parts(limit) for limit in tree.limits]
    if tree.blobs:
        parts["blobs"] = {key: text(data) for key, data in tree.blobs.items()}
    if tree.is_goal:
        parts["size"] = len(tree.nodes)
        if staged is None:
            for part in parts_of(tree, len(tree.nodes), len(tree.edges)):
                parts |= part
        else:
            parts["staged"], parts["parts"] = staged
    return parts


def parts_of(tree: Tree, nodes: int = _NODES, edges: int = _EDGES) -> Iterator[dict[str, Any]]:
    """The nodes and edges of a goal as `submission.store` takes them, about so many of either in one part.

    What tells of all edges comes last: until then nobody takes what is there for the whole.
    """
    unmet = Counter(edge.target for edge in tree.edges)
    for first in range(0, len(tree.nodes), nodes):
        some = tree.nodes[first : first + nodes]
        yield {"nodes": [(node.id, node.agent, unmet[node.id], fields_of(node)) for node in some]}
    links: list[Any] = []
    count = 0
    for source, following in _by(tree.edges, source=True).items():
        for number, first in enumerate(range(0, len(following), _LINKS), 1):
            chunk = [(edge.target, edge.when.value) for edge in following[first : first + _LINKS]]
            links.append((source if number == 1 else f"{source}\n{number}", chunk))
            count += len(chunk)
            if count >= edges:
                yield {"links": links}
                links, count = [], 0
    if links:
        yield {"links": links}
    if tree.edges:
        needs = [
            each
            for target, edges_to in _by(tree.edges, source=False).items()
            for each in (target, dump([_need(edge) for edge in edges_to]))
        ]
        yield {"deps": needs, "edges": dump([(edge.source, edge.target, edge.when.value) for edge in tree.edges])}


def _by(edges: tuple[Edge, ...], *, source: bool) -> dict[str, list[Edge]]:
    found: dict[str, list[Edge]] = defaultdict(list)
    for edge in edges:
        found[edge.source if source else edge.target].append(edge)
    return found


def _need(edge: Edge) -> Any:
    return edge.source if edge.when is When.DONE else {"node": edge.source, "when": edge.when.value}
