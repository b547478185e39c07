"""A scripted provider in place of a real one, for programs that are to run with and without a key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tenuto.testing.endpoint import Endpoint
from tenuto.testing.script import Script

__all__ = ["stand_in"]


@contextmanager
def stand_in(script: Script, *, key: str = "OPENAI_API_KEY") -> Iterator[Endpoint | None]:
    """Where the environment variable `key` is not set, `script` answers in place of the provider, and one line says so.

    This process and those that it starts meanwhile reach it through their environment variables, which are put back
    afterwards. Gives the endpoint, or None where there is a key. Raises `InvalidInput` for what is no script.
    """
    if os.environ.get(key):
        yield None
        return
    with Endpoint(script) as endpoint:
        before = {name: os.environ.get(name) for name in endpoint.environment}
        os.environ.update(endpoint.environment)
        print(f"{key} is not set: a scripted provider answers.", flush=True)  # noqa: T201 - for whoever runs the program
        try:
            yield endpoint
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
