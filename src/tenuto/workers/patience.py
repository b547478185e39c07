"""What a worker does when the store does not answer: try again, ever more patiently, and say so once.

Every verb of the store may be repeated (ids, holds and request numbers make it safe), so a worker repeats until it is
answered. Only what repeating cannot help is raised.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenuto.errors import StoreClosed, StoreCorrupt, StoreError, StoreGone, StoreTooNew
from tenuto.observability.logging import logger

__all__ = ["Patience", "passes"]

T = TypeVar("T")

log = logger("tenuto.worker")

_FIRST = 0.02
_LONGEST = 2.0


def passes(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, StoreClosed | StoreCorrupt | StoreGone | StoreTooNew):
        return False
    return isinstance(error, StoreError | OSError)


class Patience:
    """Repeats requests until they are answered. One for each line of requests of a worker."""

    def __init__(self, who: str) -> None:
        self._who = who

    async def ask(self, request: Callable[[], Awaitable[T]], what: str) -> T:
        """The answer to `request()`, which may be called many times.

        Delays double from 20 ms to 2 s, with jitter. Raises only errors that do not pass by waiting.
        """
        delay, said = _FIRST, False
        while True:
            try:
                answer = await request()
            except (StoreError, OSError) as error:
                if not passes(error):
                    raise
                if not said:
                    log.warning("the store does not answer, trying again", worker=self._who, what=what, why=str(error))
                    said = True
            else:
                if said:
                    log.info("the store answers again", worker=self._who, what=what)
                return answer
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, _LONGEST)
