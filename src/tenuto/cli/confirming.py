"""Asking before something that cannot be undone."""

from __future__ import annotations

import sys

import typer

from tenuto.errors import InvalidInput

__all__ = ["confirm"]


def confirm(question: str, yes: bool) -> None:
    """Returns when `yes`, or when the person at the terminal says so; ends the command otherwise.

    Raises `InvalidInput` where nobody can be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidInput(f"{question} Nobody is here to confirm: add --yes")
    typer.confirm(question, abort=True, err=True)
