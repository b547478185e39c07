"""Parameters and results on the wire.

Queries say the type of each parameter (`$1::bigint`, `$2::text[]`), so that the server infers nothing from values and
keeps one plan for a query. Arrays travel in the binary format: they are most of what is sent, and need no quoting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from struct import Struct
from typing import Any

import psycopg
from psycopg import pq

__all__ = ["encoded", "types_of", "value_of"]

_PARAMETER = re.compile(r"\$(\d+)::(\w+)(\[\])?")
_INT8, _FLOAT8, _TEXT = 20, 701, 25
_INTEGERS = frozenset({20, 21, 23})
_FLOATS = frozenset({700, 701})
_BOOLEAN, _BYTES = 16, 17

_array = Struct(">iiIii").pack
_integer = Struct(">iq").pack
_double = Struct(">id").pack
_length = Struct(">i").pack
_NULL = _length(-1)


@cache
def types_of(sql: bytes) -> tuple[str, ...]:
    """The types of a query's parameters, in order: `bigint`, `text[]`, ..."""
    found = {int(number): name + (array or "") for number, name, array in _PARAMETER.findall(sql.decode())}
    return tuple(found[number] for number in sorted(found))


def encoded(types: Sequence[str], parameters: Sequence[Any]) -> tuple[list[bytes | None], list[int]]:
    """Values and formats as libpq takes them. Raises `psycopg.DataError` for text that the server could not keep."""
    values: list[bytes | None] = []
    formats: list[int] = []
    for name, value in zip(types, parameters, strict=True):
        array = _ARRAYS.get(name)
        if array is not None:
            values.append(array(value))
            formats.append(pq.Format.BINARY)
        elif value is None or isinstance(value, bytes):
            values.append(value)
            formats.append(pq.Format.BINARY)
        else:
            text = value if isinstance(value, str) else repr(value)
            if "\0" in text:  # libpq would take what stands before it for the whole
                raise psycopg.DataError("PostgreSQL keeps no text with a NUL character")
            values.append(text.encode())
            formats.append(pq.Format.TEXT)
    return values, formats


def _integers(values: Sequence[int | None]) -> bytes:
    return _joined(_INT8, values, (_NULL if each is None else _integer(8, each) for each in values))


def _doubles(values: Sequence[float | None]) -> bytes:
    return _joined(_FLOAT8, values, (_NULL if each is None else _double(8, each) for each in values))


def _texts(values: Sequence[str | None]) -> bytes:
    def parts() -> Iterable[bytes]:
        for each in values:
            if each is None:
                yield _NULL
            else:
                data = each.encode()
                yield _length(len(data))
                yield data

    return _joined(_TEXT, values, parts())


def _joined(kind: int, values: Sequence[object], parts: Iterable[bytes]) -> bytes:
    return _array(1, 1, kind, len(values), 1) + b"".join(parts)


_ARRAYS: dict[str, Callable[[Any], bytes]] = {"bigint[]": _integers, "float[]": _doubles, "text[]": _texts}


def value_of(result: pq.abc.PGresult, row: int = 0, column: int = 0) -> Any:
    """One value of a result: a number, a truth value, bytes, else text."""
    data = result.get_value(row, column)
    if data is None:
        return None
    kind = result.ftype(column)
    if kind in _INTEGERS:
        return int(data)
    if kind in _FLOATS:
        return float(data)
    if kind == _BOOLEAN:
        return data == b"t"
    if kind == _BYTES:
        return bytes.fromhex(data[2:].decode())
    return data.decode()
