"""The real program, as a shell starts it: in a folder of its own, against a real store in that folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

PATIENCE = 60
"""Seconds after which a program that has not ended, or a condition that has not come true, fails the test."""

AGENTS = '''
import asyncio, pathlib, time
import tenuto

@tenuto.task_agent
def double(payload: int):
    print("doubling", payload)
    return payload * 2

@tenuto.task_agent
async def gate(ctx, payload: str):
    """Runs until the file named by the payload exists."""
    pathlib.Path(payload + ".started").touch()
    while not pathlib.Path(payload).exists():
        await asyncio.sleep(0.02)
    return "open"

@tenuto.task_agent(max_retries=0)
def broken(payload):
    if pathlib.Path("repaired").exists():
        return "repaired"
    raise ValueError("this never\\nworks")

@tenuto.task_agent
async def lines(ctx, payload):
    with pathlib.Path("lines.txt").open("a") as file:
        file.write(f"{payload}\\n")
    return payload

@tenuto.task_agent
async def pay(ctx, payload):
    return await ctx.step("charge", charge, effect="once")

async def charge():
    """Is in the middle of it until the file `paid` exists."""
    pathlib.Path("charging").touch()
    while not pathlib.Path("paid").exists():
        await asyncio.sleep(0.02)
    return {"receipt": 1}

@tenuto.task_agent
async def parent(ctx, payload):
    """Waits for a child that starts in an hour."""
    child = await ctx.spawn(double.create_task(payload=1, delay=3600))
    return await ctx.wait_for(child)

not_an_agent = 3
'''


_NOT_PASSED_ON = (
    "TENUTO_STORE",
    "TENUTO_DEBUG",
    "TENUTO_LOG_DIR",
    "COLUMNS",
    "NO_COLOR",
    "FORCE_COLOR",
    "REDIS_HOST",
)
"""Variables of the environment that would make the program another one than in a fresh shell."""


class Result(NamedTuple):
    """How a run of the program ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Program:
    """`tenuto` in the folder `home`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.started: list[subprocess.Popen[str]] = []
        (home / "my_agents.py").write_text(AGENTS)
        self.environment = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Starts it, and leaves it running."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tenuto", *arguments],
            cwd=self.home,
            env=self.environment | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def __call__(self, *arguments: str, code: int = 0, stdin: str = "", **environment: str) -> Result:
        """Runs it to its end, which must be the exit code `code`."""
        ended = self.run(*arguments, stdin=stdin, **environment)
        assert ended.code == code, f"tenuto {' '.join(arguments)}: {ended.code}\n{ended.out}\n{ended.err}"
        return ended

    def run(self, *arguments: str, stdin: str = "", **environment: str) -> Result:
        """Runs it to its end, whatever that is: the store may not be there yet."""
        process = self.start(*arguments, **environment)
        out, err = process.communicate(stdin, timeout=PATIENCE)
        return Result(process.returncode, out, err)

    def submit(self, agent: str, payload: object = None, *options: str) -> str:
        """Submits a task and returns its id."""
        return self("task", "submit", agent, "--payload", json.dumps(payload), *options).out.strip()

    def plan(self, **fields: Any) -> str:
        """Writes a plan file, and returns its name."""
        (self.home / "plan.json").write_text(json.dumps(fields))
        return "plan.json"

    def run_plan(self, *options: str, code: int = 0, **environment: str) -> Result:
        """Runs the plan that `plan` has written."""
        return self("run", "--dag", "plan.json", "--agents", "my_agents", *options, code=code, **environment)

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Waits until `condition` comes true."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"waited in vain for {what}"
            time.sleep(0.02)

    def close(self) -> None:
        """Ends whatever still runs."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()
