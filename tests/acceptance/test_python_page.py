"""The samples of the page on task agents, with only the import line changed.

Each sample is a script of its own, without a `__main__` guard, as on the page; `run()` is ended by a signal. Its
agent asks a scripted endpoint, to which the environment sends its SDK.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from tenuto.testing import Endpoint, Reply, ToolCall

LIMIT = 180
AGENT = """
    from tenuto import Agent, AgentContext
    from tenuto import Orchestrator, AgentWorkerConfig, MaintenanceWorkerConfig, TaskTTLConfig

    def rows(table: str) -> int:
        return 42 if table == "sales" else 0

    my_agent = Agent("my_agent", instructions="Analyze.", model="openai:gpt-5-mini", tools=[rows])

    agent = my_agent
    orchestrator = Orchestrator(
        openai_api_key="sk-...",
    )
"""

SUBMIT = """
    import asyncio

    async def submit_task():
        context = AgentContext(query="Analyze this data")
        task = agent.create_task(owner_id="user123", payload=context)

        await orchestrator.enqueue_task(agent, task)
        return task.id

    task_id = asyncio.run(submit_task())
"""

STATUS = """
    async def check_status(task_id: str):
        status = await orchestrator.get_task_status(task_id)
        print(f"Status: {status}")  # queued, processing, completed, failed, cancelled

    asyncio.run(check_status(task_id))
"""

RESULTS = """
    async def get_results(task_id: str):
        task_data = await orchestrator.get_task_data(task_id)
        if task_data:
            print(f"Result: {task_data}")

    asyncio.run(get_results(task_id))
"""

CANCEL = """
    async def cancel_task(task_id: str):
        await orchestrator.cancel_task(task_id)

    asyncio.run(cancel_task(task_id))
"""

STEER = """
    async def steer_task(task_id: str):
        messages = [
            {"role": "user", "content": "Please focus on the financial aspects"}
        ]
        await orchestrator.steer_task(task_id, messages)

    asyncio.run(steer_task(task_id))
"""

RUN = """
    # Register your agent
    orchestrator.register_runner(
        agent=my_agent,
        agent_worker_config=AgentWorkerConfig(
            workers=2,               # Number of worker processes
            batch_size=25,           # Tasks per batch
            max_retries=5,           # Retry failed tasks
            heartbeat_interval=5,    # Heartbeat frequency (seconds)
            turn_timeout=120,        # Timeout per agent turn
        ),
        maintenance_worker_config=MaintenanceWorkerConfig(
            interval=10,             # Maintenance check interval
            workers=1,               # Maintenance workers
            task_ttl=TaskTTLConfig(
                completed_ttl=3600,  # Keep completed tasks for 1 hour
                failed_ttl=86400,    # Keep failed tasks for 24 hours
                cancelled_ttl=1800,  # Keep cancelled tasks for 30 minutes
            ),
        ),
    )

    # Start the system
    orchestrator.run()
"""


def script(tmp_path: Path, name: str, *parts: str) -> Path:
    path = tmp_path / name
    path.write_text("\n".join(textwrap.dedent(part) for part in (AGENT, *parts)))
    return path


def environment(tmp_path: Path, provider: Endpoint | None = None) -> dict[str, str]:
    """The store of the test; the provider's address, and no key."""
    there = {} if provider is None else {"OPENAI_BASE_URL": provider.openai_url, "NO_PROXY": "127.0.0.1"}
    return {**os.environ, "TENUTO_STORE": f"sqlite:///{tmp_path}/tenuto.db", **there}


def said(tmp_path: Path, name: str, *parts: str) -> str:
    """What a script prints that ends by itself."""
    ran = subprocess.run(
        [sys.executable, script(tmp_path, name, *parts)],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


def test_task_management_without_a_worker(tmp_path: Path) -> None:
    out = said(tmp_path, "manage.py", SUBMIT, STATUS, STEER, RESULTS, CANCEL, STATUS)
    assert out.splitlines()[0] == "Status: queued"
    assert "Result: TaskView(" in out
    assert "Analyze this data" in out
    assert out.splitlines()[-1] == "Status: cancelled"


def test_tasks_of_one_program_are_run_by_another(tmp_path: Path) -> None:
    # Given the page's system, started as a program of its own
    turns: list[Reply | str | list[Reply | str]] = [
        Reply(tools=[ToolCall("rows", {"table": "sales"})]),
        "There are 42 rows.",
    ]
    provider = Endpoint(turns)
    provider.start()
    where = environment(tmp_path, provider)
    system = subprocess.Popen([sys.executable, script(tmp_path, "system.py", RUN)], env=where)
    try:
        # When another program enqueues a task and waits for it
        wait = "print(asyncio.run(orchestrator.get_task_result(task_id, timeout=150)))"
        out = said(tmp_path, "client.py", SUBMIT, wait, STATUS)
        # Then it was run there
        assert out.splitlines() == ["There are 42 rows.", "Status: completed"]
        assert [call.turn for call in provider.calls] == [1, 2]
    finally:
        # And the system ends cleanly when it is asked to
        system.send_signal(signal.SIGTERM)
        assert system.wait(LIMIT) == 0
        provider.close()
