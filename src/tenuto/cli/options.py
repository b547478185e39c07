"""Options that many commands share, and what they mean. Imports nothing slow: every command's `--help` loads it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

__all__ = ["AgentsOption", "Format", "FormatOption", "StoreOption", "YesOption"]


class Format(StrEnum):
    """How output is written."""

    TABLE = "table"
    JSON = "json"


StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="The store: a URL such as sqlite:///path/to/tenuto.db, or a path. "
        "Default: TENUTO_STORE, then .tenuto/tenuto.db",
    ),
]
FormatOption = Annotated[
    Format, typer.Option("--format", help="table for people, json for programs.", case_sensitive=False)
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
