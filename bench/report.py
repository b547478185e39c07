"""The results as tables for people or JSON for programs: medians, and ratios against Tenuto on the same store."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.plan import METRICS, Metric, Subject

__all__ = ["Group", "as_json", "show"]

_US = "tenuto"


@dataclass(frozen=True)
class Group:
    """What was measured on one store."""

    store: str
    engine: str
    """what the stores were made with"""
    subjects: Mapping[str, Subject]
    medians: Mapping[str, Mapping[str, float]]
    """by subject and metric"""

    def ratio(self, name: str, key: str) -> float | None:
        """How many times better Tenuto is than that subject; below 1: worse; None where one of them has no value."""
        ours, theirs = self.medians.get(_US, {}).get(key), self.medians[name].get(key)
        if not ours or not theirs:
            return None
        return ours / theirs if METRICS[key].more_is_better else theirs / ours


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def machine() -> str:
    """Where this was measured, in a few words."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.system()} {platform.machine()}, {cpus} cores, Python {sys.version.split()[0]}"


def show(console: Console, groups: Sequence[Group], notes: Mapping[str, str], rounds: int) -> None:
    """Prints a table for each section. Each cell: the median, and in brackets how many times better Tenuto is."""
    console.print(f"{machine()}; medians of {rounds}. In brackets: how many times better Tenuto is.")
    for group in groups:
        console.rule(f"{group.store}: {group.engine}")
        _show_group(console, group)
    for name, note in notes.items():
        console.print(f"  no value for {name}: {note}", style="yellow", markup=False)


def _show_group(console: Console, group: Group) -> None:
    shown = [name for name in group.subjects if group.medians.get(name)]
    rows: dict[str, list[tuple[str, Metric]]] = {}
    for key, metric in METRICS.items():
        if any(key in group.medians[name] for name in shown):
            rows.setdefault(metric.section, []).append((key, metric))
    for section, metrics in rows.items():
        columns = [name for name in shown if any(key in group.medians[name] for key, _ in metrics)]
        table = Table(title=section, title_justify="left", title_style="bold")
        table.add_column("")
        for name in columns:
            table.add_column(group.subjects[name].name, justify="right")
        for key, metric in metrics:
            table.add_row(f"{metric.title}, {metric.unit}", *(_cell(group, name, key) for name in columns))
        console.print(table)
    for each in group.subjects.values():
        console.print(f"  {each.name}: {each.durability}", style="dim")


def _cell(group: Group, name: str, key: str) -> str:
    value = group.medians[name].get(key)
    if value is None:
        return ""
    ratio = group.ratio(name, key)
    return _number(value) if name == _US or ratio is None else f"{_number(value)} ({ratio:.2g}×)"


def as_json(groups: Sequence[Group], notes: Mapping[str, str], rounds: int) -> dict[str, Any]:
    """The same for programs."""
    return {
        "machine": machine(),
        "rounds": rounds,
        "units": {key: metric.unit for key, metric in METRICS.items()},
        "stores": {
            group.store: {
                "engine": group.engine,
                "durability": {name: each.durability for name, each in group.subjects.items()},
                "medians": {name: dict(values) for name, values in group.medians.items()},
                "tenuto_is_better_by": {
                    name: {key: round(ratio, 3) for key in values if (ratio := group.ratio(name, key)) is not None}
                    for name, values in group.medians.items()
                    if name != _US
                },
            }
            for group in groups
        },
        "notes": dict(notes),
    }
