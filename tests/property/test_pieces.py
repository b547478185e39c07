"""Redis does long work on a tree in pieces. Done in pieces as small as can be, it comes to what the model does at once.

What may differ is the order of what happened to different tasks, and how soon one is to ask again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from tenuto.stores.base import Exchanged
from tenuto.stores.redis import scripts, trees
from tenuto.tasks.event import Event
from tests.conformance.engines import ENGINES
from tests.property import pair
from tests.property.machine import Lockstep
from tests.property.test_lockstep import EXAMPLES, STEPS

pytestmark = pytest.mark.timeout(900 + EXAMPLES * STEPS)  # a failure is made small before it is told

SMALL = {
    "pieces/walks": {"local MOST = 250": "local MOST = 1", "walks.MOST_AT_ONCE = 1000": "walks.MOST_AT_ONCE = 1"},
    "pieces/ends": {"local PAGE = 1000": "local PAGE = 2", "ends.IN_PART = 250": "ends.IN_PART = 2"},
}
"""By file: what is read, and what is read instead."""


def _forget() -> None:
    """Scripts are read again."""
    scripts.script.cache_clear()
    scripts.function_library.cache_clear()


@pytest.fixture
def smallest_pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Scripts that do as little at once as can be."""
    read, same = scripts._read, pair.same

    def small(name: str) -> str:
        text = read(name)
        for usual, instead in SMALL.get(name, {}).items():
            assert usual in text
            text = text.replace(usual, instead)
        return text

    def same_but_for_order(answer: Any) -> Any:
        if isinstance(answer, Exchanged):
            answer = replace(answer, next_due=None)
        elif isinstance(answer, list) and answer and isinstance(answer[0], Event):
            answer = sorted(answer, key=lambda event: (event.task_id, event.seq))
        return same(answer)

    monkeypatch.setattr(scripts, "_read", small)
    monkeypatch.setattr(trees, "_LINKS", 2)
    monkeypatch.setattr(pair, "same", same_but_for_order)
    _forget()
    yield
    _forget()


@pytest.mark.usefixtures("smallest_pieces")
def test_redis_in_pieces_does_what_the_model_does_at_once() -> None:
    class Beside(Lockstep):
        def __init__(self) -> None:
            super().__init__(ENGINES["redis"])

    run_state_machine_as_test(
        Beside,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
