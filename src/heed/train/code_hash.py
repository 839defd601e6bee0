"""What a function that is given as an object computes, as a hash: with it, a run knows whether it goes on by the same function."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Set
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

_PLAIN = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis))


def code_hash(function: Callable[..., object]) -> str:
    """A hash of a function's code, and of all that it uses of its own module: constants, other functions, what it closes over; of an
    object that is called, of its class and of what it holds. The same in another process with the same Python.

    What it cannot look into, such as a network or what other packages compute, counts by its type's or its module's name alone.
    """
    digest = hashlib.sha256()
    try:
        pieces = list(_pieces(function, set()))
    except RecursionError:
        pieces = ["deeper than can be followed"]
    for piece in pieces:
        digest.update(f"{len(piece)}:{piece}".encode(errors="surrogatepass"))
    return digest.hexdigest()[:16]


def _pieces(value: Any, seen: set[int]) -> Iterator[str]:
    """Texts that tell a value, and nothing that changes from one process to the next. Each object is told once, which ends circles."""
    if isinstance(value, _PLAIN):
        yield f"{type(value).__name__} {value!r}"
        return
    yield type(value).__qualname__
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, FunctionType):
        yield from _of_function(value, seen)
    elif isinstance(value, CodeType):
        yield from _of_code(value, seen)
    elif isinstance(value, MethodType):
        yield from _all([value.__func__, value.__self__], seen)
    elif isinstance(value, functools.partial):
        yield from _all([value.func, value.args, value.keywords], seen)
    elif isinstance(value, ModuleType):
        yield value.__name__
    elif isinstance(value, re.Pattern):
        yield f"{value.pattern!r} {value.flags}"
    elif isinstance(value, type):
        yield f"{value.__module__}.{value.__qualname__}"
        yield from _all([part for part in vars(value).values() if isinstance(part, FunctionType)], seen)
    elif isinstance(value, Mapping):
        yield from _all([part for pair in value.items() for part in pair], seen)
    elif isinstance(value, list | tuple):
        yield from _all(value, seen)
    elif isinstance(value, Set):
        yield from sorted("".join(_pieces(part, set(seen))) for part in value)
    elif isinstance(getattr(type(value), "__call__", None), FunctionType):  # noqa: B004 - the code is wanted, not whether there is any
        yield from _all([type(value), getattr(value, "__dict__", {})], seen)
    else:
        named = value if hasattr(value, "__qualname__") else type(value)
        yield f"{getattr(named, '__module__', '')}.{named.__qualname__}"


def _all(values: Any, seen: set[int]) -> Iterator[str]:
    for value in values:
        yield from _pieces(value, seen)


def _of_function(function: FunctionType, seen: set[int]) -> Iterator[str]:
    yield function.__qualname__
    yield from _of_code(function.__code__, seen)
    yield from _all([function.__defaults__, function.__kwdefaults__ or {}], seen)
    for cell in function.__closure__ or ():
        try:
            yield from _pieces(cell.cell_contents, seen)
        except ValueError:  # nothing has been put into it yet
            yield "empty"
    for name in sorted(set(_names(function.__code__))):
        if name in function.__globals__:
            used = function.__globals__[name]
            yield name
            foreign = isinstance(used, FunctionType | type) and used.__module__ != function.__module__
            yield from [f"{used.__module__}.{used.__qualname__}"] if foreign else _pieces(used, seen)


def _of_code(code: CodeType, seen: set[int]) -> Iterator[str]:
    yield code.co_code.hex()
    yield " ".join((*code.co_names, *code.co_varnames, *code.co_freevars))
    yield from _all(code.co_consts, seen)


def _names(code: CodeType) -> Iterator[str]:
    """Names that a code may look up in its module, those of functions within it too."""
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)
