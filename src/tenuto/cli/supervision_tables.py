"""What an orchestrator answers, as tables and pages for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from tenuto.cli.output import Column, console, plain, print_table, remark, table_lines
from tenuto.cli.times import relative, span
from tenuto.tasks.clock import iso, wall_clock

__all__ = [
    "print_agents",
    "print_commands",
    "print_deed",
    "print_dependencies",
    "print_history_stats",
    "print_record",
    "print_records",
    "print_stats",
    "print_status",
    "stats_lines",
]

_STYLES = {
    "REGISTERED": "bright_black",
    "QUEUED": "yellow",
    "STARTING": "cyan",
    "RUNNING": "green",
    "STOPPING": "magenta",
    "TERMINATED": "bright_black",
    "FAILED": "bold red",
}
_SEVERITIES = {"debug": "bright_black", "warning": "yellow", "error": "red", "critical": "bold red"}
_TIMES = ("_at", "timestamp")

_AGENTS = (
    Column("NAME"),
    Column("STATE"),
    Column("EXECUTOR", rank=4),
    Column("PID", rank=3, right=True),
    Column("FOR", rank=2),
    Column("STARTS", rank=6, right=True),
    Column("RESTARTS", rank=5, right=True),
    Column("REASON", rank=1, least=28),
)
_USAGE = (
    Column("NAME"),
    Column("STATE"),
    Column("CPU", right=True),
    Column("MEMORY", right=True),
    Column("THREADS", rank=3, right=True),
    Column("FOR", rank=1),
    Column("RESTARTS", rank=2, right=True),
)
_COMMANDS = (
    Column("COMMAND"),
    Column("ALLOWED"),
    Column("ARGS", rank=2, least=8),
    Column("WHAT IT DOES", rank=1, least=16),
)
_COUNTS = (Column("EVENT"), Column("EMITTED", right=True), Column("KEPT APART", right=True))
_CALLBACKS = (
    Column("CALLBACK", least=16),
    Column("EVENT"),
    Column("CALLED", rank=3, right=True),
    Column("FAILED", rank=1, right=True),
    Column("WAITING", rank=4, right=True),
    Column("LEFT OUT", rank=2, right=True),
)
_ORDER = (Column("AGENT"), Column("WAITS FOR", least=16))


def state_of(row: Mapping[str, Any]) -> Text:
    """The agent's state in its colour."""
    state = str(row.get("state", ""))
    return Text(plain(state), _STYLES.get(state, ""))


def _for(row: Mapping[str, Any]) -> str:
    seconds = row.get("seconds")
    return span(int(seconds * 1000)) if isinstance(seconds, int | float) else ""


def _number(value: Any) -> str:
    return f"{value:,}" if value else ""


def print_agents(rows: Sequence[Mapping[str, Any]]) -> None:
    """The table of `ps`."""
    cells = [
        (
            str(row["name"]),
            state_of(row),
            str(row.get("executor") or ""),
            str(row.get("pid") or ""),
            _for(row),
            _number(row.get("generation")),
            _number(row.get("restarts")),
            str(row.get("reason") or ""),
        )
        for row in rows
    ]
    print_table(console(), _AGENTS, cells, "No agents are registered.")


def print_deed(agent: str, done: str, found: Mapping[str, Any]) -> None:
    """What has become of an agent that was `done`: started, stopped or restarted."""
    state, reason = found.get("state"), found.get("reason")
    if state == "QUEUED" and reason:
        sentence = f"{agent} is queued: {reason}"
    elif state in ("TERMINATED", "FAILED"):
        sentence = ": ".join(str(each) for each in (f"{agent} {done}", state, reason) if each)
    else:
        sentence = f"{agent} {done}"
    console().print(plain(sentence), soft_wrap=True)


def print_status(found: Mapping[str, Any]) -> None:
    """A page about one agent, or about the orchestrator."""
    out = console()
    config = found.get("config")
    fields = {name: value for name, value in found.items() if name != "config" and value not in (None, "", [], {})}
    _print_fields(out, fields)
    if isinstance(config, Mapping) and config:
        out.print()
        out.print(Text("settings", "bold"))
        _print_fields(out, {name: Text(plain(_setting(value))) for name, value in config.items()})


def _print_fields(out: Console, fields: Mapping[str, Any]) -> None:
    widest = max((len(name) for name in fields), default=0)
    for name, value in fields.items():
        line = Text(f"{name:<{widest}}  ", "bright_black")
        line.append_text(value if isinstance(value, Text) else _shown(name, value))
        out.print(line, soft_wrap=True)


