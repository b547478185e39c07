"""What is measured: the measurements by name, how much of each, and what their values mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

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
    slow_drain: int
    """the same for engines of a few hundred tasks a second"""
    samples: int
    """starts of single tasks on an idle system"""
    waiting: int
    """tasks that wait at once"""
    stored: tuple[int, ...]
    """tasks that lie in the store while some are worked off"""
    nodes: int
    """nodes of a DAG"""
    seconds: float
    """no measurement may take longer"""


FULL = Size(
    singles=5_000,
    bulk=100_000,
    drain=20_000,
    slow_drain=1_000,
    samples=200,
    waiting=100_000,
    stored=(1_000, 10_000, 100_000, 1_000_000),
    nodes=1_000,
    seconds=240,
)
QUICK = Size(
    singles=300,
    bulk=3_000,
    drain=2_000,
    slow_drain=100,
    samples=20,
    waiting=2_000,
    stored=(1_000, 5_000),
    nodes=100,
    seconds=60,
)

Run = Callable[[Path, Size], Mapping[str, float]]
"""One measurement: works inside the given empty directory, returns values by metric."""


@dataclass(frozen=True)
class Subject:
    """A system that is measured."""

    name: str
    durability: str
    """what survives a power cut, in a few words"""
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
    "memory.waiting": _time("worker's memory per 100,000 waiting tasks", "Waiting tasks", "MB"),
    "disk.waiting": _time("disk per 100,000 waiting tasks", "Waiting tasks", "MB"),
    "dag.wide": _time("wide: all nodes at once", "DAG", "s"),
    "dag.chain": _time("chain: each after the one before", "DAG", "s"),
    "dag.lattice": _time("diamond lattice: each after two", "DAG", "s"),
}
for _count in sorted({*FULL.stored, *QUICK.stored}):
    METRICS[f"stored.{_count}"] = _rate(f"{_count:,} tasks stored", "Drain, 1 process, 100 at once, with history")

ORDER = ("submit", "drain", "latency", "stored", "waiting", "dag")
"""The measurements in the order in which they are made."""
