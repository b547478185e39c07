"""The review as a durable goal: begun, carried out, sent back, gone on with, and begun anew."""

import asyncio
from pathlib import Path

import pytest

from tenuto.agents.function import task_agent
from tenuto.client import Client
from tenuto.errors import Conflict, InvalidInput, TaskFailed
from tenuto.review.agents import AGENTS, ParcelOrder, WriteOrder, read_one
from tenuto.review.demo import DemoOutcome, Snapshot, begin, order_for, run_demo
from tenuto.review.facts import Reading
from tenuto.review.judge import judge
from tenuto.tasks.states import State
from tenuto.workers.config import WorkerConfig
from tenuto.workers.handler import Handler
from tenuto.workers.worker import Worker
from tests.integration.review.trees import PROJECT, Repository


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    repository = Repository(tmp_path / "project")
    repository.commit(PROJECT)
    repository.commit(
        {"src/app/core.py": PROJECT["src/app/core.py"] + "\n\ndef more():\n    return 1\n"}, author="Grace"
    )
    return repository.root


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


async def reviewed(tree: Path, out: Path, store: str) -> tuple[DemoOutcome, list[Snapshot]]:
    shown: list[Snapshot] = []
    async with asyncio.timeout(60):
        return await run_demo(tree, out, store, shown.append), shown


async def test_a_review_ends_with_an_accepted_report(tree: Path, tmp_path: Path, store: str) -> None:
    out = tmp_path / "deep" / "report.md"

    outcome, shown = await reviewed(tree, out, store)

    assert outcome.report == out
    assert judge(out.read_text(), outcome.metrics, tree) == []
    assert outcome.metrics.totals.source_files == 6
    assert outcome.metrics.activity.commits == 2
    assert (outcome.judgement.rounds, outcome.resumed) == (1, False)
    assert shown[0].done == 0
    assert shown[-1].done == len(shown[-1].tasks) == outcome.tasks
    assert {task.node for task in shown[-1].tasks} == {"scan", "read", "history", "metrics", "write", "judge", None}


async def test_the_next_review_of_the_same_tree_is_a_new_one_with_the_same_report(
    tree: Path, tmp_path: Path, store: str
) -> None:
    out = tree / "report.md"
    first, _ = await reviewed(tree, out, store)
    before = out.read_text().splitlines()

    second, _ = await reviewed(tree, out, store)

    assert first.goal_id.endswith("-1")
    assert second.goal_id == first.goal_id[:-1] + "2"
    after = out.read_text().splitlines()
    assert [line for line in after if "Written on" not in line] == [line for line in before if "Written on" not in line]


async def test_an_empty_tree_without_git_is_reviewed_too(tmp_path: Path, store: str) -> None:
    (tmp_path / "empty").mkdir()

    outcome, _ = await reviewed(tmp_path / "empty", tmp_path / "report.md", store)

    assert "The tree is empty: there is no file to review." in outcome.report.read_text()


async def test_an_unfinished_review_is_gone_on_with(tree: Path, tmp_path: Path, store: str) -> None:
    # Given a review of which only the first part was carried out
    goal_id = await part_of_a_review(tree, tmp_path / "report.md", store, until="read")

    # When it is started again
    outcome, shown = await reviewed(tree, tmp_path / "report.md", store)

    # Then it goes on, and nothing that was done is done again
    assert outcome.resumed
    assert outcome.goal_id == goal_id
    assert shown[0].done >= 2
    assert next(task for task in shown[-1].tasks if task.node == "scan").attempt == 1


async def test_a_report_that_is_wrong_is_sent_back_once(tree: Path, tmp_path: Path, store: str) -> None:
    # Given a report that names a file which is gone when it is judged
    await part_of_a_review(tree, tmp_path / "report.md", store, until="write")
    (tree / "src/app/unused.py").unlink()

    # When the judge looks at it
    outcome, shown = await reviewed(tree, tmp_path / "report.md", store)

    # Then it was written again, and accepted
    assert outcome.judgement.rounds == 2
    assert [finding.subject for finding in outcome.judgement.findings] == ["src/app/unused.py"]
    assert "`src/app/unused.py` (no longer there)" in outcome.report.read_text()
    assert sum(task.agent == "review.write" and task.state is State.DONE for task in shown[-1].tasks) == 2


