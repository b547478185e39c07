"""Operating: limits, weights, what there is, and removing what is over."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from tenuto.client import Client
from tenuto.errors import InvalidInput, NotFound
from tests.integration.client.conftest import Hands, spec


async def test_a_limit_holds_tasks_back_until_it_is_dropped(client: Client, hands: Hands) -> None:
    await client.put_limit("printer", concurrency=1)
    await client.enqueue_batch(None, [spec(limits=("printer",)), spec(limits=("printer",))])
    assert len(await hands.claim(slots=2)) == 1
    [use] = await client.limits()
    assert (use.limit.key, use.used, use.parked) == ("printer", 1, 1)
    await client.drop_limit("printer")
    assert len(await hands.claim(slots=2)) == 1
    with pytest.raises(NotFound, match="no limit 'printer'"):
        await client.drop_limit("printer")


async def test_what_makes_no_sense_is_refused(client: Client) -> None:
    with pytest.raises(InvalidInput, match="concurrency must be a whole number from 1 to 1,000,000, not 0"):
        await client.put_limit("printer", concurrency=0)
    with pytest.raises(InvalidInput, match="rate must be a whole number from 1 to 1,000,000,000, not '5'"):
        await client.put_limit("printer", rate="5")  # type: ignore[arg-type]  # what people pass
    with pytest.raises(InvalidInput, match=r"burst must be a whole number .* not None"):
        await client.put_limit("printer", rate=5, burst=None)  # type: ignore[arg-type]  # what people pass
    with pytest.raises(InvalidInput, match="weight of 'ada' must lie between"):
        await client.put_weight("ada", 0)
    with pytest.raises(InvalidInput, match="only what has ended can be removed"):
        await client.purge(time.time(), states=["running"])
    with pytest.raises(InvalidInput, match="before has no time zone"):
        await client.purge(datetime(2026, 1, 1))  # noqa: DTZ001 - a naive one is the point


async def test_shares_follow_the_weights(client: Client, hands: Hands) -> None:
    await client.put_weight("ada", 3)
    await client.enqueue_batch(None, [spec(owner=owner) for owner in ("ada", "bob") for _ in range(40)])
    leases = await hands.claim(slots=40)
    assert 28 <= sum(lease.owner == "ada" for lease in leases) <= 32


async def test_purge_removes_what_has_ended(client: Client, hands: Hands) -> None:
    await client.enqueue_batch(None, [spec("done"), spec("waiting")])
    await hands.finish()
    assert await client.purge(datetime(2020, 1, 1, tzinfo=UTC)) == 0
    assert await client.purge(time.time() + 1, states=["done"]) == 1
    assert [task.id for task in await client.list_tasks()] == ["waiting"]


async def test_loads_by_agent(client: Client) -> None:
    await client.enqueue_batch("reader", [spec(agent="") for _ in range(3)])
    [load] = await client.agents()
    assert (load.agent, load.ready, load.running, load.workers) == ("reader", 3, 0, 0)
    assert list(await client.workers()) == []
