"""What is held out stays out of training, by whatever way it comes into a project."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from heed.errors import ProjectError
from heed.loop import run_loop
from heed.project import Project
from heed.rounds import Rounds
from heed.train.progress import Watcher
from tiny_project import TEST, TRAIN, finish, letters, make_project, tiny_settings, write_lines


class Listener(Watcher):
    def __init__(self) -> None:
        self.alarms: list[str] = []

    def alarm(self, text: str) -> None:
        self.alarms.append(text)


def judged(number: int, rater: str) -> dict[str, object]:
    """A comparison on the project's prompt of this number; the test prompts come last."""
    completions = [letters(3 * number + 1, 4), letters(5 * number + 2, 5)]
    return {
        "kind": "comparison",
        "rater": rater,
        "prompt": letters(number, 3),
        "completions": completions,
        "choice": "a",
    }


def test_judgments_of_held_out_raters_are_refused_at_import(tmp_path: Path) -> None:
    folder, log = make_project(tmp_path), tmp_path / "log"
    rows = [judged(n, rater) for n, rater in enumerate(["eve", "gauge", "eve", "gauge"])]
    assert finish(folder, log, "feedback", "import", str(write_lines(tmp_path / "in.jsonl", rows))) == 1
    assert "line 2: rater 'gauge' is held out in heed.yaml" in log.read_text()
    with Project.open(folder) as project:
        assert {entry.feedback.rater for entry in project.store.feedback()} == {"eve"}


def test_imported_judgments_of_a_simulated_rater_do_not_stand_in_its_way(tmp_path: Path) -> None:
    folder, log = make_project(tmp_path), tmp_path / "log"
    source = write_lines(tmp_path / "in.jsonl", [judged(0, "ann")])
    assert finish(folder, log, "feedback", "import", str(source)) == 0, log.read_text()
    assert finish(folder, log, "loop") == 0, log.read_text()
    with Project.open(folder) as project:
        assert {rater.kind for rater in project.store.raters() if rater.name == "ann"} == {"simulated"}


def test_judgments_about_test_prompts_are_kept_and_not_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, log = make_project(tmp_path), tmp_path / "log"
    rows = [judged(number, "eve") for number in range(TRAIN + TEST)]
    assert finish(folder, log, "feedback", "import", str(write_lines(tmp_path / "in.jsonl", rows))) == 0
    monkeypatch.chdir(folder)
    listener = Listener()
    with Project.open(folder) as project:
        reward = Rounds(project, listener).train_reward()
        learned = {entry.feedback.prompt_id for entry in project.store.feedback(ids=project.feedback_of(reward.id))}
        assert learned == {prompt.id for prompt in project.store.prompts(split="train")}
        assert len(project.store.feedback()) == TRAIN + TEST
    assert listener.alarms == [f"{TEST} judgments are about test prompts: they are kept, and not learned from"]


def test_demonstrations_for_test_prompts_are_not_learned_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, log = make_project(tmp_path), tmp_path / "log"
    rows = [
        {"kind": "demonstration", "rater": "eve", "prompt": letters(n, 3), "completions": [], "text": "abab"}
        for n in range(TRAIN + TEST)
    ]
    assert finish(folder, log, "feedback", "import", str(write_lines(tmp_path / "in.jsonl", rows))) == 0
    monkeypatch.chdir(folder)
    listener = Listener()
    with Project.open(folder) as project:
        run = Rounds(project, listener).train_sft()
        assert run is not None
        learned = {e.feedback.prompt_id for e in project.store.feedback(ids=project.feedback_of(run.id))}
        assert learned == {prompt.id for prompt in project.store.prompts(split="train")}
    assert listener.alarms == [f"{TEST} judgments are about test prompts: they are kept, and not learned from"]


def test_only_the_projects_own_prompts_are_rolled_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversations come with imported feedback; the tiny model has no chat template and could not read them."""
    folder, log = make_project(tmp_path), tmp_path / "log"
    talk = [{"role": "user", "content": "abc"}]
    row = {"kind": "demonstration", "rater": "eve", "prompt": talk, "completions": [], "text": "abab"}
    assert finish(folder, log, "feedback", "import", str(write_lines(tmp_path / "in.jsonl", [row]))) == 0
    monkeypatch.chdir(folder)
    with Project.open(folder) as project:
        run = Rounds(project, Watcher()).sample()
        sampled = {completion.prompt_id for completion in project.store.completions(run_id=run.id)}
        own = {p["prompt"] for p in map(json.loads, (folder / "prompts.jsonl").read_text().splitlines())}
        assert {prompt.content for prompt in project.store.prompts(ids=list(sampled))} <= own


def test_where_all_completions_are_the_same_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy = tiny_settings(tmp_path / "model").sampling.model_copy(update={"temperature": 0.0})
    folder = make_project(tmp_path, sampling=greedy)
    monkeypatch.chdir(folder)
    with Project.open(folder) as project, pytest.raises(ProjectError, match="all the same") as caught:
        run_loop(project, 1)
    assert "sampling.temperature" in caught.value.fix
