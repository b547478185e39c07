"""A tree of 50,000 files is reviewed in bounded time and memory, and what is handed on fits into stored values."""

import tracemalloc
from pathlib import Path

import pytest

from tenuto.review.facts import pack, unpack
from tenuto.review.history import History
from tenuto.review.judge import judge
from tenuto.review.measure import measure
from tenuto.review.parcels import parcels
from tenuto.review.reading import join_readings, read_parcel
from tenuto.review.report import write_report
from tenuto.review.scan import scan_tree
from tenuto.tasks.values import LARGEST_VALUE, encode
from tests.unit.review.test_report import WHEN

FILES = 50_000
DIRECTORIES = 500


@pytest.fixture
def large_tree(tmp_path: Path) -> Path:
    for number in range(DIRECTORIES):
        directory = tmp_path / f"package_{number:03}"
        directory.mkdir()
        for file in range(FILES // DIRECTORIES):
            text = f"import package_{(number + 1) % DIRECTORIES:03}.module_{file:02}\n" if file % 10 == 0 else ""
            (directory / f"module_{file:02}.py").write_text(f"{text}x = {file}\n")
    return tmp_path


def test_fifty_thousand_files(large_tree: Path) -> None:
    scan = scan_tree(large_tree)
    work = parcels(scan)
    readings = [read_parcel(large_tree, parcel, scan.own_names) for parcel in work]
    tracemalloc.start()
    facts = join_readings(readings, scan.python_prefix)
    metrics = measure(scan, facts, History(note="not asked"))
    report = write_report(metrics, WHEN)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert metrics.totals.source_files == FILES
    assert metrics.cycle_count == 10
    assert max(cycle.size for cycle in metrics.cycles) == DIRECTORIES
    assert peak < 200 * 1024**2
    assert len(report) < 50_000
    assert judge(report, metrics, large_tree) == []
    assert len(work) <= 64
    assert unpack(pack(facts)) == facts
    for value in (scan, *readings, pack(facts), metrics):
        assert len(encode(value, "a result")) < LARGEST_VALUE / 8
