"""Agents that are a command line: a program of any kind, watched and stopped like every other agent.

    orchestrator.register_agent(CommandAgent, "redis", CommandAgent.Config(command=["redis-server", "--port", "0"]))

Each line that the program writes goes to the agent's log. An exit code other than 0 is a failure, with that code. Asked
to stop, the agent sends `stop_signal` to the program and waits for it; the stop ladder does the rest. The program dies
with its agent, and with the orchestrator.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tenuto.supervisor.agents.base import BaseAgent
from tenuto.supervisor.config import ValidationResult, critical
from tenuto.supervisor.texts import signal_name

__all__ = ["CommandAgent"]

_LONGEST_LINE = 16_384
"""Bytes of a line of the log; a longer one is several."""
_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""Asks the kernel to kill this process when its parent dies, which the program that it becomes inherits."""


class CommandAgent(BaseAgent):
    """Runs one command until it ends."""

    class Config(BaseAgent.Config):
        """Its settings."""

        command: str | Sequence[str]
        """the program and its arguments; a text is split as a shell would, but no shell is involved"""
        folder: str | None = None
        """where it runs; None: where the orchestrator does"""
        environment: Mapping[str, str] = {}
        """variables beside those of the orchestrator"""
        stop_signal: int = signal.SIGTERM
        """what asks it to stop"""

        def validate(self) -> list[ValidationResult]:
            """Checks the command."""
            findings = super().validate()
            command: Any = getattr(self, "command", None)
            if command is None:
                return findings
            try:
                words = _split(command)
            except (TypeError, ValueError) as error:
                return [*findings, critical("command", f"cannot be read: {error}: {command!r}")]
            if not words or not words[0]:
                findings.append(critical("command", f"must be a program and its arguments, not {command!r}"))
            return findings

    config: Config

    def setup(self) -> None:
        """Starts the command; the agent is ready when it runs. Raises `FileNotFoundError` where there is none."""
        command = _split(self.config.command)
        environment = {**os.environ, **self.config.environment}
        program = shutil.which(command[0], path=environment.get("PATH"))
        if program is None:
            raise FileNotFoundError(f"there is no program {command[0]!r}")
        if self.config.folder is not None and not Path(self.config.folder).is_dir():
            raise FileNotFoundError(f"there is no folder {self.config.folder!r} to run it in")
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", "-c", _WITH_PARENT, str(os.getpid()), program, *command[1:]]
        # A process of the agent's own leads a group, which ends with it; within the orchestrator's there is none.
        self._group = 0 if threading.current_thread() is not threading.main_thread() else None
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.config.folder,
            env=environment,
            process_group=self._group,
        )
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def execute(self) -> None:
        """Waits for its end."""
        code = self.process.wait()
        if self.stopping or code == 0:
            return
        if code < 0:
            raise ChildProcessError(f"the command was killed by {signal_name(-code)}")
        raise SystemExit(code)

    def on_stop(self) -> None:
        """Asks the command to stop."""
        process = getattr(self, "process", None)
        if process is not None:
            process.send_signal(self.config.stop_signal)

    def on_close(self) -> None:
        """Ends the command, if it has not."""
        process = getattr(self, "process", None)
        if process is None:
            return
        if process.poll() is None:
            process.kill()
            process.wait()
        if self._group is not None:
            with contextlib.suppress(OSError):  # nothing that it has started is left
                os.killpg(process.pid, signal.SIGKILL)
        self._reader.join(1.0)

    def _read(self, output: IO[bytes]) -> None:
        with output:
            while line := output.readline(_LONGEST_LINE):
                self.logger.info(line.decode(errors="replace").rstrip())


def _split(command: str | Sequence[str]) -> list[str]:
    return shlex.split(command) if isinstance(command, str) else [str(each) for each in command]
