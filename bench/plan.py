"""What is measured: the measurements by name, how much of each, and what their values mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.places import Place

__all__ = ["FULL", "METRICS", "ORDER", "QUICK", "Metric", "Run", "Size", "Subject"]


@dataclass(frozen=True)
class Size:
    """How much work a measurement does."""

    singles: int
    """submissions that are awaited one by one"""
    bulk: int
    """tasks submitted in batches of 1,000"""
    drain: int
    """tasks worked off"""
    steady_drain: int
    """the same for engines of a few thousand tasks a second"""
    slow_drain: int
    """the same for engines of a few hundred"""
    samples: int
    """starts of single tasks on an idle system"""
    waiting: int
    """tasks that wait at once"""
    stored: tuple[int, ...]
    """tasks that lie in the store, in goals of 100, while claims are timed"""
    exchanges: int
    """claims that are timed"""
    churn: float
    """seconds of claims beside a transaction that stays open"""
    nodes: int
    """nodes of a DAG"""
    thread_agents: int
    """agents in threads that are started and end"""
    process_agents: int
    """the same in processes"""
    emits: int
    """events that are emitted"""
    questions: int
    """commands that are asked one by one"""
    turns: int
    """turns of an agent's conversation"""
    seconds: float
    """no measurement may take longer"""


FULL = Size(
    singles=5_000,
    bulk=100_000,
    drain=20_000,
    steady_drain=8_000,
    slow_drain=1_000,
    samples=150,
    waiting=100_000,
    stored=(1_000, 10_000, 100_000, 1_000_000),
    exchanges=1_000,
    churn=45,
    nodes=1_000,
    thread_agents=2_000,
    process_agents=200,
    emits=100_000,
    questions=3_000,
    turns=200,
    seconds=240,
)
QUICK = Size(
    singles=300,
    bulk=3_000,
    drain=2_000,
    steady_drain=500,
    slow_drain=100,
    samples=10,
    waiting=2_000,
    stored=(1_000, 5_000),
    exchanges=100,
    churn=1.5,
    nodes=100,
    thread_agents=50,
    process_agents=10,
    emits=2_000,
    questions=100,
    turns=20,
    seconds=60,
)

Run = Callable[["Place", Size], Mapping[str, float]]
"""One measurement: works on the stores that the place gives out, returns values by metric."""


@dataclass(frozen=True)
class Subject:
    """A system that is measured."""

    name: str
    durability: str
    """what a crash leaves, and what is kept, in a few words"""
    requires: tuple[str, ...]
    """modules without which it cannot be measured"""
    runs: Mapping[str, Run]
    """by measurement"""

    @property
    def missing(self) -> list[str]:
        """The modules that are not installed."""
        return [module for module in self.requires if find_spec(module) is None]


@dataclass(frozen=True)
class Metric:
    """What a value means."""

    title: str
    unit: str
    more_is_better: bool
    section: str


def _rate(title: str, section: str) -> Metric:
    return Metric(title, "tasks/s", True, section)


def _time(title: str, section: str, unit: str = "ms") -> Metric:
    return Metric(title, unit, False, section)


METRICS: dict[str, Metric] = {
    "submit.single": _rate("one by one, each awaited", "Submit"),
    "submit.bulk": _rate("in batches of 1,000", "Submit"),
    "submit.copy": _rate("in batches of 1,000, by COPY", "Submit"),
    "submit.create": _rate("in batches of 1,000, task objects made on the way", "Submit"),
    "drain.batch": _rate("claim and finish 100 in a transaction, no task body", "Drain"),
    "drain.each": _rate("claim and finish one in a transaction, no task body", "Drain"),
    "drain.1x10": _rate("1 process, 10 at once", "Drain"),
    "drain.1x100": _rate("1 process, 100 at once", "Drain"),
    "drain.2x10": _rate("2 processes, 10 at once each", "Drain"),
    "drain.2x100": _rate("2 processes, 100 at once each", "Drain"),
    "start.inside.p50": _time("submit to started, same process, median", "Latency on an idle system"),
    "start.inside.p95": _time("submit to started, same process, 95 %", "Latency on an idle system"),
    "start.across.p50": _time("submit to started, other process, median", "Latency on an idle system"),
    "start.across.p95": _time("submit to started, other process, 95 %", "Latency on an idle system"),
    "result.across.p50": _time("submit to result back, other process, median", "Latency on an idle system"),
    "memory.queued": _time("server's memory per 100,000 tasks in the queue", "Size", "MB"),
    "disk.queued": _time("disk per 100,000 tasks in the queue", "Size", "MB"),
    "memory.waiting": _time("worker's memory per 100,000 tasks that wait for an event", "Size", "MB"),
    "memory.waiting.server": _time("server's memory per 100,000 tasks that wait for an event", "Size", "MB"),
    "disk.waiting": _time("disk per 100,000 tasks that wait for an event", "Size", "MB"),
    "dag.wide": _time("wide: all nodes at once", "DAG", "s"),
    "dag.chain": _time("chain: each after the one before", "DAG", "s"),
    "dag.lattice": _time("diamond lattice: each after two", "DAG", "s"),
}
_AGENTS = "Agents that do nothing, started and ended"
METRICS |= {
    "agents.thread": Metric("in threads", "agents/s", True, _AGENTS),
    "agents.process": Metric("in processes", "agents/s", True, _AGENTS),
    "agents.memory": Metric("memory of an idle process that is no other's", "MB", False, _AGENTS),
    "events.0": Metric("no callback", "µs", False, "What an event costs whoever emits it"),
    "events.1": Metric("1 callback", "µs", False, "What an event costs whoever emits it"),
    "events.10": Metric("10 callbacks", "µs", False, "What an event costs whoever emits it"),
    "commands.p50": _time("ps with 10 agents, median", "Commands, from another process"),
    "commands.p95": _time("ps with 10 agents, 95 %", "Commands, from another process"),
}
_TURNS = "A turn of an agent whose model answers at once: one request, one tool"
METRICS |= {
    "turns.early": _time("in the first tenth of the conversation", _TURNS),
    "turns.late": _time("in the last tenth", _TURNS),
    "turns.disk": _time("on the disk, per turn", _TURNS, "kB"),
}
_HISTORY = "Commit 10 tasks and claim 10, one call, by tasks stored (in goals of 100)"
for _count in sorted({*FULL.stored, *QUICK.stored}):
    METRICS[f"stored.{_count}.p50"] = _time(f"{_count:,} stored, median", _HISTORY)
    METRICS[f"stored.{_count}.p95"] = _time(f"{_count:,} stored, 95 %", _HISTORY)
_CHURN = "Commit 10 tasks and claim 10, one call, beside a REPEATABLE READ transaction"
for _name, _title in (("free", "without it"), ("held", "it stays open all the time")):
    METRICS[f"churn.{_name}.p50"] = _time(f"{_title}, median", _CHURN)
    METRICS[f"churn.{_name}.p95"] = _time(f"{_title}, 95 %", _CHURN)

ORDER = ("submit", "drain", "latency", "stored", "churn", "size", "dag", "turns", "agents", "events", "commands")
"""The measurements in the order in which they are made."""
