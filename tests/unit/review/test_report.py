"""The report says what the metrics say, and the judge finds out where it does not."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tenuto.review.facts import FunctionAt
from tenuto.review.judge import judge
from tenuto.review.markdown import read_sections
from tenuto.review.measure import measure
from tenuto.review.metrics import Metrics
from tenuto.review.report import SECTIONS, write_report
from tenuto.review.source import Broken, Documented
from tests.unit.review.make import facts, file, history, scan

WHEN = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture
def metrics(tmp_path: Path) -> Metrics:
    files = [
        file("a.py", 120, documentation=Documented(4, 1)),
        file("odd|`name`.py", 30),
        file("broken.py", 5, broken=Broken(3, "never closed |")),
        file("tests/test_a.py", 40),
    ]
    (tmp_path / "tests").mkdir()
    for one in files:
        (tmp_path / one.path).touch()
    imports = {"a.py": ["odd|`name`.py"], "odd|`name`.py": ["a.py"], "tests/test_a.py": ["a.py"]}
    longest = [FunctionAt("a.py", "Class.long", 7, 90, is_test=False)]
    return measure(scan(6, {"Python": "code"}), facts(files, imports, longest), history({"a.py": 4, "gone.py": 9}))


def test_the_same_metrics_give_the_same_report(metrics: Metrics) -> None:
    assert write_report(metrics, WHEN) == write_report(metrics, WHEN)
    assert "Written on 2026-01-02 03:04 UTC" in write_report(metrics, WHEN)


def test_an_honest_report_is_accepted(metrics: Metrics, tmp_path: Path) -> None:
    report = write_report(metrics, WHEN)

    assert judge(report, metrics, tmp_path) == []
    assert [section.title for section in read_sections(report)] == list(SECTIONS)


def test_the_findings_have_numbers(metrics: Metrics) -> None:
    findings = read_sections(write_report(metrics, WHEN))[0].text

    for sentence in (
        "195 lines of code in 4 source files, 100% of them Python; 40 of these lines are tests.",
        "1 Python file could not be parsed: `broken.py`.",
        "1 group of modules import each other in a circle; the largest has 2 modules, among them `a.py`.",
        "`Class.long` in `a.py` with 90 lines, too long to see at once; the median is 90.",
        "Tests reach 2 of 3 source files by their imports; the largest they do not reach is `broken.py` with 5 lines",
        "25% of 4 public definitions have a docstring; `a.py` lacks 3.",
        "The hottest spot is `a.py`: 4 commits, 120 lines of code.",
    ):
        assert any(sentence in line for line in findings), sentence


def test_the_judge_finds_a_wrong_number(metrics: Metrics, tmp_path: Path) -> None:
    report = write_report(metrics, WHEN).replace("| Lines of code | 195 |", "| Lines of code | 196 |")

    [finding] = judge(report, metrics, tmp_path)

    assert (finding.kind, finding.subject) == ("number", "Lines of code")
    assert "says 196 under Number for Lines of code, not 195" in finding.sentence


def test_the_judge_finds_a_missing_row(metrics: Metrics, tmp_path: Path) -> None:
    lines = write_report(metrics, WHEN).splitlines(keepends=True)
    report = "".join(line for line in lines if not line.startswith("| `broken.py` | 5"))

    assert [finding.sentence for finding in judge(report, metrics, tmp_path)] == [
        "The section 'Tests' has no row for broken.py.",
        "The section 'Files' has no row for broken.py.",
    ]


def test_the_judge_finds_sections_that_are_missing_doubled_empty_or_moved(metrics: Metrics, tmp_path: Path) -> None:
    report = write_report(metrics, WHEN)

    def kinds(text: str) -> set[str]:
        return {finding.sentence for finding in judge(text, metrics, tmp_path) if finding.kind == "section"}

    assert kinds(report.replace("## Tests", "## Trials")) == {"The section 'Tests' is there 0 times instead of once."}
    assert kinds(report + "\n## Tests\n\nAgain.\n") == {"The section 'Tests' is there 2 times instead of once."}
    assert "The section 'How it was measured' is empty and gives no reason." in kinds(report.split("- The files")[0])
    moved = report.replace("## Tests", "## X").replace("## Files", "## Tests").replace("## X", "## Files")
    assert "The sections are not in their order." in kinds(moved)
    assert len(kinds("")) == len(SECTIONS)


def test_a_path_that_vanished_is_found_and_then_marked(metrics: Metrics, tmp_path: Path) -> None:
    (tmp_path / "a.py").unlink()

    [finding] = judge(write_report(metrics, WHEN), metrics, tmp_path)
    second = write_report(metrics, WHEN, gone={finding.subject})

    assert finding.sentence == "The report names a.py, which is not in the tree."
    assert "`a.py` (no longer there)" in second
    assert judge(second, metrics, tmp_path) == []


def test_an_empty_tree_has_reasons_instead_of_numbers(tmp_path: Path) -> None:
    metrics = measure(scan(), facts([]), history({}))

    report = write_report(metrics, WHEN)

    assert judge(report, metrics, tmp_path) == []
    assert "The tree is empty: there is no file to review." in report
    assert "Without a history there are none." in report
    assert "The directory is not in a git work tree." in report
