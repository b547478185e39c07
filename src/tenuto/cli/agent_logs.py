"""The logs of agents, read from their files: the last lines, and with `--follow` those that come."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any, Self, TextIO

import msgspec
from rich.text import Text

from tenuto.cli.output import Column, console, plain, print_json, print_json_line, print_table
from tenuto.cli.times import relative
from tenuto.errors import NotFound
from tenuto.observability.agent_logs import agent_of, log_directory, log_file
from tenuto.tasks.clock import iso, wall_clock

__all__ = ["list_logs", "show_log"]

_POLL = 0.2
_LOGS = (Column("AGENT"), Column("WRITTEN"), Column("SIZE", right=True), Column("FILE", rank=1, least=16))
_STYLES = {"debug": "bright_black", "warning": "yellow", "error": "red", "critical": "bold red"}
_AT_THE_END = ("exception", "stack")


def list_logs(directory: str | None, *, as_json: bool) -> None:
    """Which agents have logs."""
    found = sorted(log_directory(directory).glob("*.log"), key=lambda file: file.name)
    stats = [(agent_of(file), file, file.stat()) for file in found]
    if as_json:
        print_json(
            {
                "logs": [
                    {
                        "agent": agent,
                        "file": str(file),
                        "bytes": stat.st_size,
                        "written_at": iso(stat.st_mtime_ns // 1_000_000),
                    }
                    for agent, file, stat in stats
                ]
            }
        )
        return
    now = wall_clock()
    rows = [
        (agent, relative(stat.st_mtime_ns // 1_000_000, now), f"{-(-stat.st_size // 1024):,} KiB", str(file))
        for agent, file, stat in stats
    ]
    print_table(console(), _LOGS, rows, f"There are no logs in {log_directory(directory)}.")


def show_log(agent: str, directory: str | None, count: int, *, follow: bool, as_json: bool) -> None:
    """Writes the last `count` lines of the agent's log, and goes on with new ones if asked. Raises `NotFound`."""
    path = log_file(agent, directory)
    if not path.exists() and not follow:
        raise NotFound(f"agent {agent!r} has no log in {path.parent}: `tenuto logs` lists those that there are")
    with contextlib.suppress(KeyboardInterrupt), _Tail(path) as tail:
        lines = tail.lines()
        for older in _put_aside(path):
            if len(lines) >= count:
                break
            with contextlib.suppress(FileNotFoundError):
                lines = _lines(older) + lines
        for line in lines[len(lines) - min(count, len(lines)) :]:
            _print(line, as_json)
        while follow:
            time.sleep(_POLL)
            for line in tail.lines():
                _print(line, as_json)


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8", errors="replace").splitlines()


def _put_aside(path: Path) -> list[Path]:
    """Older files, the newest of them first."""
    numbered = [
        (int(file.suffix[1:]), file)
        for file in path.parent.glob(f"{_plain_glob(path.name)}.*")
        if file.suffix[1:].isdigit()
    ]
    return [file for _, file in sorted(numbered)]


def _plain_glob(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


class _Tail:
    """What is written to a log from its beginning on, file after file as they are put aside."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._rest = ""

    def lines(self) -> list[str]:
        """The whole lines that were written since the last call."""
        found = self._read()
        try:
            if self._file is not None and self._path.stat().st_ino == _number(self._file):
                return found
            newest = self._path.open(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return found  # not there yet, or about to be made again
        if self._file is not None:
            found += self._read()  # what came between the two looks
            for file in reversed(self._between(_number(newest), _number(self._file))):
                found += _lines(file)
            self._file.close()
        self._file, self._rest = newest, ""
        return found + self._read()

    def _read(self) -> list[str]:
        if self._file is None:
            return []
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        return lines

    def _between(self, newest: int, oldest: int) -> list[Path]:
        """Files that were put aside after the one read so far and before the newest, the newest of them first."""
        aside = [(file, file.stat().st_ino) for file in _put_aside(self._path)]
        numbers = [number for _, number in aside]
        start = numbers.index(newest) + 1 if newest in numbers else 0
        end = numbers.index(oldest) if oldest in numbers else len(numbers)
        return [file for file, _ in aside[start:end]]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()


def _number(file: TextIO) -> int:
    return os.fstat(file.fileno()).st_ino


def _print(line: str, as_json: bool) -> None:
    try:
        fields: Any = msgspec.json.decode(line)
    except msgspec.MsgspecError:
        fields = None
    if not isinstance(fields, dict):
        fields = None
    if as_json:
        print_json_line(fields if fields is not None else {"event": line.rstrip("\n")})
    elif fields is None:
        console().print(Text(plain(line.rstrip("\n"))), soft_wrap=True)
    else:
        _print_fields(fields)


def _print_fields(fields: dict[str, Any]) -> None:
    level = str(fields.pop("level", ""))
    fields.pop("agent", None)
    line = Text(f"{plain(str(fields.pop('timestamp', '')))}  ", "bright_black")
    line.append(f"{level:<8}", _STYLES.get(level, "")).append(f"  {plain(str(fields.pop('event', '')))}")
    traces = [str(fields.pop(name)) for name in _AT_THE_END if name in fields]
    if fields:
        words = " ".join(f"{name}={_value(value)}" for name, value in fields.items())
        line.append(f"  {plain(words)}", "bright_black")
    out = console()
    out.print(line, soft_wrap=True)
    for trace in traces:
        for each in trace.splitlines():
            out.print(Text(f"    {plain(each)}", "bright_black"), soft_wrap=True)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
