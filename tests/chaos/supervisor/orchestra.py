"""The program in the storm: an orchestrator with agents of every kind, and callbacks that raise and hang.

`python -m tests.chaos.supervisor.orchestra FOLDER MAX_WORKERS EVENTS`. What its own good callback hears of starts and
ends goes into `FOLDER/ledger.jsonl`, a line each.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

from tenuto import Orchestrator, OrchestratorEvent, RunMode
from tests.chaos.supervisor.victims import PROCESS_KINDS, Shouting, Spoilt, Waiting

__all__ = ["main"]


def main(folder: str, max_workers: str, events: str) -> None:
    orchestrator = Orchestrator(
        store="memory://",
        max_workers=int(max_workers),
        run_mode=RunMode.DAEMON,
        enable_command_interface=True,
        history_max_events=2_000,
        agent_stop_timeout=3,
    )
    for round_ in range(2):
        for kind in PROCESS_KINDS:
            orchestrator.register_agent(kind, f"{kind.__name__.lower()}-{round_}", {"life": 1.0 + round_})
        orchestrator.register_agent(Spoilt, f"spoilt-{round_}")
    orchestrator.register_agent(Waiting, "waiting")
    orchestrator.register_agent(Shouting, "shouting", {"count": int(events)})

    with Path(folder, "ledger.jsonl").open("a", buffering=1) as ledger:

        def note(event_name: str, agent_name: str, generation: int, **payload: Any) -> None:
            told = {key: payload.get(key) for key in ("reason", "exit_code", "signal")}
            ledger.write(
                json.dumps({"event": event_name, "agent": agent_name, "generation": generation, **told}) + "\n"
            )

        def raises(agent_name: str) -> None:
            raise RuntimeError(f"I never liked {agent_name}")

        def hangs(agent_name: str) -> None:
            threading.Event().wait()

        for event in (OrchestratorEvent.AGENT_STARTED, OrchestratorEvent.AGENT_TERMINATED):
            orchestrator.register_event(event, note)
        for event in (OrchestratorEvent.AGENT_TERMINATED, OrchestratorEvent.AGENT_HEARTBEAT):
            orchestrator.register_event(event, raises)
        for event in (OrchestratorEvent.AGENT_STARTED, OrchestratorEvent.AGENT_MESSAGE):
            orchestrator.register_event(event, hangs)
        orchestrator.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
