"""Conversations in files as demonstrations: read, looked at and trained on with every answer of the assistant learned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from heed.cli import app
from heed.config import SFTSettings
from heed.stages.data import DemonstrationRow, read_demonstrations
from heed.stages.supervised import train_sft
from tiny_models import END, byte_policy

CHAT = (
    "{% for m in messages %}{{ m.role[0] }}>{{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}a>{% endif %}"
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    policy = byte_policy()
    policy.tokenizer.chat_template = CHAT
    policy.save(tmp_path / "model")
    return tmp_path / "model"


def written(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def turns(*said: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[k % 2], "content": text} for k, text in enumerate(said)]


def test_a_file_of_messages_shows_all_that_the_assistant_says_and_a_prompt_with_a_completion_the_completion(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"messages": turns("q", "yes", "r", "no")},
        {"prompt": turns("q", "yes", "r"), "completion": [{"role": "assistant", "content": "no"}]},
    ]
    data = written(tmp_path / "talks.jsonl", rows)
    found, broken = read_demonstrations(data)
    assert not broken
    assert [(row.answer, row.whole, len(row.prompt)) for row in found] == [("no", True, 3), ("no", False, 3)]
    command = ["preview", "--model", str(model), "--data", str(data), "--json"]
    assert not app(command, standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    learned = [
        "".join(token for token, own in zip(seen["tokens"], seen["learned"], strict=True) if own)
        for seen in told["shown"]
    ]
    assert learned == [f"yes{END}no{END}", f"no{END}"]
    assert told["learned"] == 4 + 3 + 3
    out = ["train", "sft", "--model", str(model), "--data", str(data), "--out", str(tmp_path / "out")]
    assert not app([*out, "--set", "epochs=1", "--quiet"], standalone_mode=False)
    assert json.loads((tmp_path / "out" / "heed.json").read_text())["metrics"]["tokens_learned"] == 10


def test_whole_and_last_are_two_runs_and_whole_teaches_the_first_answer(tmp_path: Path, model: Path) -> None:
    data = written(tmp_path / "talks.jsonl", [{"messages": turns("q", "yes", "r", "no")}])
    whole, _ = read_demonstrations(data)
    last = [DemonstrationRow(row.prompt, row.answer) for row in whole]
    settings = SFTSettings(epochs=25, learning_rate=2e-2)
    losses = {}
    for name, rows in (("whole", whole), ("last", last)):
        made = train_sft(model, rows, tmp_path / name, settings)
        again = train_sft(
            tmp_path / name, [(whole[0].prompt[:1], "yes")], tmp_path / f"{name}-asked", SFTSettings(epochs=1)
        )
        losses[name] = again.metrics["loss_before"]
        assert made.metrics["loss_after"] < 0.1
    assert losses["whole"] < 0.1 < 1 < losses["last"]
