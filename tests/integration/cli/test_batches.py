"""`tenuto task show` of a task that waits for a batch of others."""

from tests.integration.cli.program import Program

AGENTS = """
import tenuto

@tenuto.task_agent
async def part(number: int) -> int:
    return number

LATER, MUCH_LATER = 5, 3600  # the others begin when they are waited for: what has ended before that is not

@tenuto.task_agent
async def whole(ctx: tenuto.Context, last: str) -> int:
    names = ["part"] * 7 + [last]
    delays = [MUCH_LATER if name == last else LATER for name in names]
    children = await ctx.spawn_batch([part.create_task(payload=1, delay=delay) for delay in delays])
    return len(await ctx.wait_for(children))
"""


def test_it_shows_how_many_have_ended_and_names_few(tenuto: Program) -> None:
    # Given a task that waits for eight others, the last of which comes in an hour
    (tenuto.home / "batches.py").write_text(AGENTS, encoding="utf-8")
    task_id = tenuto.submit("whole", "later")
    tenuto.start("worker", "--agents", "batches")

    # When the other seven have ended, and somebody looks
    def waiting() -> str:
        lines = tenuto("task", "show", task_id).out.splitlines()
        return next((line for line in lines if line.strip().startswith("waits for")), "")

    tenuto.wait_for(lambda: "7 of 8" in waiting(), "seven of them")

    # Then it is told in one line
    assert waiting().endswith(" and 3 more; 7 of 8 have ended")
