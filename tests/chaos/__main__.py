"""The chaos tests: until all work is done, real workers, clients, readers and servers are killed and frozen, and the
network between them goes silent, loses answers, is cut and slows down.

    make chaos                                   all variants, with a fresh seed
    make chaos ARGS="--seed 42"                  the same plan of blows again
    make chaos ARGS="--only steps --tasks 200"   one variant, smaller
    make chaos ARGS="--store postgres --faults kill-the-server,silent-network"   one engine, two of its faults
    make chaos ARGS="--share"                    24,000 tasks over two orchestrators, without any fault
    make chaos ARGS="--losses"                   what each setting of each engine loses in a crash
    make chaos ARGS="--agents 60"                for 60 seconds service agents die in every way that there is
    make chaos ARGS="--llm"                      workers of LLM agents are killed at every single request
    make chaos ARGS="--llm 9 --store redis"      at every ninth, on one engine
    make chaos ARGS="--rates"                    four processes share 600 requests a minute, on each engine

Exit code 1 says that something that must hold did not; the store and all notes are kept then, and named.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tenuto.testing import CrashPoint
from tests.chaos.crashes import CRASHES
from tests.chaos.llm.matrix import ENGINES, FORMS, run_matrix
from tests.chaos.llm.rates import LONG, run_rates
from tests.chaos.losses import measure_losses
from tests.chaos.places import PLACES, Place, PostgresPlace, open_place
from tests.chaos.plan import Blow
from tests.chaos.share import run_share
from tests.chaos.storm import Report, Settings, run_storm
from tests.chaos.supervisor.storm import Settings as AgentStorm
from tests.chaos.supervisor.storm import run_supervisor_storm, summary
from tests.chaos.variants import VARIANTS
from tests.chaos.variants.base import Size, Variant

__all__ = ["main"]

_SHOWN = 25
_FAULTS = {fault.value.replace(" ", "-"): fault for fault in PostgresPlace.faults}


def main() -> int:
    given = _arguments().parse_args()
    console = Console(stderr=False)
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    console.print(f"seed {seed} [dim](again: make chaos ARGS='--seed {seed}')[/dim]")
    folder = Path(tempfile.mkdtemp(prefix="tenuto-chaos-")) if given.keep is None else given.keep
    if given.keep is not None and folder.exists():
        console.print(f"{folder} exists already: name another folder, or remove it", style="red")
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    one = given.losses or given.agents or given.llm or given.rates
    everything = not (one or given.share or given.store or given.only)
    broken = _crash(console, given.losses or 4.0) if given.losses or everything else []
    if given.agents or everything:
        broken += _kill_agents(console, given.agents or 60.0, seed, folder)
    if given.llm or everything:
        broken += _kill_llm_agents(console, given.store or list(PLACES), given.llm or 9, folder)
    if given.rates or everything:
        broken += _share_rates(console, given.store or list(PLACES), folder)
    for engine in [] if one else given.store or list(PLACES):
        with contextlib.closing(open_place(engine, folder)) as place:
            broken += (
                _share(console, given, place, folder) if given.share else _rage(console, given, seed, place, folder)
            )
    if broken:
        console.print(
            f"[bold red]violated[/bold red] in {', '.join(broken)}; seed {seed}; everything is kept in {folder}"
        )
        return 1
    if given.keep is None:
        shutil.rmtree(folder)
    console.print(f"[bold green]all promises held[/bold green]; seed {seed}")
    return 0


def _rage(console: Console, given: argparse.Namespace, seed: int, place: Place, folder: Path) -> list[str]:
    """A storm over each kind of work; those in which something did not hold."""
    broken = []
    for name in given.only or list(VARIANTS):
        if VARIANTS[name].sql <= place.sql:
            report = asyncio.run(_one(console, VARIANTS[name], given, seed, place, folder))
            _show(console, report)
            broken += [report.variant] if report.violations else []
    return broken


def _kill_agents(console: Console, seconds: float, seed: int, folder: Path) -> list[str]:
    """Service agents die in every way there is, beside a million events."""
    (folder / "agents").mkdir()
    with console.status("agents"):
        report = run_supervisor_storm(folder / "agents", AgentStorm(seed, seconds, events=1_000_000))
    held = not report.violations
    title = f"agents: {'held' if held else 'VIOLATED'}"
    table = Table(title=title, title_style="green" if held else "bold red", title_justify="left", show_header=False)
    for what, words in summary(report).items():
        table.add_row(what, words)
    console.print(table)
    _complain(console, report.violations)
    return ["agents"] if report.violations else []


def _kill_llm_agents(console: Console, engines: Sequence[str], every: int, folder: Path) -> list[str]:
    """The workers of LLM agents are killed at each `every`th request; the matrices in which something did not hold."""
    broken = []
    for engine, form in itertools.product(engines, FORMS):
        place = folder / f"llm-{engine}-{form.replace(' ', '-')}"
        place.mkdir()
        with console.status(f"LLM agents on {engine}, {form}") as status:
            report = asyncio.run(
                run_matrix(engine, FORMS[form], place, every=every, seen=lambda runs: status.update(f"run {runs}"))
            )
        held = not report.violations
        title = f"LLM agents on {engine}, {form}: {'held' if held else 'VIOLATED'} after {report.seconds:.1f} s"
        table = Table(title=title, title_style="green" if held else "bold red", title_justify="left", show_header=False)
        table.add_row("runs", f"{report.runs:,}")
        for point in CrashPoint:
            table.add_row(f"killed with {point.value.replace('_', ' ')}", f"{report.crashes[point]:,}")
        table.add_row("requests to the model", f"{report.asked:,}, {report.lost:,} of them lost, and in the ledger")
        table.add_row("in the ledger, and never sent", f"{report.unsent:,}")
        console.print(table)
        _complain(console, report.violations)
        broken += [f"LLM agents on {engine}, {form}"] if report.violations else []
    return broken


def _share_rates(console: Console, engines: Sequence[str], folder: Path) -> list[str]:
    """Processes share the rate of one provider's key; the engines on which something did not hold."""
    broken = []
    for engine in engines:
        place = folder / f"rates-{engine}"
        place.mkdir()
        with console.status(f"a rate shared on {engine}"):
            report = asyncio.run(run_rates(ENGINES[engine](place), LONG))
        held, late = not report.violations, report.late or [0]
        title = f"600 requests a minute shared on {engine}: {'held' if held else 'VIOLATED'}"
        table = Table(title=title, title_style="green" if held else "bold red", title_justify="left", show_header=False)
        table.add_row("used of what was allowed", f"{report.share:.1%} in {report.seconds:.1f} s")
        table.add_row("most granted, most received in one period", f"{report.granted:,}, {report.received:,}")
        table.add_row("from grant to endpoint", f"{late[len(late) // 2]} ms, at most {late[-1]} ms")
        table.add_row("received in the pause, claims for each task", f"{report.in_pause:,}, {report.claims:.1f}")
        console.print(table)
        _complain(console, report.violations)
        broken += [f"rates on {engine}"] if report.violations else []
    return broken


