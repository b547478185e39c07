"""The chaos tests: real workers, clients and readers are killed, frozen and cut off until all work is done.

    make chaos                                   all variants, with a fresh seed
    make chaos ARGS="--seed 42"                  the same plan of blows again
    make chaos ARGS="--only steps --tasks 200"   one variant, smaller

Exit code 1 says that something that must hold did not; the store and all notes are kept then, and named.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.chaos.storm import Report, Settings, run_storm
from tests.chaos.variants import VARIANTS
from tests.chaos.variants.base import Size, Variant

__all__ = ["main"]

_SHOWN = 25


def main() -> int:
    given = _arguments().parse_args()
    console = Console(stderr=False)
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    console.print(f"seed {seed} [dim](again: make chaos ARGS='--seed {seed}')[/dim]")
    folder = Path(tempfile.mkdtemp(prefix="tenuto-chaos-")) if given.store is None else given.store.parent
    folder.mkdir(parents=True, exist_ok=True)
    reports = []
    for name in given.only or list(VARIANTS):
        variant = VARIANTS[name]
        path = folder / f"{name}.db" if given.store is None else given.store.with_suffix(f".{name}.db")
        if path.exists():
            console.print(f"{path} exists already: name another store, or remove it", style="red")
            return 2
        report = asyncio.run(_one(console, variant, given, seed, path))
        reports.append(report)
        _show(console, report)
    broken = [report.variant for report in reports if report.violations]
    if broken:
        console.print(
            f"[bold red]violated[/bold red] in {', '.join(broken)}; seed {seed}; everything is kept in {folder}"
        )
        return 1
    if given.store is None:
        shutil.rmtree(folder)
    console.print(f"[bold green]all promises held[/bold green]; seed {seed}")
    return 0


async def _one(console: Console, variant: Variant, given: argparse.Namespace, seed: int, path: Path) -> Report:
    size = Size(seed, variant.scaled(given.tasks), given.steps)
    blows = given.blows if given.blows is not None else max(8, min(40, variant.executions(size) // 150))
    settings = Settings(size, given.workers, given.seconds, given.lease, blows)
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[words]}"), console=console, transient=True) as bar:
        shown = bar.add_task(variant.name, total=variant.executions(size), words="")

        def progress(executions: int, expected: int, words: str) -> None:
            bar.update(shown, completed=executions, total=max(executions, expected), words=words)

        return await run_storm(variant, settings, path, progress)


def _show(console: Console, report: Report) -> None:
    held = not report.violations
    title = f"{report.variant}: {'held' if held else 'VIOLATED'} after {report.seconds:.1f} s"
    table = Table(title=title, title_style="green" if held else "bold red", title_justify="left", show_header=False)
    blows = ", ".join(f"{count} × {blow.value}" for blow, count in sorted(report.blows.items()))
    table.add_row("blows", f"{blows}, {report.submitter_kills} × kill the submitting client")
    table.add_row("processes", f"{report.processes:,}")
    for what, count in report.counts.items():
        table.add_row(what, f"{count:,}")
    console.print(table)
    for sentence in report.violations[:_SHOWN]:
        console.print(f"  - {sentence}", style="red", markup=False, highlight=False)
    if len(report.violations) > _SHOWN:
        console.print(f"  … and {len(report.violations) - _SHOWN:,} more", style="red")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Kill and freeze workers until all is done."
    )
    parser.add_argument("--seed", type=int, help="the same seed is the same plan of blows; a random one by default")
    parser.add_argument("--tasks", type=int, default=2_000, help="of the variant `steps`; the others follow from it")
    parser.add_argument("--steps", type=int, default=5, help="steps per task")
    parser.add_argument("--workers", type=int, default=4, help="worker processes")
    parser.add_argument("--seconds", type=float, default=300, help="at most so long per variant")
    parser.add_argument("--lease", type=float, default=2.0, help="seconds a silent worker keeps its tasks")
    parser.add_argument("--blows", type=int, help="kills and freezes of workers; they follow from the size by default")
    parser.add_argument("--store", type=Path, help="where the store files are made (and kept); temporary by default")
    parser.add_argument("--only", choices=sorted(VARIANTS), action="append", help="only this variant; may be repeated")
    return parser


if __name__ == "__main__":
    os.environ.pop("TENUTO_STORE", None)
    sys.exit(main())
