"""The client processes of a storm: one submits, one directs (cancels, answers, retries). Both are killed at will.

    python -m tests.chaos.client submit|drive --variant NAME --store URL --seed N --tasks N --steps N

Killed and started again, each does everything again from the beginning, under the same ids and keys; so it does when
the store does not answer.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

import psycopg

from tenuto.client import Client
from tenuto.errors import StoreError
from tenuto.workers.patience import passes
from tests.chaos.variants import VARIANTS
from tests.chaos.variants.base import Desk, Size

__all__ = ["main"]


async def main(role: str, variant: str, store: str, size: Size) -> None:
    folder = Path(os.environ["TENUTO_CHAOS_FOLDER"])
    chosen = VARIANTS[variant]
    while True:
        try:
            async with Client(store) as client:
                desk = Desk(client, store, folder, size, role)
                await (chosen.submit(desk) if role == "submit" else chosen.drive(desk))
            return
        except (StoreError, psycopg.OperationalError) as error:
            if isinstance(error, StoreError) and not passes(error):
                raise
            print(error)
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("submit", "drive"))
    parser.add_argument("--variant", required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    given = parser.parse_args()
    asyncio.run(main(given.role, given.variant, given.store, Size(given.seed, given.tasks, given.steps)))