def _share(console: Console, given: argparse.Namespace, place: Place, folder: Path) -> list[str]:
    """Two orchestrators share the work of one store."""
    shares = asyncio.run(run_share(place, folder / f"{place.name}-share", given.share, given.seconds))
    table = Table(title=f"{shares.tasks:,} tasks on {place.name}", title_justify="left", show_header=False)
    table.add_row("seconds", f"{shares.seconds:.1f}")
    table.add_row("done by each orchestrator", ", ".join(f"{count:,}" for count in shares.orchestrators.values()))
    table.add_row("done by each worker process", ", ".join(f"{count:,}" for count in shares.workers.values()))
    table.add_row("seconds without work in the end", f"{shares.early:.2f}")
    console.print(table)
    _complain(console, shares.violations)
    return [f"share on {place.name}"] if shares.violations else []


def _crash(console: Console, seconds: float) -> list[str]:
    """What was acknowledged, and is gone after a crash: for each setting."""
    broken = []
    for setting in CRASHES:
        losses = asyncio.run(measure_losses(setting, seconds))
        promised = {None: "nothing", 0.0: "that nothing is lost"}.get(
            losses.promised, f"at most the last {losses.promised} s are lost"
        )
        table = Table(title=setting, title_justify="left", show_header=False)
        table.add_row("acknowledged before", f"{losses.submitted:,} tasks, {losses.completed:,} completions")
        table.add_row("lost of these", f"{losses.lost_tasks:,} tasks, {losses.lost_completions:,} completions")
        table.add_row("all acknowledged in the last", f"{losses.oldest:.2f} s")
        table.add_row("promised", promised)
        table.add_row("reports refused", f"{losses.stale:,}")
        table.add_row("no answers for", f"{losses.away:.2f} s")
        console.print(table)
        _complain(console, losses.violations)
        broken += [setting] if losses.violations else []
    return broken


