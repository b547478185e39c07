"""Submitting through the client: once, by name or object, in batches, as goals, by schedule."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tenuto.client import Client
from tenuto.errors import Conflict, InvalidInput, NotFound
from tenuto.plans import goal
from tenuto.tasks.clock import wall_clock
from tenuto.tasks.goal import Tree
from tenuto.tasks.states import State, Status
from tenuto.tasks.task import TaskSpec
from tests.conformance.engines import ENGINES, Engine
from tests.integration.client.conftest import Hands, spec


@dataclass
class Agent:
    name: str


async def test_a_task_is_addressed_by_object_by_name_or_by_itself(client: Client) -> None:
    assert await client.enqueue_task(Agent("a"), spec("one", agent="")) == "one"
    assert await client.enqueue_task("b", spec("two", agent="")) == "two"
    assert await client.enqueue_task(None, spec("three", agent="c")) == "three"
    assert [task.agent for task in await client.list_tasks()] == ["c", "b", "a"]


async def test_a_task_that_nobody_serves_waits_and_why_says_so(client: Client) -> None:
    await client.enqueue_task("nobody", spec("t", agent=""))
    assert await client.get_task_status("t") is Status.QUEUED
    assert (await client.why("t")).because[0].startswith("No live worker serves the agent 'nobody'")


async def test_what_cannot_be_addressed_is_told_in_one_sentence(client: Client) -> None:
    with pytest.raises(InvalidInput, match="'t' was created for the agent 'agent', not for 'other'"):
        await client.enqueue_task("other", spec("t"))
    with pytest.raises(InvalidInput, match="'t' names no agent"):
        await client.enqueue_task(None, spec("t", agent=""))
    with pytest.raises(InvalidInput, match="agent must be an agent or its name, not int"):
        await client.enqueue_task(7, spec("t"))  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="task must be what agent"):
        await client.enqueue_task("agent", {"query": "?"})  # type: ignore[arg-type]
    assert await client.get_task_data("t") is None


async def test_a_value_of_another_kind_is_told_in_one_sentence(client: Client) -> None:
    with pytest.raises(InvalidInput, match="tasks must be a list"):
        await client.enqueue_batch(None, spec("t"))  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"goal must be what tenuto\.goal"):
        await client.submit_goal("nightly")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"task must be what agent\.create_task"):
        await client.put_schedule("nightly", "report", cron="0 3 * * *")  # type: ignore[arg-type]


async def test_the_same_again_is_the_stored_one_and_another_is_a_conflict(client: Client) -> None:
    first = await client.enqueue_task(None, spec(payload=1, idempotency_key="k"))
    again = await client.enqueue_task(None, spec(payload=1, idempotency_key="k"))
    assert first == again
    with pytest.raises(Conflict):
        await client.enqueue_task(None, spec(payload=2, idempotency_key="k"))
    assert len(await client.list_tasks()) == 1


async def test_a_batch_larger_than_a_chunk_keeps_its_order(client: Client) -> None:
    ids = await client.enqueue_batch("agent", (spec(f"t{number}", agent="") for number in range(1_203)))
    assert ids == [f"t{number}" for number in range(1_203)]
    assert (await client.stats())[State.READY] == 1_203


async def test_a_batch_stores_what_it_can_and_names_the_first_it_cannot(client: Client) -> None:
    await client.enqueue_task(None, spec("b", payload="other"))
    with pytest.raises(Conflict, match=r"'b'.*\(1 of 3 were not accepted\)"):
        await client.enqueue_batch(None, [spec("a"), spec("b"), spec("c")])
    assert {task.id for task in await client.list_tasks()} == {"a", "b", "c"}
    assert await client.enqueue_batch(None, []) == []


async def test_a_large_payload_comes_back_whole(client: Client, hands: Hands) -> None:
    text = "x" * 100_000
    await client.enqueue_task(None, spec("t", payload={"text": text}))
    data = await client.get_task_data("t")
    assert data is not None
    assert data.payload == {"text": text}
    [listed] = await client.list_tasks()
    assert listed.payload["value"] == {"text": None}


async def test_a_goal_is_submitted_whole_and_runs_in_the_order_of_its_edges(client: Client, hands: Hands) -> None:
    building = goal("House", id="house")
    walls = building.add(spec("walls"))
    building.add(spec("roof"), after=walls)
    assert await client.submit_goal(building) == "house"

    assert await hands.finish(result="brick") == "walls"
    assert await hands.finish(result="slate") == "roof"

    assert await client.get_task_result("house", timeout=60) == {"walls": "brick", "roof": "slate"}
    stored = await client.get_goal("house")
    assert [node.node for node in stored.nodes] == ["walls", "roof"]


async def test_a_goal_with_a_mistake_leaves_nothing(client: Client) -> None:
    building = goal(id="g")
    building.add(spec("a"), after="nobody")
    with pytest.raises(InvalidInput, match="points at 'nobody'"):
        await client.submit_goal(building)
    assert len(await client.list_tasks()) == 0
    with pytest.raises(NotFound, match="no goal 'g'"):
        await client.get_goal("g")


async def test_schedules_are_put_listed_and_deleted(client: Client) -> None:
    put = await client.put_schedule("nightly", spec(), cron="30 2 * * *", zone="Europe/Berlin")
    assert put.next_at is not None
    assert [each.name for each in await client.list_schedules()] == ["nightly"]
    await client.delete_schedule("nightly")
    with pytest.raises(NotFound, match="no schedule 'nightly'"):
        await client.delete_schedule("nightly")


async def test_a_bad_schedule_is_refused_with_the_reason(client: Client) -> None:
    with pytest.raises(InvalidInput, match="either a cron expression or an interval"):
        await client.put_schedule("s", spec())
    with pytest.raises(InvalidInput, match="needs five fields"):
        await client.put_schedule("s", spec(), cron="* *")
    with pytest.raises(InvalidInput, match="no known time zone"):
        await client.put_schedule("s", spec(), cron="* * * * *", zone="Mars/Olympus")
    with pytest.raises(InvalidInput, match="catch_up must be"):
        await client.put_schedule("s", spec(), every=60, catch_up="maybe")
    assert list(await client.list_schedules()) == []


@pytest.mark.parametrize("engine", [each for each in ENGINES.values() if each.connect], ids=lambda each: each.name)
async def test_what_is_submitted_with_a_connection_exists_when_its_transaction_commits(
    engine: Engine, tmp_path: Path
) -> None:
    assert engine.connect is not None
    async with Client(engine.make(tmp_path, wall_clock)) as client:
        pair = Tree(TaskSpec(id="pair"), (spec("b"),))
        with closing(engine.connect(tmp_path)) as connection:
            for end, expected in (("ROLLBACK", 0), ("COMMIT", 5)):
                connection.execute("BEGIN")
                await client.enqueue_task(None, spec("one"), connection=connection)
                await client.enqueue_batch(None, [spec("two"), spec("three")], connection=connection)
                await client.submit_goal(pair, connection=connection)
                assert len(await client.list_tasks()) == 0
                connection.execute(end)
                assert len(await client.list_tasks()) == expected
        await client.store.close()
