"""A process that does nothing but sweep, as often as it can: several of them must be harmless.

python -m tests.chaos.sweeper --store URL
"""

from __future__ import annotations

import argparse
import asyncio

from tenuto.stores import open_store
from tenuto.stores.base import TimeToLive
from tenuto.workers.patience import Patience

__all__ = ["main"]


async def main(url: str) -> None:
    store = open_store(url)
    patience = Patience("sweeper")
    await patience.ask(store.open, "open")
    while True:
        swept = await patience.ask(lambda: store.sweep(100, TimeToLive()), "sweep")
        await asyncio.sleep(0 if swept.more else 0.02)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", required=True)
    asyncio.run(main(parser.parse_args().store))
