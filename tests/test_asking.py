"""What a project asks next: the loop's choices, the studio's scores, stopped and gone on with; and what labels are worth."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from heed.chosen import candidate_pairs, choices_of, judgment_weights
from heed.config import AskingSettings, RatersSettings, SamplingSettings
from heed.errors import ProjectError
from heed.feedback import asked, item_scores
from heed.feedback.forms import default_form, parse_form
from heed.feedback.studio_schema import item_scores as scores_table
from heed.feedback.studio_schema import items as items_table
from heed.loop import run_loop
from heed.project import Project
from heed.rounds import Rounds, WaitingForPeopleError
from heed.studio_items import items_from_runs
from heed.train.progress import Watcher
from tiny_project import Listener, completed, make_project, tiny_settings

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
FOUR = SamplingSettings(prompts=16, samples_per_prompt=4, max_new_tokens=6, rows_per_batch=16)


def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, selector: str = "disagreement", **changes: object) -> Path:
    asking = AskingSettings(selector=selector, chance_share=0.2)  # type: ignore[arg-type]
    reward = tiny_settings(tmp_path).reward.model_copy(update={"test_fraction": 0.4, "validation_fraction": 0.2})
    asked = tiny_settings(tmp_path).raters.model_copy(update={"comparisons": 16})
    folder = make_project(tmp_path, **({"raters": asked} | changes), asking=asking, sampling=FOUR, reward=reward)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project that asks by disagreement, sampled from and with a reward model of chance's choices."""
    with Project.open(make(tmp_path, monkeypatch)) as opened:
        rounds = Rounds(opened, Watcher())
        rounds.sample()
        rounds.collect()
        rounds.train_reward()
        yield opened


def test_the_loop_asks_by_chance_first_and_by_the_reward_model_from_then_on(tmp_path, monkeypatch) -> None:
    with Project.open(make(tmp_path, monkeypatch)) as project:
        listener = Listener()
        run_loop(project, 2, listener)
        first, second = (project.run(f"choose-{n}") for n in (1, 2))
        assert (first.metrics["by"], first.metrics["why"]) == ("random", "there is no reward model yet")
        assert any("by chance instead of disagreement" in text for text in listener.heard)
        assert (second.metrics["by"], second.metrics["reward"]) == ("disagreement", "reward-1")
        asked_about = Counter(frozenset(s.feedback.completion_ids) for s in project.store.feedback())
        chosen = {run: choices_of(project, run) for run in ("choose-1", "choose-2")}
        assert set(asked_about) == {choice.pair for choices in chosen.values() for choice in choices}
        for run, sampled in (("choose-1", "sample-1"), ("choose-2", "sample-2")):
            pairs = {item.pair for item in candidate_pairs(project, sampled)}
            assert {choice.pair for choice in chosen[run]} <= pairs
            assert len({choice.prompt for choice in chosen[run]}) == len(chosen[run]) == 16, "one a prompt"
            assert all(0 < choice.probability <= 1 <= choice.eligible for choice in chosen[run])
        assert "choose-2" in project.run("ask-2").parents
        weights = judgment_weights(project)
        assert set(weights) == {s.id for s in project.store.feedback()}
        assert len(set(weights.values())) > 2
        before = project.runs()
        run_loop(project, 2)
        assert project.runs() == before


@pytest.mark.parametrize("selector", ["d_optimal", "thompson", "gap"])
def test_every_selector_chooses_and_chooses_no_pair_twice(tmp_path, monkeypatch, selector) -> None:
    raters = tiny_settings(Path("model")).raters.model_copy(update={"comparisons": 20})
    with Project.open(make(tmp_path, monkeypatch, selector, raters=raters)) as project:
        rounds = Rounds(project, Watcher())
        rounds.sample()
        rounds.collect()
        rounds.train_reward()
        again = rounds.choose()
        assert again.metrics["by"] == selector
        pairs = [c.pair for run in ("choose-1", "choose-2") for c in choices_of(project, run)]
        assert len(pairs) == len(set(pairs)) == 40
        assert rounds.choose().id == "choose-2"


def test_people_are_asked_what_was_chosen_first(tmp_path, monkeypatch) -> None:
    people = RatersSettings(comparisons=5)
    with Project.open(make(tmp_path, monkeypatch, raters=people, demonstrations="")) as project:
        with pytest.raises(WaitingForPeopleError, match="5 of 5 items"):
            run_loop(project, 1)
        chosen = [choice.pair for choice in choices_of(project, "choose-1")]
        rounds = Rounds(project, Watcher())
        asked_first = [item.pair for item in rounds.open_items(rater="eve")]
        assert asked_first[:5] == chosen
        assert len(set(asked_first)) == len(asked_first) > 5
        assert [item.pair for item in rounds.open_items(limit=3)] == chosen[:3]


def test_a_choice_that_was_stopped_is_made_again_as_it_would_have_been(project: Project, tmp_path: Path) -> None:
    shutil.copytree(project.folder, tmp_path / "undisturbed")
    with Project.open(tmp_path / "undisturbed") as undisturbed:
        expected = choices_of(undisturbed, Rounds(undisturbed, Watcher()).choose().id)
    with pytest.raises(KeyboardInterrupt):
        Rounds(project, Listener(stop_at=1)).choose()
    assert project.run("choose-2").state == "stopped"
    made = Rounds(project, Watcher()).choose()
    assert (made.id, made.state) == ("choose-2", "done")
    assert choices_of(project, made.id) == expected


