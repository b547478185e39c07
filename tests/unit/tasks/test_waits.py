"""Waits: when one is over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.tasks.waits import Wait, answer_topic, event_topic, task_topic

TOPICS = st.sampled_from([event_topic("a"), event_topic("b"), answer_topic("a"), task_topic("a"), task_topic("b")])


def test_topics_of_different_kinds_never_meet() -> None:
    assert len({event_topic("a"), answer_topic("a"), task_topic("a")}) == 3


@given(st.lists(TOPICS, max_size=6), st.integers(1, 7), st.sets(TOPICS), st.integers(0, 10))
def test_a_wait_is_over_when_enough_has_come(on: list[str], need: int, came: set[str], now: int) -> None:
    wait = Wait(tuple(on), need)
    topics = set(on)
    assert wait.met_by(came, now) == (bool(topics) and len(topics & came) >= min(need, len(topics)))


@given(st.lists(TOPICS, max_size=6), st.sets(TOPICS), st.integers(0, 10))
def test_more_topics_never_undo_a_wait_that_is_over(on: list[str], came: set[str], now: int) -> None:
    wait = Wait(tuple(on), 2)
    for topic in set(on):
        assert wait.met_by(came | {topic}, now) or not wait.met_by(came, now)


@pytest.mark.parametrize(("now", "over"), [(99, False), (100, True), (101, True)])
def test_time_ends_any_wait(now: int, over: bool) -> None:
    assert Wait(until=100).met_by((), now) is over
    assert Wait((event_topic("a"),), until=100).met_by((), now) is over


def test_a_wait_for_nothing_never_ends_by_itself() -> None:
    assert not Wait().met_by([event_topic("a")], 10**15)
