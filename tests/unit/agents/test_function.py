"""Task agents that are functions: their forms, their tasks, and how they travel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import cloudpickle
import msgspec
import pytest

from tenuto.agents.function import FunctionAgent, task_agent
from tenuto.errors import InvalidInput, Unstorable
from tenuto.tasks.limits import Limit
from tenuto.tasks.retry import RetryPolicy
from tenuto.workers.context import Context


@dataclass
class Order:
    count: int


@task_agent
def plain(order: Order) -> int:
    """Counts."""
    return order.count


@task_agent(name="shop.order", version="2", max_retries=1, timeout=60, concurrency=3, rate=(10, 60), limits=["db"])
async def order(ctx: Context, order: Order) -> int:
    return order.count


def test_an_agent_is_still_the_function() -> None:
    assert plain(Order(3)) == 3
    assert plain.__doc__ == "Counts."
    assert (plain.name, plain.version) == ("plain", "")


def test_a_task_takes_what_is_not_said_from_its_agent() -> None:
    spec = order.create_task("ann", Order(2), delay=timedelta(seconds=5), priority=3, tags=["x"], metadata={"a": (1,)})
    assert (spec.agent, spec.owner, spec.priority, spec.tags, spec.timeout) == ("shop.order", "ann", 3, ("x",), 60_000)
    assert bytes(spec.payload) == b'{"count":2}'
    assert spec.limits == ("db", "agent:shop.order")
    assert spec.retry is None  # the agent's own, wherever it runs
    assert order.retry == RetryPolicy(max_retries=1)
    assert spec.metadata == {"a": [1]}
    assert order.limits == (Limit("agent:shop.order", 3, 10, 60_000),)
    again = order.create_task(max_retries=9, timeout=1, run_at=datetime(2030, 1, 1, tzinfo=UTC))
    assert (again.retry, again.timeout, again.run_at) == (RetryPolicy(max_retries=9), 1_000, 1_893_456_000_000)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "a.b"),
        ("id", "a b"),
        ("priority", 1.5),
        ("delay", -1),
        ("run_at", datetime(2030, 1, 1)),  # noqa: DTZ001 - without a zone, that is the point
        ("timeout", float("nan")),
        ("attempt_timeout", 0),
        ("max_retries", -1),
        ("max_retries", "3"),
        ("retry", 3),
        ("tags", "one"),
        ("idempotency_key", "\x00"),
        ("unique", ""),
        ("unique", 5),
        ("owner_id", 5),
        ("title", "a\nb"),
        ("metadata", [1]),
    ],
    ids=str,
)
def test_a_bad_field_of_a_task_is_named(field: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=field.removesuffix("_id")):
        plain.create_task(**{field: value})


def test_a_payload_without_a_json_form_is_refused() -> None:
    with pytest.raises(Unstorable, match="the payload of task"):
        plain.create_task(payload=object())


def test_functions_that_cannot_be_agents_are_refused_where_they_are_written() -> None:
    def stream() -> Any:
        yield 1

    def three(a: int, b: int) -> None: ...

    def blocking(ctx: Context) -> None: ...

    for fn, why in ((stream, "generator"), (three, "too many parameters"), (blocking, "async def")):
        with pytest.raises(InvalidInput, match=why):
            task_agent(fn)
    with pytest.raises(InvalidInput, match="version"):
        FunctionAgent(plain.fn, version=2)  # type: ignore[arg-type]  # what somebody may write
    with pytest.raises(InvalidInput, match="max_retries"):
        task_agent(max_retries=-1)(plain.fn)
    with pytest.raises(InvalidInput, match="agent name"):
        task_agent(name="")(plain.fn)


def test_an_agent_travels_by_name_or_with_its_function() -> None:
    by_name = cloudpickle.loads(cloudpickle.dumps(plain))
    assert by_name is plain

    def local(number: int) -> int:
        return number + 1

    agent = task_agent(name="local", retry=RetryPolicy(max_retries=7))(local)
    copy = cloudpickle.loads(cloudpickle.dumps(agent))
    assert copy is not agent
    assert (copy.name, copy.retry, copy(1)) == ("local", RetryPolicy(max_retries=7), 2)
    assert msgspec.json.decode(copy.create_task(payload=1).payload) == 1