async def test_a_report_that_stays_wrong_fails_the_review_and_says_what_is_wrong(
    tree: Path, tmp_path: Path, store: str
) -> None:
    @task_agent(name="review.write")
    def careless(order: WriteOrder) -> None:
        order.order.report.write_text("# Review\n\n## Findings\n\nNone.\n")

    with pytest.raises(TaskFailed, match="was sent back once and is still wrong: The section 'Size and languages' is"):
        await carried_out_by(careless, tree, tmp_path / "report.md", store)


async def test_a_parcel_that_cannot_be_read_is_said_to_be_missing(tree: Path, tmp_path: Path, store: str) -> None:
    @task_agent(name="review.parcel", max_retries=0)
    def reader(order: ParcelOrder) -> Reading:
        if order.parcel.packages[0].directory == "src/app":
            raise OSError("the disk is on fire")
        return read_one(order)

    await carried_out_by(reader, tree, tmp_path / "report.md", store)

    report = (tmp_path / "report.md").read_text()
    assert "| Could not be read: the disk is on fire | 4 | `src/app/__init__.py`," in report
    assert "`tests/test_core.py`" in report


async def test_a_paused_review_goes_on_when_it_is_started_again(tree: Path, tmp_path: Path, store: str) -> None:
    goal_id = await part_of_a_review(tree, tmp_path / "report.md", store, until="scan")
    async with Client(store) as client:
        await client.pause_task(goal_id)

    outcome, _ = await reviewed(tree, tmp_path / "report.md", store)

    assert outcome.goal_id == goal_id


async def test_a_review_of_which_a_part_is_paused_says_so_instead_of_waiting(
    tree: Path, tmp_path: Path, store: str
) -> None:
    goal_id = await part_of_a_review(tree, tmp_path / "report.md", store, until="scan")
    async with Client(store) as client:
        goal = await client.get_goal(goal_id)
        paused = next(node.id for node in goal.nodes if node.node == "read")
        await client.pause_task(paused)

    with pytest.raises(Conflict, match=f"cannot go on, because task {paused} is paused.*tenuto task resume {paused}"):
        await reviewed(tree, tmp_path / "report.md", store)


async def test_what_cannot_be_reviewed_or_written_is_refused_before_anything_is_stored(
    tree: Path, tmp_path: Path, store: str
) -> None:
    with pytest.raises(InvalidInput, match=r"Cannot review .*absent: No such file"):
        await reviewed(tmp_path / "absent", tmp_path / "report.md", store)
    with pytest.raises(InvalidInput, match="it is a directory"):
        await reviewed(tree, tree, store)
    with pytest.raises(InvalidInput, match=r"README\.md is not a directory that can be written to"):
        await reviewed(tree, tree / "README.md" / "report.md", store)

    assert not (tmp_path / "store.db").exists()


async def carried_out_by(agent: Handler, tree: Path, out: Path, store: str) -> None:
    """Carries out a review in which `agent` stands for the one of its name. Raises what the goal failed with."""
    agents = [agent, *(each for each in AGENTS if each.name != agent.name)]
    async with asyncio.timeout(60), Client(store) as client:
        goal_id, _ = await begin(client, order_for(tree, out))
        worker = Worker(client.store, agents, WorkerConfig(lease=5))
        working = asyncio.create_task(worker.run())
        try:
            await client.get_task_result(goal_id)
        finally:
            worker.drain()
            await working


async def part_of_a_review(tree: Path, out: Path, store: str, until: str) -> str:
    """Carries out a review until the node `until` is done, with no agents for what comes after; returns its id."""
    later = {"review.judge"} | ({"review.metrics", "review.write"} if until != "write" else set())
    if until == "scan":
        later |= {"review.read", "review.history"}
    agents = [agent for agent in AGENTS if agent.name not in later]
    async with asyncio.timeout(60), Client(store) as client:
        goal_id, _ = await begin(client, order_for(tree, out))
        worker = Worker(client.store, agents, WorkerConfig(lease=5))
        working = asyncio.create_task(worker.run())
        goal = await client.get_goal(goal_id)
        await client.get_task_result(next(node.id for node in goal.nodes if node.node == until))
        worker.drain()
        await working
    return goal_id
