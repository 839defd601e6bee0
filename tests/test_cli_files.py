"""The stage commands on plain files, the chat, and what Ctrl-C does, with a tiny model."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from heed.cli import app
from heed.errors import ConfigError, DataError, ModelError, ProjectError
from tiny_models import byte_policy


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    """Keep this process and its children on one core: with threads, tiny products wait for each other on a busy machine."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    yield
    os.sched_setaffinity(0, cores)
    torch.set_num_threads(1)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny model, demonstrations, comparisons in TRL's format and prompts of both splits."""
    byte_policy().save(tmp_path / "model")
    rng = random.Random(0)
    words = ["ab", "cd", "ef", "gh"]
    rows = [(f"p{n} ", rng.choice(words), rng.choice(words)) for n in range(60)]
    write(tmp_path / "shown.jsonl", [{"prompt": p, "completion": c} for p, c, _ in rows])
    write(tmp_path / "pairs.jsonl", [{"prompt": p, "chosen": f"{c} yes", "rejected": f"{c} no"} for p, c, _ in rows])
    write(tmp_path / "test.jsonl", [{"prompt": f"q{n} ", "chosen": "ab yes", "rejected": "cd no"} for n in range(12)])
    write(tmp_path / "prompts.jsonl", [{"prompt": f"p{n} ", "split": "test" if n % 2 else "train"} for n in range(12)])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def heed(*arguments: str) -> int:
    """The command in this process; its exit code."""
    return app(arguments, standalone_mode=False) or 0


