"""What is held out stays out of training, by whatever way it comes into a project."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heed.errors import ProjectError
from heed.feedback import adjudication, answers, asked, items, queue
from heed.feedback.forms import parse_form
from heed.feedback.item_files import parse_item
from heed.feedback.showings import Rater
from heed.feedback.store import Store
from heed.loop import run_loop
from heed.people import exclusions
from heed.project import Project
from heed.rounds import Rounds
from heed.train.progress import Watcher
from tiny_project import TEST, TRAIN, Listener, finish, letters, make_project, tiny_settings, write_lines

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RATERS = ("ann", "bob", "eve")
FORM = {
    "title": "Which?",
    "fields": [
        {"kind": "comparison", "name": "better", "label": "Which is better?"},
        {"kind": "demonstration", "name": "own", "label": "Your own"},
    ],
    "overlap": 3,
    "gold_rate": 0.0,
    "repeat_rate": 0.0,
}


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


def answered_studio(store: Store, count: int) -> list[str]:
    """Items on the project's first prompts that ann, bob and eve have answered in the studio; their ids."""
    rng = random.Random(0)
    store.add_raters([(name, "human", "") for name in (*RATERS, "lea")])
    question = store.write(lambda c: asked.create_question(c, "Which", parse_form(FORM), "lea", NOON)).id
    rows = [judged(number, "") for number in range(count)]
    given = [parse_item({"prompt": row["prompt"], "completions": row["completions"]}) for row in rows]
    made = list(store.write(lambda c: items.add_items(c, question, given, NOON, rng)).ids)
    answer = {"better": {"choice": "left", "strength": 1}, "own": "abab"}
    for rater in map(Rater, RATERS):
        for _ in made:
            claimed = store.write(lambda c, rater=rater: queue.claim(c, rater, question, NOON, rng))
            assert isinstance(claimed, queue.Claimed)
            shown = claimed.showings[0].id
            store.write(
                lambda c, rater=rater, shown=shown: answers.answer(c, rater, shown, answer, None, 3.0, 2.0, "", NOON)
            )
    return made


def test_what_a_lead_overruled_and_excluded_raters_said_is_counted_and_no_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_project(tmp_path)
    monkeypatch.chdir(folder)
    listener, decision = Listener(), {"better": {"choice": "right", "strength": 2}, "own": "ba"}
    with Project.open(folder) as project:
        store, rounds = project.store, Rounds(project, listener)
        rounds.load_prompts()
        made = answered_studio(store, TRAIN)
        for item in made[:2]:
            store.write(lambda c, item=item: adjudication.adjudicate(c, Rater("lea"), item, decision, "", NOON))
        store.write(lambda c: exclusions.exclude(c, "eve", "in a hurry", "lea", NOON))
        tuned, reward = rounds.train_sft(), rounds.train_reward()
        assert tuned is not None
        for run, kind in ((tuned, "demonstration"), (reward, "comparison")):
            learned = store.feedback(ids=project.feedback_of(run.id))
            assert sorted(e.feedback.rater for e in learned) == sorted([*["ann", "bob"] * (TRAIN - 2), "lea", "lea"])
            assert {entry.feedback.kind for entry in learned} == {kind}
        assert tuned.metrics["left_out"] == {"of excluded raters": TRAIN, "overruled by a lead": 4}
        assert reward.metrics["left_out"] == {"of excluded raters": 2 * TRAIN, "overruled by a lead": 8}
    told = [text for text in listener.heard if text.startswith("judgments ")]
    assert told == [
        f"judgments of excluded raters, which are kept and not learned from: {TRAIN}",
        "judgments overruled by a lead, which are kept and not learned from: 4",
        f"judgments of excluded raters, which are kept and not learned from: {2 * TRAIN}",
        "judgments overruled by a lead, which are kept and not learned from: 8",
    ]
    assert listener.alarms == []


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
