"""An engine without SQL says so where a verb needs it, and stores nothing."""

from __future__ import annotations

import pytest

from tenuto.errors import InvalidInput
from tenuto.tasks.goal import Tree
from tenuto.tasks.outcome import Step
from tests.conformance.engines import ENGINES, Engine
from tests.conformance.stage import LEASE, Stage, spec


@pytest.fixture(params=[each for each in ENGINES.values() if not each.sql], ids=lambda each: each.name)
def engine(request: pytest.FixtureRequest) -> Engine:
    engine: Engine = request.param
    return engine


async def test_there_is_no_transaction_of_the_tasks_own(stage: Stage) -> None:
    await stage.add(spec())
    lease = await stage.worker().claim_one()
    with pytest.raises(InvalidInput, match="SQL"):
        await stage.store.transact(lease.hold, Step("pay", 0), lambda connection: b"1", LEASE)
    assert list(await stage.store.journal("task-1")) == []


async def test_there_is_no_submission_inside_the_callers_transaction(stage: Stage) -> None:
    with pytest.raises(InvalidInput, match="SQL"):
        await stage.store.submit([Tree(spec())], connection=object())
    assert await stage.store.task("task-1") is None
