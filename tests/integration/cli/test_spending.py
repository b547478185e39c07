"""`tenuto budget`, `tenuto usage` and `tenuto task ledger`, from a shell."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from tenuto.stores.sqlite import SqliteStore
from tenuto.tasks.goal import Tree
from tenuto.tasks.money import Amount, Reserve, Settle
from tenuto.tasks.outcome import Record
from tenuto.tasks.task import TaskSpec
from tests.conformance.stage import Worker
from tests.integration.cli.program import Program


async def spend(path: Path) -> None:
    """A task that has settled one call and is in the middle of another."""
    store = SqliteStore(path)
    await store.open()
    try:
        await store.submit([Tree(TaskSpec(id="report", agent="writer", owner="ada"))])
        lease = await Worker(store, "w", ("writer",)).claim_one()
        settles = (Settle("turn-1", Amount(2_500_000, 1_200, 1), model="small"),)
        reserves = (Reserve("turn-2", Amount(10_000_000, 4_000, 1), "small"),)
        await store.record([Record(lease.hold, settles=settles, reserves=reserves)], 60_000)
    finally:
        await store.close()


def test_budgets_are_put_listed_and_dropped(tenuto: Program) -> None:
    put = tenuto("budget", "put", "owner:ada", "--money", "25", "--per", "month", "--at-limit", "pause")
    tenuto("budget", "put", "total", "--tokens", "1000000", "--requests", "5")

    assert put.out == "owner:ada may use $25.00 per month, and has used $0.00\n"
    listed = tenuto("budget", "list").out.splitlines()
    assert [line.split() for line in listed] == [
        ["SCOPE", "PER", "LIMIT", "SPENT", "AT", "LIMIT"],
        ["owner:ada", "month", "$25.00", "$0.00", "pause"],
        ["total", "1,000,000", "tokens", "0", "tokens", "fail"],
        ["total", "5", "requests", "0", "requests", "fail"],
    ]
    [budget] = tenuto("budget", "list", "owner:", "--format", "json").json["budgets"]
    assert (budget["money"], budget["tokens"], budget["window"]) == ("25.00", None, f"{datetime.now(UTC):%Y-%m}")
    assert tenuto("budget", "drop", "owner:ada", "--per", "month").out == "dropped owner:ada\n"
    assert "there is no budget for 'owner:ada'" in tenuto("budget", "drop", "owner:ada", code=3).err


def test_what_was_used_is_shown_in_dollars(tenuto: Program) -> None:
    asyncio.run(spend(tenuto.home / ".tenuto" / "tenuto.db"))
    shown = tenuto("usage").out.splitlines()
    assert shown[1].split() == ["ada", "$0.0025", "1,200", "1", "2", "$0.01"]
    document = tenuto("usage", "--by", "model", "--format", "json").json
    reserved = {"money": "0.01", "tokens": 4_000, "requests": 1}
    row = {"key": "small", "calls": 2, "money": "0.0025", "tokens": 1_200, "requests": 1, "reserved": reserved}
    assert document == {"by": "model", "usage": [row]}
    assert tenuto("usage", "--by", "day", "--until", "2020-01-01").out == "Nothing was used.\n"
    assert "is not counted by day" in tenuto("usage", "--by", "task", "--since", "2026-01-01", code=2).err


def test_the_calls_of_a_task_are_listed(tenuto: Program) -> None:
    asyncio.run(spend(tenuto.home / ".tenuto" / "tenuto.db"))
    lines = [line.split() for line in tenuto("task", "ledger", "report").out.splitlines()]
    assert [line[:6] for line in lines[1:]] == [
        ["turn-1", "1", "settled", "small", "$0.0025", "1,200"],
        ["turn-2", "1", "reserved", "small", "$0.01", "4,000"],
    ]
    calls = tenuto("task", "ledger", "report", "--format", "json").json["calls"]
    assert [(call["state"], call["actual"] is None) for call in calls] == [("settled", False), ("reserved", True)]
    assert "there is no task 'nothing'" in tenuto("task", "ledger", "nothing", code=3).err


def test_what_is_no_amount_is_refused(tenuto: Program) -> None:
    assert "money must be an amount in dollars" in tenuto("budget", "put", "total", "--money", "lots", code=2).err
    assert "scope is one of" in tenuto("budget", "put", "ada", "--money", "1", code=2).err
