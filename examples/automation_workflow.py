"""An automation workflow: a file watcher, durable tasks for what it finds, and a command line, in one program.

    python examples/automation_workflow.py

The watcher is a service agent, the command is one, and so are the workers that run the tasks: one `Orchestrator`
starts, watches and stops them all. The tasks are durable: a file that was seen is dealt with once, under its name, also
if the program is killed in the middle and started again.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import tenuto
from tenuto import CommandAgent, Orchestrator, PeriodicThreadAgent

INBOX, ARCHIVE = Path("inbox"), Path("archive")
LETTERS = {"ada.txt": "hold the note", "bob.txt": "for its full value"}


@tenuto.task_agent
def count_words(payload: dict) -> int:
    """What is done with each file."""
    file = Path(payload["file"])
    words = len(file.read_text().split())
    file.rename(ARCHIVE / file.name)
    return words


class Watcher(PeriodicThreadAgent):
    """Makes a task of each file that it finds."""

    class Config(PeriodicThreadAgent.Config):
        execution_interval = 0.1

    orchestrator: Orchestrator

    def runner(self) -> None:
        for file in sorted(INBOX.glob("*.txt")):
            task = count_words.create_task(payload={"file": str(file)}, id=f"count-{file.stem}")
            asyncio.run(self.orchestrator.enqueue_task(count_words, task))


async def results(orchestrator: Orchestrator) -> dict[str, int]:
    """What has come of each letter, once that is known of all."""
    found: dict[str, int] = {}
    async for event in orchestrator.subscribe_to_updates(event_types=["done"]):
        found[event.task_id] = await orchestrator.get_task_result(event.task_id)
        if len(found) == len(LETTERS):
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
    for name, text in LETTERS.items():
        (INBOX / f"{name}.part").write_text(text)
        (INBOX / f"{name}.part").rename(INBOX / name)
    for task_id, words in sorted(asyncio.run(results(orchestrator)).items()):
        print(task_id, words)
    orchestrator.shutdown()
    print("archived:", sorted(file.name for file in ARCHIVE.iterdir()))
    print(orchestrator.report())


if __name__ == "__main__":
    main()
