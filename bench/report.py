"""The results as tables for people or JSON for programs: medians, and ratios against Tenuto."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.plan import METRICS, Metric, Subject

__all__ = ["as_json", "show"]

_US = "tenuto"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _ratio(metric: Metric, ours: float, theirs: float) -> float:
    """How many times better Tenuto is than the other; below 1: worse."""
    if not ours or not theirs:
        return 0.0
    return ours / theirs if metric.more_is_better else theirs / ours


def machine() -> str:
    """Where this was measured, in a few words."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.system()} {platform.machine()}, {cpus} cores, Python {sys.version.split()[0]}"


def show(
    console: Console,
    subjects: Mapping[str, Subject],
    medians: Mapping[str, Mapping[str, float]],
    notes: Mapping[str, str],
    rounds: int,
) -> None:
    """Prints a table for each section. Each cell: the median, and in brackets how many times better Tenuto is."""
    console.print(f"{machine()}; medians of {rounds}. In brackets: how many times better Tenuto is.")
    table: Table | None = None
    section = ""
    shown = [name for name in subjects if medians.get(name)]
    for key, metric in METRICS.items():
        if not any(key in medians[name] for name in shown):
            continue
        if table is None or metric.section != section:
            if table is not None:
                console.print(table)
            section = metric.section
            table = Table(title=section, title_justify="left", title_style="bold")
            table.add_column("")
            for name in shown:
                table.add_column(subjects[name].name, justify="right")
        table.add_row(f"{metric.title}, {metric.unit}", *(_cell(metric, key, name, medians) for name in shown))
    if table is not None:
        console.print(table)
    for each in subjects.values():
        console.print(f"  {each.name}: {each.durability}", style="dim")
    for name, note in notes.items():
        console.print(f"  no value for {name}: {note}", style="yellow", markup=False)


def _cell(metric: Metric, key: str, name: str, medians: Mapping[str, Mapping[str, float]]) -> str:
    value = medians[name].get(key)
    if value is None:
        return ""
    ours = medians.get(_US, {}).get(key)
    if name == _US or ours is None:
        return _number(value)
    return f"{_number(value)} ({_ratio(metric, ours, value):.2g}×)"


def as_json(
    subjects: Mapping[str, Subject],
    medians: Mapping[str, Mapping[str, float]],
    notes: Mapping[str, str],
    rounds: int,
) -> dict[str, Any]:
    """The same for programs."""
    ours = medians.get(_US, {})
    return {
        "machine": machine(),
        "rounds": rounds,
        "durability": {name: each.durability for name, each in subjects.items()},
        "units": {key: metric.unit for key, metric in METRICS.items()},
        "medians": {name: dict(values) for name, values in medians.items()},
        "tenuto_is_better_by": {
            name: {
                key: round(_ratio(METRICS[key], ours[key], value), 3) for key, value in values.items() if key in ours
            }
            for name, values in medians.items()
            if name != _US
        },
        "notes": dict(notes),
    }
