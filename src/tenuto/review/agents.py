"""The agents that carry out a review, and the goal they carry out together.

    scan ──► read ─────┬──► metrics ──► write ──► judge
      │       └ parcel …│                           │
      └────► history ──┘            write again ◄───┘  at most once

`read` is told by the scan how much there is: it spawns a task for each parcel, waits for all of them without holding
anything, and joins what they found. `judge` sends an unacceptable report back once, by spawning a writer that gets the
findings; a second refusal fails the goal with what is wrong.

Everything that one task hands to another is its stored result, so each of them may run in another process, or after a
crash. Reading and git are synchronous, and run in the worker's threads.
"""

import asyncio
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tenuto.agents.function import task_agent
from tenuto.errors import TenutoError
from tenuto.plans import GoalBuilder, goal
from tenuto.review.facts import PackedFacts, Reading, pack, unpack
from tenuto.review.filenames import to_path, to_text
from tenuto.review.history import History, read_history
from tenuto.review.judge import Finding, judge
from tenuto.review.measure import measure
from tenuto.review.metrics import Metrics
from tenuto.review.parcels import Parcel, parcels
from tenuto.review.reading import join_readings, read_parcel
from tenuto.review.report import write_report
from tenuto.review.scan import scan_tree
from tenuto.review.tree import Scan, Skipped
from tenuto.tasks.retry import RetryPolicy
from tenuto.workers.context import ChildResult, Context

RETRY = RetryPolicy(max_retries=2, base=500, fatal=("InvalidInput", "ReportRefused"))
"""Reading is repeated quickly or not at all: a tree that has gone, or a report that is refused, does not get better."""


class ReportRefused(TenutoError):
    """The judge did not accept the report, not even the second time."""


class Order(msgspec.Struct, frozen=True):
    """What is asked for: a review of the tree at `path`, written to the file `out`. Both absolute, as stored text."""

    path: str
    out: str

    @property
    def root(self) -> Path:
        """The tree."""
        return Path(to_path(self.path))

    @property
    def report(self) -> Path:
        """The report's file."""
        return Path(to_path(self.out))


class ParcelOrder(msgspec.Struct, frozen=True):
    """What is asked of one reader. `own_names` is that of the scan."""

    path: str
    parcel: Parcel
    own_names: list[str] | None


class WriteOrder(msgspec.Struct, frozen=True):
    """What is asked of the writer. The second time the metrics are given, with what the judge found."""

    order: Order
    metrics: Metrics | None = None
    findings: list[Finding] = []


class Judgement(msgspec.Struct, frozen=True):
    """How the report was accepted: in which round, and what was found in the first."""

    rounds: int
    findings: list[Finding]


@task_agent(name="review.scan", retry=RETRY)
def scan(order: Order) -> Scan:
    """List the files of the tree. The report itself is kept apart, so that a second review sees the same tree."""
    return scan_tree(order.root, apart=_inside(order.report, order.root))


@task_agent(name="review.read", retry=RETRY)
async def read(ctx: Context, order: Order) -> PackedFacts:
    """Have every parcel read by a task of its own, and join what they found."""
    found: Scan = await ctx.result_of("scan", type=Scan)
    work = parcels(found)
    children = await ctx.spawn_batch(
        [
            read_one.create_task(
                payload=ParcelOrder(order.path, parcel, found.own_names), title=f"Read {parcel.title}"[:200]
            )
            for parcel in work
        ]
    )
    results = await ctx.wait_for(children, need="all") if children else []
    readings = [_reading(result, parcel) for result, parcel in zip(results, work, strict=True)]
    return await asyncio.to_thread(lambda: pack(join_readings(readings, found.python_prefix)))


@task_agent(name="review.parcel", retry=RETRY)
def read_one(order: ParcelOrder) -> Reading:
    """Read the files of one parcel."""
    return read_parcel(Path(to_path(order.path)), order.parcel, order.own_names)


@task_agent(name="review.history", retry=RETRY)
def history(order: Order) -> History:
    """Ask git what has happened to the tree."""
    return read_history(order.root)


