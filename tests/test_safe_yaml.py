"""YAML from people: a subset without code and without end, and errors that name the line."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import yaml

from heed.errors import ConfigError
from heed.safe_yaml import LARGEST_FILE, parse_yaml, read_yaml


@pytest.mark.parametrize(
    "text", ["a: 1", "a: [1, two, null, 3.5, true]", "- x", "'text'", "", "a: {b: {c: 1}}", "a: &x [1]\nb: *x", "1e-4"]
)
def test_ordinary_yaml_is_read_as_ever(text: str) -> None:
    assert parse_yaml(text) == yaml.safe_load(text)


def bomb(level: str) -> str:
    """Ten to the twelfth of what stands in the first line, if it is ever written out."""
    lines = ["a0: &a0 {x0: 0, x1: 1}"]
    for number in range(1, 13):
        many = ",".join([f"*a{number - 1}"] * 10)
        lines.append(f"a{number}: &a{number} " + level.format(many))
    return "\n".join(lines)


def test_a_bomb_of_aliases_stays_small() -> None:
    found = parse_yaml(bomb("[{}]"))
    assert found["a12"][0] is found["a12"][9] is found["a11"]


def test_a_bomb_of_merge_keys_is_refused() -> None:
    with pytest.raises(ValueError, match=r"line 2, column 10: merge keys"):
        parse_yaml(bomb("{{<<: [{}]}}"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\nb: 2\na: 3", r"line 3, column 1: the key 'a' is given twice"),
        ("a:\n  b: 1\n  b: 1", r"line 3, column 3: the key 'b' is given twice"),
        ("a: [", "line 1"),
        ("a: !!python/object/apply:os.system ['true']", "constructor"),
        ("a: 2001-13-45", "month"),
        ("[" * 20_000, "nested too deeply"),
        ("a: \udcff", "special characters"),
        ("? [a]\n: 1", "unhashable"),
        ("a: 1\n---\na: 1", "document"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_yaml(text)


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "heed.yaml"
    file.write_text("a: '" + "x" * (LARGEST_FILE - 5) + "'")
    assert len(read_yaml(file, "it")["a"]) == LARGEST_FILE - 5
    file.write_text("a: '" + "x" * (LARGEST_FILE - 4) + "'")
    with pytest.raises(ConfigError, match="too large"):
        read_yaml(file, "it")
    with pytest.raises(ConfigError, match="too large"):
        read_yaml(Path("/dev/zero"), "it")


def test_a_pipe_serves_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("a: 1",))
    writer.start()
    assert read_yaml(pipe, "it") == {"a": 1}
    writer.join()
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(ConfigError, match="cannot read it"):
            read_yaml(path, "it")
    (tmp_path / "latin").write_bytes(b"a: caf\xe9")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_yaml(tmp_path / "latin", "it")
