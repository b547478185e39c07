"""The storm itself: blows at processes of the orchestra, questions to its command interface, and what must hold."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tenuto.errors import Conflict, TenutoError, Unreachable
from tenuto.supervisor.command_client import CommandClient

__all__ = ["Report", "Settings", "run_supervisor_storm", "summary"]

_ROOT = Path(__file__).resolve().parents[3]
_LIVE = ("STARTING", "RUNNING", "STOPPING")
_PATIENCE = 60.0
_GROWTH = 24 << 20
"""Bytes that the orchestrator's memory may grow by once it has seen everything."""


@dataclass(frozen=True)
class Settings:
    """How long it blows, and how hard."""

    seed: int
    seconds: float = 20.0
    least: int = 0
    """blows; a slow machine takes longer for them"""
    max_workers: int = 12
    events: int = 200_000
    askers: int = 4
    prompt: float | None = 0.1
    """seconds within which 99 in a hundred `ps` are answered; None: not judged, for other work shares the machine"""


@dataclass
class Report:
    """What was done, and what did not hold."""

    violations: list[str] = field(default_factory=list)
    blows: Counter[str] = field(default_factory=Counter)
    deaths: Counter[str] = field(default_factory=Counter)
    """agents that ended, by how"""
    answers: list[float] = field(default_factory=list)
    """seconds that `ps` took"""
    events: int = 0
    memory: tuple[int, int] = (0, 0)
    """bytes of the orchestrator, early and late"""

    def slowest(self, share: float) -> float:
        """Of the answers the one that so large a share is quicker than."""
        return sorted(self.answers)[min(int(len(self.answers) * share), len(self.answers) - 1)]


def run_supervisor_storm(folder: Path, settings: Settings) -> Report:
    """Runs one storm in `folder`, which must exist."""
    report = Report()
    environment = os.environ | {
        "TENUTO_RUN_DIR": str(folder / "run"),
        "TENUTO_LOG_DIR": str(folder / "logs"),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH")))),
    }
    arguments = [str(folder), str(settings.max_workers), str(settings.events)]
    with (folder / "orchestra.log").open("ab") as log:
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.supervisor.orchestra", *arguments],
            cwd=_ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _Storm(folder, settings, report, program).blow()
    finally:
        family = _family(program.pid)
        if program.poll() is None:
            program.kill()
        program.wait()
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()
    return report


