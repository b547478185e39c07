"""A worker process of the storm: the product's `Worker` with the chaos agents, over a store that takes notes.

python -m tests.chaos.worker --store URL --lease SECONDS
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from pathlib import Path
from typing import cast

from tenuto.stores import open_store
from tenuto.stores.base import Store
from tenuto.workers.config import MaintenanceWorkerConfig, WorkerConfig
from tenuto.workers.patience import Patience
from tenuto.workers.worker import Worker
from tests.chaos.agents import AGENTS
from tests.chaos.ledger import Lines
from tests.chaos.witness import Witness

__all__ = ["main"]


async def main(store: str, lease: float) -> None:
    notes = Lines(Path(os.environ["TENUTO_CHAOS_FOLDER"]) / "witness" / f"{os.getpid()}.jsonl")
    witness = cast(Store, Witness(open_store(store), notes))
    await Patience("worker").ask(witness.open, "open")
    config = WorkerConfig(
        concurrency=8, lease=lease, grace=2.0, poll=0.2, maintenance=MaintenanceWorkerConfig(interval=0.5)
    )
    worker = Worker(witness, AGENTS, config)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.drain)
    try:
        await worker.run()
    finally:
        await witness.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", required=True)
    parser.add_argument("--lease", type=float, required=True)
    given = parser.parse_args()
    asyncio.run(main(given.store, given.lease))
