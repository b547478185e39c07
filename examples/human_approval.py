"""A task that asks a person, and holds nothing while it waits: no worker, no thread, no time limit.

    python examples/human_approval.py

The program could end here and be started again next week: the question is in the store, and so is the answer as soon
as somebody gives it, from this process or any other (`orchestrator.approve(task_id, "sign-off", "fine")`).
"""

from __future__ import annotations

import asyncio

import tenuto


def draft(customer: str) -> str:
    """Where a letter would be written."""
    return f"Dear {customer}, your contract ends in May."


@tenuto.task_agent
async def letter(ctx: tenuto.Context, payload: dict) -> str:
    """Writes a letter and sends it when somebody has signed it off."""
    text = await ctx.step("draft", draft, payload["customer"])
    await ctx.emit("question", {"text": text})
    decision = await ctx.wait_answer("sign-off")
    if not decision["approved"]:
        return f"not sent: {decision['note']}"
    return f"sent: {text}"


async def main() -> None:
    """Plays both parts: the task, and the person who looks at what it asks."""
    async with tenuto.Orchestrator() as orchestrator:
        orchestrator.register_runner(letter)
        ada, bob = await orchestrator.enqueue_batch(
            letter, [letter.create_task(payload={"customer": name}) for name in ("Ada", "Bob")]
        )
        for task_id in (ada, bob):
            async for event in orchestrator.subscribe_to_updates(task_ids=task_id, event_types=["waiting"]):
                print(task_id == ada, event.kind, event.data["on"])
                break
        await orchestrator.approve(ada, "sign-off", "fine")
        await orchestrator.reject(bob, "sign-off", "he has moved")
        print(await orchestrator.get_task_result(ada, timeout=60))
        print(await orchestrator.get_task_result(bob, timeout=60))


if __name__ == "__main__":
    asyncio.run(main())
