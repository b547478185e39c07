"""Claims among many owners: every engine serves in the model's order, however lanes are kept and batches are cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenuto.stores.base import Claim, Exchange, TimeToLive
from tenuto.tasks.goal import Tree
from tenuto.tasks.limits import Limit
from tenuto.tasks.outcome import Ending, Outcome
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.task import NULL, TaskSpec
from tests.conformance.engines import ENGINES, Engine
from tests.property.pair import Pair
from tests.property.test_lockstep import EXAMPLES

ARRIVALS = st.tuples(
    st.just("arrive"),
    st.integers(1, 60),
    st.integers(1, 150),
    st.sampled_from(("read", "write")),
    st.integers(-1, 1),
    st.sampled_from(((), (), (), ("db",), ("api", "db"))),
)
"""How many tasks, over how many owners, for which agent, in which band, under which limits."""

ACTIONS = st.one_of(
    ARRIVALS,
    ARRIVALS,
    st.tuples(st.just("claim"), st.sampled_from((("read",), ("write",), ("read", "write"))), st.integers(1, 90)),
    st.tuples(st.just("claim"), st.just(("read", "write")), st.integers(1, 5)),
    st.tuples(st.just("end"), st.sampled_from((Ending.DONE, Ending.RELEASE)), st.integers(1, 20)),
    st.tuples(st.just("weight"), st.integers(0, 150), st.sampled_from((0.1, 2.0, 10.0))),
    st.tuples(st.just("signal"), st.sampled_from((SignalKind.PAUSE, SignalKind.RESUME, SignalKind.ELEVATE))),
    st.tuples(st.just("limit"), st.sampled_from(("db", "api")), st.sampled_from((1, 5, 40))),
    st.tuples(st.just("rest"), st.integers(0, 40_000)),
)


class Market:
    """Tasks of many owners arrive and are claimed, at the model and at the engine."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.arrived = self.number = 0
        self.held: list[tuple[Any, Any]] = []

    def arrive(self, count: int, owners: int, agent: str, band: int, limits: tuple[str, ...]) -> None:
        first = self.arrived
        self.arrived += count
        trees = [
            Tree(
                TaskSpec(
                    id=f"t{number}",
                    agent=agent,
                    owner=f"owner-{number * 7 % owners}",
                    band=band,
                    priority=number % 3,
                    limits=limits,
                )
            )
            for number in range(first, self.arrived)
        ]
        self.pair.both(lambda store: store.submit(trees))

    def claim(self, agents: tuple[str, ...], slots: int) -> None:
        self.exchange((), (), Claim(agents, slots, 20_000))

    def end(self, ending: Ending, count: int) -> None:
        mine, self.held = self.held[:count], self.held[count:]
        result = NULL if ending is Ending.DONE else None
        self.exchange(
            tuple(Outcome(model.hold, ending, result) for model, _ in mine),
            tuple(Outcome(engine.hold, ending, result) for _, engine in mine),
            None,
        )

    def exchange(self, model: Any, engine: Any, claim: Claim | None) -> None:
        self.number += 1
        answer, answer_of_engine = self.pair.both(
            lambda store: store.commit_and_claim(Exchange("w", self.number, model, claim)),
            lambda store: store.commit_and_claim(Exchange("w", self.number, engine, claim)),
        )
        assert answer is not None
        assert answer_of_engine is not None
        self.held += zip(answer.leases, answer_of_engine.leases, strict=True)

    def weight(self, owner: int, weight: float) -> None:
        self.pair.both(lambda store: store.put_weight(f"owner-{owner}", weight))

    def signal(self, kind: SignalKind) -> None:
        signals = [Signal(f"t{number}", kind, data=number % 5) for number in range(0, self.arrived, 7)]
        self.pair.both(lambda store: store.signal(signals))

    def limit(self, key: str, concurrency: int) -> None:
        self.pair.both(lambda store: store.put_limit(Limit(key, concurrency=concurrency)))

    def rest(self, span: int) -> None:
        self.pair.clock.move(span)
        self.pair.both(lambda store: store.sweep(1_000, TimeToLive()))


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "engine", [each for each in ENGINES.values() if each.name != "memory"], ids=lambda each: each.name
)
def test_every_engine_serves_in_the_models_order(engine: Engine) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(ACTIONS, min_size=4, max_size=25))
    def trade(actions: list[tuple[Any, ...]]) -> None:
        pair = Pair(engine)
        try:
            market = Market(pair)
            for name, *given_to_it in actions:
                getattr(market, name)(*given_to_it)
            for _ in range(3):
                market.claim(("read", "write"), 50)
            pair.compare()
        finally:
            pair.close()

    trade()
