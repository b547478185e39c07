"""Money from Python: budgets in dollars, usage by whatever it is asked for, and the calls of a task."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from tenuto.client import Client
from tenuto.errors import InvalidInput, NotFound
from tenuto.stores.base import Store
from tenuto.tasks.money import Amount, AtLimit, Budget, Period, Reserve, Settle
from tenuto.tasks.outcome import Answer, Record
from tenuto.tasks.usage import CallState
from tests.integration.client.conftest import Hands, spec


async def spend(store: Store, hands: Hands, *calls: Reserve | Settle) -> Answer:
    """What becomes of calls that the one running task makes."""
    [lease] = await hands.claim()
    reserves = tuple(call for call in calls if isinstance(call, Reserve))
    settles = tuple(call for call in calls if isinstance(call, Settle))
    [recorded] = await store.record([Record(lease.hold, settles=settles, reserves=reserves)], 60_000)
    return recorded.answer


async def test_a_budget_is_put_used_and_dropped(client: Client, store: Store, hands: Hands) -> None:
    await client.put_budget("owner:ada", money="1.50", tokens=100, period="month", at_limit="pause")
    await client.enqueue_batch(None, [spec("t", owner="ada")])
    assert await spend(store, hands, Reserve("c", Amount(1_500_000_000, 100))) is Answer.ACCEPTED
    [use] = await client.budgets()
    assert use.budget == Budget("owner:ada", 1_500_000_000, 100, None, Period.MONTH, AtLimit.PAUSE)
    assert use.reserved == Amount(1_500_000_000, 100)
    await client.drop_budget("owner:ada", "month")
    assert list(await client.budgets()) == []
    with pytest.raises(NotFound, match="no budget per month for 'owner:ada'"):
        await client.drop_budget("owner:ada", "month")


async def test_usage_and_the_ledger_of_a_task(client: Client, store: Store, hands: Hands) -> None:
    await client.enqueue_batch(None, [spec("t", owner="ada")])
    calls = Settle("one", Amount(5, 3, 1), model="m"), Reserve("two", Amount(7, 7, 1), "m")
    assert await spend(store, hands, *calls) is Answer.ACCEPTED
    assert [(entry.call, entry.state) for entry in await client.ledger("t")] == [
        ("one", CallState.SETTLED),
        ("two", CallState.RESERVED),
    ]
    for by in ("owner", "agent", "model", "tree", "task", "day"):
        [row] = await client.usage(by)
        assert (row.spent, row.reserved, row.calls) == (Amount(5, 3, 1), Amount(7, 7, 1), 2)
    today = datetime.now(UTC).date()
    [row] = await client.usage("day", of="owner:ada", since=date(2020, 1, 1), until=date(9999, 1, 1))
    assert date.fromisoformat(row.key) <= today
    assert list(await client.usage("owner", until=date(2020, 1, 1))) == []
    assert list(await client.usage("owner", prefix="b")) == []


async def test_a_task_without_calls_has_an_empty_ledger_and_none_has_none(client: Client) -> None:
    await client.enqueue_batch(None, [spec("t")])
    assert list(await client.ledger("t")) == []
    with pytest.raises(NotFound, match="there is no task 'x'"):
        await client.ledger("x")


async def test_what_makes_no_sense_is_refused(client: Client) -> None:
    with pytest.raises(InvalidInput, match="money must be an amount in dollars"):
        await client.put_budget("total", money=Decimal("0.0000000001"))
    with pytest.raises(InvalidInput, match="period must be one of day, month"):
        await client.put_budget("total", money=1, period="week")
    with pytest.raises(InvalidInput, match="at_limit must be one of"):
        await client.put_budget("total", money=1, at_limit="explode")
    with pytest.raises(InvalidInput, match="scope is one of"):
        await client.put_budget("ada", money=1)
    with pytest.raises(InvalidInput, match="limits nothing"):
        await client.put_budget("total")
    with pytest.raises(NotFound, match="there is no task 'x' to set a budget for"):
        await client.put_budget("task:x", money=1)
    with pytest.raises(InvalidInput, match="by must be one of"):
        await client.usage("colour")
    with pytest.raises(InvalidInput, match="is no day"):
        await client.usage("owner", since="yesterday")
