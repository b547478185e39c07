"""One stage for each engine: every test of this folder runs on all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tenuto.stores.base import Store
from tests.conformance.engines import ENGINES, Engine
from tests.conformance.stage import Stage, VirtualClock


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def store(engine: Engine, tmp_path: Path, clock: VirtualClock) -> AsyncIterator[Store]:
    store = engine.make(tmp_path, clock)
    await store.open()
    try:
        yield store
    finally:
        await store.close()
        engine.done(tmp_path)


@pytest.fixture
def stage(store: Store, clock: VirtualClock) -> Stage:
    return Stage(store, clock)
