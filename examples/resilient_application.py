"""A resilient application: an agent whose process crashes is started again, and what depends on it never notices.

    python examples/resilient_application.py

Everything here is in one script without a `__main__` guard: processes of agents never import it again.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tenuto import BaseProcessAgent, Orchestrator, OrchestratorEvent, RestartPolicy


class Importer(BaseProcessAgent):
    """Imports ten records. It remembers in a file how far it got, and is killed at every fourth one."""

    class Config(BaseProcessAgent.Config):
        restart = RestartPolicy(mode="on-failure", max_restarts=5, backoff=0.05)
        done = Path("done.txt")

    config: Config

    def execute(self) -> None:
        begun = int(self.config.done.read_text()) if self.config.done.exists() else 0
        for number in range(begun + 1, 11):
            self.config.done.write_text(str(number))
            if number % 4 == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class Hopeless(BaseProcessAgent):
    """Fails whenever it is started, and is given up after a while."""

    class Config(BaseProcessAgent.Config):
        restart = RestartPolicy(mode="always", max_restarts=2, backoff=0.01)

    def execute(self) -> None:
        raise ConnectionError("no route to host")


def ended(agent_name: str, generation: int, reason: str) -> None:
    """Tells each end of the importer."""
    if agent_name == "importer":
        print(f"start {generation} of the importer has ended: {reason or 'all is done'}")


orchestrator = Orchestrator()
orchestrator.register_event(OrchestratorEvent.AGENT_TERMINATED, ended)
importer = orchestrator.register_agent(Importer, "importer")
hopeless = orchestrator.register_agent(Hopeless, "hopeless")
orchestrator.simple_join()
print(importer.config.done.read_text(), "records;", importer.restarts, "restarts")
importer.config.done.unlink()  # so that the example can be started again
print("hopeless:", hopeless.reason)
