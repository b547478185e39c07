"""Waiting for a task or goal in a terminal: a line that moves while it lasts, the result at the end."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tenuto.cli.documents import task_document
from tenuto.cli.errors import ExitCode, complain
from tenuto.cli.graph import awaited_tasks, detail
from tenuto.cli.ids import full_id
from tenuto.cli.options import Format
from tenuto.cli.output import console, errors_console, plain, print_json
from tenuto.errors import TaskCancelled, TaskFailed
from tenuto.tasks.clock import wall_clock
from tenuto.tasks.states import State
from tenuto.tasks.task import Task

if TYPE_CHECKING:
    from tenuto.client import Client

__all__ = ["wait_for"]

_REFRESH = 0.5


async def wait_for(client: Client, typed: str, timeout: float | None, format: Format) -> ExitCode:
    """Waits for the end of a task, writes its result, and returns the exit code that tells how it ended.

    Raises `NotFound` and `WaitTimeout`.
    """
    task_id = await full_id(client, typed)
    code, result = ExitCode.OK, None
    watcher = asyncio.create_task(_show(client, task_id))
    try:
        result = await client.get_task_result(task_id, timeout)
    except (TaskFailed, TaskCancelled) as error:
        await _stop(watcher)
        code = complain(error)
    finally:
        await _stop(watcher)
    if format is Format.JSON:
        data = await client.get_task_data(task_id)
        print_json((task_document(data.stored) if data is not None else {"id": task_id}) | {"result": result})
    elif code is ExitCode.OK:
        console().print(plain(json.dumps(result, ensure_ascii=False)), soft_wrap=True)
    return code


async def _stop(watcher: asyncio.Task[None]) -> None:
    watcher.cancel()
    await asyncio.gather(watcher, return_exceptions=True)


async def _show(client: Client, task_id: str) -> None:
    """Keeps one line about the task on the terminal, if there is one, until cancelled."""
    out = errors_console()
    if not out.is_terminal:
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as bars:
        bar = bars.add_task(task_id, total=None)
        while True:
            task = await client.store.task(task_id)
            if task is not None:
                state = "" if task.state is State.RUNNING else f" {task.state.value}"
                fraction = _fraction(task)
                bars.update(
                    bar,
                    description=plain(f"{task.title or task.id}{state} {detail(task, wall_clock())}")[:60],
                    total=None if fraction is None else 1.0,
                    completed=fraction or 0.0,
                )
            await asyncio.sleep(_REFRESH)


def _fraction(task: Task) -> float | None:
    """How far the task is: as far as the tasks that it waits for, else as far as it says itself."""
    batch = awaited_tasks(task)
    if batch is not None:
        return batch[0] / batch[1] if batch[1] else None
    return task.progress.fraction if task.progress is not None else None
