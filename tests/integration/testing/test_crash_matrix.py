"""The crash matrix itself: where it kills, how often, and what it finds."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tenuto.agents.function import task_agent
from tenuto.errors import InvalidInput
from tenuto.testing import CrashPoint, CrashRun, Endpoint, crash_matrix
from tenuto.testing.deaths import HTTP_LIBRARIES
from tenuto.workers.context import Context


def http() -> Any:
    """The library that the SDKs of the providers are made with."""
    return import_module(next(name for name in HTTP_LIBRARIES if find_spec(name)))


@task_agent
async def asks_twice(ctx: Context, payload: str) -> list[str]:
    """Makes an HTTP request in each of two steps, once in the loop and once in a thread."""

    async def ask() -> str:
        async with http().AsyncClient(verify=False) as client:
            answer = await client.post(f"{payload}/responses", json={"model": "any", "input": "one"})
            return str(answer.json()["output"][0]["content"][0]["text"])

    def ask_again() -> str:
        with http().Client(verify=False) as client:
            answer = client.post(f"{payload}/responses", json={"model": "any", "input": "two"})
            return str(answer.json()["output"][0]["content"][0]["text"])

    return [await ctx.step("first", ask), await ctx.step("second", ask_again)]


async def test_it_kills_at_each_request_to_the_store_and_each_http_request(tmp_path: Path) -> None:
    # Given a task that makes two HTTP requests
    with Endpoint(lambda request: f"said {request.last}") as endpoint:
        asked: list[Counter[str]] = []

        def check(run: CrashRun) -> None:
            calls = endpoint.calls[sum(each.total() for each in asked) :]
            asked.append(Counter(call.text for call in calls))

        # When its workers are killed at each request
        task = asks_twice.create_task(payload=endpoint.openai_url)
        runs = await crash_matrix(asks_twice, task, folder=tmp_path, check=check)
    # Then each kind of place was met, from the first to the last
    places = Counter(crash.point for run in runs for crash in run.crashes)
    assert places[CrashPoint.HTTP_ASKED] == places[CrashPoint.HTTP_ANSWERED] == 2
    assert places[CrashPoint.STORE_ASKED] == 3  # two steps and the end
    assert places[CrashPoint.STORE_ANSWERED] == 4  # and the claim that brought the task
    assert runs[0].crashes == ()
    assert {run.result for run in runs} == {b'["said one","said two"]'}
    # And an answer that was lost was asked for again: the server had heard the request
    for run in runs:
        if run.crashes and run.crashes[0].point.is_http:
            assert sorted(asked[run.number].values()) == [1, 2], run.place


def another(log: str) -> int:
    with Path(log).open("a", encoding="utf-8") as file:
        return file.write("x") and file.tell()


@task_agent
async def counts(ctx: Context, payload: str) -> int:
    """Counts its attempts outside of any step, which a crash shows."""
    attempts = another(payload)
    await ctx.step("between", str)
    return attempts


async def test_a_task_that_ends_otherwise_after_a_crash_is_found(tmp_path: Path) -> None:
    attempts = tmp_path / "attempts"

    def check(run: CrashRun) -> None:
        attempts.write_text("")

    task = counts.create_task(payload=str(attempts))
    with pytest.raises(AssertionError, match=r"killed at request \d to the store, after it was carried out .*b'2'"):
        await crash_matrix(counts, task, folder=tmp_path, points=[CrashPoint.STORE_ANSWERED], check=check)


@task_agent
async def three_steps(ctx: Context, payload: str) -> list[int]:
    """Has a short journal."""

    async def one(number: int) -> int:
        return number

    return [await ctx.step(f"step {number}", one, number) for number in range(3)]


async def test_several_workers_are_killed_in_turn(tmp_path: Path) -> None:
    # When three workers are killed in each run, the later ones soon after they have taken over
    task = three_steps.create_task(payload="")
    runs = await crash_matrix(three_steps, task, folder=tmp_path, kills=3, points=[CrashPoint.STORE_ANSWERED])
    # Then the task ends the same, and the later kills fall at different places
    assert {run.result for run in runs} == {b"[0,1,2]"}
    assert max(len(run.crashes) for run in runs) == 3
    assert len({run.crashes[1].after for run in runs if len(run.crashes) > 1}) > 2


async def test_more_kills_than_a_task_survives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="kills must be from 1 to 4"):
        await crash_matrix(three_steps, three_steps.create_task(payload=""), folder=tmp_path, kills=5)
