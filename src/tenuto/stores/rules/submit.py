"""Submitting trees: each whole or not at all, each answered for itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from tenuto.errors import InvalidInput, Unstorable
from tenuto.stores.base import Submission, Verdict
from tenuto.stores.rules.work import Work
from tenuto.stores.tables import Link
from tenuto.tasks import transitions
from tenuto.tasks.goal import Edge, Tree, check_tree, same_tree
from tenuto.tasks.ids import node_id
from tenuto.tasks.limits import Limit
from tenuto.tasks.task import Task

__all__ = ["define", "submit"]


def submit(work: Work, trees: Sequence[Tree], *, promised: bool = False) -> list[Submission]:
    """Stores `trees`; one answer for each.

    `promised`: whoever submitted them was told so before, and who has got hold of a unique key since does not matter.
    """
    created: set[str] = set()
    return [_submit(work, tree, created, promised) for tree in trees]


def define(work: Work, limit: Limit) -> None:
    """Defines or replaces a limit."""
    usage = work.tables.usage(limit.key)
    if usage.limit != limit:
        work.tables.set_usage(replace(usage, limit=limit))
        work.reopen([limit.key])


def _submit(work: Work, tree: Tree, created: set[str], promised: bool) -> Submission:
    root = tree.root
    try:
        check_tree(tree)
    except (InvalidInput, Unstorable) as error:
        return Submission(root.id, Verdict.REFUSED, str(error))
    if root.id in created:
        return Submission(root.id, Verdict.REFUSED, f"the id {root.id!r} appears twice in one batch")
    tables = work.tables
    stored = tables.task(root.id)
    if stored is not None:
        return _again(work, tree, stored, f"the id {root.id!r}")
    if root.idempotency_key is not None:
        known = tables.keyed(root.owner, root.idempotency_key)
        if known is not None:
            stored = tables.task(known)
            if stored is None:  # purged: its key outlives it
                return Submission(known, Verdict.EXISTING)
            return _again(work, tree, stored, f"the idempotency key {root.idempotency_key!r}")
    if root.unique is not None and not promised:
        holder = tables.unique_holder(root.unique.key, root.unique.states)
        if holder is not None:
            return Submission(holder, Verdict.EXISTING)
    created.add(root.id)
    return _create(work, tree)


def _again(work: Work, tree: Tree, stored: Task, what: str) -> Submission:
    nodes = {node.node: node for node in work.tables.children(stored.id) if node.node is not None}
    names = {node.id: name for name, node in nodes.items()}
    edges = [Edge(names[each.source], names[each.target], each.when) for each in work.tables.links(stored.id)]
    if same_tree(tree, stored, nodes, edges):
        return Submission(stored.id, Verdict.EXISTING, nodes={name: node.id for name, node in nodes.items()})
    detail = f"{what} is taken by {stored.id!r}, which has other content; use another, or submit the same again"
    return Submission(stored.id, Verdict.CONFLICT, detail)


def _create(work: Work, tree: Tree) -> Submission:
    root, tables = tree.root, work.tables
    for limit in tree.limits:
        define(work, limit)
    for key, data in tree.blobs.items():
        tables.put_blob(root.id, key, data)
    if root.idempotency_key is not None:
        tables.add_key(root.owner, root.idempotency_key, root.id)
    if not tree.is_goal:
        work.admit(transitions.admit(root, work.now, task_id=root.id, root=root.id))
        return Submission(root.id, Verdict.CREATED)
    taken = {root.id, *tables.tasks(node.id for node in tree.nodes)}
    ids = {node.id: node_id(root.id, node.id) if node.id in taken else node.id for node in tree.nodes}
    unmet = Counter(edge.target for edge in tree.edges)
    work.admit(transitions.open_goal(root, work.now, len(tree.nodes)))
    tables.add_links(root.id, [Link(ids[edge.source], ids[edge.target], edge.when) for edge in tree.edges])
    for node in tree.nodes:
        change = transitions.admit(
            node,
            work.now,
            task_id=ids[node.id],
            root=root.id,
            parent=root.id,
            node=node.id,
            unmet=unmet[node.id],
        )
        work.admit(change)
    return Submission(root.id, Verdict.CREATED, nodes=ids)
