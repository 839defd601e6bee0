"""``heed train reward`` on judgments of any kind, and ``heed reweigh``, on files."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from heed.cli import app
from heed.errors import ConfigError, DataError
from tiny_models import byte_policy
from tiny_project import letters, write_lines

SCALES = {name: {"low": 1, "high": 5, "step": 1} for name in ("kind", "brief")}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny model; ratings on two attributes that part, and comparisons by raters of whom three of five invert."""
    byte_policy().save(tmp_path / "model")
    rng = random.Random(0)
    ratings, votes = [], []
    for n in range(30):
        text = "a" * rng.randrange(1, 5) + "b" * rng.randrange(1, 5)
        scores = {"kind": min(5, 1 + text.count("a")), "brief": max(1, 6 - len(text))}
        base = {"prompt": letters(n // 2, 3)}
        ratings.append({**base, "kind": "rating", "completions": [text], "scores": scores, "scales": SCALES})
        texts = ["aaa" + letters(n, 2), "bbb" + letters(n, 2)]
        votes += [
            {**base, "kind": "comparison", "rater": f"rater {k}", "completions": texts, "choice": "b" if k < 3 else "a"}
            for k in range(5)
        ]
    write_lines(tmp_path / "ratings.jsonl", ratings)
    write_lines(tmp_path / "votes.jsonl", votes)
    write_lines(tmp_path / "gold.jsonl", [{**vote, "rater": "lea", "choice": "a"} for vote in votes[:50:5]])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def heed(*arguments: str) -> int:
    return app(arguments, standalone_mode=False) or 0


TRAIN = ("train", "reward", "--model", "model", "--quiet", "--set", "epochs=2", "--set", "prompts_per_step=8")


def test_ratings_alone_and_other_weights_afterwards(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert heed(*TRAIN, "--data", "ratings.jsonl", "--kind", "rating", "--out", "one") == 0
    card = json.loads(Path("one/reward.json").read_text())
    assert card["card"]["weights"] == {"reward": 0.0, "kind": 0.5, "brief": 0.5}
    assert heed("reweigh", "--reward", "one", "--weight", "brief=1", "--out", "two") == 0
    assert "the sum of brief 1; nothing was trained" in capsys.readouterr().out
    assert json.loads(Path("two/reward.json").read_text())["card"]["weights"] == {"reward": 0, "kind": 0, "brief": 1}
    write_lines(files / "shown.jsonl", [{"prompt": "abc", "completion": "a" * n} for n in range(1, 9)])
    scores = []
    for model in ("one", "two"):
        assert heed("score", "--reward", model, "--data", "shown.jsonl", "--out", f"{model}.jsonl") == 0
        scores.append([json.loads(line)["score"] for line in Path(f"{model}.jsonl").read_text().splitlines()])
    assert scores[0] != scores[1]
    with pytest.raises(ConfigError, match="NAME=NUMBER"):
        heed("reweigh", "--reward", "one", "--weight", "brief", "--out", "three")
    with pytest.raises(ConfigError, match="a weight of 'polite'"):
        heed("reweigh", "--reward", "one", "--weight", "polite=1", "--out", "three")


def test_two_camps_are_refused_until_a_file_of_known_answers_tells_who_is_right(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--set", "epochs=4", "--set", "learning_rate=0.02")
    with pytest.raises(DataError, match="which way the reward points cannot be told"):
        heed(*TRAIN, *more, "--data", "votes.jsonl", "--out", "one")
    assert heed(*TRAIN, *more, "--data", "votes.jsonl", "--gold", "gold.jsonl", "--out", "two") == 0
    raters = json.loads(Path("two/reward.json").read_text())["card"]["raters"]
    assert [raters[f"rater {k}"]["reliability"] > 0 for k in range(5)] == [False] * 3 + [True] * 2
    assert "answers to gold items say which way is up" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="kind"):
        heed(*TRAIN, "--data", "votes.jsonl", "--kind", "opinion", "--out", "three")


def test_a_table_is_read_with_any_separator_and_one_of_other_names_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [[f"q{n}", "a good long answer" + " indeed" * (n % 5), "no" * (1 + n % 3)] for n in range(30)]
    train = ("train", "reward", "--backbone", "linear", "--quiet", "--data")
    for name, separator in (("commas", ","), ("semicolons", ";")):
        lines = [separator.join(row) for row in [["Prompt", "Chosen", "Rejected"], *rows]]
        Path(f"{name}.csv").write_text("\n".join(lines), encoding="utf-8")
        assert heed(*train, f"{name}.csv", "--out", name) == 0
    cards = [json.loads(Path(name, "reward.json").read_text())["card"] for name in ("commas", "semicolons")]
    assert cards[0] == cards[1]
    Path("other.csv").write_text("question;good;bad\nq;a;b\n", encoding="utf-8")
    with pytest.raises(DataError, match="columns are 'question', 'good', 'bad'") as refused:
        heed(*train, "other.csv", "--out", "other")
    assert "prompt, chosen and rejected" in refused.value.fix
