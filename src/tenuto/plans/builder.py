"""Goals in Python: `goal` begins one, `GoalBuilder.add` adds its tasks, `GoalBuilder.tree` is what is submitted.

review = tenuto.goal("Review the repository")
scan = review.add(scanner.create_task(payload={"path": "."}), id="scan")
review.add(writer.create_task(), id="report", after=scan)
await client.submit_goal(review)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from tenuto.errors import InvalidInput
from tenuto.tasks.blobs import apart
from tenuto.tasks.clock import duration, instant
from tenuto.tasks.goal import Edge, Tree, When, check_tree
from tenuto.tasks.ids import check_id, new_id
from tenuto.tasks.task import TaskSpec

__all__ = ["After", "GoalBuilder", "Node", "goal", "tree_of"]


def tree_of(spec: TaskSpec) -> Tree:
    """The tree of a single task; what is large in its payload is stored apart."""
    blobs: dict[str, bytes] = {}
    return Tree(_apart(spec, blobs), blobs=blobs)


def _apart(spec: TaskSpec, blobs: dict[str, bytes]) -> TaskSpec:
    stored, large = apart(bytes(spec.payload))
    if not large:
        return spec
    blobs.update(large)
    return replace(spec, payload=msgspec.Raw(stored))


class Node(msgspec.Struct, frozen=True):
    """A task inside a goal that is being built: give it to `after`."""

    goal: str
    id: str


After: TypeAlias = Node | str | Iterable[Node | str]


class GoalBuilder:
    """A goal that is being built. Adding to it after it was submitted changes nothing of what was submitted."""

    def __init__(self, root: TaskSpec) -> None:
        self._root = root
        self._nodes: dict[str, TaskSpec] = {}
        self._edges: list[Edge] = []

    @property
    def id(self) -> str:
        """The id under which the goal is, or will be, stored."""
        return self._root.id

    @property
    def title(self) -> str:
        return self._root.title

    def __len__(self) -> int:
        return len(self._nodes)

    def add(self, task: TaskSpec, id: str | None = None, after: After = (), when: When | str = When.DONE) -> Node:
        """Adds a task, and returns it as a node that later ones can name in `after`.

        task: what `create_task` of an agent returned. It takes on the goal's owner and priority where it has none.
        id: its name inside the goal; the id of `task` where none is given.
        after: the nodes (or their ids, also of nodes that are added later) that it depends on.
        when: how those must end for this one to run: `done`, `failed` or `finished`. `connect` mixes them.

        Raises `InvalidInput` for an id that is used already, or a node of another goal.
        """
        if not isinstance(task, TaskSpec):
            raise InvalidInput(
                f"goal {self.id!r}: add() takes what agent.create_task(...) returned, not {type(task).__name__}"
            )
        name = check_id(task.id if id is None else id, f"goal {self.id!r}: node id")
        if name in self._nodes:
            raise InvalidInput(f"goal {self.id!r} has a node {name!r} already: give this one another id")
        sources = [after] if isinstance(after, Node | str) else list(after)
        edges = [Edge(self._name(source), name, _when(when)) for source in sources]
        self._nodes[name] = replace(
            task, id=name, owner=task.owner or self._root.owner, priority=task.priority or self._root.priority
        )
        self._edges += edges
        return Node(self.id, name)

    def connect(self, source: Node | str, target: Node | str, when: When | str = When.DONE) -> None:
        """Makes `target` depend on `source` having ended the way `when` says."""
        self._edges.append(Edge(self._name(source), self._name(target), _when(when)))

    def tree(self) -> Tree:
        """What is submitted. Raises `InvalidInput` for no nodes, double or dangling edges, a cycle, a bad field."""
        if not self._nodes:
            raise InvalidInput(f"goal {self.id!r} has no nodes: add at least one task")
        blobs: dict[str, bytes] = {}
        nodes = tuple(_apart(node, blobs) for node in self._nodes.values())
        tree = Tree(_apart(self._root, blobs), nodes, tuple(self._edges), blobs)
        check_tree(tree)
        return tree

    def _name(self, node: Node | str) -> str:
        if isinstance(node, str):
            return node
        if not isinstance(node, Node):
            raise InvalidInput(f"goal {self.id!r}: depends on nodes or their ids, not on {type(node).__name__}")
        if node.goal != self.id:
            raise InvalidInput(f"goal {self.id!r}: the node {node.id!r} belongs to the goal {node.goal!r}")
        return node.id


def _when(when: When | str) -> When:
    try:
        return When(when)
    except ValueError:
        raise InvalidInput(f"when must be 'done', 'failed' or 'finished', not {when!r}") from None


def goal(
    title: str = "",
    *,
    id: str | None = None,
    owner_id: str = "",
    priority: int = 0,
    deadline: float | datetime | None = None,
    timeout: float | timedelta | None = None,
    idempotency_key: str | None = None,
    tags: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
) -> GoalBuilder:
    """Begins a goal: a named DAG of tasks that is submitted whole or not at all.

    title: for people. id: your own, without dots; a fresh one where none is given.
    owner_id, priority: also of its tasks, where they say nothing else.
    deadline: an aware datetime or Unix seconds; at this instant it fails if it is not finished.
    timeout: the most seconds from submission to the end.
    idempotency_key: the same key and content submitted twice is the same goal.
    """
    return GoalBuilder(
        TaskSpec(
            id=new_id("goal") if id is None else check_id(id),
            title=title,
            owner=owner_id,
            priority=priority,
            deadline=None if deadline is None else instant(deadline, "deadline"),
            timeout=None if timeout is None else duration(timeout, "timeout"),
            idempotency_key=idempotency_key,
            tags=tuple(tags),
            metadata=dict(metadata or {}),
        )
    )
