"""Retry delays and verdicts: bounded, never falling caps, the same in every process."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tenuto.errors import InvalidInput
from tenuto.tasks.retry import RetryPolicy, Verdict

POLICIES = st.builds(
    RetryPolicy,
    base=st.integers(0, 60_000),
    factor=st.floats(1.0, 1000.0),
    longest=st.integers(60_000, 100_000_000),
    jitter=st.floats(0.0, 1.0),
)
IDS = st.text(min_size=1, max_size=40)


@given(POLICIES, IDS, st.integers(1, 10**9), st.integers(0, 10**9))
def test_a_delay_lies_between_its_certain_part_and_its_cap(
    policy: RetryPolicy, task_id: str, attempt: int, failures: int
) -> None:
    cap = min(float(policy.longest), policy.base * policy.factor ** min(max(failures, 1) - 1, 64))
    delay = policy.delay(task_id, attempt, failures)
    assert cap * (1 - policy.jitter) - 1 <= delay <= cap + 1
    assert delay <= policy.longest


@given(POLICIES, IDS, st.integers(1, 1000), st.integers(1, 100))
def test_without_jitter_delays_never_fall(policy: RetryPolicy, task_id: str, attempt: int, failures: int) -> None:
    certain = RetryPolicy(base=policy.base, factor=policy.factor, longest=policy.longest, jitter=0.0)
    assert certain.delay(task_id, attempt, failures) <= certain.delay(task_id, attempt, failures + 1)


@given(POLICIES, IDS, st.integers(1, 1000), st.integers(1, 100))
def test_the_same_question_has_the_same_answer(policy: RetryPolicy, task_id: str, attempt: int, failures: int) -> None:
    assert policy.delay(task_id, attempt, failures) == policy.delay(task_id, attempt, failures)


def test_another_process_computes_the_same_delay() -> None:
    code = "from tenuto.tasks.retry import RetryPolicy; print(RetryPolicy().delay('task-ü', 3, 2))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60)
    assert int(there.stdout) == RetryPolicy().delay("task-ü", 3, 2)


def test_tasks_that_failed_together_do_not_come_back_together() -> None:
    delays = sorted(RetryPolicy(base=10_000).delay(f"task-{number}", 1, 1) for number in range(1_000))
    assert 5_000 <= delays[0] < 5_100
    assert 9_900 < delays[-1] <= 10_000
    tenths = [sum(5_000 + 500 * n <= delay < 5_500 + 500 * n for delay in delays) for n in range(10)]
    assert min(tenths) > 50, f"spread evenly, not in lumps: {tenths}"


class Throttled(ConnectionError):
    """A service says: later."""


POLICY = RetryPolicy(fatal=("ValueError",), excused=(f"{__name__}.Throttled", "MemoryError"))


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ValueError("bad"), Verdict.FATAL),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "bad"), Verdict.FATAL),
        (Throttled("later"), Verdict.EXCUSED),
        (MemoryError(), Verdict.EXCUSED),
        (ConnectionError("gone"), Verdict.RETRY),
        (KeyError("k"), Verdict.RETRY),
    ],
)
def test_a_class_matches_by_short_or_full_name_and_for_its_subclasses(error: Exception, verdict: Verdict) -> None:
    assert POLICY.verdict(error) is verdict


def test_fatal_is_looked_at_before_excused() -> None:
    policy = RetryPolicy(fatal=("OSError",), excused=("ConnectionError",))
    assert policy.verdict(ConnectionError()) is Verdict.FATAL


def test_only_makes_everything_else_fatal_but_what_is_excused() -> None:
    policy = RetryPolicy(only=("ConnectionError",), excused=("MemoryError",))
    assert policy.verdict(ConnectionResetError()) is Verdict.RETRY
    assert policy.verdict(MemoryError()) is Verdict.EXCUSED
    assert policy.verdict(KeyError()) is Verdict.FATAL


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"max_retries": -1}, "max_retries"),
        ({"max_retries": 10**7}, "max_retries"),
        ({"base": -1}, "base"),
        ({"base": 2_000, "longest": 1_000}, "base"),
        ({"factor": 0.5}, "factor"),
        ({"factor": float("nan")}, "factor"),
        ({"jitter": 1.5}, "jitter"),
        ({"jitter": float("nan")}, "jitter"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_by_the_name_of_its_field(fields: dict[str, float], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        RetryPolicy(**fields).check()  # type: ignore[arg-type]  # the fields are wrong on purpose


@given(POLICIES)
def test_a_policy_that_makes_sense_is_accepted(policy: RetryPolicy) -> None:
    assume(policy.base <= policy.longest)
    assert policy.check() is policy
