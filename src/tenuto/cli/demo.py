"""`tenuto demo`: the review of a source tree, shown while it runs, and what to look at when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tenuto.cli.errors import ExitCode
from tenuto.cli.options import Format, FormatOption, StoreOption

if TYPE_CHECKING:
    from rich.console import Console, Group

    from tenuto.review.demo import DemoOutcome, Snapshot

__all__ = ["EXAMPLES", "demo"]

EXAMPLES = (
    "Examples:\n\n"
    "  tenuto demo\n"
    "  tenuto demo --path ../other --out review-of-other.md\n"
    "  tenuto demo --format json | jq .findings\n\n"
    "Killed and started again in the same way, it goes on where it was."
)


def demo(
    context: typer.Context,
    path: Annotated[
        Path | None,
        typer.Option("--path", metavar="DIR", help="The source tree. Default: the repository around this directory."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the report is written.")] = Path(
        "report.md"
    ),
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> ExitCode:
    """Review a source tree: a goal of real agents, from the files to a report that a judge has accepted."""
    from tenuto.cli.logs import log_to_stderr
    from tenuto.cli.output import remark
    from tenuto.cli.session import run_interruptibly, store_url
    from tenuto.review.demo import run_demo

    log_to_stderr()
    url = store_url(context, store)
    try:
        with _screen() as show:
            outcome = run_interruptibly(run_demo(path, out, url, show))
    except KeyboardInterrupt:
        remark("Interrupted. The same command goes on from here.")
        raise
    if format is Format.JSON:
        _print_json(outcome)
    else:
        _print_summary(outcome, None if url == "memory://" else _store_words(context, store))
    return ExitCode.OK


def _store_words(context: typer.Context, store: str | None) -> str:
    """What has to be added to further commands so that they mean the same store. Secrets are not repeated."""
    from tenuto.stores import masked

    chosen = store or context.find_root().obj
    return f" --store {masked(chosen)}" if chosen else ""


@contextmanager
def _screen() -> Iterator[Callable[[Snapshot], None]]:
    """Yield what shows a review on standard error: a moving picture on a terminal, a line per change elsewhere."""
    from rich.live import Live

    from tenuto.cli.output import errors_console, remark

    out = errors_console()
    told: set[str] = set()

    def greet(now: Snapshot) -> None:
        if not told and now.resumed:
            remark(f"resuming: {now.done} of {len(now.tasks)} tasks were done")
        elif not told:
            remark(f"new review: {now.goal.task.id}")
        told.add("")

    def tell(now: Snapshot) -> None:
        begun = bool(told)
        greet(now)
        for task in sorted(now.tasks, key=lambda task: task.finished_at or 0):
            if task.is_final and task.id not in told:
                told.add(task.id)
                if begun:
                    remark(f"{task.state.value:<9} {task.title or task.id}")

    if not out.is_terminal:
        yield tell
        return
    with Live(console=out, auto_refresh=False, transient=True) as live:

        def draw(now: Snapshot) -> None:
            greet(now)
            live.update(_picture(now, out), refresh=True)

        yield draw


def _picture(now: Snapshot, out: Console) -> Group:
    """The goal as it is drawn everywhere, and below it how far the parcels are."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    from tenuto.cli.live import picture
    from tenuto.cli.output import plain
    from tenuto.tasks.clock import wall_clock
    from tenuto.tasks.states import State

    spawned = now.spawned
    if not spawned:
        return Group(picture(now.goal, wall_clock(), out))
    ended = sum(task.is_final for task in spawned)
    running = [plain(task.title) for task in spawned if task.state is State.RUNNING]
    bars = Table.grid(padding=(0, 1))
    bars.add_row(
        Text("spawned by tasks"),
        ProgressBar(total=len(spawned), completed=ended, width=max(10, min(40, out.width - 40))),
        f"{ended}/{len(spawned)}",
    )
    lines = [Text(f"  {title}", "bright_black", no_wrap=True, overflow="ellipsis") for title in running[:4]]
    return Group(picture(now.goal, wall_clock(), out), bars, *lines)


def _print_summary(outcome: DemoOutcome, store: str | None) -> None:
    """Write what people look at first; `store` None where no other command can see the review."""
    from tenuto.cli.output import console, plain
    from tenuto.review.findings import findings

    out = console()

    def line(text: str = "", style: str = "") -> None:
        out.print(plain(text), style=style or None, soft_wrap=True)

    again = ", accepted in the second round" if outcome.judgement.rounds > 1 else ", accepted by the judge"
    line(f"Report: {outcome.report}{again}", "bold")
    line()
    for sentence in findings(outcome.metrics):
        line(f"  {sentence}")
    line()
    line(f"{outcome.tasks} tasks in {outcome.seconds:.1f} s{' since it was resumed' if outcome.resumed else ''}.")
    if store is None:
        return
    line("Next:")
    line()
    for command in (f"tenuto goal graph {outcome.goal_id}", "tenuto task list", f"tenuto goal show {outcome.goal_id}"):
        line(f"  {command}{store}")


def _print_json(outcome: DemoOutcome) -> None:
    import msgspec

    from tenuto.cli.output import print_json
    from tenuto.review.findings import findings

    print_json(
        {
            "goal": outcome.goal_id,
            "report": str(outcome.report),
            "tasks": outcome.tasks,
            "seconds": round(outcome.seconds, 3),
            "resumed": outcome.resumed,
            "rounds": outcome.judgement.rounds,
            "findings": findings(outcome.metrics),
            "metrics": msgspec.to_builtins(outcome.metrics),
        }
    )
