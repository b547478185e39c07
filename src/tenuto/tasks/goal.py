"""Goals: DAGs of tasks, and the pure rules of their edges.

An edge `source -> target` is met when the source ends the way `when` says. Edges are AND: a target is ready
when all its edges are met. An edge that can no longer be met makes its target unneeded: it is *skipped*
(cancelled, with the reason `skipped: <why>`), which in turn decides the target's own edges.

                       source done      source failed     source cancelled or skipped
    when = done          met              never             never
    when = failed        never            met               never
    when = finished      met              met               met

A failure is *handled* when the failed node has a done successor on a failed or finished edge. When every node
is final, the goal is failed if a failure is unhandled; else cancelled if a node that a person cancelled was not
handled the same way; else done. The outcome is reported once per run.

Retry begins the next run. It revives the unhandled failures, and every skipped node that can be met again.
Nodes that are done stay done, nodes that a person cancelled stay cancelled, and an edge that has fired does
not fire again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter

import msgspec

from tenuto.errors import InvalidInput
from tenuto.tasks.ids import check_id
from tenuto.tasks.limits import Limit
from tenuto.tasks.states import FINAL, State
from tenuto.tasks.task import Kind, Task, TaskSpec, same_content

__all__ = [
    "MOST_NODES",
    "SKIPPED",
    "Edge",
    "Fate",
    "Goal",
    "Tree",
    "When",
    "check_tree",
    "edge_fate",
    "outcome_of",
    "revivable",
    "same_tree",
]

MOST_NODES = 50_000
"""Nodes in one goal: a tree is submitted whole."""

SKIPPED = "skipped: "
"""How the reason of a skipped node begins."""


class When(StrEnum):
    """How the source of an edge must end."""

    DONE = "done"
    FAILED = "failed"
    FINISHED = "finished"


class Edge(msgspec.Struct, frozen=True, omit_defaults=True):
    """`target` depends on `source`; both are node ids of the same goal."""

    source: str
    target: str
    when: When = When.DONE


class Tree(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is submitted whole or not at all: a single task, or a goal with its nodes and edges."""

    root: TaskSpec
    nodes: tuple[TaskSpec, ...] = ()
    """of a goal; `id` is the node's id inside the goal"""
    edges: tuple[Edge, ...] = ()
    blobs: dict[str, bytes] = {}
    """large values that payloads refer to, by content hash"""
    limits: tuple[Limit, ...] = ()
    """definitions stored with the tree, where the key has none yet or another"""

    @property
    def is_goal(self) -> bool:
        return bool(self.nodes)


class Goal(msgspec.Struct, frozen=True):
    """A stored goal as it is read."""

    task: Task
    """the goal itself: state, run, reason, times"""
    nodes: tuple[Task, ...]
    """in the order of submission; `task.node` is the name inside the goal"""
    edges: tuple[Edge, ...]
    """by node name"""


class Fate(StrEnum):
    """What the end of its source means for an edge."""

    OPEN = "open"
    MET = "met"
    NEVER = "never"


def edge_fate(when: When, source: State) -> Fate:
    """What an edge's source being in state `source` means for the edge."""
    if source not in FINAL:
        return Fate.OPEN
    if when is When.FINISHED or when.value == source.value:
        return Fate.MET
    return Fate.NEVER


def check_tree(tree: Tree) -> None:
    """Raises `InvalidInput` with one sentence when `tree` cannot be accepted whatever is stored already."""
    root = tree.root
    check_id(root.id)
    root.check()
    for limit in tree.limits:
        limit.check()
    if not tree.is_goal:
        if not root.agent:
            raise InvalidInput(f"task {root.id!r} names no agent")
        if tree.edges:
            raise InvalidInput(f"goal {root.id!r} has edges but no nodes")
        return
    if root.agent:
        raise InvalidInput(f"goal {root.id!r} names the agent {root.agent!r}: only its nodes are run by agents")
    if len(tree.nodes) > MOST_NODES:
        raise InvalidInput(f"goal {root.id!r} has {len(tree.nodes):,} nodes, more than {MOST_NODES:,}")
    names: set[str] = set()
    for node in tree.nodes:
        check_id(node.id, f"goal {root.id!r}: node id")
        node.check()
        if not node.agent:
            raise InvalidInput(f"goal {root.id!r}: node {node.id!r} names no agent")
        if node.idempotency_key is not None or node.unique is not None:
            raise InvalidInput(f"goal {root.id!r}: node {node.id!r} has a key of its own: only the goal can have one")
        if node.id in names:
            raise InvalidInput(f"goal {root.id!r} has two nodes {node.id!r}")
        names.add(node.id)
    _check_edges(root.id, names, tree.edges)


