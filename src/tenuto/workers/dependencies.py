"""What a node of a goal gets from the nodes that ran before it: their stored results.

A result is final before any node that depends on it is claimed, and nothing but a retry of the whole task changes it:
so reading one needs no step of its own in the journal.
"""

from __future__ import annotations

from typing import Any

from tenuto.errors import Conflict, InvalidInput, NotFound
from tenuto.stores import large
from tenuto.stores.base import Store
from tenuto.tasks.ids import node_id
from tenuto.tasks.lease import Lease
from tenuto.tasks.states import State

__all__ = ["dependency_result", "dependency_results"]


async def dependency_result(store: Store, lease: Lease, node: str, type: Any = Any) -> Any:
    """The result of the node `node` of the goal that the leased task belongs to; one read, however large the goal.

    Raises `InvalidInput` when the leased task is no node, `NotFound` when its goal has no such node, `Conflict` when
    that node is not done (it did not have to be: depend on it), `Unstorable` when the result does not fit `type`.
    """
    goal = _goal_of(lease)
    found = await store.tasks_by_id([node, node_id(goal, node)])  # its own id where that was free, see `Store.submit`
    for task in found.values():
        if task.root == goal and task.node == node:
            if task.state is not State.DONE:
                raise Conflict(
                    f"node {node!r} of goal {goal!r} is {task.state.value} and has no result: "
                    f"let {lease.node!r} depend on it"
                )
            return await large.result_of(store, task, type)
    raise NotFound(f"goal {goal!r} has no node {node!r}")


async def dependency_results(store: Store, lease: Lease) -> dict[str, Any]:
    """The results of all done nodes that the leased task depends on, by node. Reads the whole goal: for a large one,
    ask for single nodes. Raises `InvalidInput` when the leased task is no node."""
    goal = await store.goal(_goal_of(lease))
    if goal is None:
        raise NotFound(f"goal {lease.root!r} is not in the store any more")
    sources = {edge.source for edge in goal.edges if edge.target == lease.node}
    done = {task.node: task for task in goal.nodes if task.state is State.DONE}
    return {name: await large.result_of(store, task) for name, task in done.items() if name in sources}


def _goal_of(lease: Lease) -> str:
    if lease.node is None:
        raise InvalidInput(
            f"task {lease.task_id!r} is no node of a goal: there are no dependencies to take results from"
        )
    return lease.root
