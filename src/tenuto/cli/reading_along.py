"""Reading along in a terminal: the conversation of a task as it comes, until the task has ended.

What a model says is shown while it says it, where its agent streams; else with the turn. Part by part: text as it is,
thoughts dimmed, tool calls with their arguments. What is void is said to be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from tenuto.cli.conversation import decided, print_turns
from tenuto.cli.documents import event_document
from tenuto.cli.errors import ExitCode, complain
from tenuto.cli.ids import full_id
from tenuto.cli.options import Format
from tenuto.cli.output import console, plain, print_json_line
from tenuto.errors import TaskCancelled, TaskFailed
from tenuto.tasks.event import STREAMED, THINKING, TOKENS_RESET, TOOL_ARGS, Event, EventKind
from tenuto.tasks.turns import Turn

if TYPE_CHECKING:
    from tenuto.client import Client

__all__ = ["Conversation", "read_along"]

_DIM = "bright_black"
_KINDS = (
    EventKind.PROGRESS,
    EventKind.SCHEDULED,
    EventKind.LOST,
    EventKind.PAUSED,
    EventKind.RESUMED,
    *(EventKind.DONE, EventKind.FAILED, EventKind.CANCELLED),
)


async def read_along(client: Client, typed: str, after: str | None, format: Format) -> ExitCode:
    """Shows the conversation of a task until it has ended; the exit code tells how. Raises `NotFound`."""
    task_id = await full_id(client, typed)
    shown = Conversation(client, task_id, console())
    wanted = (*sorted(STREAMED), "turn", "call_deferred", "call_answered", *_KINDS)
    async for event in client.subscribe_to_updates(task_ids=task_id, event_types=wanted, after=after):
        if format is Format.JSON:
            print_json_line(event_document(event))
        else:
            await shown.hear(event)
    try:
        await client.get_task_result(task_id)
    except (TaskFailed, TaskCancelled) as error:
        return complain(error)
    return ExitCode.OK


class Conversation:
    """What was shown of a conversation, and what comes next."""

    def __init__(self, client: Client, task_id: str, out: Console) -> None:
        self._client = client
        self._task_id = task_id
        self._out = out
        self._turns: dict[int, Turn] = {}
        self._part: tuple[Any, ...] | None = None
        """the part whose line is open"""
        self._turn = 0
        """the turn that was begun last"""

    async def hear(self, event: Event) -> None:
        """Shows one event."""
        name, data = event.data.get("name"), event.data.get("data")
        if event.kind is not EventKind.EMITTED:
            self._say(_happened(event))
        elif not isinstance(data, dict):
            return
        elif name == TOKENS_RESET:
            self._say(f"what was said is void, and asked for again by attempt {data['attempt']}", "bold red")
        elif name in STREAMED:
            self._stream(str(name), data)
        elif name == "call_deferred":
            verb = "approve" if data["kind"] == "approval" else "answer"
            self._say(f"waits for people: tenuto task {verb} {self._task_id} {data['tool_call_id']}", "bold blue")
        elif name == "call_answered":
            self._say(decided(data), "bold blue")
        elif name == "turn":
            await self._recorded(data)

    def _stream(self, name: str, data: dict[str, Any]) -> None:
        part = (data["turn"], data.get("request", 0), data["part"])
        style = {THINKING: f"italic {_DIM}", TOOL_ARGS: "yellow"}.get(name, "")
        if self._turn != data["turn"]:
            self._turn = data["turn"]
            self._say(f"turn {self._turn}")
        if self._part != part:
            self._close()
            self._part = part
            if name == TOOL_ARGS:
                self._write(f"{data['tool']} ", f"bold {style}")
        self._write(data["args" if name == TOOL_ARGS else "text"], style)
        if data.get("end"):
            self._close()

    async def _recorded(self, data: dict[str, Any]) -> None:
        if data["turn"] == self._turn:
            used = data["usage"]
            self._say(f"{data['model'] or 'a model'}, {used['input_tokens']:,} + {used['output_tokens']:,} tokens")
            return
        self._close()
        self._turn = number = data["turn"]
        if number not in self._turns:
            self._turns = {turn.number: turn for turn in await self._client.get_turns(self._task_id)}
        if number in self._turns:
            print_turns([self._turns[number]])

    def _say(self, line: str, style: str = _DIM) -> None:
        """A line of its own."""
        self._close()
        if line:
            self._out.print(Text(plain(line), style), soft_wrap=True)

    def _write(self, text: str, style: str) -> None:
        self._out.print(Text("\n".join(map(_visible, text.split("\n"))), style), end="", soft_wrap=True)

    def _close(self) -> None:
        if self._part is not None:
            self._out.print()
        self._part = None


def _happened(event: Event) -> str:
    """What there is to say of what happened to the task."""
    data = event.data
    match event.kind:
        case EventKind.PROGRESS:
            fraction = data.get("fraction")
            return f"progress{'' if fraction is None else f' {fraction:.0%}'} {data.get('message') or ''}".strip()
        case EventKind.SCHEDULED if data.get("error"):
            error = data["error"]
            return f"attempt {event.attempt} failed: {error['type']}: {error['message']}"
        case EventKind.LOST:
            return f"attempt {event.attempt} was lost with its worker"
        case EventKind.SCHEDULED:
            return ""
    return event.kind.value + (f": {data['reason']}" if data.get("reason") else "")


def _visible(line: str) -> str:
    """A piece of a line with everything visible that a terminal would obey, and the spaces at its ends."""
    return "".join(char if char.isprintable() else " " if char in "\t\r" else f"\\x{ord(char):02x}" for char in line)