async def _one(
    console: Console, variant: Variant, given: argparse.Namespace, seed: int, place: Place, folder: Path
) -> Report:
    size = Size(seed, variant.scaled(given.tasks), given.steps)
    blows = given.blows if given.blows is not None else max(8, min(40, variant.executions(size) // 150))
    faults = tuple(fault for fault in place.faults if given.faults is None or fault in given.faults)
    settings = Settings(size, given.workers, given.seconds, given.lease, blows, faults=faults, times=given.times)
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[words]}"), console=console, transient=True) as bar:
        shown = bar.add_task(variant.name, total=variant.executions(size), words="")

        def progress(executions: int, expected: int, words: str) -> None:
            bar.update(shown, completed=executions, total=max(executions, expected), words=words)

        return await run_storm(variant, settings, place, folder / f"{place.name}-{variant.name}", progress)


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
    _complain(console, report.violations)


def _complain(console: Console, violations: Sequence[str]) -> None:
    for sentence in violations[:_SHOWN]:
        console.print(f"  - {sentence}", style="red", markup=False, highlight=False)
    if len(violations) > _SHOWN:
        console.print(f"  … and {len(violations) - _SHOWN:,} more", style="red")


def _faults(text: str) -> frozenset[Blow]:
    """What `--faults` names."""
    names = [] if text == "none" else text.split(",")
    for name in names:
        if name not in _FAULTS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(_FAULTS)}")
    return frozenset(_FAULTS[name] for name in names)


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
    parser.add_argument("--store", choices=PLACES, action="append", help="this engine; may be repeated; all by default")
    parser.add_argument(
        "--faults", type=_faults, help=f"of server and network, with commas between: {', '.join(_FAULTS)}; or none"
    )
    parser.add_argument("--times", type=int, default=3, help="each of these faults comes so many times")
    parser.add_argument(
        "--share",
        type=int,
        nargs="?",
        const=24_000,
        metavar="TASKS",
        help="no storm: two orchestrators with two worker processes each share so many tasks (24000)",
    )
    parser.add_argument(
        "--losses",
        type=float,
        nargs="?",
        const=4.0,
        metavar="SECONDS",
        help="no storm: crash each kind of server after so many seconds (4) of load, and count what is lost",
    )
    parser.add_argument(
        "--agents",
        type=float,
        nargs="?",
        const=60.0,
        metavar="SECONDS",
        help="only this: kill, freeze and break service agents for so many seconds (60)",
    )
    parser.add_argument(
        "--llm",
        type=int,
        nargs="?",
        const=1,
        metavar="N",
        help="only this: kill workers of LLM agents at each Nth request (1: at every single one)",
    )
    parser.add_argument("--rates", action="store_true", help="only this: processes share the rate of a provider's key")
    parser.add_argument("--keep", type=Path, help="a new folder for files, notes and logs; temporary by default")
    parser.add_argument("--only", choices=sorted(VARIANTS), action="append", help="only this variant; may be repeated")
    return parser


if __name__ == "__main__":
    os.environ.pop("TENUTO_STORE", None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends it ends its processes, too
    sys.exit(main())
