"""Trees inside the caller's own transaction: they exist when and only when the caller commits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tenuto.errors import InvalidInput
from tenuto.stores.base import Store, Verdict
from tenuto.tasks.event import EventKind
from tenuto.tasks.goal import Edge, Tree
from tenuto.tasks.limits import Limit
from tenuto.tasks.money import Budget
from tenuto.tasks.states import State
from tenuto.tasks.task import TaskSpec
from tests.conformance.engines import ENGINES, Engine
from tests.conformance.stage import Stage, raw, spec, value


@pytest.fixture(params=[each for each in ENGINES.values() if each.sql], ids=lambda each: each.name)
def engine(request: pytest.FixtureRequest) -> Engine:
    engine: Engine = request.param
    return engine


@pytest.fixture
def connection(engine: Engine, store: Store, tmp_path: Path) -> Iterator[Any]:
    """The caller's, with a table of its own and an open transaction."""
    assert engine.connect is not None
    with closing(engine.connect(tmp_path)) as connection:
        connection.execute("CREATE TABLE orders (number INTEGER)")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO orders VALUES (7)")
        yield connection


async def test_a_tree_exists_when_the_caller_commits(stage: Stage, connection: Any) -> None:
    tree = Tree(TaskSpec(id="goal-1"), (spec("a", payload=raw(7)), spec("b")), (Edge("a", "b"),), {"b" * 40: b"1"})
    answers = await stage.store.submit(
        [tree, Tree(spec(), limits=(Limit("db", concurrency=1),))], connection=connection
    )
    assert [answer.verdict for answer in answers] == [Verdict.CREATED, Verdict.CREATED]
    assert await stage.store.task("a") is None, "nobody else sees it yet"
    connection.execute("COMMIT")
    assert value((await stage.task("a")).payload) == 7
    assert await stage.blob("goal-1", "b" * 40) == b"1"
    assert sorted(await stage.worker().run_all()) == ["a", "b", "task-1"]
    assert await stage.state("goal-1") is State.DONE
    assert list(connection.execute("SELECT number FROM orders")) == [(7,)]


async def test_the_budget_of_a_task_comes_with_it(stage: Stage, connection: Any) -> None:
    tree = Tree(TaskSpec(id="goal-1", budget=Budget(tokens=9)), (spec("a", budget=Budget(money=5)),))
    await stage.store.submit([tree], connection=connection)
    assert list(await stage.store.budgets()) == []
    connection.execute("COMMIT")
    budgets = [use.budget for use in await stage.store.budgets()]
    assert budgets == [Budget("task:a", money=5), Budget("task:goal-1", tokens=9)]


async def test_nothing_exists_when_the_caller_rolls_back(stage: Stage, connection: Any) -> None:
    tree = Tree(spec(idempotency_key="k"), limits=(Limit("db", concurrency=1),), blobs={"b" * 40: b"1"})
    await stage.store.submit([tree], connection=connection)
    connection.execute("ROLLBACK")
    assert await stage.store.task("task-1") is None
    assert list(await stage.store.limits()) == []
    assert (await stage.store.events()).events == ()
    assert await stage.worker().ids() == []
    await stage.add(spec("other", idempotency_key="k"))
    assert (await stage.store.stats())[State.READY] == 1


async def test_each_tree_is_answered_for_itself_there_too(stage: Stage, connection: Any) -> None:
    connection.execute("ROLLBACK")
    await stage.add(spec("old"))
    connection.execute("BEGIN")
    trees = [Tree(spec("old")), Tree(spec("old", agent="other")), Tree(TaskSpec(id="empty")), Tree(spec("new"))]
    answers = await stage.store.submit(trees, connection=connection)
    connection.execute("COMMIT")
    assert [answer.verdict.value for answer in answers] == ["existing", "conflict", "refused", "created"]
    assert await stage.worker().ids() == ["old", "new"]


async def test_several_submissions_in_one_transaction(stage: Stage, connection: Any) -> None:
    for number in range(5):
        await stage.store.submit([Tree(spec(f"t{number}"))], connection=connection)
        (again,) = await stage.store.submit([Tree(spec(f"t{number}"))], connection=connection)
        assert again.verdict is Verdict.EXISTING
    connection.execute("COMMIT")
    assert await stage.worker().ids() == [f"t{number}" for number in range(5)]
    created = (await stage.store.events(kinds=[EventKind.CREATED])).events
    assert [event.seq for event in created] == [1] * 5


async def test_a_feed_reader_misses_nothing_that_was_submitted_so(stage: Stage, connection: Any) -> None:
    await stage.store.submit([Tree(spec("inside"))], connection=connection)
    before = (await stage.store.events()).cursor
    connection.execute("COMMIT")
    await stage.add(spec("outside"))
    seen = [event.task_id for event in (await stage.store.events(before)).events]
    assert seen == ["inside", "outside"]


@pytest.mark.parametrize("wrong", ["no transaction", "another file", "no connection"])
async def test_a_connection_that_does_not_fit_is_refused(
    stage: Stage, engine: Engine, connection: Any, tmp_path: Path, wrong: str
) -> None:
    assert engine.connect is not None
    connection.execute("ROLLBACK")
    given: Any = connection
    if wrong == "no connection":
        given = object()
    elif wrong == "another file":
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        given = engine.connect(elsewhere)
        given.execute("BEGIN")
    with pytest.raises(InvalidInput, match="connection"):
        await stage.store.submit([Tree(spec())], connection=given)
    if wrong == "another file":
        given.close()
    assert await stage.store.task("task-1") is None
