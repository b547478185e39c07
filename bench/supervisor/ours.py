"""Tenuto's supervisor: agents started and ended, events emitted, commands answered.

As a program (`python -m bench.supervisor.ours FOLDER`) it is the orchestrator that is asked.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from bench.places import Place
from bench.plan import Size, Subject
from bench.supervisor.agents import Idle, Process, Resting, Thread
from bench.supervisor.asking import round_trips, served
from tenuto import Orchestrator, RunMode

__all__ = ["SUBJECT"]


def _per_second(kind: type[Any], count: int) -> float:
    orchestrator = Orchestrator(store="memory://", max_workers=10, run_mode=RunMode.DAEMON, preload=[kind.__module__])
    orchestrator.register_agent(kind, "first")
    orchestrator.start()
    orchestrator.lifecycle_manager.wait_idle()  # what is made once, such as the fork server, is there now
    for number in range(count):
        orchestrator.register_agent(kind, f"agent-{number}")
    began = time.perf_counter()
    orchestrator.lifecycle_manager.start_all([f"agent-{number}" for number in range(count)])
    orchestrator.lifecycle_manager.wait_idle()
    seconds = time.perf_counter() - began
    orchestrator.shutdown()
    assert "FAILED" not in orchestrator.report()
    return count / seconds


def agents(place: Place, size: Size) -> Mapping[str, float]:
    return {
        "agents.thread": _per_second(Thread, size.thread_agents),
        "agents.process": _per_second(Process, size.process_agents),
        "agents.memory": _idle_memory(),
    }


def _idle_memory() -> float:
    import psutil

    orchestrator = Orchestrator(store="memory://", run_mode=RunMode.DAEMON, preload=[Resting.__module__])
    entries = [orchestrator.register_agent(Resting, f"agent-{number}") for number in range(5)]
    orchestrator.start()
    while not all(entry.was_ready for entry in entries):
        time.sleep(0.01)
    used = [psutil.Process(entry.pid).memory_full_info().uss for entry in entries]
    orchestrator.shutdown()
    return float(sum(used)) / len(used) / 1_048_576


def events(place: Place, size: Size) -> Mapping[str, float]:
    return {f"events.{count}": _emit_cost(count, size.emits) for count in (0, 1, 10)}


def _emit_cost(callbacks: int, count: int) -> float:
    from tenuto import OrchestratorEventBus

    with OrchestratorEventBus() as bus:
        for _ in range(callbacks):
            bus.register_callback("AGENT_MESSAGE", lambda agent_name, message: None)
        seconds = 0.0
        for _ in range(count // 100):  # in gusts, so that callbacks keep up
            began = time.perf_counter()
            for number in range(100):
                bus.emit("AGENT_MESSAGE", agent_name="agent", message=number)
            seconds += time.perf_counter() - began
            bus.drain()
    return seconds / (count // 100 * 100) * 1_000_000


def commands(place: Place, size: Size) -> Mapping[str, float]:
    from tenuto.supervisor.command_client import CommandClient

    with served("bench.supervisor.ours", str(place.directory)) as address, CommandClient(address) as client:
        return round_trips(lambda: client.request("ps"), size.questions)


SUBJECT = Subject(
    "Tenuto",
    "agents under supervision: registered, queued, watched, their ends recorded; 10 at once",
    requires=(),
    runs={"agents": agents, "events": events, "commands": commands},
)


def main(folder: str) -> None:
    orchestrator = Orchestrator(
        store="memory://",
        run_mode=RunMode.DAEMON,
        enable_command_interface=True,
        command_zmq_address=f"ipc://{folder}/commands.sock",
    )
    for number in range(10):
        orchestrator.register_agent(Idle, f"agent-{number}")
    orchestrator.start()
    assert orchestrator.command_interface is not None
    print(orchestrator.command_interface.address, flush=True)
    threading.Thread(target=_stop_with_input, args=(orchestrator,), daemon=True).start()
    orchestrator.join()


def _stop_with_input(orchestrator: Orchestrator) -> None:
    sys.stdin.read()
    orchestrator.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
