"""A monitoring system: probes that run for ever as background services, and events that feed an alert.

    python examples/monitoring_system.py

Probes are agents on one event loop, so hundreds of them cost next to nothing. A probe that fails in one round says so
and goes on; what comes of it is decided here, where the events arrive.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from tenuto import BaseAsyncAgent, Orchestrator, OrchestratorEvent, PeriodicAsyncAgent, RecoverableException, RunMode


class Probe(PeriodicAsyncAgent):
    """Looks whether something listens."""

    class Config(PeriodicAsyncAgent.Config):
        execution_interval = 0.1
        host = "127.0.0.1"
        port: int

    config: Config

    async def runner(self) -> None:
        try:
            _, writer = await asyncio.open_connection(self.config.host, self.config.port)
        except OSError as error:
            raise RecoverableException(f"port {self.config.port} does not answer") from error
        writer.close()
        self.send_message({"up": True})


class Shop(BaseAsyncAgent):
    """What is watched: a service that stops answering after a few visitors."""

    async def setup(self) -> None:
        self.visitors, self.sold_out = 0, asyncio.Event()
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.send_message({"port": self.server.sockets[0].getsockname()[1]})

    def serve(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        self.visitors += 1
        if self.visitors == 5:
            self.sold_out.set()

    async def execute(self) -> None:
        await self.sold_out.wait()

    async def on_close(self) -> None:
        self.server.close()


def main() -> None:
    """Watches the shop until it was down three times in a row."""
    orchestrator = Orchestrator(run_mode=RunMode.DAEMON)
    orchestrator.register_agent(Shop, "shop")
    seen: Counter[str] = Counter()

    def heard(agent_name: str, message: Any) -> None:
        if "port" in message:
            orchestrator.register_agent(Probe, "probe", Probe.Config(port=message["port"]))
            orchestrator.lifecycle_manager.start_agent("probe")
        elif "up" in message:
            if not seen["up"]:
                print("the shop is open")
            seen["up"] += 1
            seen["down"] = 0

    def failed(agent_name: str) -> None:
        seen["down"] += 1
        if seen["down"] == 3:
            print("ALERT: the shop does not answer")
            orchestrator.shutdown()

    orchestrator.register_event(OrchestratorEvent.AGENT_MESSAGE, heard)
    orchestrator.register_event(OrchestratorEvent.AGENT_ERROR, failed)
    orchestrator.run()
    print("probes that found it open:", seen["up"] > 1)


if __name__ == "__main__":
    main()
