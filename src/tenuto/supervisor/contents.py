"""An agent as it travels to its process, and what in it cannot travel.

What lives in the main module goes by value. Where something in it has none, the process imports the main module, as far
as that lets itself be imported (see `workers.main_script`).
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

from tenuto.errors import InvalidInput
from tenuto.supervisor.entry import AgentEntry
from tenuto.workers.main_script import MainScript, main_script
from tenuto.workers.portable import dumps, dumps_by_name

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
        script = main_script()
        if not script.problem:
            with contextlib.suppress(Exception):  # the first one says more
                return dumps_by_name(parts, script)
        raise InvalidInput(
            f"agent {entry.name!r} cannot be sent to a process: {_culprit(entry)}: {error}; {_advice(entry, script)}"
        ) from error


def _advice(entry: AgentEntry, script: MainScript) -> str:
    """What to do about what cannot travel."""
    where = script.problem or f"define it at the top level of {script.path}, which worker processes then import"
    if "handlers" in entry.arguments:
        return f"give a function that makes it, or {where}; or run its workers in threads: executor='thread'"
    return f"make it in setup() instead, or {where}; or run the agent in a thread"


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
