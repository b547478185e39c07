"""Agents on the engines that workers are tested with; `engine` is each of those that there are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tenuto.stores.base import Store
from tests.conformance.engines import ENGINES
from tests.integration.workers.conftest import clock, store
from tests.integration.workers.rig import Clock

__all__ = ["clock", "engine", "store"]


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    store = ENGINES[request.param].make(tmp_path, clock)
    await store.open()
    yield store
    await store.close()
