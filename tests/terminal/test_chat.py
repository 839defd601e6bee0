"""The chat when something is amiss: what is said, what is forgotten, and what the program ends with."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from heed.config import ProjectSettings
from heed.errors import ConfigError, ModelError, ProjectError
from heed.project import Cost, Project
from heed.terminal.chat import chat
from heed.terminal.models import reward_folder
from tiny_models import byte_policy

TURNS = "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('take turns') }}{% endif %}"
TURNS += "[{{ m.content }}]{% endfor %}"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model of 96 tokens, in an empty current folder."""
    byte_policy().save(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    return "model"


def talk(
    monkeypatch: pytest.MonkeyPatch, model: str | None, said: str, temperature: float = 1.0, most: int | None = 4
) -> bool:
    monkeypatch.setattr(sys, "stdin", io.StringIO(said))
    return chat(model, None, temperature, most, 0, "cpu")


def test_a_line_that_is_no_text_is_told_and_the_others_are_answered(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert talk(monkeypatch, model, "hello\n")
    alone = capsys.readouterr().out
    assert not talk(monkeypatch, model, "caf\udce9\nhello\na\x00b\n")
    shown = capsys.readouterr()
    assert shown.out == alone
    assert "the line 'caf\\udce9'" in shown.err
    assert "the line 'a\\x00b'" in shown.err


@pytest.mark.parametrize("temperature", [float("inf"), float("nan"), -1.0, 1e-30, 1e300])
def test_a_temperature_that_is_none_is_refused(model: str, monkeypatch: pytest.MonkeyPatch, temperature: float) -> None:
    with pytest.raises(ConfigError, match="heed chat: 'temperature' is"):
        talk(monkeypatch, model, "hello\n", temperature)


@pytest.mark.parametrize("most", [96, 100_000])
def test_replies_that_leave_no_room_are_refused_at_once(model: str, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    with pytest.raises(ConfigError, match=r"context of model is 96 tokens.*--max-new-tokens 48"):
        talk(monkeypatch, model, "hello\n", most=most)
    assert talk(monkeypatch, model, "h\n", most=95)


def test_what_could_not_be_answered_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its half of an exchange would stand in the way of every later one: this template insists on turns."""
    policy = byte_policy()
    policy.tokenizer.chat_template = TURNS
    policy.save(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    assert talk(monkeypatch, "model", "one\ntwo\n")
    undisturbed = capsys.readouterr().out.splitlines()
    assert not talk(monkeypatch, "model", f"one\n{'x' * 200}\ntwo\n")
    shown = capsys.readouterr()
    assert "tokens of yours" in shown.err
    assert "take turns" not in shown.err
    assert len(shown.out.splitlines()) == len(undisturbed)


def test_a_project_that_cannot_be_opened_is_not_taken_for_none(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Project.create(Path("p"), ProjectSettings(name="p", model=model)).close()
    Path("p/heed.db").write_text("this is no database, and long enough not to be taken for an empty one" * 100)
    monkeypatch.chdir("p")
    with pytest.raises(ProjectError, match="not an SQLite database"):
        talk(monkeypatch, "../model", "hello\n")


def test_a_name_that_means_no_model_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="no such folder, and no project"):
        reward_folder("gone")
    with pytest.raises(ProjectError, match="heed init"):
        reward_folder(None)
    with Project.create(tmp_path / "p", ProjectSettings(name="p", model="nobody/none")) as project:
        project.begin_run("sample", {}, 0).finish({}, Cost())
    monkeypatch.chdir(tmp_path / "p")
    with pytest.raises(ModelError, match="no such run"):
        reward_folder("\udcff")
    with pytest.raises(ModelError, match="no model of sample-1"):
        reward_folder("sample-1")
