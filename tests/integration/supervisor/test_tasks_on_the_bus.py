"""An orchestrator's bus and command interface also speak of tasks: of real ones, in a real store."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tenuto import Context, Orchestrator, task_agent
from tenuto.errors import Conflict, InvalidInput, NotFound
from tenuto.supervisor.command_client import CommandClient
from tenuto.supervisor.events import OrchestratorEvent

PATIENCE = 60


@task_agent
def double(payload: int) -> int:
    return payload * 2


@task_agent(max_retries=0)
def broken(payload: int) -> None:
    raise ValueError(f"cannot do {payload}")


@task_agent(max_retries=0)
async def letter(ctx: Context, payload: str) -> Any:
    decision = await ctx.wait_answer("sign-off")
    return {payload: decision}


def wait(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def orchestrator(where: Path, **settings: Any) -> Orchestrator:
    return Orchestrator(store=f"sqlite:///{where}/tasks.db", executor="thread", **settings)


def feed_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "tenuto task events"]


async def test_callbacks_see_what_happens_to_tasks(tmp_path: Path) -> None:
    seen: list[tuple[str, str, str]] = []
    failed: list[tuple[str, Any]] = []

    def done(event_name: str, agent_name: str, task_id: str) -> None:
        seen.append((event_name, agent_name, task_id))

    made = orchestrator(tmp_path)
    made.register_event(OrchestratorEvent.TASK_DONE, done)
    async with made:
        made.register_runner([double, broken])
        ids = await made.enqueue_batch(double, [double.create_task(payload=number) for number in range(20)])
        await asyncio.to_thread(wait, lambda: len(seen) >= 20)

        # When somebody begins to listen later, it hears of what comes from then on
        await asyncio.to_thread(
            made.register_event, "task_failed", lambda task_id, error: failed.append((task_id, error))
        )
        lost = await made.enqueue_task(broken, broken.create_task(payload=3))
        await asyncio.to_thread(wait, lambda: failed)
    assert sorted(task_id for _, _, task_id in seen) == sorted(ids)
    assert {(name, agent) for name, agent, _ in seen} == {("TASK_DONE", "double")}
    assert failed[0][0] == lost
    assert "cannot do 3" in str(failed[0][1])
    assert made.event_bus.event_store.query(category="task") == []
    assert feed_threads() == []


async def test_what_happened_before_the_end_is_told_before_it(tmp_path: Path) -> None:
    seen: list[str] = []

    def created(task_id: str) -> None:
        seen.append(task_id)

    made = orchestrator(tmp_path)
    made.register_event(OrchestratorEvent.TASK_CREATED, created)
    async with made:
        ids = await made.enqueue_batch(double, [double.create_task(payload=number) for number in range(500)])
    assert seen == ids


async def test_nobody_reads_the_feed_when_nobody_listens(tmp_path: Path) -> None:
    made = orchestrator(tmp_path)
    made.register_event(OrchestratorEvent.AGENT_ERROR, lambda: None)
    async with made:
        assert feed_threads() == []
        made.register_event(OrchestratorEvent.TASK_DONE, lambda: None)
        assert len(feed_threads()) == 1
    assert feed_threads() == []


def test_task_verbs_are_commands(tmp_path: Path) -> None:
    made = orchestrator(tmp_path, enable_command_interface=True, run_mode="DAEMON")
    made.register_runner(double)
    made.start()
    try:
        assert made.command_interface is not None
        with CommandClient(made.command_interface.address, timeout=PATIENCE) as client:
            task_id = client.request("enqueue_task", {"agent": "double", "payload": 21, "owner_id": "me"})["task_id"]
            wait(lambda: client.request("get_task_status", {"task_id": task_id}) == "completed")
            found = client.request("get-task-data", [task_id])
            assert (found["result"], found["owner_id"], found["state"]) == (42, "me", "done")

            waits = client.request("enqueue-task", {"agent": "nobody", "payload": {"deep": [1]}})["task_id"]
            assert client.request("why", {"id": waits})["because"]
            client.request("pause-task", {"task_id": waits, "reason": "lunch"})
            assert client.request("get-task-data", {"task_id": waits})["paused"]
            client.request("resume-task", {"task_id": waits})
            client.request("steer-task", {"task_id": waits, "message": "be brief"})
            client.request("cancel-task", {"task_id": waits, "reason": "enough"})
            page = client.request("list-tasks", {"state": "cancelled"})
            assert [task["id"] for task in page["tasks"]] == [waits]
            client.request("retry-task", {"task_id": waits, "fresh": True})
            assert client.request("get-task-status", {"task_id": waits}) == "queued"

            for verb, error in (("get-task-data", NotFound), ("cancel-task", NotFound)):
                with pytest.raises(error, match="task-0"):
                    client.request(verb, {"task_id": "task-0"})
            with pytest.raises(InvalidInput, match="priority must be of type int"):
                client.request("enqueue-task", {"agent": "double", "priority": "high"})
            assert [row["state"] for row in client.request("ps")] == ["RUNNING"]
    finally:
        asyncio.run(made.close())
    assert feed_threads() == []


def test_batches_results_answers_and_decisions_are_commands_too(tmp_path: Path) -> None:
    made = orchestrator(tmp_path, enable_command_interface=True, run_mode="DAEMON")
    made.register_runner([double, letter, broken])
    made.start()
    try:
        assert made.command_interface is not None
        with CommandClient(made.command_interface.address, timeout=PATIENCE) as client:
            # Given a batch, and letters that wait for an answer
            numbers = client.request("enqueue-batch", {"agent": "double", "payloads": [1, 2]})["task_ids"]
            ask = {"agent": "letter", "payloads": ["a", "b", "c"]}
            first, second, third = client.request("enqueue-batch", ask)["task_ids"]
            failing = client.request("enqueue-task", {"agent": "broken", "payload": 1})["task_id"]
            for each in (first, second, third):
                wait(lambda: "sign-off" in str(client.request("why", {"task_id": each})))  # noqa: B023 - called here
            with pytest.raises(Conflict, match="has no result yet: it is processing"):
                client.request("get-task-result", {"task_id": first})

            # When they are answered
            call = {"tool_call_id": "sign-off"}
            assert client.request("approve", {"task_id": first, **call, "note": "fine", "by": "Ada"})["delivered"]
            assert client.request("reject", {"task_id": second, **call})["delivered"]
            assert client.request("complete-deferred-tool", {"task_id": third, **call, "result": [7]})["delivered"]

            # Then the results are there
            everything = [*numbers, first, second, third]
            wait(lambda: {client.request("get-task-status", [each]) for each in everything} == {"completed"})
            results = [client.request("get-task-result", [each])["result"] for each in everything]
            assert results == [
                2,
                4,
                {"a": {"approved": True, "note": "fine", "by": "Ada"}},
                {"b": {"approved": False, "note": None}},
                {"c": [7]},
            ]
            wait(lambda: client.request("get-task-status", [failing]) == "failed")
            with pytest.raises(Conflict, match="ValueError: cannot do 1"):
                client.request("get-task-result", {"task_id": failing})
            with pytest.raises(InvalidInput, match="how must be 'done', 'retry' or 'fail'"):
                client.request("resolve-step", {"task_id": failing, "key": "send", "how": "maybe"})
    finally:
        asyncio.run(made.close())
