"""``heed pretrain``: texts and judgments in, a backbone out that a reward model learns from."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from heed.cli import app
from heed.errors import ConfigError, DataError, ProjectError
from heed.feedback.kinds import prompt_id
from heed.models.reward import RewardModel
from heed.stages.contrastive import BETTER, POORER, Written, kinds_of, pretrain, qualities_of, read_written
from heed.stages.data import share_of
from heed.stages.judgments import Judgment
from heed.stages.results import trained_on
from heed.training_settings import ContrastiveSettings
from tiny_models import tiny_policy
from tiny_project import letters, write_lines

SMALL = ContrastiveSettings(prompts_per_step=8, epochs=1, dimensions=8, queue=8, prototypes=4)


def rows_of(count: int) -> list[dict[str, Any]]:
    rng = random.Random(1)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        better, worse = ("".join(rng.choice(own) for _ in range(5)) + letters(number, 2) for own in ("abc", "mno"))
        rows.append({"prompt": letters(number, 3), "chosen": better, "rejected": worse})
    return rows


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tiny_policy().save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("method", ["simclr", "moco", "swav"])
def test_the_backbone_that_is_written_serves_a_reward_model(tmp_path: Path, model: Path, method: str) -> None:
    data = write_lines(tmp_path / "pairs.jsonl", rows_of(24))
    out = tmp_path / "backbone"
    command = ["pretrain", "--model", str(model), "--data", str(data), "--out", str(out), "--method", method, "--quiet"]
    sets = [f"{name}={value}" for name, value in SMALL.model_dump().items()]
    command += [part for one in sets for part in ("--set", one)]
    assert not app(command, standalone_mode=False)
    card = json.loads((out / "heed.json").read_text())["metrics"]
    assert (card["texts"], card["too_long"], card["method"]) == (48, 0, method)
    held_out = sum(share_of(row["prompt"], "test") < SMALL.test_fraction for row in rows_of(24))
    assert held_out > 0
    assert card["judged"] == 2 * card["better"] == 2 * (24 - held_out)
    learned = trained_on(out)
    assert learned == {
        prompt_id(r["prompt"]) for r in rows_of(24) if share_of(r["prompt"], "test") >= SMALL.test_fraction
    }
    before = RewardModel.new(model, "mean", 1, 0).members[0].backbone
    after = RewardModel.new(out, "mean", 1, 0).members[0].backbone
    moved = [float((a - b).abs().max().detach()) for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert max(moved) > 1e-4
    reward = ["train", "reward", "--model", str(out), "--data", str(data), "--out", str(tmp_path / "reward"), "--quiet"]
    assert not app([*reward, "--set", "epochs=1", "--set", "raters=equal"], standalone_mode=False)


def test_the_same_run_is_not_done_again_and_another_is_refused(tmp_path: Path, model: Path) -> None:
    written, _ = read_written(write_lines(tmp_path / "pairs.jsonl", rows_of(16)))
    first = pretrain(model, written, tmp_path / "out", "simclr", SMALL)
    assert pretrain(model, written, tmp_path / "out", "simclr", SMALL) == first
    twin = pretrain(model, written, tmp_path / "twin", "simclr", SMALL)
    weights = [folder / "model.safetensors" for folder in (first.folder, twin.folder)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    with pytest.raises(ProjectError, match="another pretrain run"):
        pretrain(model, written, tmp_path / "out", "swav", SMALL)


def test_without_quality_judgments_are_not_looked_at(tmp_path: Path, model: Path) -> None:
    written, _ = read_written(write_lines(tmp_path / "pairs.jsonl", rows_of(16)))
    off = SMALL.model_copy(update={"quality": False})
    one = pretrain(model, written, tmp_path / "one", "simclr", off)
    other = pretrain(model, Written(written.texts, []), tmp_path / "other", "simclr", off)
    assert one.metrics == other.metrics
    assert one.metrics["judged"] == 0
    assert trained_on(tmp_path / "one") == frozenset()


def test_quality_is_what_judgments_say_more_of() -> None:
    def key(text: str) -> tuple[str, str]:
        return prompt_id("p"), text

    rows = [
        Judgment("thumb", "p", ("up",), True),
        Judgment("thumb", "p", ("split",), True),
        Judgment("thumb", "p", ("split",), False),
        Judgment("comparison", "p", ("won", "lost"), (0, 0)),
        Judgment("comparison", "p", ("tied", "won"), (2, 0)),
        Judgment("rating", "p", ("rated",), {"quality": (2.0, 1.0, 5.0, 1.0)}),
        Judgment("edit", "p", ("edited", "before"), None),
    ]
    found = qualities_of(rows)
    assert {text for (_, text), quality in found.items() if quality == BETTER} == {"up", "won", "edited"}
    assert {text for (_, text), quality in found.items() if quality == POORER} == {"lost", "rated", "before"}
    assert key("split") not in found
    assert key("tied") not in found


def test_kinds_of_prompts_are_told_by_their_words() -> None:
    prompts = [f"{'where is my order' if n % 2 else 'please cancel the subscription'} {n}" for n in range(20)]
    found = kinds_of(prompts, 2, 0)
    assert len({found[0], found[1]}) == 2
    assert all(kind == found[n % 2] for n, kind in enumerate(found))
    assert kinds_of(prompts, 1, 0) == [0] * 20
    assert kinds_of(prompts[:3], 8, 0) == [0, 1, 2]
    assert kinds_of(["a", "b", "c"], 2, 0) == [0, 0, 0]


def test_what_does_not_fit_is_refused(tmp_path: Path, model: Path) -> None:
    written, _ = read_written(write_lines(tmp_path / "pairs.jsonl", rows_of(4)))
    with pytest.raises(DataError, match=r"8 texts for moco: a text would be told from itself: .* are 16"):
        pretrain(model, written, tmp_path / "out", "moco", SMALL)
    with pytest.raises(ConfigError, match="method byol"):
        pretrain(model, written, tmp_path / "out", "byol", SMALL)
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(DataError):
        read_written(tmp_path / "none.jsonl")
