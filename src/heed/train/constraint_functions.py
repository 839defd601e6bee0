"""A user's function as a constraint: found by its name, held to what it may return, and known by its source."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from heed.config import PolicySettings
from heed.errors import ConfigError, DataError
from heed.feedback.kinds import PromptContent
from heed.raters.utilities import utility_by_name

Broken = Callable[[PromptContent, str], float]
"""How far a completion of a prompt breaks a rule, at least 0."""


def constraint_function(name: str, function: str) -> Broken:
    """The function of the constraint ``name``, checked as a utility is, and to be at least 0.

    Args:
        function: package.module:function.

    Raises:
        ConfigError: it cannot be imported or called.
    """
    with no_exit(f"constraint '{name}'", f"'{function.partition(':')[0]}' ends the program when it is imported"):
        checked = utility_by_name(function)

    def broken(prompt: PromptContent, text: str) -> float:
        try:
            with no_exit(f"constraint '{name}'", f"{function} ends the program for the completion {text[:60]!r}"):
                value = checked(prompt, text)
        except DataError as error:
            raise DataError(f"constraint '{name}'", f"{error.what}: {error.why}", error.fix) from error
        if value < 0:
            raise DataError(
                f"constraint '{name}': {function} gave {value:g} for the completion {text[:60]!r}",
                "a constraint says how far it is broken, and 0 is the least.",
                "Return 0 where the completion is right, and more the worse it is.",
            )
        return value

    return broken


@contextmanager
def no_exit(what: str, why: str) -> Iterator[None]:
    """Somebody else's ``sys.exit`` would end a training run without a word.

    Raises:
        ConfigError: in its place, with ``what`` and ``why``.
    """
    try:
        yield
    except SystemExit as error:
        raise ConfigError(
            what, f"{why}: sys.exit({error.code!r}).", "Correct the function: it returns a number, and nothing else."
        ) from error


def constraint_sources(settings: PolicySettings) -> tuple[dict[str, str], list[str]]:
    """What the constraints of a policy are known by beside their settings, and what nothing here can know of them.

    Returns:
        By constraint the hash of the files that hold its function: of the module that is named, and of the one where the
        function was written. And sentences on what may change without notice.

    Raises:
        ConfigError: a function cannot be imported.
    """
    hashes: dict[str, str] = {}
    unknown: list[str] = []
    for entry in settings.constraints:
        if entry.kind == "http":
            unknown.append(f"constraint '{entry.name}': whether {entry.url} still answers as it did")
        if entry.kind != "function" or entry.function is None:
            continue
        constraint_function(entry.name, entry.function)
        found, lacking = source_of(entry.function)
        if found is not None:
            hashes[entry.name] = found
        else:
            unknown.append(f"constraint '{entry.name}': whether {lacking}, which lies in no file, is still the same")
    return hashes, unknown


def source_of(function: str) -> tuple[str | None, str]:
    """A hash of the files that hold a function (package.module:function) which has been imported: of the module that is named,
    and of the one where it was written. None where one lies in no file, with the names of those."""
    module, _, attribute = function.partition(":")
    written_in = inspect.getmodule(getattr(sys.modules[module], attribute))
    files = _files_of([module, *([] if written_in is None else [written_in.__name__])])
    if all(files.values()):
        return _hash_of(files), ""
    return None, ", ".join(name for name, file in files.items() if file is None)


def _files_of(modules: Sequence[str]) -> dict[str, Path | None]:
    """The file that each module was read from; None of one that was made without."""
    found: dict[str, Path | None] = {}
    for name in modules:
        file = getattr(sys.modules.get(name), "__file__", None)
        found[name] = Path(file) if file and Path(file).is_file() else None
    return found


def _hash_of(files: Mapping[str, Path | None]) -> str:
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        digest.update(f"{name}\0{hashlib.sha256(file.read_bytes() if file else b'').hexdigest()}\n".encode())
    return digest.hexdigest()[:16]