def _shown(name: str, value: Any) -> Text:
    """A field of an agent or the orchestrator."""
    if name == "state":
        return state_of({name: value})
    if name.endswith(_TIMES) and isinstance(value, int | float):
        return Text(f"{iso(int(value * 1000))}  ({relative(int(value * 1000), wall_clock())})")
    if name == "seconds" and isinstance(value, int | float):
        return Text(span(int(value * 1000)))
    if name == "agents" and isinstance(value, Mapping):
        return Text(plain(", ".join(f"{count:,} {state}" for state, count in value.items())))
    return Text(plain(_setting(value)))


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_value(each)}" for key, each in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_value(each) for each in value)
    return _value(value)


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def print_stats(found: Mapping[str, Any]) -> None:
    """Numbers, once."""
    out = console()
    for line in stats_lines(found, out):
        out.print(line, soft_wrap=True)


def stats_lines(found: Mapping[str, Any], out: Console) -> list[Text]:
    """Numbers as lines for `out`: the orchestrator, then a table of its agents."""
    own = found.get("process") or {}
    events, callbacks = found.get("events") or {}, found.get("callbacks") or {}
    states = ", ".join(f"{count:,} {state}" for state, count in (found.get("agents") or {}).items())
    first = Text(f"orchestrator {own.get('pid', '')}", "bold").append(
        f"  CPU {own.get('cpu_percent', 0):.0f} %  memory {_memory(own.get('memory_bytes'))}  "
        f"threads {own.get('threads', '')}"
    )
    second = Text(f"agents       {states or 'none'}")
    if "max_workers" in found:
        second.append(
            f"; {found.get('running', 0):,} of {found['max_workers']:,} slots used, {found.get('queued', 0):,} queued"
        )
    third = Text(f"events       {events.get('emitted', 0):,}, {events.get('kept', 0):,} kept")
    if callbacks.get("registered"):
        third.append(
            f"; handed to callbacks: {callbacks['called']:,}, {callbacks['failed']:,} failed, "
            f"{callbacks['waiting']:,} waiting, {callbacks['left_out']:,} left out"
        )
    cells = [
        (
            str(row["name"]),
            state_of(row),
            f"{row['cpu_percent']:.0f} %" if "cpu_percent" in row else "",
            _memory(row.get("memory_bytes")),
            str(row.get("threads", "")),
            _for(row),
            _number(row.get("restarts")),
        )
        for row in found.get("each") or ()
    ]
    return [first, second, third, Text(), *table_lines(out, _USAGE, cells, "No agents are registered.")]


def _memory(count: Any) -> str:
    return f"{count / 1_048_576:,.1f} MiB" if isinstance(count, int) else ""


def print_records(records: Sequence[Mapping[str, Any]]) -> None:
    """The history, one line for each event."""
    for record in records:
        print_record(record)
    if not records:
        console().print("No events.")
    remark("(the supervisor's history; what happened to tasks: tenuto task events)")


def print_record(record: Mapping[str, Any]) -> None:
    """One event as one line, without a traceback: `--format json` and the agent's log have it."""
    line = Text(f"{record['seq']:>6}  ").append(f"{iso(int(record['timestamp'] * 1000)):<24}  ", "bright_black")
    line.append(f"{record['event_name']:<20}", _SEVERITIES.get(record["severity"], ""))
    line.append(f"  {plain(record.get('agent_name') or '')}")
    told = record["data"]
    data = {name: value for name, value in told.items() if value not in (None, "", [], {}) and name != "traceback"}
    if data:
        line.append("  " + plain(" ".join(f"{name}={_value(value)}" for name, value in data.items())), "bright_black")
    console().print(line, soft_wrap=True)


def print_history_stats(found: Mapping[str, Any]) -> None:
    """How much there was, and what is kept."""
    out = console()
    out.print(
        f"{found['emitted']:,} events, {found['kept']:,} kept (the last {found['capacity']:,} without a policy; "
        f"payloads up to {found['payload_max_bytes']:,} bytes)",
        soft_wrap=True,
    )
    out.print()
    apart = found.get("kept_by_policy") or {}
    rows = [
        (name, f"{count:,}", f"{apart[name]:,}" if name in apart else "")
        for name, count in sorted(found["by_event"].items(), key=lambda each: -each[1])
    ]
    print_table(out, _COUNTS, rows, "No events.")
    if found.get("callbacks"):
        out.print()
        print_table(
            out,
            _CALLBACKS,
            [
                (
                    each["name"],
                    each["event_name"],
                    *(f"{each[key]:,}" for key in ("called", "failed", "waiting", "left_out")),
                )
                for each in found["callbacks"]
            ],
            "",
        )


def print_dependencies(found: Mapping[str, Any]) -> None:
    """Agents in the order in which they are started, each with what it waits for."""
    waits = found.get("depends_on") or {}
    rows = [(name, ", ".join(waits.get(name, ()))) for name in found.get("order") or ()]
    print_table(console(), _ORDER, rows, "No agents are registered.")


def print_commands(found: Sequence[Mapping[str, Any]]) -> None:
    """The commands."""
    rows = [
        (
            each["name"],
            Text("yes", "green") if each["allowed"] else Text("no", "red"),
            ", ".join(each["args"]),
            each["help"],
        )
        for each in found
    ]
    print_table(console(), _COMMANDS, rows, "No commands.")
