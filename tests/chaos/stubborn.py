"""A worker that ignores its leases, as a program without a sound clock would.

    python -m tests.chaos.stubborn --store URL --lease SECONDS

It claims a few tasks, says nothing until others hold them or have finished them, and then reports as if nothing had
happened: a recorded step, a renewal, a result. All of it must be refused; the poison in it must never be seen again.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec

from tenuto.stores import open_store
from tenuto.stores.base import Claim, Exchange, Store, WorkerInfo
from tenuto.tasks.ids import new_id
from tenuto.tasks.lease import Lease
from tenuto.tasks.outcome import Ending, Outcome, Record, Step
from tenuto.workers.patience import Patience
from tests.chaos.agents import AGENTS
from tests.chaos.ledger import Lines
from tests.chaos.witness import Witness

__all__ = ["POISON", "main"]

POISON = "poison"
_TASKS = 3
_PATIENCE = 60.0
_APPETITE = 2.0

_ask = Patience("stubborn").ask


async def _lost(store: Store, lease: Lease) -> bool:
    task = await _ask(functools.partial(store.task, lease.task_id), "read")
    return task is None or (task.attempt, task.nonce) != (lease.attempt, lease.nonce)


async def _claim(store: Store, name: str, agents: tuple[str, ...], span: int) -> tuple[Sequence[Lease], int]:
    """Some tasks, and the number of the request that brought them; none where all work is done."""
    number = 0
    end = time.monotonic() + _APPETITE
    while time.monotonic() < end:
        number += 1
        exchange = Exchange(name, number, claim=Claim(agents, _TASKS, span))
        claimed = await _ask(functools.partial(store.commit_and_claim, exchange), "claim")
        if claimed.leases:
            return claimed.leases, number
        await asyncio.sleep(0.01)
    return (), number


async def main(url: str, seconds: float) -> None:
    span = round(seconds * 1000)
    notes = Lines(Path(os.environ["TENUTO_CHAOS_FOLDER"]) / "stubborn" / f"{os.getpid()}.jsonl")
    store = open_store(url)
    await _ask(store.open, "open")
    witness = cast(Store, Witness(store, notes))
    name = new_id("stubborn")
    agents = tuple(agent.name for agent in AGENTS)
    try:
        deadline = time.monotonic() + _PATIENCE
        leases, number = await _claim(store, name, agents, span)
        while not all([await _lost(store, lease) for lease in leases]):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} still holds what it has ignored for {_PATIENCE:g} seconds")
            await asyncio.sleep(0.05)
        poison = msgspec.Raw(msgspec.json.encode(POISON))
        holds = [lease.hold for lease in leases]
        records = [Record(hold, (Step(f"{POISON}#0", 0, value=poison),)) for hold in holds]
        outcomes = tuple(Outcome(hold, Ending.DONE, result=poison) for hold in holds)
        await _ask(lambda: witness.renew(WorkerInfo(name, agents, slots=_TASKS), holds, span), "renew")
        await _ask(lambda: witness.record(records, span), "record")
        await _ask(lambda: witness.commit_and_claim(Exchange(name, number + 1, outcomes)), "commit")
    finally:
        await store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", required=True)
    parser.add_argument("--lease", type=float, required=True)
    given = parser.parse_args()
    asyncio.run(main(given.store, given.lease))
