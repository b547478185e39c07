"""The engines that workers are tested with: the same tests on each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tenuto.stores.base import Store
from tenuto.stores.memory import MemoryStore
from tenuto.stores.sqlite import SqliteStore
from tests.integration.workers.rig import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    memory = request.param == "memory"
    engine = MemoryStore(clock=clock) if memory else SqliteStore(tmp_path / "tenuto.db", clock=clock)
    await engine.open()
    yield engine
    await engine.close()
