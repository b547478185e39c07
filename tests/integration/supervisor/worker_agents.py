"""Agents that worker processes import by name, and tell through files what they did."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tenuto.agents.function import task_agent
from tenuto.workers.context import Context


@task_agent
async def whoami() -> int:
    """The process it runs in."""
    await asyncio.sleep(0.01)
    return os.getpid()


@task_agent
async def five(ctx: Context, folder: str) -> list[int]:
    """Five steps, each of which leaves a line."""

    def note(number: int) -> int:
        with (Path(folder) / f"{ctx.task_id}-{number}").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return number

    return [await ctx.step("note", note, number) for number in range(5)]


@task_agent
async def forever() -> None:
    """Ends only when it is interrupted."""
    await asyncio.Event().wait()
