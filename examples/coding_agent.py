"""A coding agent: it reads files, runs the tests, and writes only what a person has approved.

    python examples/coding_agent.py          # approves everything, and shows what
    python examples/coding_agent.py --ask    # asks you

Without OPENAI_API_KEY a scripted provider answers. The agent works in a temporary folder. While it waits for approval
it holds nothing: the question is in the store, and `tenuto task approve` in another terminal answers it too.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from pydantic_ai import ModelRetry, RunContext

from tenuto import Agent, AgentContext, Orchestrator, tool
from tenuto.testing import Reply, ToolCall, stand_in

BUG = "def minutes(hours):\n    return hours * 6\n"
FIX = "def minutes(hours):\n    return hours * 60\n"
TEST = """\
import clock, unittest

class Clock(unittest.TestCase):
    def test_minutes(self):
        self.assertEqual(clock.minutes(2), 120)
"""


class Work(AgentContext):
    """What the agent is asked, and where it works."""

    folder: str = ""


def inside(ctx: RunContext[Work], name: str) -> Path:
    """A file of the folder, and no other."""
    folder = Path(ctx.deps.folder).resolve()
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):
        raise ModelRetry(f"{name} is not in your folder")
    return path


def list_files(ctx: RunContext[Work]) -> list[str]:
    """The files of the folder."""
    return sorted(path.name for path in Path(ctx.deps.folder).iterdir() if path.is_file())


def read_file(ctx: RunContext[Work], name: str) -> str:
    """A file's text."""
    path = inside(ctx, name)
    if not path.is_file():
        raise ModelRetry(f"there is no file {name}")
    return path.read_text(encoding="utf-8")


@tool(requires_approval=True, expires=7 * 86_400)
def write_file(ctx: RunContext[Work], name: str, text: str) -> str:
    """Replaces a file's text, when a person has approved it."""
    inside(ctx, name).write_text(text, encoding="utf-8")
    return f"{name} is written"


@tool(timeout=60)
def run_tests(ctx: RunContext[Work]) -> str:
    """Runs the tests; how they ended."""
    line = [sys.executable, "-B", "-m", "unittest", "-q"]
    ran = subprocess.run(line, cwd=ctx.deps.folder, capture_output=True, text=True, timeout=50, check=False)
    return ran.stderr.strip()[-2_000:]


coder = Agent(
    "coder",
    "You repair Python programs. Run the tests first, and again after each change.",
    "openai:gpt-5-mini",
    [list_files, read_file, write_file, run_tests],
    context_type=Work,
    max_turns=20,
)

SCRIPT = [
    Reply(tools=[ToolCall("list_files"), ToolCall("run_tests")]),
    Reply(tools=[ToolCall("read_file", {"name": "clock.py"})]),
    Reply(tools=[ToolCall("write_file", {"name": "clock.py", "text": FIX})]),
    Reply(tools=[ToolCall("run_tests")]),
    "An hour has 60 minutes, not 6. The tests pass.",
]


async def decide(orchestrator: Orchestrator, task_id: str) -> None:
    """The person: sees each call that waits, and approves it or not."""
    events = orchestrator.subscribe_to_updates(task_ids=task_id, event_types=["call_deferred"])
    async for _ in events:
        for call in await orchestrator.open_calls(task_id):
            print(f"{call.tool} {call.arguments['name']}:\n{call.arguments['text']}", end="")
            if "--ask" in sys.argv and (await asyncio.to_thread(input, "Approve? [y/n] ")).lower() != "y":
                await orchestrator.reject(task_id, call.id, "no")
            else:
                await orchestrator.approve(task_id, call.id, by="you", arguments=call.arguments)


async def main() -> None:
    """Lets the agent repair a small program."""
    with stand_in(SCRIPT), tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "clock.py").write_text(BUG, encoding="utf-8")
        (Path(folder) / "test_clock.py").write_text(TEST, encoding="utf-8")
        async with Orchestrator() as orchestrator:
            orchestrator.register_runner(coder)
            task = coder.create_task("ann", Work(query="The tests fail. Repair the program.", folder=folder), budget=1)
            await orchestrator.enqueue_task(coder, task)
            person = asyncio.create_task(decide(orchestrator, task.id))
            print(await orchestrator.get_task_result(task.id, timeout=600))
            await person


if __name__ == "__main__":
    asyncio.run(main())
