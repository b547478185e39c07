"""Schedules: a backup every night at half past two in Berlin, and a heartbeat every second to watch one fire.

    python examples/nightly_schedule.py

A schedule lives in the store. Any worker of that store fires it, each instant once, however many there are; after a
time in which nothing ran, `catch_up` says what happens to the instants that were missed.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import tenuto


@tenuto.task_agent
def backup(payload: dict) -> str:
    """Where the backup would be made."""
    return f"saved {payload['database']}"


@tenuto.task_agent
def heartbeat(payload: None) -> str:
    """Says that this works."""
    return "alive"


async def main() -> None:
    """Puts both schedules, waits for the first heartbeat, and removes the heartbeat again."""
    async with tenuto.Orchestrator() as orchestrator:
        orchestrator.register_runner([backup, heartbeat])
        nightly = await orchestrator.put_schedule(
            "nightly-backup",
            backup.create_task(payload={"database": "orders"}),
            cron="30 2 * * *",
            zone="Europe/Berlin",
            catch_up="latest",
        )
        print("next backup:", datetime.fromtimestamp((nightly.next_at or 0) / 1000, UTC).isoformat())

        await orchestrator.put_schedule("heartbeat", heartbeat.create_task(), every=1)
        async for event in orchestrator.subscribe_to_updates(event_types=["done"], after="now"):
            if event.task_id.startswith("heartbeat@"):
                print(event.task_id, "->", await orchestrator.get_task_result(event.task_id))
                break
        await orchestrator.delete_schedule("heartbeat")


if __name__ == "__main__":
    asyncio.run(main())
