"""Strategies for what clients and workers send: small worlds, so that things meet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from hypothesis import strategies as st
from msgspec import Raw

from tenuto.stores.base import Store, TimeToLive
from tenuto.tasks.goal import Edge, Tree, When
from tenuto.tasks.limits import Limit
from tenuto.tasks.outcome import Step, StepState
from tenuto.tasks.schedules import CatchUp, Schedule
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import ACTIVE, State
from tenuto.tasks.task import ErrorRecord, TaskSpec, Unique
from tenuto.tasks.waits import Wait
from tests.conformance.stage import START
from tests.property import money

__all__ = [
    "AGENTS",
    "BLOBS",
    "CHILDREN",
    "DECREES",
    "ERRORS",
    "EVENTS",
    "LEASES",
    "SPANS",
    "STEPS",
    "TTLS",
    "VALUES",
    "WAITS",
    "signals",
    "trees",
]

T = TypeVar("T")

NAMES = ("t0", "t1", "t2", "t3", "t4", "t5", "g0", "g1")
NODES = ("n0", "n1", "n2", "n3", "t0")
IDS = st.sampled_from(NAMES)
OWNERS = st.sampled_from(("", "ann", "bob", "cid"))
AGENTS = ("read", "write")
KEYS = ("db", "api", "free")
TOPICS = (
    "event:go",
    "event:stop",
    "answer:call",
    "budget:total",
    "budget:owner:ann",
    *(f"task:{name}" for name in ("t0", "t1", "g0", "n0", "nobody")),
)

VALUES = st.sampled_from((None, 1, "a\x00b", [1, None], {"x": {"y": 2}}, {"fresh": True}))
RAWS = st.sampled_from((Raw(b"null"), Raw(b"1"), Raw(b'{"a":"\\u0000"}'), Raw(b'["x"]')))
SPANS = st.sampled_from((0, 1, 10, 100, 1_000, 5_000, 20_000, 60_000)) | st.integers(0, 3_000)
LEASES = st.sampled_from((100, 1_000, 30_000))
INSTANTS = st.integers(-1_000, 60_000).map(lambda span: START + span)
BLOBS = st.dictionaries(st.sampled_from(("a" * 40, "b" * 40)), st.sampled_from((b"1", b'"\x00large"')), max_size=1)
ERRORS = st.builds(ErrorRecord, st.sampled_from(("ValueError", "OSError")), st.sampled_from(("boom", "a\x00b")))


def _seldom(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    return st.one_of(st.none(), st.none(), st.none(), strategy)


LIMIT_KEYS = st.lists(st.sampled_from(KEYS), max_size=2, unique=True).map(tuple)
COMMON: dict[str, st.SearchStrategy[Any]] = {
    "agent": st.sampled_from(AGENTS),
    "owner": OWNERS,
    "payload": RAWS,
    "priority": st.integers(-2, 2),
    "band": st.sampled_from((0, 0, 0, 1, -1)),
    "run_at": _seldom(INSTANTS),
    "deadline": _seldom(INSTANTS),
    "timeout": _seldom(st.sampled_from((500, 5_000))),
    "limits": LIMIT_KEYS,
    "tags": st.sampled_from(((), ("x",), ("x", "y"))),
    "budget": _seldom(money.OWN_BUDGETS),
}
TASKS = st.builds(
    TaskSpec,
    id=IDS,
    idempotency_key=_seldom(st.sampled_from(("k0", "k1"))),
    unique=_seldom(
        st.builds(
            Unique,
            st.sampled_from(("u0", "u1")),
            st.sampled_from((tuple(sorted(ACTIVE)), (State.READY,), (State.DONE, State.FAILED))),
        )
    ),
    **COMMON,
)
CHILDREN = st.builds(TaskSpec, id=st.sampled_from(("c0", "c1", "c2")), **COMMON)
LIMITS = st.builds(
    Limit,
    st.sampled_from(KEYS[:2]),
    concurrency=st.sampled_from((None, 1, 2, 3)),
    rate=st.sampled_from((None, None, 1, 3)),
    period=st.sampled_from((1_000, 7_000)),
    burst=st.sampled_from((1, 1, 2, 5)),
)


@st.composite
def goals(draw: st.DrawFn) -> Tree:
    names = draw(st.lists(st.sampled_from(NODES), min_size=1, max_size=5, unique=True))
    pairs = draw(
        st.lists(
            st.tuples(st.sampled_from(names), st.sampled_from(names), st.sampled_from(When)),
            max_size=6,
            unique_by=lambda pair: pair[:2],
        )
    )
    forwards = draw(st.integers(0, 9)) > 0  # else perhaps a cycle, which is refused
    edges = tuple(
        Edge(source, target, when)
        for source, target, when in pairs
        if not forwards or names.index(source) < names.index(target)
    )
    nodes = tuple(TaskSpec(id=name, **{field: draw(each) for field, each in COMMON.items()}) for name in names)
    root = TaskSpec(
        id=draw(st.sampled_from(("g0", "g1"))),
        owner=draw(OWNERS),
        timeout=draw(_seldom(st.just(20_000))),
        idempotency_key=draw(_seldom(st.just("k2"))),
        budget=draw(_seldom(money.OWN_BUDGETS)),
    )
    return Tree(root, nodes, edges, draw(BLOBS), draw(st.lists(LIMITS, max_size=1).map(tuple)))


TREES = st.one_of(st.builds(Tree, TASKS, blobs=BLOBS), st.builds(Tree, TASKS), goals())


def trees() -> st.SearchStrategy[list[Tree]]:
    """A batch."""
    return st.lists(TREES, min_size=1, max_size=4)


STEPS = st.lists(
    st.builds(
        Step,
        key=st.sampled_from(("s0", "s1", "s2", "s3")),
        position=st.integers(0, 3),
        state=st.sampled_from(StepState),
        value=st.none() | RAWS,
        error=st.none() | ERRORS,
    ),
    max_size=3,
).map(tuple)
EVENTS = st.lists(
    st.tuples(st.sampled_from(("note", "progress")), RAWS | st.just(Raw(b'{"fraction":0.5,"message":"half"}'))),
    max_size=2,
).map(tuple)
WAITS = st.builds(
    Wait,
    on=st.lists(st.sampled_from(TOPICS), max_size=3).map(tuple),
    need=st.integers(0, 3),
    until=st.none() | INSTANTS,
    people=st.booleans(),
)


def signals(ids: list[str]) -> st.SearchStrategy[list[Signal]]:
    """A batch to any of `ids`."""
    return st.lists(
        st.builds(
            Signal,
            st.sampled_from(ids),
            st.sampled_from((*SignalKind, SignalKind.RETRY, SignalKind.CANCEL)),
            topic=st.sampled_from(("", "event:go", "event:stop", "answer:call")),
            data=VALUES
            | st.integers(-3, 3)
            | st.builds(
                lambda key, how: {"key": key, "how": how, "value": 1},
                st.sampled_from(("s0", "s1", "s2")),
                st.sampled_from(("done", "retry", "fail", "maybe")),
            ),
            key=st.sampled_from((None, None, "m0", "m1")),
            reason=st.sampled_from((None, "by ann")),
        ),
        min_size=1,
        max_size=3,
    )


SCHEDULES = st.builds(
    Schedule,
    name=st.sampled_from(("often", "daily")),
    task=TASKS,
    every=st.sampled_from((1_000, 7_000, 30_000)),
    catch_up=st.sampled_from(CatchUp),
    paused=st.sampled_from((False, False, True)),
)
DECREES: st.SearchStrategy[Callable[[Store], Awaitable[object]]] = st.one_of(
    LIMITS.map(lambda limit: lambda store: store.put_limit(limit)),
    st.sampled_from(KEYS).map(lambda key: lambda store: store.drop_limit(key)),
    st.tuples(OWNERS, st.sampled_from((0.5, 1, 3))).map(lambda pair: lambda store: store.put_weight(*pair)),
    SCHEDULES.map(lambda schedule: lambda store: store.put_schedule(schedule)),
    st.sampled_from(("often", "daily")).map(lambda name: lambda store: store.delete_schedule(name)),
    money.DECREES,
)
"""What operators ask of a store."""

TTLS = st.sampled_from((TimeToLive(), TimeToLive(done=1_000, failed=5_000, cancelled=0, keys=30_000)))
