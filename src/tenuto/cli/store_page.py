"""A store at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from tenuto.cli.output import STYLES, Column, console, print_table
from tenuto.cli.times import relative
from tenuto.stores.base import AgentLoad, LimitUse, Maintained, WorkerInfo
from tenuto.tasks.clock import iso, wall_clock
from tenuto.tasks.states import State

if TYPE_CHECKING:
    from tenuto.client import Client

__all__ = ["StorePage", "print_store_page", "read_store_page"]

_AGENTS = (
    Column("AGENT", least=12),
    Column("READY", right=True),
    Column("RUNNING", right=True),
    Column("OTHER", right=True),
    Column("WORKERS", right=True),
)
_WORKERS = (
    Column("WORKER"),
    Column("BUSY", right=True),
    Column("HOST", rank=2, least=8),
    Column("PID", rank=3, right=True),
    Column("SEEN", rank=1),
    Column("AGENTS", rank=4, least=12),
)
_LIMITS = (
    Column("LIMIT", least=12),
    Column("USED", right=True),
    Column("HELD BACK", right=True),
    Column("RATE", rank=1),
)


@dataclass(frozen=True)
class StorePage:
    """What `tenuto store info` shows."""

    url: str
    engine: Mapping[str, Any] | None
    """what an engine that keeps its content says of it"""
    states: Mapping[State, int]
    agents: Sequence[AgentLoad]
    workers: Sequence[WorkerInfo]
    limits: Sequence[LimitUse]

    def document(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "store": self.url,
            "engine": self.engine,
            "tasks": {state.value: self.states.get(state, 0) for state in State},
            "agents": [
                {
                    "agent": each.agent,
                    "ready": each.ready,
                    "running": each.running,
                    "other": each.other,
                    "workers": each.workers,
                }
                for each in self.agents
            ],
            "workers": [
                {
                    "id": each.id,
                    "agents": list(each.agents),
                    "slots": each.slots,
                    "busy": each.busy,
                    "host": each.host,
                    "pid": each.pid,
                    "started_at": iso(each.started_at),
                    "seen_at": iso(each.seen_at),
                }
                for each in self.workers
            ],
            "limits": [
                {
                    "key": each.limit.key,
                    "concurrency": each.limit.concurrency,
                    "rate": each.limit.rate,
                    "period": each.limit.period / 1000,
                    "burst": each.limit.burst,
                    "used": each.used,
                    "parked": each.parked,
                }
                for each in self.limits
            ],
        }


async def read_store_page(client: Client) -> StorePage:
    """Reads what the page shows."""
    store = client.store
    return StorePage(
        store.url,
        await store.info() if isinstance(store, Maintained) else None,
        await client.stats(),
        await client.agents(),
        await client.workers(),
        await client.limits(),
    )


def print_store_page(page: StorePage) -> None:
    """Writes the page for people."""
    out, now = console(), wall_clock()
    out.print(Text(page.url, "bold"), soft_wrap=True)
    if page.engine is not None:
        line = Text(f"{page.engine['bytes'] / 1_048_576:,.1f} MiB")
        if "schema" in page.engine:
            line.append(f", schema {page.engine['schema']}")
        out.print(line)
        out.print(page.engine["durability"], soft_wrap=True)
    line = Text(f"{sum(page.states.values()):,} tasks")
    for state in State:
        if page.states.get(state):
            line.append(f"  {page.states[state]:,} {state.value}", STYLES[state])
    out.print(line, soft_wrap=True)
    out.print()
    loads = [(each.agent, *map(str, (each.ready, each.running, each.other, each.workers))) for each in page.agents]
    print_table(out, _AGENTS, loads, "No agent has unfinished tasks.")
    out.print()
    workers = [
        (
            each.id,
            f"{each.busy}/{each.slots}",
            each.host,
            str(each.pid),
            relative(each.seen_at, now),
            ", ".join(each.agents),
        )
        for each in page.workers
    ]
    print_table(out, _WORKERS, workers, "No live workers.")
    if page.limits:
        out.print()
        limits = [
            (
                each.limit.key,
                f"{each.used}/{each.limit.concurrency}" if each.limit.concurrency is not None else str(each.used),
                str(each.parked),
                f"{each.limit.rate} per {each.limit.period / 1000:g} s" if each.limit.rate is not None else "",
            )
            for each in page.limits
        ]
        print_table(out, _LIMITS, limits, "")
