"""`tenuto budget`, `tenuto usage` and `tenuto task ledger`: what may be spent, and what was."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tenuto.cli.options import Format, FormatOption, LimitOption, StoreOption

if TYPE_CHECKING:
    from tenuto.tasks.money import Amount
    from tenuto.tasks.usage import BudgetUse

__all__ = ["BUDGETS", "USAGE_EXAMPLES", "register", "usage"]

BUDGETS = typer.Typer(help="List, put and drop budgets.", no_args_is_help=True)

USAGE_EXAMPLES = (
    "Examples:\n\n  tenuto usage --by model --since 2026-11-01\n  tenuto usage --by day --of owner:ann\n"
    "  tenuto usage --by owner --format json | jq '.usage\\[] | {key, money}'"
)


class Per(StrEnum):
    """How long a budget's window is."""

    DAY = "day"
    MONTH = "month"


class AtLimitChoice(StrEnum):
    """What becomes of a call that has no room."""

    FAIL = "fail"
    PAUSE = "pause"
    FALLBACK = "fallback"


class By(StrEnum):
    """What has a row."""

    OWNER = "owner"
    AGENT = "agent"
    MODEL = "model"
    DAY = "day"
    TREE = "tree"
    TASK = "task"


ScopeArgument = Annotated[
    str,
    typer.Argument(
        metavar="SCOPE", help="task:ID (with all below it), tree:ID, owner:NAME, agent:NAME, model:NAME, or total."
    ),
]
PerOption = Annotated[
    Per | None, typer.Option("--per", help="Anew each UTC day or month; else for good.", case_sensitive=False)
]


def register(app: typer.Typer) -> None:
    """Adds `ledger` to `tenuto task`."""
    app.command(epilog="Examples:\n\n  tenuto task ledger report")(ledger)


