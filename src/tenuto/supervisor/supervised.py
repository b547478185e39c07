"""What the command interface needs of whoever runs agents: the verbs behind `tenuto ps`, `status`, `stop` and so on.

Answers are of JSON types. Verbs may block; they come from several threads. They raise `NotFound` for an agent that is
not registered, `Conflict` for what cannot be done in its state, `InvalidInput` for what makes no sense.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

__all__ = ["Supervised"]


class Supervised(Protocol):
    """Agents under supervision."""

    def ps(self) -> Sequence[Mapping[str, Any]]:
        """A row for each agent, in the order of registration: at least `name`, `state`, `executor`, `pid`,
        `generation`, `restarts`, `reason`, `started_at` (Unix seconds) and `seconds` (since then, or how long it ran).

        Must never wait for an agent, nor for a verb that does.
        """

    def status(self, name: str | None = None) -> Mapping[str, Any]:
        """Of one agent its row of `ps`, `config` and `depends_on`; without a name the orchestrator itself: `name`,
        `pid`, `state`, `run_mode`, `max_workers`, `started_at`, `seconds` and `agents` (a number by state).

        The values of `config` are as they are: the command interface masks what looks like a secret in them, however
        deep it lies, and gives them JSON types.
        """

    def start(self, name: str) -> Mapping[str, Any] | None:
        """Starts an agent that does not run, or queues it."""

    def stop(self, name: str) -> Mapping[str, Any] | None:
        """Stops an agent and returns when it has ended."""

    def restart(self, name: str) -> Mapping[str, Any] | None:
        """Stops an agent, if it runs, and starts it."""

    def stats(self) -> Mapping[str, Any]:
        """Numbers: `agents` (by state), `running`, `queued`, `max_workers`, `restarts`, `started`, `failed`."""

    def dependencies(self) -> Mapping[str, Any]:
        """`depends_on`: by agent, the agents it waits for; `order`: all agents as they are started."""

    def shutdown(self) -> object:
        """Stops everything. Called once the answer to the command is on its way; may close the command interface."""
