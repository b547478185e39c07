"""The orchestrator: which store it chooses, what it refuses, and the life of its workers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from tenuto.client import Client, endings
from tenuto.errors import Conflict, InvalidInput, MissingExtra, StoreCorrupt
from tenuto.orchestrator import Orchestrator
from tenuto.stores.environment import DEFAULT_STORE, default_store
from tenuto.stores.memory import MemoryStore
from tenuto.tasks.lease import Lease
from tenuto.workers.config import AgentWorkerConfig
from tenuto.workers.context import Context
from tests.integration.client.conftest import spec
from tests.integration.supervisor.stage import until


class Agent:
    """The least that a worker can run."""

    version = ""

    def __init__(self, name: str = "agent") -> None:
        self.name = name

    async def handle(self, context: Context, lease: Lease) -> Any:
        return f"{self.name} ran {lease.task_id}"


def left_over(before: set[threading.Thread]) -> set[str]:
    """The threads that were not there before, by name, but for those of the event loop, which keeps its own."""
    names = {thread.name for thread in set(threading.enumerate()) - before}
    return {name for name in names if not name.startswith("asyncio_")}


def test_the_store_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_store() == DEFAULT_STORE
    monkeypatch.setenv("REDIS_HOST", "redis.example.com")
    assert default_store() == "redis://redis.example.com:6379/0"
    monkeypatch.setenv("REDIS_PORT", "7000")
    assert default_store() == "redis://redis.example.com:7000/0"
    assert Orchestrator().store.url == "redis://redis.example.com:7000/0"
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtra, match="the address is that of REDIS_HOST in the environment"):
        Orchestrator()
    monkeypatch.setenv("TENUTO_STORE", "memory://")
    assert default_store() == "memory://"
    assert Orchestrator().store.url == "memory://"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"max_worker": 3}, "Orchestrator has no setting 'max_worker': did you mean max_workers?"),
        ({"executor": "cloud"}, "executor must be 'process', 'thread' or 'async', not 'cloud'"),
        ({"check_interval": 0}, "check_interval must be between 0.005 and 3600 seconds, not 0"),
        ({"check_interval": True}, "check_interval must be between"),
        ({"config": {"executor": "thread"}}, "config must be an Orchestrator.Config, not dict"),
        ({"store": 7}, "store must be a URL or a Store, not int"),
        ({"store": "memory://", "redis_host": "localhost"}, "store and redis_host exclude each other"),
        ({"name": "a\0b"}, "name 'a\\x00b' has a control or unprintable character"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Orchestrator(**{"store": MemoryStore(), **arguments})
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        ({"redis_host": "host"}, "redis://host:6379/0?max_connections=50"),
        ({"redis_host": "::1", "redis_port": 7000}, "redis://[::1]:7000/0?max_connections=50"),
        (
            {"redis_host": "redis-cluster", "redis_port": 7000, "redis_db": 3, "redis_max_connections": 9},
            "redis://redis-cluster:7000/3?max_connections=9",
        ),
    ],
)
def test_redis_by_its_parts(arguments: dict[str, Any], url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENUTO_STORE", "memory://")
    assert Orchestrator(**arguments).store.url == url


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"redis_host": "redis://host"}, "redis_host must be the name or address of a host, not 'redis://host'"),
        ({"redis_host": "ann:secret@host"}, "redis_host must be the name or address of a host"),
        ({"redis_host": ""}, "redis_host must be the name or address of a host, not ''"),
        ({"redis_host": "host", "redis_port": 0}, "redis_port must be a whole number from 1 to 65535, not 0"),
        ({"redis_host": "host", "redis_port": "6379"}, "redis_port must be a whole number"),
        ({"redis_host": "host", "redis_db": -1}, "redis_db must be a whole number from 0 to 65535, not -1"),
        ({"redis_host": "host", "redis_max_connections": 1}, "redis_max_connections must be a whole number from 2"),
    ],
)
def test_parts_of_a_redis_address_that_make_no_sense(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Orchestrator(**arguments)
    assert sentence in str(caught.value)
    assert "secret" not in str(caught.value)


def test_settings_are_a_config_single_fields_or_both() -> None:
    config = Orchestrator.Config(executor="thread", check_interval=0.5)
    chosen = Orchestrator(config, store=MemoryStore(), check_interval=2.0).config
    assert (chosen.executor, chosen.check_interval) == ("thread", 2.0)


def test_what_is_no_runner() -> None:
    orchestrator = Orchestrator(store=MemoryStore())
    with pytest.raises(InvalidInput, match="agent must be a task agent"):
        orchestrator.register_runner(print)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="agent is empty"):
        orchestrator.register_runner([])
    with pytest.raises(InvalidInput, match="agent_worker_config must be of type AgentWorkerConfig, not dict"):
        orchestrator.register_runner(Agent(), {"workers": 2})  # type: ignore[arg-type]
    orchestrator.register_runner(Agent())
    with pytest.raises(Conflict, match="a runner for an agent 'agent' already"):
        orchestrator.register_runner(Agent())
    with pytest.raises(Conflict, match="a runner for an agent 'twin' already"):
        orchestrator.register_runner([Agent("twin"), Agent("twin")])
    with pytest.raises(InvalidInput, match="there is nothing to run"):
        Orchestrator(store=MemoryStore()).run()


async def test_workers_of_agents_registered_before_and_after_the_start() -> None:
    threads = set(threading.enumerate())
    orchestrator = Orchestrator(store=MemoryStore(), name="house")
    orchestrator.register_runner(Agent("before"))
    async with orchestrator:
        orchestrator.register_runner([Agent("after"), Agent("too")], AgentWorkerConfig(workers=2))
        for name in ("before", "after", "too"):
            await orchestrator.enqueue_task(name, spec(f"for-{name}", agent=""))
            assert await orchestrator.get_task_result(f"for-{name}", timeout=60) == f"{name} ran for-{name}"
        assert all(worker.id.startswith("house-") for worker in await orchestrator.workers())
    await asyncio.to_thread(until, lambda: not left_over(threads))


async def test_what_is_enqueued_while_nothing_runs_is_run_after_the_start() -> None:
    orchestrator = Orchestrator(store=MemoryStore())
    orchestrator.register_runner(Agent())
    ids = await orchestrator.enqueue_batch(None, [spec() for _ in range(50)])
    orchestrator.start()
    orchestrator.start()
    await asyncio.gather(*(orchestrator.get_task_result(each, timeout=60) for each in ids))
    orchestrator.stop()
    orchestrator.stop()
    late = await orchestrator.enqueue_task(None, spec())
    orchestrator.start()
    await orchestrator.get_task_result(late, timeout=60)
    await orchestrator.close()


def test_agents_that_cannot_travel_to_processes_start_nothing(tmp_path: Path) -> None:
    class Locked(Agent):
        lock: Any = None

    locked = Locked("locked")
    locked.lock = threading.Lock()
    threads = set(threading.enumerate())
    orchestrator = Orchestrator(store=f"sqlite:///{tmp_path}/tenuto.db")
    orchestrator.register_runner(Agent("sound"))
    orchestrator.register_runner(locked)
    with pytest.raises(InvalidInput, match="agent 'worker:locked:1' cannot be sent to a process: handlers"):
        orchestrator.start()
    assert not left_over(threads)


async def test_run_inside_a_coroutine_is_refused() -> None:
    orchestrator = Orchestrator(store=MemoryStore())
    orchestrator.register_runner(Agent())
    with pytest.raises(InvalidInput, match=r"run\(\) blocks its thread"):
        orchestrator.run()


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_run_on_a_store_that_cannot_be_used_raises_at_once(tmp_path: Path, executor: Any) -> None:
    (tmp_path / "tenuto.db").write_text("this is a letter, and no database at all\n" * 500)
    orchestrator = Orchestrator(store=f"sqlite:///{tmp_path}/tenuto.db", executor=executor)
    orchestrator.register_runner(Agent())
    with pytest.raises(StoreCorrupt):
        orchestrator.run()


def test_run_ends_when_another_thread_stops_it() -> None:
    orchestrator = Orchestrator(store=MemoryStore())
    orchestrator.register_runner(Agent())
    running = threading.Thread(target=orchestrator.run)
    running.start()
    task_id = asyncio.run(orchestrator.enqueue_task(None, spec()))
    asyncio.run(orchestrator.get_task_result(task_id, timeout=60))
    orchestrator.stop()
    running.join(60)
    assert not running.is_alive()


PROGRAM = """
    import asyncio, sys, time, tenuto

    @tenuto.task_agent
    async def slow(payload):
        print("started", flush=True)
        await asyncio.sleep(payload)

    orchestrator = tenuto.Orchestrator(executor=sys.argv[1])
    asyncio.run(orchestrator.enqueue_task(slow, slow.create_task(payload=float(sys.argv[2]))))
    orchestrator.register_runner(slow, tenuto.AgentWorkerConfig(shutdown_grace=60))
    orchestrator.run()
    print("over", flush=True)
