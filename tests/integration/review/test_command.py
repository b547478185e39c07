"""`tenuto demo` as people type it: what it prints, where it writes, how it ends."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.review.trees import PROJECT, Repository
from tests.servers.postgres import shared_postgres

# A job in the background of a shell has SIGINT ignored, and so would everything it starts.
_PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from tenuto.cli import main; main()"
)
TENUTO = [sys.executable, "-c", _PROGRAM]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    repository = Repository(tmp_path / "project")
    repository.commit(PROJECT)
    return repository.root


def tenuto(here: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*TENUTO, *arguments], cwd=here, capture_output=True, text=True, timeout=60, check=False)


def test_by_default_the_repository_around_the_current_directory_is_reviewed(tree: Path) -> None:
    done = tenuto(tree / "src", "demo")

    assert done.returncode == 0, done.stderr
    assert (tree / "src" / "report.md").read_text().startswith("# Review of project\n")
    assert (tree / "src" / ".tenuto" / "tenuto.db").is_file()
    assert f"Report: {tree / 'src' / 'report.md'}, accepted by the judge" in done.stdout
    assert "lines of code in 6 source files" in done.stdout
    assert "new review: review-" in done.stderr
    assert "done      Judge the report" in done.stderr


def test_the_commands_it_proposes_work(tree: Path) -> None:
    done = tenuto(tree, "demo", "--store", "other.db", "--out", "docs/review.md")
    proposed = [line.split() for line in done.stdout.splitlines() if line.startswith("  tenuto ")]

    assert len(proposed) == 3
    for command in proposed:
        shown = tenuto(tree, *command[1:])
        assert shown.returncode == 0, shown.stderr
        assert "scan" in shown.stdout or "review.scan" in shown.stdout


def test_on_a_server_it_says_nothing_of_the_password(tree: Path) -> None:
    server = shared_postgres()
    done = tenuto(tree, "demo", "--store", server.url(server.create_database(), tcp=True))

    assert done.returncode == 0, done.stderr
    assert "  tenuto task list --store postgresql://***@127.0.0.1:" in done.stdout
    assert server.password not in done.stdout + done.stderr


def test_as_json_it_is_one_document(tree: Path, tmp_path: Path) -> None:
    done = tenuto(tmp_path, "demo", "--path", "project", "--format", "json")

    outcome = json.loads(done.stdout)
    assert outcome["metrics"]["totals"]["source_files"] == 6
    assert outcome["report"] == str(tmp_path / "report.md")
    assert not outcome["resumed"]


def test_a_wrong_argument_is_one_sentence(tree: Path) -> None:
    done = tenuto(tree, "demo", "--path", "absent")

    assert done.returncode == 2
    assert done.stderr.startswith("tenuto: Cannot review ")
    assert done.stderr.count("\n") == 1
    assert not (tree / ".tenuto").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_hands_its_work_back_and_goes_on_at_once(tmp_path: Path, how: signal.Signals) -> None:
    large = tmp_path / "large"
    text = "".join(f"def function_{number}():\n    return {number}\n\n\n" for number in range(3_000))
    for number in range(30):
        (large / f"package_{number}").mkdir(parents=True)
        (large / f"package_{number}" / "module.py").write_text(text)
    command = [*TENUTO, "demo", "--path", str(large), "--format", "json"]

    # Given a review that has begun to read, and is interrupted
    first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    said = ""
    while "Read package_" not in said:
        said = first.stderr.readline()
        assert said, "it ended before it was interrupted"
    first.send_signal(how)
    _, rest = first.communicate(timeout=60)

    # When it is started again
    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    # Then the first has ended as an interrupted program does, and the second goes on from there
    assert first.returncode == 130, rest
    assert "Interrupted. The same command goes on from here." in rest
    assert second.stderr.startswith("resuming: "), second.stderr
    assert json.loads(second.stdout)["metrics"]["totals"]["functions"] == 90_000
