"""A single task in full: what it is, where it stands, its values, its errors, its journal, its inbox."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from tenuto.cli.documents import step_document, task_document
from tenuto.cli.graph import awaited_tasks
from tenuto.cli.ids import full_id
from tenuto.cli.output import Column, console, plain, print_table, state_text
from tenuto.cli.times import relative, span
from tenuto.tasks.clock import iso, wall_clock
from tenuto.tasks.outcome import Step
from tenuto.tasks.signal import Message
from tenuto.tasks.task import Task

if TYPE_CHECKING:
    from tenuto.client import Client

__all__ = ["TaskPage", "print_task_page", "read_task_page"]

_LONGEST_SHOWN = 2_000
_MOST_NAMED = 5

_STEPS = (Column("STEP", least=20), Column("STATE"), Column("WHEN", rank=1), Column("VALUE", rank=2, least=16))
_MESSAGES = (Column("#"), Column("TOPIC", least=12), Column("WHEN", rank=1), Column("DATA", rank=2, least=16))


@dataclass(frozen=True)
class TaskPage:
    """What `tenuto task show` shows."""

    task: Task
    payload: Any
    result: Any
    steps: Sequence[Step]
    inbox: Sequence[Message]

    def document(self) -> dict[str, Any]:
        """The same for programs."""
        messages = [
            {
                "number": each.number,
                "kind": each.kind.value,
                "topic": each.topic,
                "data": each.data,
                "at": iso(each.at),
            }
            for each in self.inbox
        ]
        return task_document(self.task) | {
            "payload": self.payload,
            "result": self.result,
            "journal": [step_document(step) for step in self.steps],
            "inbox": messages,
        }


async def read_task_page(client: Client, typed: str) -> TaskPage:
    """The task with its values, journal and inbox. Raises `NotFound`."""
    task_id = await full_id(client, typed)
    data = await client.get_task_data(task_id)
    assert data is not None  # by `full_id`
    return TaskPage(data.stored, data.payload, data.result, await client.journal(task_id), await client.inbox(task_id))


def print_task_page(page: TaskPage) -> None:
    """Writes the page for people."""
    out, task, now = console(), page.task, wall_clock()
    out.print(Text(task.id, "bold"), state_text(task.state, paused=task.paused), soft_wrap=True)
    for name, value in _facts(task, now):
        if value:
            out.print(Text(f"  {name:<10}", "bright_black").append(plain(value)), soft_wrap=True)
    _print_value(out, "payload", page.payload)
    if page.result is not None:
        _print_value(out, "result", page.result)
    if task.error is not None:
        out.print(Text("error", "bold"), f"(attempt {task.error.attempt}, {relative(task.error.at, now)})")
        out.print(Text(plain(f"  {task.error.type}: {task.error.message}"), "red"), soft_wrap=True)
        for line in task.error.traceback.splitlines():
            out.print(Text("  " + plain(line.expandtabs(4)), "bright_black"), soft_wrap=True)
    if page.steps:
        out.print(Text("journal", "bold"))
        rows = [
            (
                step.key,
                step.state.value,
                relative(step.at, now),
                f"{step.error.type}: {step.error.message}" if step.error else _short(step.value),
            )
            for step in page.steps
        ]
        print_table(out, _STEPS, rows, "")
    if page.inbox:
        out.print(Text("inbox", "bold"))
        messages = [(str(each.number), each.topic, relative(each.at, now), _json(each.data)) for each in page.inbox]
        print_table(out, _MESSAGES, messages, "")


def _facts(task: Task, now: int) -> list[tuple[str, str]]:
    until = task.finished_at or now
    times = f"{task.attempt}, failures {task.failures}, losses {task.losses}" if task.attempt else ""
    progress = task.progress
    return [
        ("title", task.title),
        ("agent", task.agent),
        ("owner", task.owner),
        ("goal", f"{task.root}, node {task.node}" if task.node else ""),
        ("parent", task.parent if task.parent and not task.node else ""),
        ("reason", task.reason),
        ("progress", f"{progress.fraction or 0:.0%} {progress.message}" if progress else ""),
        ("waits for", _awaited(task)),
        ("held back", f"by the limit {task.gate}" if task.gate else ""),
        ("created", f"{iso(task.created_at)}, {relative(task.created_at, now)}"),
        ("run at", f"{iso(task.run_at)}, {relative(task.run_at, now)}" if task.run_at else ""),
        ("started", f"{iso(task.started_at)}, {relative(task.started_at, now)}" if task.started_at else ""),
        ("finished", f"{iso(task.finished_at)}, {relative(task.finished_at, now)}" if task.finished_at else ""),
        ("took", span(until - task.started_at) if task.started_at and task.is_final else ""),
        ("deadline", f"{iso(task.deadline)}, {relative(task.deadline, now)}" if task.deadline else ""),
        ("attempt", times),
        ("run", str(task.run) if task.run > 1 else ""),
        ("worker", task.worker),
        ("priority", str(task.priority) if task.priority else ""),
        ("limits", ", ".join(task.limits)),
        ("tags", ", ".join(task.tags)),
        ("metadata", _json(task.metadata) if task.metadata else ""),
        ("events", str(task.seq)),
    ]


def _awaited(task: Task) -> str:
    if task.wait is None:
        return ""
    batch, few, more = awaited_tasks(task), task.wait.on[:_MOST_NAMED], len(task.wait.on) - _MOST_NAMED
    named = (", ".join(few) or "a time") + (f" and {more} more" if more > 0 else "")
    return f"{named}; {batch[0]} of {batch[1]} have ended" if batch is not None and batch[1] > 1 else named


def _print_value(out: Console, name: str, value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=2)
    out.print(Text(name, "bold"))
    for line in text[:_LONGEST_SHOWN].splitlines():
        out.print("  " + plain(line), soft_wrap=True)
    if len(text) > _LONGEST_SHOWN:
        out.print(Text(f"  … {len(text) - _LONGEST_SHOWN:,} more characters: --format json shows all", "bright_black"))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _short(value: Any) -> str:
    return "" if value is None else bytes(value).decode()[:200]
