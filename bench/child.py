"""One measurement of one subject, in a process of its own: `python -m bench.child SUBJECT RUN DIRECTORY quick|full`.

Prints one line of JSON, the values by metric. Started by `bench.__main__`, in a session of its own, so that whatever
is left of it can be ended together.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from bench.plan import FULL, QUICK, Subject

__all__ = ["SUBJECTS", "subject"]

SUBJECTS = {
    "raw": "bench.raw",
    "prototype": "bench.prototype",
    "tenuto": "bench.tenuto_runs",
    "huey": "bench.peer_huey",
    "dbos": "bench.peer_dbos",
}
"""Modules by the name that `--only` takes."""


def subject(name: str) -> Subject:
    """The subject called `name`."""
    found = import_module(SUBJECTS[name]).SUBJECT
    assert isinstance(found, Subject)
    return found


def main(name: str, run: str, directory: str, size: str) -> None:
    values = subject(name).runs[run](Path(directory), FULL if size == "full" else QUICK)
    print(json.dumps(dict(values)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
