"""What the tree of a running task has stored apart, as far as its worker knows: sent once, and mostly fetched once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from tenuto.workers.services import Services

__all__ = ["Blobs", "blobs_of"]

_MOST_AT_HAND = 4 * 1024 * 1024
"""Bytes that are kept at hand: long instructions, for example, are part of each turn that a resumed task reads."""


def blobs_of(services: Services, root: str) -> Blobs:
    """Those of the tree `root`, as a worker with these services fetches them."""
    return Blobs(lambda key: services.patience.ask(lambda: services.store.blob(root, key), "blob"))


class Blobs:
    """The large parts of the values of one attempt."""

    def __init__(self, fetch: Callable[[str], Awaitable[bytes | None]]) -> None:
        """fetch: what the store has under a hash."""
        self._fetch = fetch
        self._stored: set[str] = set()
        self._at_hand: dict[str, bytes] = {}
        self._bytes = 0

    async def get(self, key: str) -> bytes | None:
        """What lies under `key`; None where there is nothing."""
        found = self._at_hand.get(key)
        if found is None:
            found = await self._fetch(key)
            if found is not None:
                self._stored.add(key)
                self._keep(key, found)
        return found

    def unsent(self, blobs: Mapping[str, bytes]) -> dict[str, bytes]:
        """Those of `blobs` that the store is not known to have."""
        return {key: data for key, data in blobs.items() if key not in self._stored}

    def sent(self, keys: Iterable[str]) -> None:
        """The store has `keys` now."""
        self._stored.update(keys)

    def _keep(self, key: str, data: bytes) -> None:
        if len(data) > _MOST_AT_HAND // 4:
            return
        self._at_hand[key] = data
        self._bytes += len(data)
        while self._bytes > _MOST_AT_HAND:
            oldest = next(iter(self._at_hand))
            self._bytes -= len(self._at_hand.pop(oldest))
