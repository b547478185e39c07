"""The agents that the storm runs. Every step's body notes itself in the ledger before it returns."""

from __future__ import annotations

import asyncio
import functools
import os
import time
import zlib
from typing import Any

from tenuto.agents.function import task_agent
from tenuto.workers.context import Context
from tests.chaos.books import book
from tests.chaos.ledger import Ledger

__all__ = [
    "AGAIN",
    "AGENTS",
    "FAILED",
    "RESOLVED",
    "node_agent",
    "once_agent",
    "sql_agent",
    "steps_agent",
    "tree_agent",
    "wait_agent",
]

AGAIN = "again"
"""In the ledger: somebody has allowed a step that may run only once to start again."""
RESOLVED = "resolved"
"""How the value of a step begins that no execution has computed."""
FAILED = "failed"
"""What a program makes of a step that failed."""

_LEDGER = Ledger()


def _pause(task: str, step: str, most: float) -> float:
    """Up to `most` seconds, always the same for a step: half of it passes before the note, half after."""
    return zlib.crc32(f"{task}/{step}".encode()) % 1000 / 1000 * most / 2


def _value(task: str, step: str, attempt: int) -> str:
    """Unlike any other execution's."""
    return f"{task}/{step}/{attempt}/{os.urandom(4).hex()}"


def _body(task: str, step: str, attempt: int, most: float) -> str:
    value = _value(task, step, attempt)
    time.sleep(_pause(task, step, most))
    _LEDGER.note(task, step, attempt, value)
    time.sleep(_pause(task, step, most))
    return value


async def _async_body(task: str, step: str, attempt: int, most: float) -> str:
    value = _value(task, step, attempt)
    await asyncio.sleep(_pause(task, step, most))
    _LEDGER.note(task, step, attempt, value)
    await asyncio.sleep(_pause(task, step, most))
    return value


async def _step(ctx: Context, name: str, pause: float) -> str:
    body = _body if zlib.crc32(f"{ctx.task_id}{name}".encode()) % 4 == 0 else _async_body
    value: str = await ctx.step(name, body, ctx.task_id, name, ctx.attempt, pause)
    return value


@task_agent(name="chaos-steps")
async def steps_agent(ctx: Context, payload: dict[str, Any]) -> dict[str, Any]:
    """Some steps one after the other; with `gather` the inner ones at the same time."""
    names = [f"s{number}" for number in range(payload["steps"])]
    pause = payload["pause"]
    inner = names[1:-1] if payload["gather"] else []
    values: dict[str, str] = {}
    for name in names:
        if name not in inner:
            values[name] = await _step(ctx, name, pause)
        elif name == inner[0]:
            together = await ctx.gather(*(_step(ctx, each, pause) for each in inner))
            values |= zip(inner, together, strict=True)
    return {"values": [values[name] for name in names]}


@task_agent(name="chaos-node")
async def node_agent(ctx: Context, payload: dict[str, Any]) -> dict[str, Any]:
    """A node of a goal that does as it is told: `ok`, `fail-once` (in its first run), `fail`, `flaky`."""
    first = await _step(ctx, "s0", payload["pause"])
    mood = payload["mood"]
    if mood == "fail" or (mood == "fail-once" and ctx.run == 1):
        raise ValueError(f"told to fail in run {ctx.run}")
    if mood == "flaky" and ctx.attempt % 2:
        raise ConnectionError("told to be flaky")
    return {"values": [first, await _step(ctx, "s1", payload["pause"])]}


@task_agent(name="chaos-tree")
async def tree_agent(ctx: Context, payload: dict[str, Any]) -> dict[str, Any]:
    """Spawns `width` children that are one level lower, and waits for all of them; a leaf takes some steps."""
    depth, width, pause = payload["depth"], payload["width"], payload["pause"]
    if depth == 0:
        return {"values": [await _step(ctx, f"s{number}", pause) for number in range(3)]}
    first = await _step(ctx, "s0", pause)
    lower = {"depth": depth - 1, "width": width, "pause": pause}
    specs = [tree_agent.create_task(payload=lower, limits=("chaos-trees",)) for _ in range(width)]
    children = await ctx.spawn_batch(specs)
    results = await ctx.wait_for(children)
    return {"values": [first], "children": [str(each.state) for each in results]}


@task_agent(name="chaos-wait")
async def wait_agent(ctx: Context, payload: dict[str, Any]) -> dict[str, Any]:
    """Waits for a time, a named event and an answer, with steps in between."""
    pause = payload["pause"]
    values = [await _step(ctx, "s0", pause)]
    if payload["sleep"]:
        await ctx.sleep(payload["sleep"])
    event = await ctx.wait_event("go")
    values.append(await _step(ctx, "s1", pause))
    answer = await ctx.wait_answer("call")
    values.append(await _step(ctx, "s2", pause))
    return {"values": values, "event": event, "answer": answer}


def _reconcile(task: str, attempt: int, key: str) -> Any:
    """What an outside system might say about a step whose end is not known; a second start is noted."""
    if zlib.crc32(f"{task}/{attempt}".encode()) % 2:
        return "done", f"{RESOLVED} by reconcile of {key}"
    _LEDGER.note(task, AGAIN, attempt, key)
    return "retry"


@task_agent(name="chaos-once")
async def once_agent(ctx: Context, payload: dict[str, Any]) -> dict[str, Any]:
    """The second of three steps may start only once, and whoever may decide otherwise does so."""
    pause = payload["pause"]
    reconcile = functools.partial(_reconcile, ctx.task_id, ctx.attempt) if payload["reconcile"] else None
    values = [await _step(ctx, "s0", pause)]
    given = (ctx.task_id, "s1", ctx.attempt, pause)
    try:
        values.append(await ctx.step("s1", _body, *given, effect="once", reconcile=reconcile))
    except Exception:  # noqa: BLE001  # as careless as programs are: an unknown end must pause it all the same
        values.append(FAILED)
    values.append(await _step(ctx, "s2", pause))
    return {"values": values}


def _book(connection: Any, task: str, step: str, attempt: int) -> str:
    """Writes into a table of our own, in the transaction that records the step."""
    value = _value(task, step, attempt)
    _LEDGER.note(task, step, attempt, value)
    book(connection, task, step, value)
    return value


@task_agent(name="chaos-sql")
async def sql_agent(ctx: Context, payload: dict[str, Any]) -> dict[str, Any]:
    """Two bookings, each in one transaction with its step."""
    first = await _step(ctx, "s0", payload["pause"])
    booked = [await ctx.transaction(name, _book, ctx.task_id, name, ctx.attempt) for name in ("t0", "t1")]
    return {"values": [first], "booked": booked}


AGENTS = (steps_agent, node_agent, tree_agent, wait_agent, once_agent, sql_agent)