"""


def program(tmp_path: Path, *arguments: str, text: str = PROGRAM) -> subprocess.Popen[str]:
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(text))
    environment = {**os.environ, "TENUTO_STORE": f"sqlite:///{tmp_path}/tenuto.db"}
    return subprocess.Popen([sys.executable, path, *arguments], env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("executor", ["thread", "process", "async"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_running_tasks_finish(tmp_path: Path, executor: str, number: signal.Signals) -> None:
    with program(tmp_path, executor, "0.5") as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "started\n"
        running.send_signal(number)
        assert running.stdout.readline() == "over\n"
        assert running.wait(60) == 0


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_second_signal_stops_at_once(tmp_path: Path, executor: str) -> None:
    with program(tmp_path, executor, "50") as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "started\n"
        while running.poll() is None:
            running.send_signal(signal.SIGINT)
            try:
                running.wait(0.5)
            except subprocess.TimeoutExpired:
                continue
        assert running.returncode != 0
        assert running.stdout.read() == ""


SYSTEM = """
    import tenuto

    @tenuto.task_agent
    async def agent(payload):
        return payload * 2

    orchestrator = tenuto.Orchestrator(check_interval=60)
    orchestrator.register_runner(agent)
    orchestrator.start()
    print("started", flush=True)
    orchestrator.run()
"""


async def test_work_and_results_are_pushed_between_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given workers in another process, and polls that would come too late for this test
    monkeypatch.setattr(endings, "POLL", 60.0)
    with program(tmp_path, text=SYSTEM) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "started\n"
        async with Client(f"sqlite:///{tmp_path}/tenuto.db") as client:
            # When tasks are enqueued here one after the other, then each result is here at once
            for number in range(20):
                task_id = await client.enqueue_task("agent", spec(agent="", payload=number))
                assert await client.get_task_result(task_id, timeout=60) == number * 2
        running.terminate()
        assert running.wait(60) == 0
