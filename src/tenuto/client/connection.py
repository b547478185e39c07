"""The store behind a client: opened by the first verb, closed with the client that opened it."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from tenuto.client.endings import Endings
from tenuto.errors import InvalidInput
from tenuto.stores.base import Store

__all__ = ["Connection"]


class Connection:
    """What the groups of verbs share."""

    def __init__(self, store: Store | str) -> None:
        self._owned = isinstance(store, str)
        self._store: Store = _store_of(store)
        self._opened = False
        self._endings = Endings(self._store)

    @property
    def store(self) -> Store:
        """The store itself, open or not."""
        return self._store

    async def open(self) -> None:
        """Opens the store. Every verb does this by itself; call it to learn early whether the store can be used."""
        if not self._opened:
            await self._store.open()  # idempotent: two loops may both be the first
            self._opened = True

    async def close(self) -> None:
        """Ends what waits on this client, and closes the store if the client was given its URL. Idempotent."""
        self._endings.close()
        if self._owned:
            await self._store.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ready(self) -> Store:
        """The store, open."""
        if not self._opened:
            await self.open()
        return self._store


def _store_of(store: Store | str) -> Store:
    if isinstance(store, str):
        from tenuto.stores import open_store

        return open_store(store)
    if not hasattr(store, "commit_and_claim"):
        raise InvalidInput(f"store must be a URL or a Store, not {type(store).__name__}")
    return store