def _family(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return []


class _Storm:
    def __init__(self, folder: Path, settings: Settings, report: Report, program: subprocess.Popen[bytes]) -> None:
        self._folder = folder
        self._settings = settings
        self._report = report
        self._program = program
        self._chance = random.Random(settings.seed)
        self._address = f"ipc://{folder}/run/orchestrator.sock"
        self._over = threading.Event()
        self._guard = threading.Lock()

    def blow(self) -> None:
        self._wait(self._listens, "the orchestra listens")
        askers = [threading.Thread(target=self._ask, args=(number,)) for number in range(self._settings.askers)]
        for asker in askers:
            asker.start()
        began = time.monotonic()
        early = 0
        with CommandClient(self._address, timeout=_PATIENCE) as client:
            while (now := time.monotonic() - began) < self._settings.seconds or self._too_few():
                if not early and now > self._settings.seconds / 3:
                    early = self._memory()
                self._strike(client)
                time.sleep(self._chance.uniform(0.0, 0.15))
            self._report.memory = early, self._memory()
            self._calm(client)
        self._over.set()
        for asker in askers:
            asker.join(_PATIENCE)
        self._end()
        self._check()

    # -- blows

    def _too_few(self) -> bool:
        return self._report.blows.total() < self._settings.least

    def _strike(self, client: CommandClient) -> None:
        rows = [row for row in client.request("ps") if row["executor"] == "process" and row["state"] in _LIVE]
        if not rows:
            return
        row = self._chance.choice(rows)
        blow = self._chance.choice((self._kill, self._terminate, self._segfault, self._freeze, self._restart))
        if blow(client, row):
            self._report.blows[blow.__name__.strip("_")] += 1

    def _kill(self, client: CommandClient, row: dict[str, Any]) -> bool:
        return self._send(row, signal.SIGKILL)

    def _terminate(self, client: CommandClient, row: dict[str, Any]) -> bool:
        return self._send(row, signal.SIGTERM)

    def _segfault(self, client: CommandClient, row: dict[str, Any]) -> bool:
        return self._send(row, signal.SIGSEGV)

    def _freeze(self, client: CommandClient, row: dict[str, Any]) -> bool:
        """Half of the frozen go on after a while; of the others the heartbeat is missed."""
        if not self._send(row, signal.SIGSTOP):
            return False
        if self._chance.random() < 0.5:
            threading.Timer(self._chance.uniform(0.1, 1.0), self._send, (row, signal.SIGCONT)).start()
        return True

    def _restart(self, client: CommandClient, row: dict[str, Any]) -> bool:
        with contextlib.suppress(Conflict):  # it has ended by itself meanwhile, and is being started
            client.request("restart", {"agent": row["name"]})
        return True

    def _send(self, row: dict[str, Any], number: signal.Signals) -> bool:
        """Signals that process if it is still one of ours: its number may be another's by now."""
        try:
            held = os.pidfd_open(row["pid"])
        except (OSError, TypeError):
            return False
        try:
            if row["pid"] not in {process.pid for process in _family(self._program.pid)}:
                return False
            signal.pidfd_send_signal(held, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(held)
        return True

    # -- questions

    def _ask(self, number: int) -> None:
        chance = random.Random(f"{self._settings.seed} {number}")
        try:
            with CommandClient(self._address, timeout=_PATIENCE) as client:
                while not self._over.is_set():
                    began = time.monotonic()
                    rows = client.request("ps")
                    taken = time.monotonic() - began
                    live = sum(row["state"] in _LIVE for row in rows)
                    with self._guard:
                        self._report.answers.append(taken)
                        if live > self._settings.max_workers:
                            self._violated(f"{live} agents ran at once, allowed are {self._settings.max_workers}")
                    client.request(chance.choice(("stats", "status", "history", "history-stats", "dependencies")))
                    time.sleep(0.02)
        except Unreachable as error:
            self._violated(f"the orchestrator did not answer: {error}")
        except TenutoError as error:
            self._violated(f"a question was answered with an error: {error}")

    def _listens(self) -> bool:
        if self._program.poll() is not None:
            raise RuntimeError(f"the orchestra ended with {self._program.returncode}: see {self._folder}/orchestra.log")
        try:
            with CommandClient(self._address, timeout=5) as client:
                return len(client.request("ps")) > 0
        except Unreachable:
            return False

    # -- what must hold

    def _calm(self, client: CommandClient) -> None:
        """No more blows: every slot has an agent that runs, and all events have come."""

        def settled() -> bool:
            rows = client.request("ps")
            running = sum(row["state"] == "RUNNING" for row in rows)
            return bool(running == min(self._settings.max_workers, len(rows)))

        try:
            self._wait(settled, "every slot is used again")
            self._wait(lambda: self._events(client) >= self._settings.events, "all events have come")
        except TimeoutError as error:
            self._violated(f"{error}: {[(row['name'], row['state']) for row in client.request('ps')]}")
        self._report.events = self._events(client)

    def _events(self, client: CommandClient) -> int:
        return int(client.request("history-stats")["emitted"])

    def _end(self) -> None:
        family = _family(self._program.pid)
        self._program.send_signal(signal.SIGTERM)
        try:
            code = self._program.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._violated("the orchestrator does not end")
            return
        if code:
            self._violated(f"the orchestrator ended with {code}")
        _, left = psutil.wait_procs(family, timeout=_PATIENCE)
        if left:
            self._violated(f"processes outlived the orchestrator: {[process.pid for process in left]}")
        if list((self._folder / "run").glob("*.sock")):
            self._violated("the command socket was left behind")

    def _check(self) -> None:
        told: Counter[tuple[str, str, int]] = Counter()
        for line in (self._folder / "ledger.jsonl").read_text().splitlines():
            entry = json.loads(line)
            told[entry["event"], entry["agent"], entry["generation"]] += 1
            if entry["event"] == "AGENT_TERMINATED":
                self._report.deaths[entry["signal"] or _cause(entry["reason"])] += 1
        for (event, agent, generation), count in told.items():
            if count > 1:
                self._violated(f"{event} of {agent}, start {generation}, was told {count} times")
        newest = Counter[str]()
        for _, agent, generation in told:
            newest[agent] = max(newest[agent], generation)
        for agent, last in newest.items():
            for generation in range(1, last + 1):
                if not told["AGENT_TERMINATED", agent, generation]:
                    self._violated(f"the end of {agent}, start {generation}, was never told")
        slow = self._report.slowest(0.99)
        if self._settings.prompt is not None and slow > self._settings.prompt:
            self._violated(f"one in a hundred answers took longer than {slow * 1000:.0f} ms")
        early, late = self._report.memory
        if late - early > _GROWTH:
            self._violated(f"the orchestrator's memory grew from {early >> 20} to {late >> 20} MiB")

    def _memory(self) -> int:
        return int(psutil.Process(self._program.pid).memory_info().rss)

    def _violated(self, sentence: str) -> None:
        if sentence not in self._report.violations:
            self._report.violations.append(sentence)

    @staticmethod
    def _wait(condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"waited in vain until {what}")
            time.sleep(0.05)


def _cause(reason: str) -> str:
    """Why an agent has ended, in few words: the class of what it raised, or the beginning of the sentence."""
    where, _, what = reason.partition(": ")
    return (what.partition(":")[0] if where == "execute" else where)[:40] or "ended"


def summary(report: Report) -> dict[str, str]:
    """The report in words."""
    return {
        "blows": ", ".join(f"{count} × {name}" for name, count in sorted(report.blows.items())),
        "ends": ", ".join(f"{count} × {name}" for name, count in report.deaths.most_common()),
        "events": f"{report.events:,}",
        "ps": f"{len(report.answers):,} answers: median {statistics.median(report.answers) * 1000:.1f} ms, 99 % "
        f"{report.slowest(0.99) * 1000:.1f} ms, slowest {max(report.answers) * 1000:.0f} ms",
        "memory": f"{report.memory[0] / 1_048_576:.1f} MiB, at the end {report.memory[1] / 1_048_576:.1f} MiB",
    }
