"""What a function's annotations mean, also where they are text and the function has travelled to another process."""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["hints_of"]

_known: WeakKeyDictionary[Callable[..., Any], dict[str, Any]] = WeakKeyDictionary()


def hints_of(fn: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of `fn` as types; empty where a name in them is known to type checkers only."""
    while isinstance(fn, partial):
        fn = fn.func
    try:
        known = _known.get(fn)
    except TypeError:  # an object that cannot be hashed, or not be referred to weakly
        return _read(fn)
    if known is None:
        known = _known[fn] = _read(fn)
    return known


def _read(fn: Callable[..., Any]) -> dict[str, Any]:
    names = getattr(fn, "__globals__", {})
    if getattr(fn, "__module__", "") == "__main__":
        # A function that was pickled by value brought only the names that its code uses; see `portable.main_names`.
        names = {**vars(sys.modules["__main__"]), **names}
    try:
        return typing.get_type_hints(fn, names or None)
    except (NameError, TypeError, AttributeError):
        return {}
