"""Why a task does not run: the deciding reason comes first, and says what to do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tenuto.tasks import transitions
from tenuto.tasks.limits import Limit
from tenuto.tasks.states import State
from tenuto.tasks.task import Task, TaskSpec
from tenuto.tasks.waits import Wait, answer_topic, event_topic, task_topic
from tenuto.tasks.why import Facts, explain
from tests.unit.tasks.make import BOOM, NOW, ready, running

SERVED = Facts(workers=2)


def first(task: Task, facts: Facts = SERVED) -> str:
    return explain(task, facts, NOW)[0][0]


def blocked() -> Task:
    return replace(ready(), state=State.BLOCKED, unmet=2)


def waiting(wait: Wait) -> Task:
    return transitions.suspend(running(), NOW, wait, len(wait.on)).task


def gated(**limit: Any) -> tuple[Task, Limit]:
    return replace(ready(), gate="api"), Limit("api", **limit)


def test_a_free_task_without_workers_asks_for_one() -> None:
    assert first(ready(), Facts()) == "No live worker serves the agent 'echo': start one."


def test_a_free_task_waits_for_a_slot_behind_others() -> None:
    assert first(ready(), Facts(workers=2, ahead=7)) == (
        "It waits for a free slot of the 2 workers of 'echo', 7 of the same owner come first."
    )


def test_a_paused_task_says_so_before_anything_else() -> None:
    said, _ = explain(transitions.pause(ready(), NOW, "budget").task, Facts(), NOW)
    assert said[0] == "It is paused (budget): resume it."
    assert said[1:] == ("No live worker serves the agent 'echo': start one.",)
    said, _ = explain(transitions.pause(ready(), NOW, "budget").task, SERVED, NOW)
    assert len(said) == 1


def test_a_blocked_task_names_what_it_needs() -> None:
    needs = tuple((f"n{number}", State.RUNNING) for number in range(7))
    assert first(blocked(), Facts(needs=needs)) == (
        "It depends on n0 (running), n1 (running), n2 (running), n3 (running), n4 (running) and 2 more."
    )


def test_a_parked_task_names_its_limit_and_when_it_opens() -> None:
    task, limit = gated(concurrency=2)
    assert first(task, Facts(limit=limit, limit_used=2, workers=1)) == (
        "The limit 'api' allows 2 at once, and 2 run now."
    )
    task, limit = gated(rate=1)
    assert "2025-06-15T15:06:40Z" in first(task, Facts(limit=limit, limit_next=NOW, workers=1))


@pytest.mark.parametrize(
    ("task", "said", "until"),
    [
        (ready(run_at=NOW + 60_000), "It is scheduled for 2025-06-15T15:07:40Z.", NOW + 60_000),
        (running(), "It is running: attempt 1 on worker worker-1, held until 2025-06-15T15:07:10Z.", NOW + 30_000),
        (waiting(Wait(until=NOW + 5_000)), "It sleeps until 2025-06-15T15:06:45Z.", NOW + 5_000),
        (waiting(Wait((event_topic("go"),))), "It waits for the event 'go'.", None),
        (
            waiting(Wait((task_topic("a"), answer_topic("call-1")), need=2)),
            "It waits for 2 of: the task 'a', the answer to 'call-1'.",
            None,
        ),
        (
            waiting(Wait((event_topic("go"),), until=NOW + 5_000)),
            "It waits for the event 'go', at the latest until 2025-06-15T15:06:45Z.",
            NOW + 5_000,
        ),
        (transitions.finish(running(), NOW, None).task, "It is done.", None),
        (transitions.fail(running(), NOW, BOOM).task, "It failed: ValueError: boom.", None),
        (transitions.cancel(ready(), NOW, "by ann").task, "It was cancelled (by ann).", None),
    ],
)
def test_each_state_has_its_sentence(task: Task, said: str, until: int | None) -> None:
    sentences, when = explain(task, SERVED, NOW)
    assert sentences[0] == said
    assert when == until


def test_a_retried_task_tells_of_its_last_error_and_its_deadline() -> None:
    task = transitions.retry(running(deadline=NOW + 90_000), NOW, BOOM, 60_000).task
    said, until = explain(task, SERVED, NOW)
    assert said[0] == "It is tried again at 2025-06-15T15:07:40Z."
    assert said[1:] == ("The last attempt failed: ValueError: boom.", "It fails at its deadline, 2025-06-15T15:08:10Z.")
    assert until == NOW + 60_000


def test_a_goal_names_the_nodes_it_waits_for() -> None:
    goal = transitions.open_goal(TaskSpec(id="goal-1"), NOW, 2).task
    assert first(goal, Facts(needs=(("a", State.READY), ("b", State.BLOCKED)))) == (
        "It waits for 2 of its nodes: a (ready), b (blocked)."
    )


@given(st.sampled_from(State), st.booleans(), st.integers(0, 3), st.none() | st.just(Limit("api", rate=1)))
def test_every_task_has_a_sentence(state: State, paused: bool, workers: int, limit: Limit | None) -> None:
    task = replace(ready(), state=state, paused=paused, gate="api" if limit else "", run_at=NOW)
    said, _ = explain(task, Facts(workers=workers, limit=limit), NOW)
    assert said
    assert all(sentence.endswith((".", "!")) and "None" not in sentence for sentence in said)