@BUDGETS.command("list", epilog="Examples:\n\n  tenuto budget list\n  tenuto budget list owner:")
def list_budgets(
    context: typer.Context,
    prefix: Annotated[str, typer.Argument(metavar="[PREFIX]", help="Only scopes that begin with it.")] = "",
    limit: LimitOption = 1_000,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> None:
    """List budgets, and how much of each is used."""
    from tenuto.cli import output
    from tenuto.cli.session import with_client

    found = with_client(context, store, lambda client: client.budgets(prefix, limit))
    if format is Format.JSON:
        output.print_json({"budgets": [_budget_document(use) for use in found]})
        return
    columns = (
        output.Column("SCOPE", least=12),
        output.Column("PER"),
        output.Column("LIMIT", right=True),
        output.Column("SPENT", right=True),
        output.Column("RESERVED", right=True, rank=2),
        output.Column("AT LIMIT", rank=1),
    )
    rows = [row for use in found for row in _budget_rows(use)]
    output.print_table(output.console(), columns, rows, "No budgets.")


@BUDGETS.command(
    epilog="Examples:\n\n  tenuto budget put owner:ann --money 25 --per month --at-limit pause\n"
    "  tenuto budget put agent:researcher --tokens 2000000 --per day\n  tenuto budget put task:report --money 0.50"
)
def put(
    context: typer.Context,
    scope: ScopeArgument,
    money: Annotated[str | None, typer.Option("--money", metavar="DOLLARS", help="Such as 25 or 0.50.")] = None,
    tokens: Annotated[int | None, typer.Option("--tokens", min=0, help="At most so many.")] = None,
    requests: Annotated[int | None, typer.Option("--requests", min=0, help="At most so many.")] = None,
    per: PerOption = None,
    at_limit: Annotated[
        AtLimitChoice, typer.Option("--at-limit", help="What becomes of a call without room.", case_sensitive=False)
    ] = AtLimitChoice.FAIL,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> None:
    """Create or replace a budget; what was used so far counts."""
    from tenuto.cli import output
    from tenuto.cli.session import with_client
    from tenuto.client import Client

    async def work(client: Client) -> BudgetUse:
        await client.put_budget(
            scope, money=money, tokens=tokens, requests=requests, period=per, at_limit=at_limit.value
        )
        uses = await client.budgets(scope)
        return next(use for use in uses if (use.budget.scope, use.budget.period) == (scope, per))

    use = with_client(context, store, work, create=True)
    if format is Format.JSON:
        output.print_json(_budget_document(use))
        return
    for _, window, limit, spent, _, _ in _budget_rows(use):
        shown = f" per {window}" if window else ""
        output.console().print(f"{scope} may use {limit}{shown}, and has used {spent}", soft_wrap=True)


@BUDGETS.command(epilog="Examples:\n\n  tenuto budget drop owner:ann --per month")
def drop(
    context: typer.Context,
    scope: ScopeArgument,
    per: PerOption = None,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> None:
    """Drop a budget; what was used stays counted."""
    from tenuto.cli import output
    from tenuto.cli.session import with_client

    with_client(context, store, lambda client: client.drop_budget(scope, per))
    if format is Format.JSON:
        output.print_json({"dropped": scope, "per": per})
    else:
        output.console().print(f"dropped {scope}", soft_wrap=True)


def usage(
    context: typer.Context,
    by: Annotated[By, typer.Option("--by", help="What has a row.", case_sensitive=False)] = By.OWNER,
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Only what begins with it.")] = "",
    of: Annotated[str, typer.Option("--of", metavar="SCOPE", help="By day: whose days, such as owner:ann.")] = "total",
    since: Annotated[str | None, typer.Option("--since", metavar="DAY", help="From this UTC day on.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="DAY", help="Up to this UTC day.")] = None,
    limit: LimitOption = 1_000,
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> None:
    """Show what calls have used: money, tokens and requests."""
    from tenuto.cli import output
    from tenuto.cli.session import with_client
    from tenuto.tasks.dollars import dollars

    found = with_client(
        context,
        store,
        lambda client: client.usage(by.value, prefix=prefix, of=of, since=since, until=until, limit=limit),
    )
    if format is Format.JSON:
        rows = [
            {"key": row.key, "calls": row.calls, **_amount(row.spent), "reserved": _amount(row.reserved)}
            for row in found
        ]
        output.print_json({"by": by.value, "usage": rows})
        return
    columns = (
        output.Column(by.value.upper(), least=12),
        output.Column("MONEY", right=True),
        output.Column("TOKENS", right=True),
        output.Column("REQUESTS", right=True, rank=2),
        output.Column("CALLS", right=True, rank=3),
        output.Column("RESERVED", right=True, rank=1),
    )
    shown = [
        (
            row.key,
            dollars(row.spent.money),
            f"{row.spent.tokens:,}",
            f"{row.spent.requests:,}",
            f"{row.calls:,}",
            dollars(row.reserved.money) if row.reserved.money else "",
        )
        for row in found
    ]
    output.print_table(output.console(), columns, shown, "Nothing was used.")


def ledger(
    context: typer.Context,
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The task's id.")],
    format: FormatOption = Format.TABLE,
    store: StoreOption = None,
) -> None:
    """Show the calls of a task: what was reserved for each, and what it used."""
    from tenuto.cli import output
    from tenuto.cli.session import with_client
    from tenuto.cli.times import relative
    from tenuto.tasks.clock import iso, wall_clock
    from tenuto.tasks.dollars import dollars

    found = with_client(context, store, lambda client: client.ledger(task_id))
    if format is Format.JSON:
        calls = [
            {
                "call": entry.call,
                "attempt": entry.attempt,
                "state": entry.state.value,
                "model": entry.model,
                "bound": _amount(entry.bound),
                "actual": None if entry.actual is None else _amount(entry.actual),
                "at": iso(entry.at),
                "settled_at": None if entry.settled_at is None else iso(entry.settled_at),
            }
            for entry in found
        ]
        output.print_json({"task_id": task_id, "calls": calls})
        return
    columns = (
        output.Column("CALL", least=12),
        output.Column("ATTEMPT", right=True, rank=2),
        output.Column("STATE"),
        output.Column("MODEL", rank=1, least=8),
        output.Column("MONEY", right=True),
        output.Column("TOKENS", right=True),
        output.Column("AT", rank=3),
    )
    now = wall_clock()
    rows = [
        (
            entry.call,
            str(entry.attempt),
            entry.state.value,
            entry.model,
            dollars(entry.counted.money),
            f"{entry.counted.tokens:,}",
            relative(entry.at, now),
        )
        for entry in found
    ]
    output.print_table(output.console(), columns, rows, "No calls.")


def _amount(amount: Amount) -> dict[str, Any]:
    from tenuto.tasks.dollars import exact

    return {"money": exact(amount.money), "tokens": amount.tokens, "requests": amount.requests}


def _budget_document(use: BudgetUse) -> dict[str, Any]:
    from tenuto.tasks.dollars import exact

    budget = use.budget
    return {
        "scope": budget.scope,
        "period": budget.period,
        "window": use.window or None,
        "at_limit": budget.at_limit.value,
        "money": None if budget.money is None else exact(budget.money),
        "tokens": budget.tokens,
        "requests": budget.requests,
        "spent": _amount(use.spent),
        "reserved": _amount(use.reserved),
    }


def _budget_rows(use: BudgetUse) -> list[tuple[str, ...]]:
    """A row for each limit: scope, period, limit, spent, reserved, and what happens there."""
    from tenuto.tasks.dollars import dollars

    budget, spent, reserved = use.budget, use.spent, use.reserved
    limits = [
        (budget.money, dollars, spent.money, reserved.money),
        (budget.tokens, lambda count: f"{count:,} tokens", spent.tokens, reserved.tokens),
        (budget.requests, lambda count: f"{count:,} requests", spent.requests, reserved.requests),
    ]
    return [
        (budget.scope, budget.period or "", show(limit), show(used), show(held) if held else "", budget.at_limit.value)
        for limit, show, used, held in limits
        if limit is not None
    ]
