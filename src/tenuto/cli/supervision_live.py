"""Watching an orchestrator: its numbers again and again, its history as it grows. Ctrl-C ends either, and its end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group
from rich.live import Live

from tenuto.cli.output import console, print_json_line, remark
from tenuto.cli.supervision_tables import print_record, stats_lines
from tenuto.errors import Unreachable
from tenuto.supervisor.command_client import CommandClient

__all__ = ["follow_history", "watch_stats"]

_POLL = 0.25
_PAGE = 1_000


@contextlib.contextmanager
def _until_it_ends(client: CommandClient) -> Iterator[None]:
    """Ends without an error at Ctrl-C, and when the orchestrator has ended; not when it does not answer."""
    try:
        yield
    except KeyboardInterrupt:
        return
    except Unreachable:
        if not client.gone(0.0):
            raise
        remark(f"The orchestrator at {client.address} has ended.")


def watch_stats(client: CommandClient, every: float, *, as_json: bool) -> None:
    """Shows the numbers every so many seconds: on a terminal in one place, elsewhere one picture after the other."""
    out = console()
    with _until_it_ends(client):
        if as_json:
            while True:
                print_json_line(client.request("stats"))
                time.sleep(every)
        if not out.is_terminal:
            while True:
                for line in stats_lines(client.request("stats"), out):
                    out.print(line, soft_wrap=True)
                out.print()
                time.sleep(every)
        with Live(console=out, auto_refresh=False, screen=True) as live:
            while True:
                lines = stats_lines(client.request("stats"), out)
                live.update(Group(*lines[: out.height]), refresh=True)
                time.sleep(every)


def follow_history(client: CommandClient, wanted: Mapping[str, Any], limit: int, *, as_json: bool) -> None:
    """Shows the events that fit, those that are kept first, and then each one that comes."""
    filters = {name: value for name, value in wanted.items() if name != "after"}
    with _until_it_ends(client):
        newest = client.request("history", {"limit": 1})  # what fits may be long ago: from here on events are new
        after = wanted.get("after", newest[-1]["seq"] if newest else 0)
        found = client.request("history", {**wanted, "limit": limit})
        while True:
            for record in found:
                if record["data"].get("sender") == client.sender:
                    continue  # our own question
                if as_json:
                    print_json_line(record)
                else:
                    print_record(record)
            after = max(after, *(record["seq"] for record in found), 0)
            if len(found) < _PAGE:
                time.sleep(_POLL)
            found = client.request("history", {**filters, "after": after, "limit": _PAGE})
