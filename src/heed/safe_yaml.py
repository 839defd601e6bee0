"""YAML from people as plain values, whatever it holds: without code, without end, and without a line that says nothing.

A subset of YAML 1.1: no tags beyond the standard ones, no merge keys (``<<``, with which a few lines can grow without
bound), no key twice in a mapping, at most ``LARGEST_FILE`` bytes. Aliases stay references and cost nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from heed.errors import ConfigError
from heed.texts import cut

LARGEST_FILE = 256 * 1024
"""Bytes: heed's own settings with all their comments have a twentieth of it, and more would take seconds to read."""

_MERGE = "tag:yaml.org,2002:merge"
_REASON = 300


class _Loader(yaml.SafeLoader):
    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        given = set()
        for key, _ in node.value:
            if key.tag == _MERGE:
                raise ConstructorError(None, None, "merge keys ('<<') are not read here", key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                if key.value in given:
                    raise ConstructorError(None, None, f"the key '{cut(key.value)}' is given twice", key.start_mark)
                given.add(key.value)
        super().flatten_mapping(node)


def parse_yaml(text: str) -> Any:
    """The value that ``text`` stands for.

    Raises:
        ValueError: it is not YAML, or not of the subset that is read, with the reason.
    """
    loader = None
    try:
        loader = _Loader(text)
        return loader.get_single_data()
    except yaml.YAMLError as error:
        raise ValueError(_reason(error)) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    finally:
        if loader is not None:
            loader.dispose()


def _reason(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {cut(error.problem, _REASON)}"
    return cut(" ".join(str(error).split()), _REASON)


def read_yaml(path: Path, name: str) -> Any:
    """The value that a file holds; ``name`` is what errors call it. A pipe serves as well.

    Raises:
        ConfigError: it cannot be read, is too large, not UTF-8, or not YAML.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {name}", f"{error.strerror or error}.", "Check the path.") from None
    if len(data) > LARGEST_FILE:
        raise ConfigError(
            f"{name} is too large", f"it has more than {LARGEST_FILE:,} bytes.", "Settings need far less: look into it."
        )
    try:
        return parse_yaml(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{name} is not UTF-8", f"byte {error.start} cannot be read.", "Save the file as UTF-8."
        ) from None
    except ValueError as error:
        raise ConfigError(f"{name} is not YAML", f"{error}.", "Correct the line.") from None
