"""Options that many commands share, and what they mean. Imports nothing slow: every command's `--help` loads it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

__all__ = [
    "AgentFilter",
    "AgentsOption",
    "CursorOption",
    "Format",
    "FormatOption",
    "LimitOption",
    "OwnerFilter",
    "StatesOption",
    "StoreOption",
    "TagFilter",
    "YesOption",
]


class Format(StrEnum):
    """How output is written."""

    TABLE = "table"
    JSON = "json"


StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="The store: a URL or the path of a file. Default: TENUTO_STORE, then REDIS_HOST, then .tenuto/tenuto.db",
    ),
]
FormatOption = Annotated[
    Format, typer.Option("--format", help="table for people, json for programs.", case_sensitive=False)
]
StatesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--state", "-s", metavar="STATE", help="Only in this state, such as failed. May be given several times."
    ),
]
OwnerFilter = Annotated[str | None, typer.Option("--owner", metavar="NAME", help="Only of this owner.")]
AgentFilter = Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Only of this agent.")]
TagFilter = Annotated[str | None, typer.Option("--tag", metavar="TAG", help="Only with this tag.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most so many.")]
CursorOption = Annotated[
    str | None, typer.Option("--cursor", metavar="CURSOR", help="Read on where the last list ended.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
AgentsOption = Annotated[
    list[str],
    typer.Option(
        "--agents",
        "-a",
        metavar="MODULE[:NAME]",
        help="Agents to run: one of a module, or all of it. May be given several times.",
    ),
]
