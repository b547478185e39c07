"""Agents by name: `module:name` is one agent, `module` all agents that the module holds.

The current directory is importable, as it is for `python -m`. A module that fails while it is imported is a mistake
in that module, so its own error is told, with the line where it happened.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tenuto.errors import InvalidInput

if TYPE_CHECKING:
    from tenuto.workers.handler import Handler

__all__ = ["load_agents"]


def load_agents(references: Sequence[str]) -> list[Handler]:
    """The agents that `references` name. Raises `InvalidInput` that says which reference is wrong, and how."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    found: dict[str, tuple[Handler, str]] = {}
    for reference in references:
        for agent in _load(reference):
            known, before = found.setdefault(agent.name, (agent, reference))
            if known is not agent:
                raise InvalidInput(
                    f"--agents: {before!r} and {reference!r} both hold an agent named {agent.name!r}: "
                    "give one of them another name"
                )
    if not found:
        raise InvalidInput("--agents is missing: say which agents to run, as in --agents my_module:my_agent")
    return [agent for agent, _ in found.values()]


def _load(reference: str) -> list[Handler]:
    if "," in reference:
        each = " ".join(f"--agents {one.strip()}" for one in reference[:80].split(","))
        raise InvalidInput(f"--agents {reference[:80]!r} names several: repeat the option, as in {each}")
    module_name, colon, path = reference.partition(":")
    file = module_name.endswith(".py") or "/" in module_name
    if file or (colon and not path) or not all(part.isidentifier() for part in module_name.split(".")):
        dotted = module_name.removesuffix(".py").strip("./").replace("/", ".")
        advice = f"; for a file write its module name: {dotted}{colon}{path}" if file else ""
        raise InvalidInput(f"--agents {reference[:80]!r} must be written module:name or module{advice}")
    module = _import(module_name, reference)
    if not colon:
        agents = [value for value in vars(module).values() if _is_agent(value)]
        if not agents:
            raise InvalidInput(f"--agents {reference!r}: the module holds no agent; write one with @tenuto.task_agent")
        return agents
    target: Any = module
    for part in path.split("."):
        if not hasattr(target, part):
            raise InvalidInput(f"--agents {reference!r}: {module_name!r} has no {path!r}{_meant(module, part)}")
        target = getattr(target, part)
    if not _is_agent(target):
        what = f"{'an' if type(target).__name__[0] in 'aeiou' else 'a'} {type(target).__name__}"
        advice = "; put @tenuto.task_agent above it" if callable(target) else _meant(module, path)
        raise InvalidInput(f"--agents {reference!r} is {what}, not an agent{advice}")
    return [target]


def _import(name: str, reference: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise InvalidInput(
                f"--agents {reference!r}: there is no module {error.name!r} here ({Path.cwd()}) or among the "
                "installed packages"
            ) from None
        raise InvalidInput(
            f"--agents {reference!r}: {name!r} imports {error.name!r}, which is not installed"
        ) from error
    except SyntaxError as error:
        raise InvalidInput(f"--agents {reference!r}: {error.msg} in {error.filename}, line {error.lineno}") from error
    except (Exception, SystemExit) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise InvalidInput(
            f"--agents {reference!r}: importing {name!r} failed with {type(error).__name__}: {error} "
            f"({last.filename}, line {last.lineno})"
        ) from error


def _is_agent(value: object) -> bool:
    """Whether `value` offers what a worker needs (`workers.handler.Handler`)."""
    return (
        not isinstance(value, type)
        and isinstance(getattr(value, "name", None), str)
        and callable(getattr(value, "handle", None))
    )


def _meant(module: ModuleType, wanted: str) -> str:
    names = [name for name, value in vars(module).items() if _is_agent(value)]
    close = get_close_matches(wanted, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    if names:
        return f"; its agents are {', '.join(names[:8])}{' …' if len(names) > 8 else ''}"
    return "; it holds no agent"
