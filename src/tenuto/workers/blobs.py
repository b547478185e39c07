"""What the tree of a running task has stored apart, as far as its worker knows: sent once, and mostly fetched once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tenuto.stores.large import Fetch, Parts
from tenuto.workers.services import Services

__all__ = ["Blobs", "blobs_of"]


def blobs_of(services: Services, root: str) -> Blobs:
    """Those of the tree `root`, as a worker with these services fetches them."""

    async def fetch(keys: Sequence[str], room: int) -> Mapping[str, bytes]:
        return await services.patience.ask(lambda: services.store.blobs(root, keys, room), "blobs")

    return Blobs(fetch)


class Blobs(Parts):
    """The large parts of the values of one attempt: what it reads, and what it adds."""

    def __init__(self, fetch: Fetch) -> None:
        super().__init__(fetch)
        self._stored: set[str] = set()

    async def get(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """What lies under `keys`, without those where there is nothing."""
        found = await super().get(keys)
        self._stored.update(found)
        return found

    def unsent(self, blobs: Mapping[str, bytes]) -> dict[str, bytes]:
        """Those of `blobs` that the store is not known to have."""
        return {key: data for key, data in blobs.items() if key not in self._stored}

    def sent(self, keys: Iterable[str]) -> None:
        """The store has `keys` now."""
        self._stored.update(keys)