def _check_edges(goal: str, names: set[str], edges: Sequence[Edge]) -> None:
    sources: dict[str, set[str]] = defaultdict(set)
    for edge in edges:
        for end in (edge.source, edge.target):
            if end not in names:
                raise InvalidInput(
                    f"goal {goal!r}: the edge {edge.source!r} -> {edge.target!r} points at {end!r}, "
                    "which is not among its nodes"
                )
        if edge.source in sources[edge.target]:
            raise InvalidInput(f"goal {goal!r} has two edges {edge.source!r} -> {edge.target!r}")
        sources[edge.target].add(edge.source)
    try:
        TopologicalSorter(sources).prepare()
    except CycleError as error:
        cycle = [str(name) for name in error.args[1]]
        shown = " -> ".join(cycle if len(cycle) <= 8 else [*cycle[:7], "…"])
        raise InvalidInput(f"goal {goal!r} has a cycle: {shown}; a task cannot depend on itself") from None


def same_tree(tree: Tree, root: Task, nodes: Mapping[str, Task], edges: Iterable[Edge]) -> bool:
    """Whether submitting `tree` again means the stored `root` with its `nodes` (by name) and `edges`."""
    if tree.is_goal != (root.kind is Kind.GOAL) or not same_content(tree.root, root):
        return False
    return (
        len(tree.nodes) == len(nodes)
        and all(node.id in nodes and same_content(node, nodes[node.id]) for node in tree.nodes)
        and set(tree.edges) == set(edges)
    )


def _unhandled(nodes: Mapping[str, Task], edges: Iterable[Edge], state: State) -> list[str]:
    handled = {
        edge.source
        for edge in edges
        if nodes[edge.target].state is State.DONE
        and (edge.when is When.FINISHED or (edge.when is When.FAILED and state is State.FAILED))
    }
    return [name for name, node in nodes.items() if node.state is state and name not in handled]


def outcome_of(nodes: Mapping[str, Task], edges: Sequence[Edge]) -> tuple[State, str]:
    """How a goal whose nodes (by name) are all final ended, and the reason for people."""
    failed = _unhandled(nodes, edges, State.FAILED)
    if failed:
        error = nodes[failed[0]].error
        why = f": {error.type}: {error.message}" if error is not None else ""
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        return State.FAILED, f"node {failed[0]} failed{why}{more}"
    cancelled = [
        name for name in _unhandled(nodes, edges, State.CANCELLED) if not nodes[name].reason.startswith(SKIPPED)
    ]
    if cancelled:
        return State.CANCELLED, f"node {cancelled[0]} was cancelled"
    return State.DONE, ""


def revivable(nodes: Mapping[str, Task], edges: Sequence[Edge], only: str | None = None) -> dict[str, int]:
    """The nodes that a retry revives, each with the number of its edges that are unmet then.

    `only` names the one failed node to begin with; else every unhandled failure. A node that a person
    cancelled is never revived, and whatever needs it stays skipped.
    """
    incoming: dict[str, list[Edge]] = defaultdict(list)
    for edge in edges:
        incoming[edge.target].append(edge)
    begin = {only} if only is not None else set(_unhandled(nodes, edges, State.FAILED))
    order = TopologicalSorter({name: {edge.source for edge in incoming[name]} for name in nodes}).static_order()
    revived: dict[str, int] = {}
    for name in order:
        node = nodes[name]
        skipped = node.state is State.CANCELLED and node.reason.startswith(SKIPPED)
        if name not in begin and not skipped:
            continue
        fates = [
            Fate.OPEN if edge.source in revived else edge_fate(edge.when, nodes[edge.source].state)
            for edge in incoming[name]
        ]
        if Fate.NEVER not in fates:
            revived[name] = fates.count(Fate.OPEN)
    return revived
