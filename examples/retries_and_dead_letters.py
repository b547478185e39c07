"""Retries, and what becomes of tasks for which they did not help: dead letters, listed and replayed in bulk.

    python examples/retries_and_dead_letters.py

Connection errors are worth trying again, with exponential back-off; a bad address never gets better, so it fails at
once. When the cause is gone, `retry_failed` lets everything that failed run again.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import tenuto

PATIENT = tenuto.RetryPolicy(max_retries=3, base=50, fatal=("ValueError",))
"""Up to three retries, the first after about 50 milliseconds."""


@tenuto.task_agent(retry=PATIENT)
async def send(ctx: tenuto.Context, payload: dict) -> str:
    """Sends a message: the line is bad twice, and bad addresses are refused until there is an address book."""
    if ctx.attempt <= 2:
        raise ConnectionError("the line is bad")
    if "@" not in payload["to"] and not await asyncio.to_thread(Path(payload["book"]).exists):
        raise ValueError(f"{payload['to']!r} is no address")
    return f"sent to {payload['to']} in attempt {ctx.attempt}"


async def main() -> None:
    """Sends three messages, repairs what two of them failed for, and replays those."""
    with tempfile.TemporaryDirectory() as folder:
        book = Path(folder) / "addresses"
        async with tenuto.Orchestrator() as orchestrator:
            orchestrator.register_runner(send)
            messages = [
                send.create_task(payload={"to": to, "book": str(book)}, tags=["example"])
                for to in ("ada@example.org", "bob", "eve")
            ]
            ids = await orchestrator.enqueue_batch(send, messages)
            for task_id in ids:
                try:
                    print(await orchestrator.get_task_result(task_id, timeout=60))
                except tenuto.TaskFailed as failed:
                    print(failed.error.type, "-", failed.error.message)

            dead = await orchestrator.list_tasks(states=["failed"], agent="send", tag="example")
            print(len(dead), "dead letters")
            book.write_text("bob, eve")
            print(await orchestrator.retry_failed(agent="send", tag="example"), "replayed")
            for task_id in ids:
                print(await orchestrator.get_task_result(task_id, timeout=60))


if __name__ == "__main__":
    asyncio.run(main())
