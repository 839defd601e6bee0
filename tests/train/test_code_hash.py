"""A function is told from another that computes otherwise, and known again in another process."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from heed.train.code_hash import code_hash

BASE = """
import math
import functools
import re

NUMBER = re.compile("[0-9]+")
WORDS = {"kind", "warm", "bright"}
TABLE = {"a": 1.0, "b": [2.0, 3.0]}

def helper(text):
    return len(text) * 0.5

class Judge:
    def __init__(self, weight):
        self.weight = weight

    def __call__(self, prompt, text):
        return self.weight * helper(text)

def made(weight):
    def inner(prompt, text, scale=1.0):
        return scale * weight * len(text) if text in {"x", "y", "z"} else -1.0
    return inner

def plain(prompt, text):
    # a remark
    return math.tanh(helper(text)) + sum(word in text for word in WORDS) + TABLE["a"] + len(NUMBER.findall(text))

def circle(prompt, text):
    return 0.0 if not text else circle(prompt, text[1:])

later = functools.partial(made(2.0), scale=3.0)
judge = Judge(2.0)
closed = made(2.0)
method = judge.__call__
"""
NAMES = ("plain", "circle", "later", "judge", "closed", "method")


def functions(source: str) -> dict[str, Callable[..., object]]:
    module = ModuleType("judged_here")
    exec(compile(source, "judged_here", "exec"), vars(module))  # noqa: S102
    return {name: getattr(module, name) for name in NAMES}


def hashes(source: str) -> dict[str, str]:
    return {name: code_hash(function) for name, function in functions(source).items()}


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("    # a remark\n", "    # another\n\n", set()),
        ('{"kind", "warm"', '{"warm", "kind"', set()),
        ('"bright"}', '"bleak"}', {"plain"}),
        ('"b": [2.0', '"b": [2.5', {"plain"}),
        ("[0-9]", "[0-8]", {"plain"}),
        ("math.tanh", "math.sinh", {"plain"}),
        ("* 0.5", "* 0.25", {"plain", "judge", "method"}),
        ("self.weight * helper", "-self.weight * helper", {"judge", "method"}),
        ("Judge(2.0)", "Judge(2.5)", {"judge", "method"}),
        ("made(2.0), scale=3.0", "made(2.0), scale=4.0", {"later"}),
        ('"y", "z"}', '"y", "w"}', {"later", "closed"}),
        ("scale=1.0", "scale=2.0", {"later", "closed"}),
        ("text[1:]", "text[2:]", {"circle"}),
    ],
)
def test_what_computes_otherwise_has_another_hash_and_nothing_else(before: str, after: str, changed: set[str]) -> None:
    assert BASE.count(before) == 1
    first, second = hashes(BASE), hashes(BASE.replace(before, after))
    assert {name for name in NAMES if first[name] != second[name]} == changed


def test_another_process_finds_the_same(tmp_path: Path) -> None:
    (tmp_path / "judged_here.py").write_text(BASE)
    told = set()
    for seed in ("1", "2", "3"):
        script = "import judged_here as j; from heed.train.code_hash import code_hash; "
        script += f"print([code_hash(getattr(j, name)) for name in {NAMES}])"
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}"}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        told.add(done.stdout)
    assert told == {f"{list(hashes(BASE).values())}\n"}


def test_what_cannot_be_looked_into_counts_by_its_name() -> None:
    assert code_hash(len) == code_hash(len) != code_hash(abs)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert code_hash(functools.partial(len, deep)) == code_hash(functools.partial(len, deep))
    assert code_hash(functools.partial(pow, 2)) != code_hash(functools.partial(pow, 3))
