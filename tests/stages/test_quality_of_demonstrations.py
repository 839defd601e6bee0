"""What supervised tuning learns from: edits, judged texts, and a classifier that says which demonstrations are good."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from heed.cli import app
from heed.config import SFTSettings, parse_settings
from heed.errors import ConfigError, DataError
from heed.stages.data import DemonstrationRow
from heed.stages.judgments import Judgment
from heed.stages.shown import POORER, chosen, sentence, weights_of
from heed.stages.supervised import train_sft
from heed.train.quality import FOLDS, Labelled, out_of_fold
from tiny_models import byte_policy
from tiny_project import write_lines

GOOD, BAD = ["kind", "clear", "helpful", "warm"], ["rude", "vague", "cold", "wrong"]
PLAIN = ["the", "reply", "says", "what", "it", "can", "of", "this"]


def text_of(quality: float, rng: random.Random) -> str:
    """A text whose share of kind words is its quality."""
    return " ".join(
        rng.choice(PLAIN) if rng.random() < 0.5 else rng.choice(GOOD if rng.random() < quality else BAD)
        for _ in range(16)
    )


def thumbs(count: int, seed: int, rater: str = "ann", turned: bool = False) -> list[Judgment]:
    """Thumbs up for texts whose quality is above the middle, of two texts a prompt."""
    rng, rows = random.Random(seed), []
    for number in range(count):
        quality = rng.random()
        up = (quality + rng.gauss(0, 0.1) > 0.5) != turned
        rows.append(Judgment("thumb", f"prompt {number // 2}", (text_of(quality, rng),), up, rater))
    return rows


def planted(count: int, seed: int) -> list[tuple[float, DemonstrationRow]]:
    rng = random.Random(seed)
    found = []
    for number in range(count):
        quality = rng.random()
        found.append((quality, DemonstrationRow(f"asked {number}", text_of(quality, rng))))
    return found


def qualities(kept: list[DemonstrationRow], shown: list[tuple[float, DemonstrationRow]]) -> float:
    truth = {row.answer: quality for quality, row in shown}
    return sum(truth[row.answer] for row in kept) / len(kept)


def test_the_kept_share_is_better_and_what_is_weighed_up_is_better() -> None:
    shown, labels = planted(200, 1), thumbs(200, 2)
    rows = [row for _, row in shown]
    all_of_them = qualities(rows, shown)
    kept = chosen(rows, labels, SFTSettings(quality="keep"))
    assert 40 < len(kept.rows) < 160
    assert qualities(kept.rows, shown) > all_of_them + 0.12
    strict = chosen(rows, labels, SFTSettings(quality="keep", quality_from=0.8))
    assert len(strict.rows) < len(kept.rows)
    assert qualities(strict.rows, shown) > qualities(kept.rows, shown)
    assert kept.told["left_out"] == {POORER: 200 - len(kept.rows)}
    assert kept.told["accuracy"]["low"] > 0.6
    assert "labels the classifier of quality told" in sentence(kept.told)
    weighed = chosen(rows, labels, SFTSettings(quality="weigh"))
    weights = [row.weight for row in weighed.rows]
    assert [row._replace(weight=1.0) for row in weighed.rows] == rows
    assert np.mean(weights) == pytest.approx(1)
    assert np.corrcoef(weights, [quality for quality, _ in shown])[0, 1] > 0.6
    off = chosen(rows, labels, SFTSettings())
    assert off.rows == rows
    assert off.told == {"sources": {"demonstrations": 200}}
    assert sentence(off.told) == ""


def test_no_text_is_judged_by_its_own_label() -> None:
    """Labels without any sense can be learned by heart; out of fold they say nothing."""
    rng = random.Random(0)
    texts = [" ".join(f"w{rng.randrange(4000)}" for _ in range(12)) for _ in range(200)]
    good = np.array([rng.random() < 0.5 for _ in texts], dtype=float)
    fold = np.arange(200) % FOLDS
    found = out_of_fold(Labelled(texts, good, np.ones(200), fold), texts, fold)
    assert found.chances == pytest.approx(found.of_labelled)
    assert abs(float(((found.chances > 0.5) == (good > 0.5)).mean()) - 0.5) < 0.12
    changed = good.copy()
    changed[fold == 2] = 1 - changed[fold == 2]
    again = out_of_fold(Labelled(texts, changed, np.ones(200), fold), texts, fold)
    if again.strength == found.strength:
        assert again.chances[fold == 2] == pytest.approx(found.chances[fold == 2])
    assert again.chances[fold != 2] != pytest.approx(found.chances[fold != 2])


def test_raters_who_tell_nothing_count_nothing() -> None:
    shown = planted(150, 3)
    rows = [row for _, row in shown]
    labels = [*thumbs(120, 4), *thumbs(240, 5, rater="mallory", turned=True)]
    keep = SFTSettings(quality="keep")
    alike = chosen(rows, labels, keep)
    weighed = chosen(rows, labels, keep, {"ann": 0.9, "mallory": -0.8})
    assert qualities(weighed.rows, shown) > qualities(rows, shown) + 0.1 > qualities(alike.rows, shown) + 0.1
    assert weighed.told["labels_of_no_weight"] == 240
    assert weights_of(["ann", "bob", "ann"], None) == [1.0, 1.0, 1.0]
    assert weights_of(["ann", "bob", "eve"], {"ann": 0.9, "bob": 0.3, "eve": -1.0}) == pytest.approx([1.5, 0.5, 0.0])
    assert weights_of(["ann", "new"], {"ann": 1.0, "bob": 0.5}) == pytest.approx([8 / 7, 6 / 7])


def test_edits_and_judged_texts_are_learned_from_where_they_are_named() -> None:
    edit = Judgment("edit", "p", ("better", "worse"), None, "ann")
    pair = Judgment("comparison", "p", ("x", "y"), (0, 0), "ann")
    rows = [DemonstrationRow("p", "shown")]
    assert [r.answer for r in chosen(rows, [edit, pair], SFTSettings()).rows] == ["shown"]
    both = chosen(rows, [edit, edit, pair], SFTSettings(sources=["demonstrations", "edits"]))
    assert [r.answer for r in both.rows] == ["shown", "better"]
    assert both.told["sources"] == {"demonstrations": 1, "edits": 1}
    assert [r.answer for r in chosen(rows, [edit], SFTSettings(sources=["edits"])).rows] == ["better"]
    labels = thumbs(200, 2)
    judged = chosen(rows, labels, SFTSettings(sources=["judged"], quality="keep"))
    up = {row.texts[0] for row in labels if row.said}
    kept = [row.answer in up for row in judged.rows]
    assert sum(kept) / len(kept) > 0.75
    assert len(kept) < len({row.texts[0] for row in labels})


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="set quality to keep or weigh"):
        parse_settings(SFTSettings, {"sources": ["judged"]}, "--set")
    rows = [row for _, row in planted(5, 1)]
    with pytest.raises(DataError, match=r"labels for \d good and 0 bad texts"):
        chosen(rows, [row for row in thumbs(12, 2) if row.said], SFTSettings(quality="keep"))
    with pytest.raises(DataError, match="none of 5 texts is good enough"):
        chosen(rows, thumbs(200, 2), SFTSettings(quality="keep", quality_from=1.0))


def test_on_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    byte_policy(max_position_embeddings=512).save(tmp_path / "model")
    shown = planted(60, 1)
    data = write_lines(
        tmp_path / "shown.jsonl",
        [
            *({"kind": "demonstration", "prompt": row.prompt, "text": row.answer} for _, row in shown),
            {"kind": "edit", "prompt": "p", "completions": ["worse"], "edited": "the better reply"},
        ],
    )
    rated = [{"kind": "thumb", "prompt": r.prompt, "completions": list(r.texts), "up": r.said} for r in thumbs(100, 2)]
    labels = write_lines(tmp_path / "labels.jsonl", rated)
    command = [
        "train",
        "sft",
        "--model",
        str(tmp_path / "model"),
        "--data",
        str(data),
        "--quiet",
        "--set",
        "epochs=0.1",
    ]

    def metrics(name: str, *more: str) -> dict[str, object]:
        assert not app([*command, "--out", str(tmp_path / name), *more], standalone_mode=False)
        return dict(json.loads((tmp_path / name / "heed.json").read_text())["metrics"])

    assert metrics("plain")["demonstrations"] == 60
    assert metrics("edited", "--set", "sources=[demonstrations, edits]")["sources"] == {
        "demonstrations": 60,
        "edits": 1,
    }
    kept = metrics("kept", "--set", "quality=keep", "--labels", str(labels))
    assert 10 < kept["demonstrations"] < 50  # type: ignore[operator]
    assert "Left out:" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="quality is off"):
        app([*command, "--out", str(tmp_path / "x"), "--labels", str(labels)], standalone_mode=False)
    with pytest.raises(DataError, match="has none of: edits"):
        app(
            [*command[:5], str(labels), "--out", str(tmp_path / "x"), "--set", "sources=[edits]"], standalone_mode=False
        )


def test_other_labels_are_another_run_only_where_they_are_used(tmp_path: Path) -> None:
    byte_policy(max_position_embeddings=512).save(tmp_path / "model")
    rows = [row for _, row in planted(40, 1)]
    first = train_sft(tmp_path / "model", rows, tmp_path / "off", SFTSettings(epochs=0.1), judgments=thumbs(100, 2))
    assert train_sft(tmp_path / "model", rows, tmp_path / "off", SFTSettings(epochs=0.1)) == first
    keep = SFTSettings(epochs=0.1, quality="keep")
    kept = train_sft(tmp_path / "model", rows, tmp_path / "keep", keep, judgments=thumbs(100, 2))
    assert kept.metrics["demonstrations"] < 40
    for other in ({"judgments": thumbs(100, 9)}, {"judgments": thumbs(100, 2), "reliability": {"ann": 0.5}}):
        with pytest.raises(Exception, match="already holds the result of another"):
            train_sft(tmp_path / "model", rows, tmp_path / "keep", keep, **other)  # type: ignore[arg-type]
