"""What a node gets from the nodes before it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tenuto.client import Client
from tenuto.errors import Conflict, InvalidInput, NotFound
from tenuto.plans import goal
from tenuto.stores.base import Store
from tenuto.tasks.task import TaskSpec
from tenuto.workers.dependencies import dependency_result, dependency_results
from tests.integration.client.conftest import Hands, spec


@dataclass
class Count:
    lines: int


async def test_a_node_reads_the_results_of_those_before_it(store: Store, client: Client, hands: Hands) -> None:
    # Given a node after two others, one of which has an id that is taken elsewhere
    await client.enqueue_task("somebody", spec("scan", agent=""))
    building = goal(id="g")
    scan, large = building.add(spec("scan")), building.add(spec("large"))
    building.add(spec("aside"))
    building.add(spec("report", agent="writer"), after=[scan, large])
    await client.submit_goal(building)
    assert await hands.finish(result={"lines": 7}) == "g.scan"
    await hands.finish(result="x" * 100_000)
    # When it runs
    [lease] = await hands.claim("writer")
    # Then it has their results, one by one and together
    assert await dependency_result(store, lease, "scan", Count) == Count(7)
    assert await dependency_results(store, lease) == {"scan": {"lines": 7}, "large": "x" * 100_000}
    with pytest.raises(Conflict, match="'aside' of goal 'g' is ready and has no result: let 'report' depend on it"):
        await dependency_result(store, lease, "aside")
    with pytest.raises(NotFound, match="goal 'g' has no node 'nothing'"):
        await dependency_result(store, lease, "nothing")


async def test_a_task_outside_a_goal_has_none(store: Store, client: Client, hands: Hands) -> None:
    task: TaskSpec = spec("t")
    await client.enqueue_task(None, task)
    [lease] = await hands.claim()
    with pytest.raises(InvalidInput, match="'t' is no node of a goal"):
        await dependency_results(store, lease)
