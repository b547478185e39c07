"""Waits: what is still outstanding."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tenuto.tasks.waits import Wait, answer_topic, event_topic, task_topic

TOPICS = st.sampled_from([event_topic("a"), event_topic("b"), answer_topic("a"), task_topic("a"), task_topic("b")])


def test_topics_of_different_kinds_never_meet() -> None:
    assert len({event_topic("a"), answer_topic("a"), task_topic("a")}) == 3


@given(st.lists(TOPICS, max_size=6), st.integers(0, 7), st.sets(TOPICS))
def test_what_is_outstanding_is_what_has_not_come(on: list[str], need: int, came: set[str]) -> None:
    missing, still = Wait(tuple(on), need).outstanding(came)
    topics = set(on)
    assert set(missing) == topics - came
    assert len(missing) == len(set(missing))
    assert still == max(min(need, len(topics)) - len(topics & came), 0)


@given(st.lists(TOPICS, max_size=6), st.sets(TOPICS))
def test_more_topics_never_leave_more_outstanding(on: list[str], came: set[str]) -> None:
    wait = Wait(tuple(on), 2)
    for topic in set(on):
        assert wait.outstanding(came | {topic})[1] <= wait.outstanding(came)[1]
