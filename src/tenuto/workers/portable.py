"""Pickling what lives in the user's main module, for processes that do not import it.

`cloudpickle` sends functions and classes of `__main__` by value, with three gaps that are closed here.

- Of a msgspec `Struct` it would send a class without fields, because those are made by the metaclass when the class
  statement runs; so that is run again on the other side, with the same annotations, defaults and options.
- Of a dataclass it would send a second `dataclasses.MISSING`, and fields without a default would seem to have one.
- It sends the names that a function's code uses, not those that its annotations name. Where these are text (`from
  __future__ import annotations`), they are read on this side, where all that they name is known. What cannot be read
  here, or cannot travel, stays a text.

Where something has no value that could be sent, the other process can import the main module instead, and take it from
there: `dumps_by_name`. Then all that the main module has at its top level is sent as its name.
"""

from __future__ import annotations

import dataclasses
import io
import sys
import typing
from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, GenericAlias, ModuleType, UnionType
from typing import Any

import cloudpickle
import msgspec

from tenuto.errors import InvalidInput
from tenuto.workers.main_script import MainScript, from_main

__all__ = ["dumps", "dumps_by_name", "main_names"]

_OPTIONS = (
    "frozen",
    "eq",
    "order",
    "array_like",
    "gc",
    "repr_omit_defaults",
    "omit_defaults",
    "forbid_unknown_fields",
    "weakref",
    "dict",
    "cache_hash",
)


_TYPING = ("typing", "typing_extensions")
_LONGEST = 10_000
"""Characters of a text that annotations may name."""


def dumps(value: Any) -> bytes:
    """`value` as `cloudpickle.loads` reads it. Raises what pickling raises."""
    try:
        return _dumped(_ByValue, value)
    except InvalidInput:
        raise
    except Exception:  # noqa: BLE001 - perhaps for something that only an annotation names
        return _dumped(_Plain, value)


def dumps_by_name(value: Any, script: MainScript) -> bytes:
    """The same for a process that can import the main module: it does so when it reads this."""
    target = io.BytesIO()
    _ByName(target, script).dump(value)
    return cloudpickle.dumps(_Imported(script, target.getvalue()))  # type: ignore[no-any-return]


def main_names() -> Mapping[str, Any]:
    """What annotations in the user's main module may name: classes, types made of them, what it imports, constants."""
    found: dict[str, Any] = {}
    for name, value in vars(sys.modules["__main__"]).items():
        if name.startswith("__") or not _may_be_named(value):
            continue
        try:
            dumps(value)
        except Exception:  # noqa: BLE001, S112 - what cannot travel cannot be named by what does
            continue
        found[name] = value
    return found


def _may_be_named(value: Any) -> bool:
    if isinstance(value, FunctionType | BuiltinFunctionType):
        return value.__module__ != "__main__"
    if isinstance(value, str | bytes):
        return len(value) <= _LONGEST
    kinds = type | ModuleType | GenericAlias | UnionType | int | float | None
    return isinstance(value, kinds) or type(value).__module__ in _TYPING


def _dumped(pickler: type[cloudpickle.Pickler], value: Any) -> bytes:
    target = io.BytesIO()
    pickler(target).dump(value)
    return target.getvalue()


class _Imported:
    """Reads itself as what `data` holds, after the main module was imported."""

    def __init__(self, script: MainScript, data: bytes) -> None:
        self._made_of = (script, data)

    def __reduce__(self) -> tuple[Any, ...]:
        return from_main, self._made_of


class _Plain(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is not annotated
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == "__main__":
            return _struct, _parts(value)
        if value is dataclasses.MISSING:
            return getattr, (dataclasses, "MISSING")
        return super().reducer_override(value)


class _ByValue(_Plain):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, FunctionType) and value.__module__ == "__main__":
            value = _read(value)
        return super().reducer_override(value)


class _ByName(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, target: io.BytesIO, script: MainScript) -> None:
        super().__init__(target)
        main = sys.modules["__main__"]
        self._main = {id(value): name for name, value in vars(main).items() if name in script.names}

    def reducer_override(self, value: Any) -> Any:
        name = self._main.get(id(value))
        elsewhere = isinstance(value, type | FunctionType | BuiltinFunctionType) and value.__module__ != "__main__"
        if name is None or elsewhere or isinstance(value, ModuleType):
            return super().reducer_override(value)
        return _named, (name,)


def _named(name: str) -> Any:
    return getattr(sys.modules["__main__"], name)


def _read(fn: FunctionType) -> FunctionType:
    """`fn` with its annotations as types, where they can be read."""
    if not any(isinstance(note, str) for note in fn.__annotations__.values()):
        return fn
    try:
        notes = typing.get_type_hints(fn, include_extras=True)
    except Exception:  # noqa: BLE001 - whatever the text in an annotation raises, it is of no use here
        return fn
    other = FunctionType(fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__, fn.__closure__)
    other.__kwdefaults__, other.__annotations__ = fn.__kwdefaults__, notes
    other.__qualname__, other.__module__, other.__doc__ = fn.__qualname__, fn.__module__, fn.__doc__
    other.__dict__.update(fn.__dict__)
    return other


def _parts(kind: type[msgspec.Struct]) -> tuple[Any, ...]:
    own = vars(kind).get("__annotations__", {})
    names = kind.__struct_fields__
    defaults = dict(zip(names[len(names) - len(kind.__struct_defaults__) :], kind.__struct_defaults__, strict=True))
    values = {
        name: (True, default.factory) if hasattr(default, "factory") else (False, default)
        for name, default in defaults.items()
        if name in own and default is not msgspec.NODEFAULT
    }
    kept = (FunctionType, property, classmethod, staticmethod)
    body = {name: it for name, it in vars(kind).items() if isinstance(it, kept) or name == "__doc__"}
    config = kind.__struct_config__
    options = {name: getattr(config, name) for name in _OPTIONS}
    options |= {"tag": config.tag, "tag_field": config.tag_field} if config.tag is not None else {}
    options["rename"] = dict(zip(names, kind.__struct_encode_fields__, strict=True))
    options["kw_only"] = bool(own) and not set(own).intersection(kind.__match_args__)
    return kind.__name__, kind.__qualname__, kind.__bases__, own, values, body, options


def _struct(
    name: str,
    qualname: str,
    bases: tuple[type, ...],
    annotations: dict[str, Any],
    defaults: dict[str, tuple[bool, Any]],
    body: dict[str, Any],
    options: dict[str, Any],
) -> type:
    namespace = {"__module__": "__main__", "__qualname__": qualname, "__annotations__": annotations, **body}
    for field, (made, default) in defaults.items():
        namespace[field] = msgspec.field(default_factory=default) if made else default
    return msgspec.StructMeta(name, bases, namespace, **options)
