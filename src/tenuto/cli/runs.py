"""`tenuto run` and `tenuto worker`: work done by this program."""

from __future__ import annotations

from typing import Annotated

import typer

from tenuto.cli.errors import ExitCode
from tenuto.cli.options import AgentsOption, Format, FormatOption, StoreOption

__all__ = ["RUN_EXAMPLES", "WORKER_EXAMPLES", "run_plan", "worker"]

RUN_EXAMPLES = (
    "Examples:\n\n"
    "  tenuto run --dag plan.json --agents my_agents\n"
    "  tenuto run --dag plan.json --agents my_agents:scanner --agents my_agents:writer --concurrency 8\n"
    "  tenuto run --dag - --agents my_agents --format json < plan.json | jq .results\n\n"
    "Interrupted or killed, and started again in the same way, it goes on where it was."
)

WORKER_EXAMPLES = (
    "Examples:\n\n"
    "  tenuto worker --agents my_agents\n"
    "  tenuto worker --agents my_agents:writer --processes 4 --concurrency 50\n\n"
    "SIGTERM and Ctrl-C drain it: it claims nothing more, finishes or hands back what it has, and ends."
)

ConcurrencyOption = Annotated[
    int, typer.Option("--concurrency", "-c", min=1, max=10_000, help="Tasks that run at once, in each process.")
]
LeaseOption = Annotated[
    float,
    typer.Option(
        "--lease", min=0.1, max=86_400, help="Seconds after which the tasks of a worker that was killed are taken over."
    ),
]

GraceOption = Annotated[
    float, typer.Option("--grace", min=0, max=86_400, help="Seconds that running tasks get when it is told to end.")
]


def run_plan(
    context: typer.Context,
    agents: AgentsOption,
    dag: Annotated[str, typer.Option("--dag", metavar="FILE", help="The plan, JSON; - is standard input.")],
    id: Annotated[
        str | None,
        typer.Option(
            "--id", metavar="ID", help="The goal's id. Default: that of the plan, else made from its content."
        ),
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="If it has failed before, go on from where it failed.")
    ] = False,
    concurrency: ConcurrencyOption = 25,
    lease: LeaseOption = 15.0,
    grace: GraceOption = 10.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> ExitCode:
    """Run a plan to its end: submit it, work on its tasks in this program, show how it goes.

    A plan is JSON: {"id", "title", "tasks": \\[{"id", "agent", "payload", "after": \\["id"]}]}.
    """
    from tenuto.cli.loading import load_agents
    from tenuto.cli.logs import log_to_stderr
    from tenuto.cli.plan_run import PlanRun, plan_of
    from tenuto.cli.session import with_client
    from tenuto.workers.config import WorkerConfig

    log_to_stderr()
    handlers = load_agents(agents)
    plan = plan_of(dag, id)
    work = PlanRun(
        plan, handlers, WorkerConfig(concurrency=concurrency, lease=lease, grace=grace), retry, quiet, format
    )
    work.check_agents()
    return with_client(context, store, work.run, create=True)


def worker(
    context: typer.Context,
    agents: AgentsOption,
    processes: Annotated[int, typer.Option("--processes", min=1, max=1_024, help="Worker processes.")] = 1,
    concurrency: ConcurrencyOption = 25,
    lease: LeaseOption = 30.0,
    grace: GraceOption = 10.0,
    store: StoreOption = None,
) -> None:
    """Work on whatever tasks come for these agents, until told to end."""
    from tenuto.cli.loading import load_agents
    from tenuto.cli.session import store_url
    from tenuto.cli.worker_run import run_workers
    from tenuto.workers.config import WorkerConfig

    handlers = load_agents(agents)
    config = WorkerConfig(concurrency=concurrency, lease=lease, grace=grace)
    run_workers(store_url(context, store), handlers, config, processes)
