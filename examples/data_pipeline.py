"""A data pipeline: two collectors, a processor and a writer, each started when what it hands its work to is ready.

    python examples/data_pipeline.py

The stages are agents in threads of this program, joined by queues. Each is registered with what it needs, and the
dependencies decide in what order they start.
"""

from __future__ import annotations

from collections import Counter
from queue import Empty, Queue

from tenuto import BaseThreadAgent, LoopingThreadAgent, Orchestrator, OrchestratorEvent

READINGS = {"north": [3, 5, 8], "south": [2, 7]}


class Collector(BaseThreadAgent):
    """Hands on what its station has measured."""

    station: str
    out: Queue

    def execute(self) -> None:
        for value in READINGS[self.station]:
            self.out.put((self.station, value))


class Processor(LoopingThreadAgent):
    """Doubles what comes, until it is stopped."""

    inbox: Queue
    out: Queue

    def cycle(self) -> None:
        try:
            station, value = self.inbox.get(timeout=0.05)
        except Empty:
            return
        self.out.put((station, value * 2))
        self.inbox.task_done()


class Writer(LoopingThreadAgent):
    """Keeps totals, and writes them when it closes."""

    inbox: Queue

    def setup(self) -> None:
        self.totals: Counter[str] = Counter()

    def cycle(self) -> None:
        try:
            station, value = self.inbox.get(timeout=0.05)
        except Empty:
            return
        self.totals[station] += value
        self.inbox.task_done()

    def on_close(self) -> None:
        for station, total in sorted(self.totals.items()):
            print(f"{station}: {total}", flush=True)


def main() -> None:
    """Runs the pipeline until both collectors are done and everything is written."""
    raw, done = Queue(), Queue()
    orchestrator = Orchestrator()
    orchestrator.register_agent(Collector, "collect-north", station="north", out=raw)
    orchestrator.register_agent(Collector, "collect-south", station="south", out=raw)
    orchestrator.register_agent(Processor, "process", inbox=raw, out=done)
    orchestrator.register_agent(Writer, "write", inbox=done)
    orchestrator.add_dependency("process", ["write"])
    orchestrator.add_dependency("collect-north", ["process"])
    orchestrator.add_dependency("collect-south", ["process"])

    collecting = {"collect-north", "collect-south"}

    def ended(agent_name: str) -> None:
        """Once nothing is collected any more, the other stages finish what they have and end, one after the other."""
        if agent_name in collecting:
            collecting.remove(agent_name)
            if not collecting:
                for stage, queue in (("process", raw), ("write", done)):
                    queue.join()
                    orchestrator.lifecycle_manager.stop_agent(stage)

    orchestrator.register_event(OrchestratorEvent.AGENT_READY, lambda agent_name: print(f"{agent_name} is ready"))
    orchestrator.register_event(OrchestratorEvent.AGENT_TERMINATED, ended)
    orchestrator.simple_join()


if __name__ == "__main__":
    main()
