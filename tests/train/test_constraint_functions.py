"""Functions and patterns as constraints that fail in every way, and runs that are known by the source of a function."""

from __future__ import annotations

import importlib
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from test_constraints import samples_of

from heed.config import PolicySettings
from heed.constraint_settings import ConstraintSettings
from heed.errors import ConfigError, DataError
from heed.stages.policy import train_policy
from heed.train import constraints
from heed.train.constraint_functions import constraint_sources
from heed.train.constraints import Constraints
from heed.train.progress import Watcher
from tiny_models import tiny_policy
from tiny_project import letters

RULES = """
import sys
from house_helpers import helper

def plain(prompt, completion):
    return 1.0

def huge(prompt, completion):
    return 1e300

def exits(prompt, completion):
    sys.exit("enough")
"""
HELPERS = "def helper(prompt, completion):\n    return 2.0\n"


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with modules of functions, which are imported anew."""
    (tmp_path / "house_rules.py").write_text(RULES)
    (tmp_path / "house_helpers.py").write_text(HELPERS)
    monkeypatch.chdir(tmp_path)
    forget(monkeypatch)
    return tmp_path


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("house_rules", "house_helpers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()


def policy_with(**entry: Any) -> PolicySettings:
    return PolicySettings(constraints=[ConstraintSettings.model_validate({"name": "it", **entry})])


def function_of(name: str, module: str = "house_rules") -> PolicySettings:
    return policy_with(kind="function", function=f"{module}:{name}")


def stated(settings: PolicySettings, text: str) -> float:
    return float(Constraints(settings)(["p"], samples_of([text])).added["it"][0])


def test_a_number_that_would_drown_the_reward_is_refused_by_the_name_of_its_constraint(rules: Path) -> None:
    with pytest.raises(DataError, match=r"constraint 'it' gave 1e\+300 for the completion 'x'") as caught:
        stated(function_of("huge"), "x")
    assert "weight" in caught.value.fix
    with pytest.raises(ValueError, match="less than or equal to 1000000"):
        policy_with(kind="words", most=3, weight=1e300)


def test_a_function_that_ends_the_program_is_an_error_of_its_constraint(rules: Path) -> None:
    with pytest.raises(ConfigError, match=r"constraint 'it': house_rules:exits ends the program .*'x'.*enough"):
        stated(function_of("exits"), "x")
    (rules / "quits.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(ConfigError, match=r"constraint 'it': 'quits' ends the program when it is imported"):
        stated(function_of("anything", "quits"), "x")


def test_a_pattern_that_would_take_for_ever_is_an_error_of_its_constraint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constraints, "_PATTERN_SECONDS", 0.3)
    settings, began = policy_with(kind="format", format="regex", pattern="^(a|aa)+c$"), time.monotonic()
    with pytest.raises(DataError, match=r"constraint 'it': the pattern .* takes too long .*'aaaa"):
        stated(settings, "a" * 60)
    assert time.monotonic() - began < 20
    assert stated(settings, "aac") == 0  # what it finds at once it still finds
    nested = policy_with(kind="format", format="regex", pattern=r"^((\S|\s)+)+#$")
    assert (stated(nested, "a word. " * 40), stated(nested, "a word #")) == (-1, 0)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^[A-Z]", "Oh"),
        ("^[A-Z]", "oh"),
        (r"(?i)thank\s+you", "THANK  You"),
        (r"\bno\b", "know"),
        (r"(?m)^- .+$", "a\n- b"),
        (r"(?s)a.b", "a\nb"),
        (r"^\w+$", "été"),
        (r"(?<!un)happy", "unhappy"),
        ("\\d{2,}", "٣٤"),
    ],
)
def test_patterns_mean_what_they_mean_to_python(pattern: str, text: str) -> None:
    found = stated(policy_with(kind="format", format="regex", pattern=pattern), text)
    assert found == (0 if re.search(pattern, text) else -1)


# What a run is known by


def test_a_function_is_known_by_the_files_that_hold_it(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, untold = constraint_sources(function_of("helper"))
    assert list(before) == ["it"]
    assert untold == []
    forget(monkeypatch)
    assert constraint_sources(function_of("helper"))[0] == before
    for file in ("house_rules.py", "house_helpers.py"):
        text = (rules / file).read_text()
        (rules / file).write_text(text + "\n# another\n")
        forget(monkeypatch)
        assert constraint_sources(function_of("helper"))[0] != before
        (rules / file).write_text(text)


def test_what_cannot_be_known_is_told() -> None:
    hashes, untold = constraint_sources(policy_with(kind="function", function="math:hypot"))
    lies_in_a_file = getattr(sys.modules["math"], "__file__", None) is not None
    assert bool(hashes) == lies_in_a_file
    hashes, untold = constraint_sources(policy_with(kind="function", function="sys:intern"))
    assert not hashes
    assert "constraint 'it': whether sys, which lies in no file" in untold[0]
    hashes, untold = constraint_sources(policy_with(kind="http", url="http://localhost:9/score"))
    assert not hashes
    assert "http://localhost:9/score still answers as it did" in untold[0]
    assert constraint_sources(policy_with(kind="words", most=3)) == ({}, [])


class Listens(Watcher):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_a_policy_is_trained_anew_when_a_function_has_changed(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_policy().save(rules / "model")
    few = {"steps": 1, "prompts_per_step": 2, "max_new_tokens": 3, "epochs": 1, "missing_end_penalty": 0}
    settings = function_of("plain").model_copy(update=few)
    prompts = [letters(n, 3) for n in range(4)]

    def train(out: str) -> tuple[float, list[str]]:
        forget(monkeypatch)
        listens = Listens()
        done = train_policy(
            rules / "model", lambda p, t: float(len(t)), prompts, rules / out, settings, watcher=listens
        )
        return done.metrics["history"][0]["constraint:it"], listens.said

    assert train("one")[0] == -1
    assert any("already done" in line for line in train("one")[1])
    # Of another length: Python knows a compiled file by the second and the size of its source.
    (rules / "house_rules.py").write_text(RULES.replace("1.0", "3.00"))
    with pytest.raises(Exception, match="result of another policy run"):
        train("one")
    assert train("two")[0] == -3