def ask_in_studio(project: Project, selector: str = "d_optimal") -> str:
    """A question about all sampled pairs; its id."""
    form = parse_form(default_form().model_dump() | {"selector": selector})
    question = project.store.write(lambda c: asked.create_question(c, "which", form, "lead", NOON)).id
    items_from_runs(project, question, NOON, random.Random(0))
    return question


def scores_in(project: Project) -> dict[str, tuple[float, ...]]:
    with project.store.reading() as connection:
        rows = connection.execute(select(scores_table)).all()
    return {row.item_id: (row.disagreement, row.d_optimal, row.thompson, row.gap) for row in rows}


def test_after_training_the_studios_items_are_weighed_for_every_selector(project: Project) -> None:
    assert Rounds(project, Watcher()).weigh() is None, "no question asks for it"
    ask_in_studio(project)
    Rounds(project, Watcher(), fresh=True).train_reward()
    run = project.run("weigh-1")
    found = scores_in(project)
    with project.store.reading() as connection:
        open_items = {r.id: r.prompt_id for r in connection.execute(select(items_table).where(items_table.c.available))}
    assert set(found) == set(open_items)
    assert run.metrics["items"] == len(open_items)
    for values in zip(*found.values(), strict=True):
        assert min(values) >= 0
        assert max(values) == 1
    worthy = Counter(open_items[item] for item, values in found.items() if values[1] > 0)
    assert set(worthy.values()) == {1}, "one item of a prompt"


def test_chosen_pairs_become_items_before_others(project: Project) -> None:
    question = ask_in_studio(project)
    chosen = {choice.pair for choice in choices_of(project, "choose-1")}
    with project.store.reading() as connection:
        rows = connection.execute(select(items_table).where(items_table.c.question_id == question)).all()
    first = {frozenset(row.completion_ids) for row in rows if row.priority == 1}
    assert first == chosen
    assert len(rows) > len(first)


def test_weighing_that_was_killed_between_two_pieces_goes_on_to_the_same_scores(project, monkeypatch) -> None:
    ask_in_studio(project)
    monkeypatch.setattr(item_scores, "ITEMS_PER_TRANSACTION", 4)
    put_down, calls = item_scores.put_down, []

    def killed(*args: object) -> None:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        put_down(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(item_scores, "put_down", killed)
    with pytest.raises(KeyboardInterrupt):
        Rounds(project, Watcher()).weigh()
    assert len(scores_in(project)) == 8
    again = Rounds(project, Watcher()).weigh()
    assert again is not None
    assert (again.id, again.state) == ("weigh-1", "done")
    kept = scores_in(project)
    Rounds(project, Watcher(), fresh=True).weigh()
    assert scores_in(project) == kept


def test_what_comes_out_of_turn_is_told(tmp_path, monkeypatch) -> None:
    with Project.open(make(tmp_path, monkeypatch)) as project:
        rounds = Rounds(project, Watcher())
        with pytest.raises(ProjectError, match="heed sample"):
            rounds.choose()
        ask_in_studio(project)
        with pytest.raises(ProjectError, match="heed train reward"):
            rounds.weigh()


@pytest.mark.slow
def test_labels_say_what_they_are_worth_or_why_that_is_unknown(tmp_path, monkeypatch) -> None:
    raters = tiny_settings(Path("model")).raters.model_copy(update={"comparisons": 160})
    sampling = FOUR.model_copy(update={"samples_per_prompt": 8})
    asking = AskingSettings(selector="gap", label_cost=2.0, accuracy_value=3.0)
    folder = make_project(tmp_path, asking=asking, sampling=sampling, raters=raters)
    monkeypatch.chdir(folder)
    with Project.open(folder) as project:
        rounds = Rounds(project, Watcher())
        rounds.sample()
        rounds.collect()
        rounds.train_reward()
        rounds.collect()
        run = rounds.labels(40)
        assert "reason" not in run.metrics["curve"], run.metrics["curve"]
        assert run.metrics["curve"]["further"] == 40
        assert run.metrics["curve"]["labels"] == len(project.store.feedback())
        assert "They would cost 80" in run.metrics["verdict"]
        assert run.metrics["earlier"][0]["run"] == "reward-1"
        asked_right, overall = run.metrics["asked"], run.metrics["overall"]
        assert asked_right["n"] == overall["n"] > 0
        assert "self-normalised" in overall["method"]
        assert rounds.labels(40).id == run.id
    told = completed(folder, "labels", "--next", "40", "--quiet")
    assert told.returncode == 0, told.stderr
    assert "The next 40 labels would raise accuracy by" in told.stdout
    assert "labels more" in told.stdout
    as_json = completed(folder, "labels", "--next", "40", "--json", "--quiet")
    assert as_json.returncode == 0, as_json.stderr
    assert json.loads(as_json.stdout)["id"] == run.id
    chosen = completed(folder, "select", "--quiet")
    assert chosen.returncode == 0, chosen.stderr
    assert "choose-" in chosen.stdout
    assert "no question of the studio goes by a reward model" in chosen.stderr


def test_few_labels_are_not_enough_for_a_curve(project: Project) -> None:
    run = Rounds(project, Watcher()).labels()
    assert "unknown: A curve takes 40 comparisons" in run.metrics["verdict"]
