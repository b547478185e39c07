"""An agent as it travels to its process, by value where it lives in the main module; and what in it cannot travel."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

from tenuto.errors import InvalidInput
from tenuto.supervisor.entry import AgentEntry
from tenuto.workers.portable import dumps

__all__ = ["content_of"]

_DEEPEST = 5
"""Steps from an agent to what is named in an error."""


def content_of(entry: AgentEntry) -> bytes:
    """The agent of `entry` as it travels to a process. Raises `InvalidInput` that says what in it cannot."""
    parts = (entry.agent_class, entry.config, entry.plugin, dict(entry.arguments), entry.log)
    try:
        return dumps(parts)
    except InvalidInput:  # a part of it says so itself
        raise
    except Exception as error:
        raise InvalidInput(
            f"agent {entry.name!r} cannot be sent to a process: {_culprit(entry)}: {error}; "
            "make it in setup() instead, or run the agent in a thread"
        ) from error


def _culprit(entry: AgentEntry) -> str:
    """Which part of the agent it is that cannot travel."""
    kind = entry.agent_class.__name__
    owners = [
        *entry.arguments.items(),
        *(_members("config", entry.config)),
        *((f"plugin.{name}", plugin) for name, plugin in entry.plugin or ()),
        (kind, entry.agent_class),
    ]
    return next((_named(path, value) for path, value in owners if _is_bad(value)), kind)


def _named(path: str, value: object) -> str:
    """`path`, or that of the innermost part of `value` that cannot travel, with its type."""
    seen = {id(value)}
    user = ""
    for _ in range(_DEEPEST):
        function = _function(value)
        user = user or (path if function is not None else "")
        parts = _parts(path, value) if function is None else _used(function)
        inner = next(((at, it) for at, it in parts if id(it) not in seen and _is_bad(it)), None)
        if inner is None:
            break
        path, value = inner
        seen.add(id(value))
    where = f", used by {user}" if user and user != path else ""
    return f"{path}{where} ({type(value).__name__})"


def _function(value: object) -> FunctionType | None:
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    elif isinstance(value, property):
        value = value.fget
    return value if isinstance(value, FunctionType) else None


def _used(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """What the code of `function` names, but for modules."""
    names = inspect.getclosurevars(function)
    for name, it in {**names.nonlocals, **names.globals}.items():
        if not isinstance(it, ModuleType):
            yield name, it


def _parts(path: str, value: object) -> Iterator[tuple[str, Any]]:
    """What `value` consists of, each with the path to it."""
    if isinstance(value, Mapping):
        yield from ((f"{path}[{key!r:.40}]", it) for key, it in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"{path}[{position}]", it) for position, it in enumerate(value))
    elif isinstance(value, type):
        for owner in value.__mro__[:-1]:
            yield from _members(path, owner)
    else:
        yield from _members(path, value)


def _members(path: str, value: object) -> Iterator[tuple[str, Any]]:
    for name, it in getattr(value, "__dict__", {}).items():
        if not name.startswith("__") or name == "__init__":
            yield f"{path}.{name}", it


def _is_bad(value: object) -> bool:
    try:
        dumps(value)
    except Exception:  # noqa: BLE001 - that is the question
        return True
    return False
