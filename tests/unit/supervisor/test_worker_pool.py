"""The pool alone: never more than allowed, first-in-first-out, and nobody forgotten."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.errors import Conflict, InvalidInput
from tenuto.supervisor.worker_pool import WorkerPoolScheduler


def test_as_many_as_allowed_and_the_next_when_one_ends() -> None:
    started: list[str] = []
    pool = WorkerPoolScheduler(2, started.append)
    for name in "abcd":
        pool.submit(name)
    assert (started, pool.queued, pool.running, pool.free) == (["a", "b"], ("c", "d"), ("a", "b"), 0)
    pool.release("b")
    assert started == ["a", "b", "c"]
    assert pool.withdraw("d")
    assert not pool.withdraw("d")
    pool.release("a")
    pool.release("a")
    assert (pool.running, pool.free) == (("c",), 1)


def test_one_that_may_not_start_lets_others_by_and_keeps_its_place() -> None:
    started: list[str] = []
    waiting = {"a"}
    pool = WorkerPoolScheduler(1, started.append, lambda name: name not in waiting)
    for name in "abc":
        pool.submit(name)
    assert started == ["b"]
    waiting.clear()
    pool.schedule()
    assert started == ["b"]
    pool.release("b")
    assert started == ["b", "a"]


def test_those_that_do_not_count_need_no_slot() -> None:
    started: list[str] = []
    pool = WorkerPoolScheduler(1, started.append)
    pool.submit("a")
    pool.submit("b")
    pool.submit("free", counted=False)
    assert started == ["a", "free"]
    pool.release("free")
    assert started == ["a", "free"]
    pool.resize(2)
    assert started == ["a", "free", "b"]


def test_an_agent_that_is_there_already_and_limits_that_make_no_sense() -> None:
    pool = WorkerPoolScheduler(1)
    pool.submit("a")
    pool.submit("b")
    with pytest.raises(Conflict, match="'a' is running already"):
        pool.submit("a")
    with pytest.raises(Conflict, match="'b' is queued already"):
        pool.submit("b")
    for wrong in (0, True, "3"):
        with pytest.raises(InvalidInput, match="max_workers must be a whole number"):
            WorkerPoolScheduler(wrong)  # type: ignore[arg-type]


@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from("srw"), st.integers(0, 9)), max_size=60))
def test_whatever_happens_the_limit_holds_and_no_slot_stays_empty(limit: int, verbs: list[tuple[str, int]]) -> None:
    pool = WorkerPoolScheduler(limit, lambda name: None)
    for verb, number in verbs:
        name = str(number)
        if verb == "s" and name not in (*pool.queued, *pool.running):
            pool.submit(name)
        elif verb == "r":
            pool.release(name)
        elif verb == "w":
            pool.withdraw(name)
        assert len(pool.running) <= limit
        assert not (pool.queued and pool.free)


def test_an_order_of_ones_own_may_look_at_who_runs() -> None:
    class OneOfAKind(WorkerPoolScheduler):
        def candidates(self, queued: Sequence[str]) -> Sequence[str]:
            taken = {name[0] for name in self.running}
            return [name for name in queued if name[0] not in taken]

    started: list[str] = []
    pool = OneOfAKind(10, started.append)
    for name in ("a1", "a2", "b1"):
        pool.submit(name)
    assert started == ["a1", "b1"]
