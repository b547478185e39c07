"""Pickling what lives in the user's main module, for processes that never import it.

`cloudpickle` sends functions and classes of `__main__` by value. Of a msgspec `Struct` it would send a class without
fields, because those are made by the metaclass when the class statement runs; so here the class statement is run again
on the other side, with the same annotations, defaults and options.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from types import FunctionType, GenericAlias, ModuleType
from typing import Any

import cloudpickle
import msgspec

__all__ = ["dumps", "main_names"]

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


def dumps(value: Any) -> bytes:
    """`value` as `cloudpickle.loads` reads it. Raises what pickling raises."""
    target = io.BytesIO()
    _Pickler(target).dump(value)
    return target.getvalue()


def main_names() -> Mapping[str, Any]:
    """What annotations in the user's main module may name: its classes, and the modules it has imported."""
    found: dict[str, Any] = {}
    for name, value in vars(sys.modules["__main__"]).items():
        if name.startswith("__") or not isinstance(value, type | ModuleType | GenericAlias):
            continue
        try:
            dumps(value)
        except Exception:  # noqa: BLE001, S112 - what cannot travel cannot be named by what does
            continue
        found[name] = value
    return found


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is not annotated
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == "__main__":
            return _struct, _parts(value)
        return super().reducer_override(value)


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