def test_the_stages_work_on_files_one_after_the_other(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["--set", "epochs=1", "--set", "prompts_per_step=20"]
    assert heed("train", "sft", "--model", "model", "--data", "shown.jsonl", "--out", "sft", *quick) == 0
    shown = capsys.readouterr()
    assert "3 steps on 60 demonstrations" in shown.out
    assert "supervised tuning:" in shown.err
    assert "3/3" in shown.err

    assert (
        heed(
            *(
                "train",
                "reward",
                "--model",
                "model",
                "--data",
                "pairs.jsonl",
                "--test",
                "test.jsonl",
                "--out",
                "reward",
            ),
            *("--set", "epochs=4", "--set", "members=1", "--seed", "3", "-q"),
        )
        == 0
    )
    shown = capsys.readouterr()
    assert "of 12 held-out comparisons" in shown.out
    assert shown.err == ""
    assert json.loads(Path("reward/heed.json").read_text())["identity"]["seed"] == 3

    (files / "rows.jsonl").write_text(Path("shown.jsonl").read_text() + "{broken\n")
    assert heed("score", "--reward", "reward", "--data", "rows.jsonl") == 1
    shown = capsys.readouterr()
    scored = [json.loads(line) for line in shown.out.splitlines()]
    assert [row["prompt"] for row in scored] == [f"p{n} " for n in range(60)]
    assert all(isinstance(row["score"], float) for row in scored)
    assert "rows.jsonl, line 61:" in shown.err
    assert heed("score", "--reward", "reward", "--data", "shown.jsonl", "--out", "scored.jsonl") == 0
    assert [json.loads(line) for line in Path("scored.jsonl").read_text().splitlines()] == scored

    small = ["--set", "steps=2", "--set", "prompts_per_step=2", "--set", "max_new_tokens=8"]
    policy = [
        "train",
        "policy",
        "--model",
        "sft",
        "--reward",
        "reward",
        "--prompts",
        "prompts.jsonl",
        "--out",
        "policy",
    ]
    capsys.readouterr()
    assert heed(*policy, *small) == 0
    assert "6 test prompts left out" in capsys.readouterr().err

    compared = ["evaluate", "--policy", "policy", "--reference", "sft", "--prompts", "prompts.jsonl", "--out", "found"]
    assert heed(*compared, "--reward", "reward", "--max-new-tokens", "8") == 0
    shown = capsys.readouterr()
    found = json.loads(Path("found/evaluation.json").read_text())
    assert found["proxy"]["prompts"] == 6
    assert found["verdict"]["sentence"] in shown.out
    assert "true win rate" in shown.out
    assert "undefined: No true utility is known here." in shown.out


def test_a_whole_heed_yaml_serves_as_config_and_single_settings_go_over_it(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("heed.yaml").write_text("name: x\nmodel: y\nsft:\n  epochs: 7\n  prompts_per_step: 30\n", encoding="utf-8")
    base = ["train", "sft", "--model", "model", "--data", "shown.jsonl", "--config", "heed.yaml"]
    assert heed(*base, "--out", "one", "--set", "epochs=1") == 0
    settings = json.loads(Path("one/heed.json").read_text())["identity"]["settings"]
    assert (settings["epochs"], settings["prompts_per_step"]) == (1.0, 30)


def test_wrong_files_are_refused_before_any_work(files: Path) -> None:
    with pytest.raises(DataError, match="has no comparison"):
        heed("train", "reward", "--model", "model", "--data", "shown.jsonl", "--out", "reward")
    write(files / "held.jsonl", [{"prompt": "p", "split": "test"}])
    with pytest.raises(DataError, match="no prompt to train on"):
        heed(*("train", "policy", "--model", "model", "--reward", "r", "--prompts", "held.jsonl", "--out", "o"))
    write(files / "kept.jsonl", [{"prompt": "p", "split": "train"}])
    with pytest.raises(ConfigError, match="no test prompts"):
        heed("evaluate", "--policy", "model", "--reference", "model", "--prompts", "kept.jsonl")
    with pytest.raises(ModelError):
        heed("train", "sft", "--model", "./gone", "--data", "shown.jsonl", "--out", "o")


def talk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str, *options: str) -> list[str]:
    monkeypatch.setattr(sys, "stdin", io.StringIO(said))
    capsys.readouterr()
    assert heed("chat", "--model", "model", "--max-new-tokens", "8", *options) == 0
    return capsys.readouterr().out.split("\n")


def test_the_chat_repeats_itself_by_its_seed_and_forgets_on_reset(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = talk(monkeypatch, capsys, "hello\n", "--seed", "4")
    assert alone == talk(monkeypatch, capsys, "hello\n/quit\nnever\n", "--seed", "4")
    assert alone != talk(monkeypatch, capsys, "hello\n", "--seed", "5")
    twice = "\n".join(talk(monkeypatch, capsys, "hello\n/reset\nhello\n", "--seed", "4"))
    assert twice == "\n".join(alone) * 2
    assert not {character for character in twice if character < " " and character != "\n"}


def test_two_models_answer_side_by_side(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    byte_policy(seed=1).save(files / "other")
    said = "\n".join(talk(monkeypatch, capsys, "hello\n", "--against", "other", "--temperature", "0"))
    assert said.startswith("model: ")
    assert "\nother: " in said


def test_a_long_chat_goes_on_and_says_what_it_forgets(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(("x" * 60 + "\n") * 3))
    assert heed("chat", "--model", "model", "--max-new-tokens", "8") == 0
    assert "no longer fit and are forgotten" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_goes_on(files: Path) -> None:
    command = [sys.executable, "-c", "from heed.cli import main; main()", "train", "sft", "--model", "model"]
    command += ["--data", "shown.jsonl", "--out", "sft", "--set", "epochs=10", "--set", "prompts_per_step=6"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as first:
        assert first.stderr is not None
        while "/100" not in first.stderr.readline():
            assert first.poll() is None
        first.send_signal(signal.SIGINT)
        told = first.stderr.read()
        assert first.wait(60) == 130
    assert "stopped; the same command goes on from here" in told
    assert "Traceback" not in told
    second = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert second.returncode == 0, second.stderr
    assert "100 steps on 60 demonstrations" in second.stdout
    begun = next(line for line in second.stderr.splitlines() if "/100" in line)
    assert int(begun.split("/")[0]) > 1


def test_where_results_cannot_go_is_told_before_the_work(files: Path) -> None:
    compared = ["evaluate", "--policy", "./no-such-model", "--reference", "model", "--prompts", "prompts.jsonl"]
    with pytest.raises(ConfigError, match="it is no folder"):
        heed(*compared, "--out", "prompts.jsonl")
    with pytest.raises(ConfigError, match="with another file is another model"):
        heed(*compared, "--out", "./model")
    with pytest.raises(ModelError, match="no-such-model"):
        heed(*compared, "--out", "new/folder")
    shown = (files / "shown.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="would be replaced"):
        heed("score", "--reward", "./no-such-model", "--data", "shown.jsonl", "--out", "./shown.jsonl")
    assert (files / "shown.jsonl").read_bytes() == shown
    for bad in ("\udcff", "prompts.jsonl"):
        with pytest.raises(ProjectError, match=r"^folder"):
            heed("train", "sft", "--model", "model", "--data", "shown.jsonl", "--out", bad)
