"""Whether an agent can work in this process, which lacks a key, perhaps, or a program.

What it lacks is no fault of its tasks. A worker that finds it out leaves them to others; a program that gives the agent
a runner is told before it has submitted anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pydantic_ai

from tenuto.errors import InvalidInput, ModelError

__all__ = ["able", "check_recipe"]


@contextmanager
def able(agent: str) -> Iterator[None]:
    """Says of what is raised inside whose work it prevents. Raises `InvalidInput`; `ModelError` where that may pass by
    itself, such as a file that cannot be read now."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(f"agent {agent!r} cannot work: {error}") from None
    except OSError as error:
        raise ModelError(f"agent {agent!r} cannot work now: {type(error).__name__}: {error}") from error
    except Exception as error:
        why = f"it cannot be made: {type(error).__name__}: {error}"
        raise InvalidInput(f"agent {agent!r} cannot work: {why}") from error


def check_recipe(recipe: Mapping[str, Any], context_type: type) -> None:
    """Makes an agent of all but the model, which may take long. Raises what the library raises."""
    pydantic_ai.Agent(**{**recipe, "model": None}, deps_type=context_type)
