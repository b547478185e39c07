"""Programs as models: real ones, that answer, fail, talk much, and are killed with their task."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from pydantic import BaseModel

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.command_model import CommandModel, command_of
from tenuto.agents.llm.models import build_model
from tenuto.errors import InvalidInput
from tenuto.stores.base import Store
from tenuto.tasks.blobs import references
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tests.integration.llm.rig import ask, stored
from tests.integration.workers.rig import CONFIG, ended, eventually, working


def program(folder: Path, source: str) -> CommandModel:
    """A program that runs `source`, which finds what it was told in `said`."""
    path = folder / "program.py"
    path.write_text("import sys, os, time, pathlib\nsaid = sys.stdin.read()\n" + textwrap.dedent(source))
    return CommandModel([sys.executable, str(path)])


async def test_a_program_answers_what_it_reads(store: Store, tmp_path: Path) -> None:
    # Given a program that says what it was told, in a very long answer
    model = program(tmp_path, "print(said.upper() + 'x' * 3_000_000)")
    agent = Agent("loud", "Say it louder.", model)
    # When it is asked
    async with working(store, agent):
        task = await ended(store, await ask(store, agent, "hello"))
    # Then its whole output is the answer
    assert task.state is State.DONE, task.error
    (key,) = references(bytes(task.result or b""))
    answer = (await store.blobs(task.root, [key], 1))[key]
    assert answer.startswith(b'"SAY IT LOUDER.\\n\\nHELLO')
    assert len(answer) > 3_000_000


async def test_a_structured_output_is_asked_for_in_words(store: Store, tmp_path: Path) -> None:
    class Answer(BaseModel):
        number: int

    # Given a program that does not give JSON the first time
    source = "print('{\"number\": 7}' if '## You' in said and 'number' in said else 'seven')"
    agent = Agent("counter", "Count.", program(tmp_path, source), output_type=Answer)
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert task.state is State.DONE, task.error
    assert bytes(task.result or b"") == stored({"number": 7})


async def test_a_program_that_fails_is_asked_again(store: Store, tmp_path: Path) -> None:
    # Given a program that fails the first time
    seen = tmp_path / "seen"
    source = f"""
        seen = pathlib.Path({str(seen)!r})
        if not seen.exists():
            seen.touch()
            print("out of tea", file=sys.stderr)
            sys.exit(3)
        print("here")
    """
    agent = Agent("moody", None, program(tmp_path, source), max_retries=1)
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert task.state is State.DONE, task.error
    assert task.attempt == 2


async def test_a_program_is_killed_with_its_task(store: Store, tmp_path: Path) -> None:
    # Given a program that works, with a child of its own
    pids = tmp_path / "pids"
    source = f"""
        child = os.fork()
        if child:
            pathlib.Path({str(pids)!r} + ".new").write_text(f"{{os.getpid()}} {{child}}")
            os.rename({str(pids)!r} + ".new", {str(pids)!r})
        time.sleep(600)
    """
    agent = Agent("slow", None, program(tmp_path, source))
    async with working(store, agent):
        task_id = await ask(store, agent)
        await eventually(partial(asyncio.to_thread, pids.exists))
        # When the task is cancelled
        await store.signal([Signal(task_id, SignalKind.CANCEL)])
        # Then neither lives on
        await eventually(partial(asyncio.to_thread, gone, pids))


async def test_what_a_program_has_left_at_work_is_killed_when_its_turn_is_over(store: Store, tmp_path: Path) -> None:
    # Given a program that has ended, and has left something behind that still holds its output
    pids = tmp_path / "pids"
    source = f"""
        child = os.fork()
        if not child:
            time.sleep(600)
        pathlib.Path({str(pids)!r}).write_text(f"{{os.getpid()}} {{child}}")
        print("half of it")
    """
    agent = Agent("slow", None, program(tmp_path, source), max_retries=0)
    # When its turn takes longer than it may
    async with working(store, agent, config=replace(CONFIG, turn_timeout=6)):
        task = await ended(store, await ask(store, agent))
        # Then that is told, and nothing of it lives on
        assert task.error is not None
        assert "longer than its time limit of 6 s" in task.error.message
        await eventually(partial(asyncio.to_thread, gone, pids))


async def test_a_program_that_never_stops_talking_is_stopped(store: Store, tmp_path: Path) -> None:
    # Given a program without an end, and an agent that would try it again
    pids = tmp_path / "pids"
    source = f"""
        pathlib.Path({str(pids)!r}).write_text(f"{{os.getpid()}}")
        while True:
            print("x" * 1_000_000)
    """
    agent = Agent("endless", None, program(tmp_path, source))
    # When it is asked
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
        # Then its task fails, once and with a reason, long before its turn is over
        assert task.error is not None
        assert "says more than 16,777,216 bytes" in task.error.message
        assert task.attempt == 1
        await eventually(partial(asyncio.to_thread, gone, pids))


async def test_a_program_need_not_read_what_it_is_told(store: Store, tmp_path: Path) -> None:
    deaf = CommandModel([sys.executable, "-c", "print('here'); import sys; sys.stderr.write('y' * 3_000_000)"])
    agent = Agent("deaf", None, deaf)
    async with working(store, agent):
        task = await ended(store, await ask(store, agent, "x" * 3_000_000))
    assert bytes(task.result or b"") == stored("here"), task.error


def gone(pids: Path) -> bool:
    return not any(_lives(int(pid)) for pid in pids.read_text().split())


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def test_what_cannot_work_fails_at_once_with_a_reason(store: Store, tmp_path: Path) -> None:
    def look(place: str) -> str:
        """Looks."""
        return place

    script = tmp_path / "script"
    script.write_text("print('no line says what runs it')")
    script.chmod(0o700)
    no_program = Agent("no-program", None, f"cli:{script}")
    with_tools = Agent("tools", None, program(tmp_path, "print('x')"), [look])
    async with working(store, with_tools, no_program):
        first = await ended(store, await ask(store, with_tools))
        second = await ended(store, await ask(store, no_program))
    assert first.error is not None
    assert "cannot call tools" in first.error.message
    assert second.error is not None
    assert "cannot be started" in second.error.message
    assert (first.attempt, second.attempt) == (1, 1)


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidInput, match="'no-such-program'"):
        build_model("cli:no-such-program --now")


def test_command_lines_in_names() -> None:
    assert command_of("cli:claude") == ("claude", "--print")
    assert command_of("cli:tool --say 'two words'") == ("tool", "--say", "two words")
    for bad in ("cli:", "cli:'open"):
        with pytest.raises(InvalidInput, match="the model"):
            command_of(bad)
