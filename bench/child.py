"""One measurement of one subject, in a process of its own: `python -m bench.child STORE SUBJECT RUN DIRECTORY SIZE`.

Prints one line of JSON, the values by metric. Started by `bench.__main__`, in a session of its own, so that whatever
is left of it can be ended together.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from bench.places import PLACES
from bench.plan import FULL, QUICK, Subject

__all__ = ["SUBJECTS", "subject"]

SUBJECTS = {
    "sqlite": {
        "raw": "bench.sqlite.raw:SUBJECT",
        "prototype": "bench.sqlite.prototype:SUBJECT",
        "tenuto": "bench.tenuto.runs:SQLITE",
        "huey": "bench.sqlite.peer_huey:SUBJECT",
        "dbos": "bench.peer_dbos:SQLITE",
    },
    "redis": {
        "raw": "bench.redis.raw:SUBJECT",
        "prototype": "bench.redis.prototype:SUBJECT",
        "tenuto": "bench.tenuto.runs:REDIS",
        "dramatiq": "bench.redis.peer_dramatiq:SUBJECT",
        "saq": "bench.redis.peer_saq:SUBJECT",
        "nfactorial": "bench.redis.peer_nfactorial:SUBJECT",
    },
    "postgres": {
        "raw": "bench.postgres.raw:SUBJECT",
        "prototype": "bench.postgres.prototype:SUBJECT",
        "tenuto": "bench.tenuto.runs:POSTGRES",
        "pgqueuer": "bench.postgres.peer_pgqueuer:SUBJECT",
        "procrastinate": "bench.postgres.peer_procrastinate:SUBJECT",
        "dbos": "bench.peer_dbos:POSTGRES",
    },
    "agents": {
        "plain": "bench.agents.plain:SUBJECT",
        "tenuto": "bench.agents.ours:SUBJECT",
        "dbos": "bench.agents.peer_dbos:SUBJECT",
        "langgraph": "bench.agents.peer_langgraph:SUBJECT",
    },
    "agents-postgres": {
        "tenuto": "bench.agents.ours:SUBJECT",
        "dbos": "bench.agents.peer_dbos:SUBJECT",
        "langgraph": "bench.agents.peer_langgraph:SUBJECT",
    },
    "supervisor": {
        "raw": "bench.supervisor.raw:SUBJECT",
        "tenuto": "bench.supervisor.ours:SUBJECT",
        "futures": "bench.supervisor.peer_futures:SUBJECT",
        "ray": "bench.supervisor.peer_ray:SUBJECT",
    },
}
"""By the names that `--store` and `--only` take."""


def subject(store: str, name: str) -> Subject:
    """The subject called `name` on `store`."""
    module, attribute = SUBJECTS[store][name].split(":")
    found = getattr(import_module(module), attribute)
    assert isinstance(found, Subject)
    return found


def main(store: str, name: str, run: str, directory: str, size: str) -> None:
    with PLACES[store](Path(directory)) as place:
        values = subject(store, name).runs[run](place, FULL if size == "full" else QUICK)
    print(json.dumps(dict(values)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
