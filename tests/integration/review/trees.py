"""Source trees and git repositories as tests need them: real files, real commits."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tenuto.review.facts import Facts
from tenuto.review.history import History, read_history
from tenuto.review.measure import measure
from tenuto.review.metrics import Metrics
from tenuto.review.parcels import parcels
from tenuto.review.reading import join_readings, read_parcel
from tenuto.review.scan import scan_tree
from tenuto.review.tree import Scan

PROJECT: Mapping[str, str] = {
    "README.md": "# A project\n",
    "src/app/__init__.py": '"""The application."""\n',
    "src/app/core.py": '"""The core."""\nfrom app import model\n\n\ndef run():\n    return model.load()\n',
    "src/app/model.py": '"""The model."""\n\n\ndef load():\n    """Load it."""\n    import app.core\n',
    "src/app/unused.py": "x = 1\n",
    "tests/test_core.py": "from app.core import run\n\n\ndef test_run():\n    assert run\n",
    "tools/build.sh": "#!/bin/sh\n# build\nmake\n",
}
"""A small project with something for every section of a report."""


def write(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Writes these files below `root`, and returns it."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


class Repository:
    """A git repository whose commits are made by one person, one minute after the other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._minutes = 0
        root.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def commit(self, files: Mapping[str, str | bytes], author: str = "Ada") -> None:
        """Commits these files with whatever else has changed in the work tree."""
        write(self.root, files)
        self._minutes += 1
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "A change", author=author)

    def git(self, *arguments: str, author: str = "Ada") -> None:
        """Runs git in this repository, with no settings but its own."""
        when = f"2026-03-04T05:{self._minutes:02}:00Z"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{role}_NAME": author for role in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{role}_EMAIL": f"{author.lower()}@example.org" for role in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{role}_DATE": when for role in ("AUTHOR", "COMMITTER")},
        }
        subprocess.run(["git", *arguments], cwd=self.root, env=environment, check=True)


def read(root: Path) -> tuple[Scan, Facts]:
    """Scans and reads a tree."""
    scan = scan_tree(root)
    readings = [read_parcel(root, parcel, scan.own_names) for parcel in parcels(scan)]
    return scan, join_readings(readings, scan.python_prefix)


def review(root: Path) -> Metrics:
    """Reviews a tree without any engine."""
    scan, facts = read(root)
    return measure(scan, facts, read_history(root))


def churn(history: History) -> dict[str, int]:
    """Returns in how many commits each file was changed."""
    return {file.path: file.commits for file in history.files}
