"""Many documents, one agent, one budget for all of them, and progress.

    python examples/batch_documents.py                                  # 200 documents
    python examples/batch_documents.py --documents 10000
    python examples/batch_documents.py --file letters.jsonl             # your own, one in each line
    python examples/batch_documents.py --budget 0.0003                  # dollars: see what happens when they are gone

The batch is a task, and each document a task below it, worked on by whichever worker is free. No request is sent for
which the budget has no room. Kill the program and start it again: documents that are done stay done. Without
OPENAI_API_KEY a scripted provider answers.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from tenuto import Agent, AgentWorkerConfig, Context, Orchestrator, task_agent
from tenuto.testing import Request, stand_in

KINDS = ("invoice", "letter", "contract")
WORKERS = AgentWorkerConfig(workers=2, batch_size=50, heartbeat_interval=1, missed_heartbeats_threshold=5)

reader = Agent(
    "reader",
    f"Say what a document is, in one word: {', '.join(KINDS)}.",
    "openai:gpt-5-nano",
    model_settings={"max_tokens": 200},
    max_turns=2,
    max_retries=3,
)


def documents_of(source: int | str) -> list[str]:
    """Those of a file with a document in each line; of a number, so many that are made up."""
    if isinstance(source, str):
        return Path(source).read_text(encoding="utf-8").splitlines()
    whats = ("an invoice", "a letter", "a contract")
    return [f"Document {number}. This is {whats[number % 3]} of the firm." for number in range(source)]


@task_agent
async def batch(ctx: Context, source: int | str) -> dict[str, int]:
    """Has all documents read, a tenth at a time; how many there are of each kind."""
    documents = documents_of(source)
    counts = dict.fromkeys((*KINDS, "not read"), 0)
    at_once = max(len(documents) // 10, 1)
    for first in range(0, len(documents), at_once):
        some = documents[first : first + at_once]
        children = await ctx.spawn_batch([reader.create_task(ctx.owner_id, each) for each in some])
        for ended in await ctx.wait_for(children):
            kind = ended.result.strip().lower() if ended.done else ""
            counts[kind if kind in KINDS else "not read"] += 1
        read = first + len(some)
        await ctx.progress(read / len(documents), f"{read} of {len(documents)}")
    return counts


def script(request: Request) -> str:
    """The scripted provider's answer."""
    return next(kind for kind in KINDS if kind in request.first)


async def main() -> None:
    """Reads documents, and shows how far it is and what it cost."""
    parser = argparse.ArgumentParser(description="Reads many documents within a budget.")
    parser.add_argument("--documents", type=int, default=200, help="how many are made up")
    parser.add_argument("--file", type=Path, help="documents of your own, one in each line")
    parser.add_argument("--budget", type=float, default=1.0, help="dollars, for all of them together")
    chosen = parser.parse_args()
    with stand_in(script):
        async with Orchestrator() as orchestrator:
            orchestrator.register_runner([batch, reader], WORKERS)
            source = str(chosen.file.resolve()) if chosen.file else chosen.documents
            name = chosen.file.stem if chosen.file else f"batch-{chosen.documents}"
            task = batch.create_task("ann", source, id=name, budget=chosen.budget)
            await orchestrator.enqueue_task(batch, task)
            shown = 0.0
            async for event in orchestrator.subscribe_to_updates(task_ids=task.id, event_types=["progress"]):
                if event.data["fraction"] > shown:  # what goes on after a wait tells again what it told before
                    shown = event.data["fraction"]
                    print(event.data["message"], flush=True)
            for kind, count in (await orchestrator.get_task_result(task.id)).items():
                print(f"{count:6} {kind}")
            (used,) = await orchestrator.usage("tree", prefix=task.id)
            print(f"{used.calls} requests, ${used.spent.money / 1e9:.6f} of ${chosen.budget:g}")


if __name__ == "__main__":
    asyncio.run(main())
