"""What the documents name exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_promise_names_tests_that_exist() -> None:
    named = set(re.findall(r"test_[a-z0-9_]+", (ROOT / "docs/guarantees.md").read_text()))
    sources = {path.stem: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    defined = {name for source in sources.values() for name in re.findall(r"def (test_[a-z0-9_]+)", source)}
    assert named
    assert named - defined - set(sources) == set()


def test_links_between_documents_lead_somewhere() -> None:
    for page in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
