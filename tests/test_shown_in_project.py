"""In a project supervised tuning learns from the store's edits and judged texts, chosen by what its raters said."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heed.config import SFTSettings
from heed.feedback.formats.rows import import_ids
from heed.feedback.kinds import Edit, Thumb, prompt_id
from heed.feedback.store import CompletionRecord
from heed.project import Project
from heed.rounds import Rounds
from heed.train.progress import Watcher
from tiny_project import TEST, TRAIN, letters, make_project

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def judged(project: Project, rng: random.Random) -> None:
    """Eight texts of each prompt with a thumb: up for those of many a; and one edit."""
    project.store.add_prompts([(letters(n, 3), "train", "prompts.jsonl") for n in range(TRAIN)])
    for number in range(TRAIN):
        prompt = letters(number, 3)
        key = prompt_id(prompt)
        for place in range(8):
            text = "".join(rng.choice("aaab" if place % 2 else "cdef") for _ in range(6)) + letters(place, 1)
            (identity,) = import_ids(prompt, [text])
            project.store.add_completions([CompletionRecord(identity, key, text)])
            common = {"rater": "eve", "prompt_id": key, "created": NOON, "completion_ids": (identity,)}
            project.store.add_feedback([Thumb(up=bool(place % 2), **common)])
            if place == number == 0:
                project.store.add_feedback([Edit(edited="aaaaaa", **common)])


@pytest.mark.parametrize("quality", ["keep", "weigh"])
def test_edits_and_liked_texts_of_the_store_are_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quality: str
) -> None:
    sft = SFTSettings(sources=["edits", "judged"], quality=quality, epochs=0.1)  # type: ignore[arg-type]
    folder = make_project(tmp_path, sft=sft)
    monkeypatch.chdir(folder)
    with Project.open(folder) as project:
        rounds = Rounds(project, Watcher())
        rounds.load_prompts()
        judged(project, random.Random(1))
        run = rounds.train_sft()
        assert run is not None
        assert run.metrics["sources"] == {"edits": 1, "judged": 8 * TRAIN}
        assert run.metrics["labels"] == 8 * TRAIN
        assert run.metrics["accuracy"]["low"] > 0.65
        kept = run.metrics["demonstrations"]
        assert kept == 8 * TRAIN + 1 if quality == "weigh" else 3 * TRAIN < kept < 6 * TRAIN
        assert rounds.train_sft() == run
        assert "eve" in "\n".join(project.trace(run.id).lines())


def test_where_nothing_named_is_there_nothing_is_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_project(tmp_path, sft=SFTSettings(sources=["edits"], epochs=0.1))
    monkeypatch.chdir(folder)
    with Project.open(folder) as project:
        rounds = Rounds(project, Watcher())
        rounds.load_prompts()
        assert rounds.train_sft() is None
        assert len(project.store.prompts()) == TRAIN + TEST
