"""A program on this machine as a model: the conversation goes in on standard input, the answer comes out.

    Agent("reviewer", "Review the change.", "cli:claude")
    Agent("reviewer", "Review the change.", CommandModel(["codex", "exec", "-"]))

The program is given everything that was said, as text, for it remembers nothing itself. Its output may be as large as
the store keeps (16 MiB). It does not know of tools: an agent with tools is refused; a structured output is asked for in
words. A program that ends with an error, or says nothing, is asked again as the task's retry policy says; when the task
is cancelled or its turn takes too long, the program is killed with all that it has started. Its standard error is only
kept for the error.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

from pydantic_ai.exceptions import ModelAPIError, UserError
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    RetryPromptPart,
    SystemPromptPart,
    TextPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.settings import ModelSettings

from tenuto.errors import InvalidInput
from tenuto.tasks.values import LARGEST_VALUE

__all__ = ["PREFIX", "CommandModel", "command_of"]

PREFIX = "cli:"
"""What the name of such a model begins with."""

_KNOWN = {"claude": ("claude", "--print"), "codex": ("codex", "exec", "-")}
"""Programs whose arguments need not be given."""
_CHUNK = 64 * 1024
_MOST_SAID = 2_000
"""Characters of the standard error that an error quotes, from its end."""
_LAST_WORDS = 5.0
"""Seconds that a killed program is waited for."""
_PROFILE = ModelProfile(supports_tools=False, default_structured_output_mode="prompted")


def command_of(name: str) -> tuple[str, ...]:
    """The command line in a model's name: `cli:claude`, or `cli:` and any command line. Raises `InvalidInput`."""
    line = name.removeprefix(PREFIX).strip()
    try:
        words = tuple(shlex.split(line))
    except ValueError as error:
        raise InvalidInput(f"the model {name!r} is no command line: {error}") from None
    if not words:
        raise InvalidInput(f"the model {name!r} names no program: write {PREFIX}claude, or {PREFIX}<command line>")
    return _KNOWN.get(line, words)


class CommandModel(Model):
    """A model that is a program."""

    def __init__(self, command: Sequence[str]) -> None:
        """command: the program and its arguments; no shell is involved."""
        if isinstance(command, str) or not command:
            raise InvalidInput("command must be a list: the program and its arguments")
        super().__init__(profile=_PROFILE)
        self.command = tuple(command)

    @property
    def model_name(self) -> str:
        """The program's name."""
        return Path(self.command[0]).name

    @property
    def system(self) -> str:
        """The provider: the command line."""
        return "cli"

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Runs the program once. Raises `ModelAPIError` when it fails, `UserError` for an agent with tools."""
        _, parameters = self.prepare_request(model_settings, model_request_parameters)
        if parameters.function_tools or parameters.output_tools:
            raise UserError(f"the program {self.model_name!r} cannot call tools: give the agent another model, or none")
        prompt = as_text(messages, self._instructions(messages, parameters))
        said = await self._run(prompt.encode())
        return ModelResponse(parts=[TextPart(said)], model_name=self.model_name, provider_name=self.system)

    def _instructions(self, messages: list[ModelMessage], parameters: ModelRequestParameters) -> str:
        last = next((each for each in reversed(messages) if isinstance(each, ModelRequest)), None)
        parts = [last.instructions if last is not None else None, parameters.prompted_output_instructions]
        return "\n\n".join(part for part in parts if part)

    async def _run(self, prompt: bytes) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except BlockingIOError:  # there is no room for another process now
            raise
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise UserError(f"the program {self.command[0]!r} cannot be started: {why}") from None
        try:
            out, err = await self._talk(process, prompt)
        except BaseException:
            # Also where the program itself has ended: what it has started may be at work still.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await _gone(process)
            raise
        said = out.decode("utf-8", "replace").strip()
        if process.returncode != 0 or not said:
            why = err.decode("utf-8", "replace").strip()[-_MOST_SAID:] or "it said nothing"
            raise ModelAPIError(self.model_name, f"it ended with {process.returncode}: {why}")
        return said

    async def _talk(self, process: asyncio.subprocess.Process, prompt: bytes) -> tuple[bytes, bytes]:
        """What the program writes to its outputs; of the second the end only. Raises `UserError` for too much."""
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        said, why = bytearray(), bytearray()
        talking = [
            asyncio.ensure_future(each)
            for each in (_tell(process.stdin, prompt), self._hear(process.stdout, said), _keep_end(process.stderr, why))
        ]
        try:
            await asyncio.gather(*talking)
        finally:
            for each in talking:
                each.cancel()
            await asyncio.gather(*talking, return_exceptions=True)
        await process.wait()
        return bytes(said), bytes(why)

    async def _hear(self, output: asyncio.StreamReader, said: bytearray) -> None:
        while data := await output.read(_CHUNK):
            said += data
            if len(said) > LARGEST_VALUE:
                raise UserError(f"the program {self.model_name!r} says more than {LARGEST_VALUE:,} bytes")


async def _tell(program: asyncio.StreamWriter, prompt: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it need not read all
        program.write(prompt)
        await program.drain()
    program.close()


async def _gone(killed: asyncio.subprocess.Process) -> None:
    """Waits until a killed program is gone, reading what it left: asyncio tells of no end before that of its outputs.

    What it has started in a session of its own may hold these open; so this takes at most `_LAST_WORDS`.
    """
    assert killed.stdout is not None
    assert killed.stderr is not None
    unread = [_keep_end(output, bytearray()) for output in (killed.stdout, killed.stderr)]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORDS):
            await asyncio.gather(killed.wait(), *unread)


async def _keep_end(output: asyncio.StreamReader, end: bytearray) -> None:
    while data := await output.read(_CHUNK):
        end += data
        del end[:-_CHUNK]


def as_text(messages: Sequence[ModelMessage], instructions: str) -> str:
    """A conversation as one text, with the last question at its end."""
    lines = [instructions] if instructions else []
    turns = [line for message in messages for line in _lines(message)]
    if len(turns) == 1:
        return "\n\n".join([*lines, turns[0].partition("\n")[2]])
    return "\n\n".join([*lines, *turns])


def _lines(message: ModelMessage) -> list[str]:
    if isinstance(message, ModelResponse):
        return [f"## You\n{message.text}"] if message.text else []
    found = []
    for part in message.parts:
        match part:
            case SystemPromptPart():
                found.append(f"## Instructions\n{part.content}")
            case UserPromptPart():
                found.append(f"## User\n{part.content if isinstance(part.content, str) else _texts(part.content)}")
            case RetryPromptPart():
                found.append(f"## User\n{part.model_response()}")
    return found


def _texts(content: Sequence[object]) -> str:
    texts = [each for each in content if isinstance(each, str)]
    if len(texts) < len(content):
        raise UserError("a program as a model understands text alone, and the conversation holds other content")
    return "\n".join(texts)