@task_agent(name="review.metrics", retry=RETRY)
async def metrics(ctx: Context, order: Order) -> Metrics:  # noqa: ARG001 - all it needs are results of others
    """Join everything that is known into the numbers of the review."""
    found: Scan = await ctx.result_of("scan", type=Scan)
    facts: PackedFacts = await ctx.result_of("read", type=PackedFacts)
    past: History = await ctx.result_of("history", type=History)
    return await asyncio.to_thread(lambda: measure(found, unpack(facts), past))


@task_agent(name="review.write", retry=RETRY)
async def write(ctx: Context, order: WriteOrder) -> str:
    """Write the report, and return where it is."""
    numbers = order.metrics or await ctx.result_of("metrics", type=Metrics)
    # Recorded, so that an attempt that is repeated after a crash writes the very same report.
    when = await ctx.step("date", _now)
    gone = [finding.subject for finding in order.findings if finding.kind == "path"]
    text = write_report(numbers, datetime.fromtimestamp(when, UTC), gone)
    await ctx.step("write the file", _replace, order.order.report, text)
    return order.order.out


@task_agent(name="review.judge", retry=RETRY)
async def judge_report(ctx: Context, order: Order) -> Judgement:
    """Hold the report against its acceptance criteria; send it back once. Raises `ReportRefused` the second time."""
    numbers: Metrics = await ctx.result_of("metrics", type=Metrics)
    findings = await ctx.step("judge", _judge, order, numbers)
    if not findings:
        return Judgement(1, [])
    await ctx.progress(0.5, f"sent back with {len(findings)} findings")
    child = await ctx.spawn(
        write.create_task(payload=WriteOrder(order, numbers, findings[:100]), title="Write the report again")
    )
    await ctx.wait_for(child)
    remaining = await ctx.step("judge again", _judge, order, numbers)
    if remaining:
        more = f" ({len(remaining) - 1} more findings)" if len(remaining) > 1 else ""
        raise ReportRefused(
            f"The report {order.out} was sent back once and is still wrong: {remaining[0].sentence}{more}"
        )
    return Judgement(2, findings[:100])


AGENTS = (scan, read, read_one, history, metrics, write, judge_report)
"""All agents of a review."""


def review_goal(order: Order, *, id: str, tag: str) -> GoalBuilder:
    """Return the goal of one review, to be submitted under this id and found again by this tag."""
    builder = goal(f"Review of {order.path.rpartition('/')[2] or order.path}"[:200], id=id, tags=(tag,))
    first = builder.add(scan.create_task(payload=order, title="List the files"), id="scan")
    reading = builder.add(read.create_task(payload=order, title="Read the source"), id="read", after=first)
    past = builder.add(history.create_task(payload=order, title="Read the history"), id="history", after=first)
    numbers = builder.add(
        metrics.create_task(payload=order, title="Join the numbers"), id="metrics", after=[reading, past]
    )
    text = builder.add(
        write.create_task(payload=WriteOrder(order), title="Write the report"), id="write", after=numbers
    )
    builder.add(judge_report.create_task(payload=order, title="Judge the report"), id="judge", after=text)
    return builder


def _reading(result: ChildResult, parcel: Parcel) -> Reading:
    """Return what a reader found; of one that failed, the files it should have read, set aside with the reason."""
    if result.done:
        return msgspec.convert(result.result, Reading, str_keys=True)
    reason = f"Could not be read: {result.error.message if result.error else result.state.value}"
    names = [f"{package.directory}/{file.name}" for package in parcel.packages for file in package.files]
    return Reading([], {}, [], {}, [Skipped(reason[:300], len(names), names[:5])])


def _inside(file: Path, root: Path) -> list[str]:
    root = root.resolve()
    return [to_text(str(file.relative_to(root)))] if file.is_relative_to(root) else []


def _judge(order: Order, numbers: Metrics) -> list[Finding]:
    try:
        report = order.report.read_text(encoding="utf-8")
    except FileNotFoundError:
        report = ""
    return judge(report, numbers, order.root)


def _now() -> float:
    return datetime.now(UTC).timestamp()


def _replace(file: Path, text: str) -> None:
    """Write a file so that nobody ever sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{file.name[:50]}.", dir=file.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as draft:
            draft.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
