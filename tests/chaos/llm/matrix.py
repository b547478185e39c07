"""One crash matrix of the agent in `buyer`: its worker is killed everywhere, and the books are checked after each run.

The endpoint counts the requests, the tools write a log, the store keeps the ledger. Whatever they say must agree:

- each turn has one settled entry in the ledger. A request that was made again is there as `unknown`, and a kill makes
  at most one such entry: at an HTTP request exactly one, elsewhere none, or one that was announced and not sent
- what a tool did is repeated at most once for each kill, the payment never
- the steering is in each request, once
- what the provider's bill says is at most what the ledger counts, and that is within the budget
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tenuto import open_store
from tenuto.stores.base import Store
from tenuto.tasks.clock import Millis
from tenuto.tasks.money import Budget
from tenuto.tasks.states import State
from tenuto.tasks.usage import CallState, LedgerEntry
from tenuto.testing import Call, CrashPoint, CrashRun, Endpoint, crash_matrix
from tests.chaos.llm.buyer import ANSWER, LOG_LINES, PRICE, STEERING, TURNS, buyer, script, told_ahead
from tests.servers.postgres import shared_postgres
from tests.servers.redis import shared_redis

__all__ = ["ENGINES", "FORMS", "Form", "Report", "run_matrix"]

_RUN = 2_000_000
"""Nano-dollars that a run without a crash takes, and a little more."""
_REQUEST = 2_500_000
"""The same of the most that one request may take."""
_NANO = 1000
"""Nano-dollars for a token, of a dollar for a million."""


@dataclass(frozen=True)
class Form:
    """A kind of crash matrix."""

    stream: bool = False
    kills: int = 1

    @property
    def budget(self) -> int:
        """Nano-dollars: enough for a run, for what each kill may have lost, and for the request that is under way."""
        return _RUN + (self.kills + 1) * _REQUEST


FORMS = {"whole": Form(), "streamed": Form(stream=True), "killed twice": Form(kills=2)}
"""By name: answers that come whole, or as streams; and two workers that are killed, one after the other."""


@dataclass
class Report:
    """What a matrix has shown."""

    seconds: float = 0.0
    runs: int = 0
    crashes: Counter[CrashPoint] = field(default_factory=Counter)
    asked: int = 0
    """requests to the model"""
    lost: int = 0
    """of these, those whose answers were lost"""
    unsent: int = 0
    """entries of the ledger that are unknown, of requests that were never made"""
    violations: list[str] = field(default_factory=list)


async def run_matrix(engine: str, form: Form, folder: Path, *, every: int, seen: Callable[[int], None]) -> Report:
    """Kills the agent's workers at each `every`th request on `engine`. seen: told the number of each run."""
    report = Report()
    began = time.monotonic()
    log = folder / "log.txt"
    log.touch()
    with Endpoint(script(slow=form.stream)) as endpoint:

        def check(run: CrashRun) -> None:
            calls = endpoint.calls[report.asked :]
            done = Counter(log.read_text(encoding="utf-8").splitlines())
            log.write_text("")
            report.runs += 1
            report.asked += len(calls)
            report.crashes.update(crash.point for crash in run.crashes)
            lost, unsent, wrong = _compared(run, calls, form.budget)
            report.lost += lost
            report.unsent += unsent
            wrong += _repeated(run, done)
            report.violations += [f"{run.place}: {sentence}" for sentence in wrong]
            seen(report.runs)

        agent, child = buyer(endpoint.openai_url, str(log), stream=form.stream)
        try:
            await crash_matrix(
                agent,
                agent.create_task(payload="begin", budget=Budget(money=form.budget)),
                agents=[child],
                store=partial(_store, ENGINES[engine](folder)),
                prepare=told_ahead,
                check=check,
                kills=form.kills,
                every=every,
            )
        except (AssertionError, TimeoutError) as error:
            report.violations.append(f"after {report.runs} runs: {str(error) or 'a worker did not come to its end'}")
    report.seconds = time.monotonic() - began
    return report


def _compared(run: CrashRun, calls: Sequence[Call], budget: int) -> tuple[int, int, list[str]]:
    """How many requests were lost, how many never sent, and what the endpoint and the ledger do not agree about."""
    wrong: list[str] = []
    kills = len(run.crashes)
    turns = Counter(range(1, TURNS + 1))
    lost = Counter(call.turn for call in calls) - turns
    settled, unknown = (
        Counter(_turn(entry) for entry in run.ledger if entry.state is state)
        for state in (CallState.SETTLED, CallState.UNKNOWN)
    )
    unsent = unknown - lost
    if run.state is not State.DONE or ANSWER not in (run.result or b"").decode():
        wrong.append(f"it ended {run.state} with {run.result or run.error!r}")
    if settled != turns or len(run.ledger) != settled.total() + unknown.total():
        wrong.append(f"the ledger does not have each turn once: {run.ledger}")
    if {call.turn for call in calls} != set(turns) or lost - unknown:
        wrong.append(f"lost requests {lost - unknown} are not in the ledger: {run.ledger}")
    if unknown.total() > kills or unsent.total() > sum(not crash.point.is_http for crash in run.crashes):
        wrong.append(f"{unknown.total()} entries of the ledger are unknown, {unsent.total()} of them were never sent")
    if any(call.text.count(STEERING) != 1 for call in calls):
        wrong.append("the steering is not in each request once")
    counted = sum(entry.counted.money for entry in run.ledger)
    bill = sum(_price(call) for call in calls)
    if not bill <= counted <= budget:
        wrong.append(f"the bill is {bill:,}, the ledger counts {counted:,}, the budget is {budget:,}")
    return lost.total(), unsent.total(), wrong


def _repeated(run: CrashRun, done: Counter[str]) -> list[str]:
    """What tools and children did more often than a crash excuses."""
    kills = len(run.crashes)
    wrong = []
    if done["pay 5"] != 1:
        wrong.append(f"it was paid {done['pay 5']} times")
    if max(done.values()) > 1 + kills or not LOG_LINES <= done.total() <= LOG_LINES + 2 * kills:
        wrong.append(f"tools ran too often, or not at all: {dict(done)}")
    return wrong


def _turn(entry: LedgerEntry) -> int:
    return int(entry.call.partition("/")[0].removeprefix("turn-"))


def _price(call: Call) -> int:
    return 0 if call.usage is None else round(call.usage.input * PRICE[0] + call.usage.output * PRICE[1]) * _NANO


def _store(url: str, run: int, clock: Callable[[], Millis]) -> Store:
    """A store of its own for each run, from any process."""
    return open_store(url.replace("RUN", str(run)), clock=clock)


def _name() -> str:
    return f"kills_{secrets.token_hex(4)}_RUN"


ENGINES: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder}/{_name()}.db",
    "redis": lambda folder: shared_redis().url(namespace=_name()),
    "postgres": lambda folder: shared_postgres().url(schema=_name()),
}
"""By name: the URL of a store for each RUN."""
