"""What a crash can lose, said once at the start of a program that runs work: in its log, in plain words.

Only engines whose server may be set one way or the other have something to say.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from tenuto.errors import StoreError
from tenuto.observability.logging import logger
from tenuto.stores.base import Store

__all__ = ["Configured", "Durability", "announce"]

log = logger("tenuto.store")


class Durability(NamedTuple):
    """What a server is set to keep."""

    sentence: str
    at_risk: bool
    """a crash loses more than a few moments"""


@runtime_checkable
class Configured(Protocol):
    """A store on a server that somebody configures."""

    async def durability(self) -> Durability:
        """How the server is set now. Raises a `StoreError` where it cannot be asked."""


async def announce(store: Store) -> None:
    """Says what the server of `store` keeps: a warning where much is at risk, else for those who read everything."""
    if not isinstance(store, Configured):
        return
    try:
        sentence, at_risk = await store.durability()
    except StoreError:
        return  # whoever uses the store next is told
    say = log.warning if at_risk else log.info
    say(sentence, store=store.url)
