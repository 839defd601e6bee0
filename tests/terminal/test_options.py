"""Options that several commands share: what becomes of odd values, and the name of who sits at the keyboard."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from heed.cli import app
from heed.config import SamplingSettings, SFTSettings
from heed.errors import ConfigError
from heed.terminal.options import Choices

NAME_OF = """
import os, sys
from heed.errors import ConfigError
from heed.terminal.options import user_name
os.setuid(int(sys.argv[1]))
try:
    print(user_name())
except ConfigError as error:
    print(error.fix)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize(("user", "told"), [("0", "root"), ("1234567", "Give one: heed ask --rater NAME")])
def test_a_user_without_a_name_is_told_to_give_one(user: str, told: str) -> None:
    named = ("LOGNAME", "USER", "LNAME", "USERNAME")
    environment = {name: value for name, value in os.environ.items() if name not in named}
    command = [sys.executable, "-c", NAME_OF, user]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout == f"{told}\n", done.stderr


def settings(*sets: str, config: Path | None = None) -> SamplingSettings:
    return Choices("sampling", config, sets).settings(SamplingSettings())


def test_a_value_may_be_yaml_or_text() -> None:
    assert settings("stop=[a, b]", "temperature=5e-1").stop == ["a", "b"]
    with pytest.raises(ConfigError) as caught:
        settings("temperature=[")
    assert "'temperature' is '['" in caught.value.what


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("temperature=.inf", "'temperature' is inf"),
        ("temperature=.nan", "'temperature' is nan"),
        ("temperature=-1", "'temperature' is -1"),
        ("temperature=1e-40", "'temperature' is '1e-40'"),
        ("temperature=1e300", "'temperature' is '1e300'"),
        ("prompts=9999999999999999999999", "'prompts' is 9999999999999999999999"),
        (f"prompts=0x{'f' * 20_000}", "'prompts' is a number of 80,000 bits"),
        ('stop=["\\udcff"]', "'stop.0' is '\\udcff'"),
        ("stop=[a, 5]", "'stop.1' is 5"),
        (f"{'k' * 100_000}=1", "unknown key 'kkkk"),
        ("x" * 100_000, "--set xxxx"),
    ],
)
def test_a_value_that_will_not_do_is_named_and_cut(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(text)
    assert told in caught.value.what
    assert len(str(caught.value)) < 1000


def test_a_file_is_read_as_carefully_as_heed_yaml(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    for content, told in (("temperature: 1\ntemperature: 2\n", "given twice"), ("x" * 300_000, "too large")):
        file.write_text(content)
        with pytest.raises(ConfigError, match=told) as caught:
            settings(config=file)
        assert str(file) in caught.value.what
    file.write_text("sft: {epochs: 3}\n")
    assert Choices("sft", file).settings(SFTSettings()).epochs == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "--round", "99999999999999999999"],
        ["evaluate", "--round", "-1"],
        ["loop", "--rounds", "99999999999999999999"],
        ["loop", "--rounds", "0"],
        ["chat", "--temperature", "-1"],
        ["chat", "--temperature", "warm"],
        ["chat", "--max-new-tokens", "0"],
        ["chat", "--seed", "99999999999999999999"],
        ["ask", "--limit", "0"],
    ],
)
def test_numbers_out_of_bounds_are_refused_by_the_option(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "Invalid value" in done.output
    assert arguments[1] in done.output


def test_every_stage_calls_the_turn_of_the_loop_the_same() -> None:
    for command in (["sample"], ["ask"], ["evaluate"], ["train", "reward"], ["train", "policy"]):
        assert "--round" in CliRunner().invoke(app, [*command, "--help"]).output
