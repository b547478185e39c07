"""An automation workflow: a file watcher, durable tasks for what it finds, and a command line, in one program.

    python examples/automation_workflow.py

The watcher is a service agent, the command is one, and so are the workers that run the tasks: one `Orchestrator`
starts, watches and stops them all. The tasks are durable: a file that was seen is dealt with once, also if the program
is killed in the middle and started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from pathlib import Path

import tenuto
from tenuto import CommandAgent, Orchestrator, PeriodicThreadAgent

INBOX, ARCHIVE = Path("inbox"), Path("archive")
LETTERS = {"ada": "hold the note", "bob": "for its full value"}


@tenuto.task_agent
def count_words(payload: dict) -> int:
    """What is done with each file."""
    file = Path(payload["file"])
    words = len(file.read_text().split())
    file.rename(ARCHIVE / file.name)
    return words


def task_id(file: Path) -> str:
    """The task of a file: the same however often the file is seen, another one for another file of that name."""
    return f"count-{file.stem}-{file.stat().st_mtime_ns}"


class Watcher(PeriodicThreadAgent):
    """Makes a task of each file that it finds."""

    class Config(PeriodicThreadAgent.Config):
        execution_interval = 0.1

    orchestrator: Orchestrator

    def runner(self) -> None:
        for file in sorted(INBOX.glob("*.txt")):
            with contextlib.suppress(FileNotFoundError):  # it was dealt with meanwhile
                task = count_words.create_task(payload={"file": str(file)}, id=task_id(file))
                asyncio.run(self.orchestrator.enqueue_task(count_words, task))


async def results(orchestrator: Orchestrator, awaited: dict[str, str]) -> dict[str, int]:
    """What has come of each letter, once that is known of all. awaited: their names, by the ids of their tasks."""
    found: dict[str, int] = {}
    async for event in orchestrator.subscribe_to_updates(event_types=["done"]):
        if event.task_id in awaited:
            found[awaited[event.task_id]] = await orchestrator.get_task_result(event.task_id)
        if len(found) == len(awaited):
            break
    return found


def main() -> None:
    """Plays the rest of the world: brings letters, and waits for what comes out."""
    INBOX.mkdir(exist_ok=True)
    ARCHIVE.mkdir(exist_ok=True)
    orchestrator = Orchestrator()
    orchestrator.register_runner(count_words)
    orchestrator.register_agent(Watcher, "watcher", orchestrator=orchestrator)
    report = [sys.executable, "-c", "print('a report was made')"]
    orchestrator.register_agent(CommandAgent, "report", CommandAgent.Config(command=report))
    orchestrator.start()
    awaited = {}
    for name, text in LETTERS.items():
        letter = INBOX / f"{name}.part"
        letter.write_text(text)
        awaited[task_id(letter)] = name
        letter.rename(INBOX / f"{name}.txt")
    for name, words in sorted(asyncio.run(results(orchestrator, awaited)).items()):
        print(f"{name}: {words} words")
    orchestrator.shutdown()
    print("archived:", sorted(file.name for file in ARCHIVE.iterdir()))
    print(orchestrator.report())
    for folder in (INBOX, ARCHIVE):  # so that the example can be started again
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
