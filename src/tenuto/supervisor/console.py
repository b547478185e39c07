"""A supervisor as the command interface sees it: see `Supervised`. Answers are of JSON types."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tenuto.errors import Conflict
from tenuto.supervisor.states import AgentState

if TYPE_CHECKING:
    from tenuto.supervisor.supervisor import Supervisor

__all__ = ["Console"]


class Console:
    """The verbs of the command interface over a supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._agents = supervisor.lifecycle_manager

    def ps(self) -> Sequence[Mapping[str, Any]]:
        """A row for each agent."""
        return self._agents.describe_all()

    def status(self, name: str | None = None) -> Mapping[str, Any]:
        """One agent, or the orchestrator itself."""
        if name is None:
            return self._supervisor.status()
        entry = self._agents.entry(name)
        return {
            **self._agents.describe(name),
            "config": entry.config.values(),
            "depends_on": list(self._supervisor.dependency_graph.depends_on(name)),
        }

    def start(self, name: str) -> Mapping[str, Any]:
        """Starts an agent, or queues it."""
        self._agents.start_agent(name)
        return self._agents.describe(name)

    def stop(self, name: str) -> Mapping[str, Any]:
        """Stops an agent and returns when it has ended."""
        if not self._agents.stop_agent(name):
            raise Conflict(f"agent {name!r} does not stop and is left behind")
        return self._agents.describe(name)

    def restart(self, name: str) -> Mapping[str, Any]:
        """Stops an agent, if it runs, and starts it."""
        self._agents.restart_agent(name)
        return self._agents.describe(name)

    def stats(self) -> Mapping[str, Any]:
        """Numbers."""
        entries = self._agents.entries
        pool = self._supervisor.worker_pool
        return {
            "pid": os.getpid(),
            "agents": Counter(entry.state.value for entry in entries),
            "running": len(pool.running),
            "queued": len(pool.queued),
            "max_workers": pool.max_workers,
            "restarts": sum(entry.restarts for entry in entries),
            "started": sum(entry.generation for entry in entries),
            "failed": sum(entry.state is AgentState.FAILED for entry in entries),
        }

    def dependencies(self) -> Mapping[str, Any]:
        """Who waits for whom, and the order of the start."""
        graph = self._supervisor.dependency_graph
        order = list(graph.order())
        return {"depends_on": {name: list(graph.depends_on(name)) for name in order}, "order": order}

    def shutdown(self) -> None:
        """Stops everything."""
        self._supervisor.shutdown()
