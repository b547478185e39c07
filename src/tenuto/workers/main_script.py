"""The user's main program, as worker processes import it: for what cannot travel to them by value.

Mostly what lives in the main module travels by value (see `portable`), and a program may be written as one likes. But a
client, a lock or a whole `pydantic_ai.Agent` has no value that could be sent. Where such a thing lies at the top level
of a program, the worker makes one of its own: it imports the program under the name `__mp_main__`, as `multiprocessing`
does ("Safe importing of main module" in its documentation), and takes it from there. What starts the program must then
stand under `if __name__ == "__main__":`. A program that has no such line is never imported.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tenuto.errors import InvalidInput

__all__ = ["MainScript", "from_main", "importing_main", "main_script"]

_NAME = "__mp_main__"

_importing = False
_imported: MainScript | None = None


@dataclass(frozen=True)
class MainScript:
    """How other processes can import the main module of this one."""

    module: str | None
    """its name, of a program that was started with `python -m`"""
    path: str
    names: frozenset[str] = frozenset()
    """what it has when it is imported: not what stands under its `if __name__ == "__main__":`"""
    problem: str = ""
    """why it cannot be imported, and what to do"""


def main_script() -> MainScript:
    """The program that runs in this process."""
    main = sys.modules["__main__"]
    import tokenize

    file = getattr(main, "__file__", None)
    if file is None or not Path(file).is_file():
        return MainScript(
            None, "", problem="put it into a module, since this program is no file that workers can import"
        )
    path = str(Path(file).resolve())
    spec = getattr(main, "__spec__", None)
    try:
        with tokenize.open(path) as source:
            body = ast.parse(source.read()).body
    except (OSError, SyntaxError, UnicodeDecodeError):
        return MainScript(None, path, problem=f"put it into a module, since {path} cannot be read as a program")
    guards = [each for each in body if isinstance(each, ast.If) and _asks_for_name(each.test)]
    if not guards:
        start = f"what starts {Path(path).name} under `if __name__ == '__main__':`"
        return MainScript(None, path, problem=f"put {start}, so that worker processes can import the rest")
    always = {name for each in body if each not in guards for name in _bound(each)}
    always.update(name for each in guards for other in each.orelse for name in _bound(other))
    sometimes = {name for each in guards for inner in each.body for name in _bound(inner)}
    sometimes.update(
        name for each in ast.walk(ast.Module(body, [])) if isinstance(each, ast.Global) for name in each.names
    )
    names = frozenset(vars(main)) - (sometimes - always)
    return MainScript(None if spec is None else spec.name, path, names)


def from_main(script: MainScript, data: bytes) -> Any:
    """What `portable.dumps` has written with the main module's names, in a process that imports that module now."""
    import cloudpickle

    if _imported != script:
        _import(script)
    return cloudpickle.loads(data)


def importing_main() -> bool:
    """Whether this is a worker process that is about to import the main program."""
    return _importing


def _import(script: MainScript) -> None:
    import runpy

    global _importing, _imported  # noqa: PLW0603 - there is one main module in a process
    _importing = True
    try:
        if script.module is None:
            found = runpy.run_path(script.path, run_name=_NAME)
        else:
            found = runpy.run_module(script.module, run_name=_NAME, alter_sys=True)
    except BaseException as error:
        raise InvalidInput(
            f"a worker process cannot import {script.path}: {type(error).__name__}: {error}; what only starts the "
            "program belongs under `if __name__ == '__main__':`"
        ) from error
    finally:
        _importing = False
    module = ModuleType(_NAME)
    module.__dict__.update(found)
    sys.modules["__main__"] = sys.modules[_NAME] = module
    _imported = script


def _asks_for_name(test: ast.expr) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "__name__" for each in ast.walk(test))


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a statement binds where it stands."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
            return
        case ast.Lambda():
            return
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in names)
        case ast.Name(id=name, ctx=ast.Store()):
            yield name
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name
    for inner in ast.iter_child_nodes(node):
        yield from _bound(inner)
