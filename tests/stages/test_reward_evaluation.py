"""``heed evaluate reward`` on files and in projects, with reward models that were trained."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from heed import cli
from heed.config import RewardSettings, SamplingSettings
from heed.errors import ConfigError, DataError
from heed.evaluate.reward_diagnosis import RewardDiagnosis
from heed.feedback.kinds import Comparison, completion_id, prompt_id
from heed.feedback.store import CompletionRecord
from heed.people import exclusions
from heed.project import Project
from heed.rounds import Rounds
from heed.stages.data import FIRST, SECOND, ComparisonRow, share_of
from heed.stages.results import trained_on
from heed.stages.reward import train_reward
from heed.stages.reward_evaluation import (
    _Leads,
    evaluate_project_reward,
    evaluate_reward,
    judged_in_file,
    judged_in_project,
    source_of,
)
from heed.statistics import Undefined
from heed.train.progress import Watcher
from tiny_models import tiny_policy
from tiny_project import letters, make_project, write_lines

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
PROMPTS = [letters(n, 3) for n in range(40)]


def heed(*arguments: str) -> None:
    """``heed ARGUMENTS`` in this process."""
    before, sys.argv = sys.argv, ["heed", *arguments]
    try:
        cli.app(list(arguments), standalone_mode=False)
    finally:
        sys.argv = before


def texts(number: int) -> tuple[str, str]:
    """Two texts of which the first has more of the letter a."""
    rng = random.Random(number)
    return "a" * rng.randint(3, 6) + rng.choice("bcd"), "".join(rng.choice("bcd") for _ in range(6))


def training_rows() -> list[ComparisonRow]:
    """Three comparisons of each of the first 30 prompts, by the letter a."""
    rows = []
    for number in range(90):
        good, bad = texts(number)
        swap = number % 2
        rows.append(
            ComparisonRow(PROMPTS[number % 30], *((bad, good) if swap else (good, bad)), SECOND if swap else FIRST)
        )
    return rows


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model that likes the letter a, trained on the first 30 prompts."""
    folder = tmp_path_factory.mktemp("reward")
    tiny_policy(initializer_range=0.05).save(folder / "model")
    settings = RewardSettings(
        epochs=6, prompts_per_step=16, learning_rate=1e-2, test_fraction=0.2, validation_fraction=0.2
    )
    train_reward(folder / "model", training_rows(), folder / "reward", settings)
    return folder / "reward"


def test_training_leaves_the_prompts_that_it_learned_from(reward: Path) -> None:
    held_out = {prompt for prompt in PROMPTS[:30] if share_of(prompt, "test") < 0.2}
    left = trained_on(reward)
    assert left is not None
    assert 0 < len(held_out) < 30
    assert len(left) == 30 - len(held_out)
    assert trained_on(reward / "member-0") is None


def pairs_file(folder: Path) -> Path:
    """A benchmark: two subsets of pairs, the second with its labels the wrong way round."""
    rows: list[Any] = []
    for number, prompt in enumerate(PROMPTS):
        good, bad = texts(1000 + number)
        subset = "right" if number % 4 else "wrong"
        chosen, rejected = (good, bad) if subset == "right" else (bad, good)
        rows.append({"id": number, "prompt": prompt, "chosen": chosen, "rejected": rejected, "subset": subset})
    rows.append({"prompt": PROMPTS[0], "chosen": "a" * 200, "rejected": "b", "subset": "right"})
    rows.append("{broken")
    return write_lines(folder / "pairs.jsonl", rows)


def test_pairs_of_a_benchmark_by_subset(reward: Path, tmp_path: Path) -> None:
    judged, broken = judged_in_file(pairs_file(tmp_path))
    assert [row.line for row in broken] == [42]
    found = evaluate_reward(reward, judged, device="cpu")
    (subsets,) = (division for division in found.by if division.by == "subset")
    shares = {part.name: part.accuracy for part in subsets.parts}
    assert {name: one.n for name, one in shares.items()} == {"right": 30, "wrong": 10}
    assert shares["right"].above(0.7)
    assert shares["wrong"].below(0.5)
    assert found.subset_mean is not None
    assert found.subset_mean.estimate == pytest.approx(sum(one.estimate or 0 for one in shares.values()) / 2)
    assert (found.too_long, found.claims) == (1, 40), (
        "the text that is too long is left out, and nothing else of its batch"
    )
    assert {one.feedback for one in found.contested[:5]} <= {f"line {number + 1}" for number in range(0, 40, 4)}


@pytest.mark.parametrize("kind", ["linear", "pairwise"])
def test_rewards_of_other_kinds_are_held_against_judgments_too(reward: Path, kind: Any, tmp_path: Path) -> None:
    settings = RewardSettings(backbone=kind, test_fraction=0.2, validation_fraction=0.2, epochs=4, members=1)
    train_reward(reward.parent / "model", training_rows(), tmp_path / "reward", settings)
    learned = trained_on(tmp_path / "reward")
    assert learned is not None
    judged, _ = judged_in_file(pairs_file(tmp_path), learned=learned)
    found = evaluate_reward(tmp_path / "reward", judged, device="cpu")
    assert found.learned_from == sum(prompt_id(prompt) in learned for prompt in [*PROMPTS, PROMPTS[0]])
    (subsets,) = (division for division in found.by if division.by == "subset")
    shares = {part.name: part.accuracy.estimate for part in subsets.parts}
    assert shares["right"] > 0.7 > 0.3 > shares["wrong"]
    if kind == "pairwise":
        assert not isinstance(found.order, Undefined)
        assert found.order.changed.estimate == 0.0, "its leads change their sign with the order, and nothing else"


def test_conversations_and_thumbs_are_read_as_imports_read_them(reward: Path, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "abc"}]
    rows = [
        {"prompt": turns, "chosen": [{"role": "assistant", "content": "aa"}], "rejected": "bb", "subset": "chat"},
        {"prompt": "c", "completion": "aaa", "label": True},
        {"prompt": "d", "completion": "bbb", "label": False},
    ]
    judged, broken = judged_in_file(write_lines(tmp_path / "mixed.jsonl", rows))
    assert not broken
    assert [one.subset for one in judged] == ["chat", "", ""]
    found = evaluate_reward(reward, judged[1:], device="cpu")
    (thumbs,) = found.graded
    assert (thumbs.name, thumbs.accuracy.estimate) == ("thumb", 1.0)


def test_a_model_that_reads_pairs_is_asked_for_leads_and_what_it_refuses_is_left_out() -> None:
    class Longer:
        """Prefers the longer text; refuses calls in which one has over 9 characters, as a model with a small context does."""

        def leads(self, prompts: list[Any], first: list[str], second: list[str]) -> list[float]:
            if any(len(text) > 9 for text in (*first, *second)):
                raise DataError("a text", "it is too long.", "Shorten it.")
            return [float(len(a) - len(b)) for a, b in zip(first, second, strict=True)]

    first = ["aaa", "a" * 20, "aa", "a", "a" * 9, "b"]
    found = _Leads(Longer(), Watcher()).leads(["p"] * 6, first, ["b"] * 5 + ["b" * 10])
    assert found == [2.0, None, 1.0, 0.0, 8.0, None]


def test_files_without_a_judgment_are_refused(tmp_path: Path, reward: Path) -> None:
    with pytest.raises(DataError):
        judged_in_file(write_lines(tmp_path / "none.jsonl", [{"prompt": "p"}]))
    with pytest.raises(DataError, match="no judgment"):
        evaluate_reward(reward, [])


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("votes.csv:17", "votes.csv"),
        ("a:b.jsonl:3", "a:b.jsonl"),
        ("heed ask", "heed ask"),
        ("q1", "Which?"),
        ("", ""),
        (":3", ":3"),
    ],
)
def test_sources_for_people(source: str, shown: str) -> None:
    assert source_of(source, {"q1": "Which?"}) == shown


def test_the_command_on_files(reward: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = pairs_file(tmp_path)
    heed("evaluate", "reward", "--reward", str(reward), "--data", str(data), "--out", str(tmp_path / "found"), "-q")
    shown = capsys.readouterr()
    found = RewardDiagnosis.model_validate_json((tmp_path / "found" / "reward.json").read_text())
    assert found.verdict in shown.out
    assert "subset of the benchmark" in shown.out
    assert "contradicted most surely" in shown.out
    assert str(tmp_path / "found" / "reward.html") in shown.out
    assert "line 42" in shown.err
    learned = trained_on(reward)
    assert learned is not None
    assert found.learned_from == sum(1 for prompt in [*PROMPTS, PROMPTS[0]] if prompt_id(prompt) in learned)
    heed("evaluate", "reward", "--reward", str(reward), "--data", str(data), "--json", "-q")
    assert RewardDiagnosis.model_validate_json(capsys.readouterr().out) == found


def test_options_of_the_other_command_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="--set before 'reward'"):
        heed("evaluate", "--set", "prompts=3", "reward")


# In a project


@pytest.fixture(scope="module")
def judged_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose reward model has learned from simulated raters."""
    place = make_project(
        tmp_path_factory.mktemp("diagnosed"),
        sampling=SamplingSettings(prompts=16, samples_per_prompt=4, max_new_tokens=6),
        reward=RewardSettings(prompts_per_step=8, epochs=2, test_fraction=0.4, validation_fraction=0.2),
    )
    before = Path.cwd()
    os.chdir(place)
    with Project.open(place) as project:
        project.settings.raters.comparisons = 32
        stages = Rounds(project, Watcher())
        stages.sample()
        stages.collect()
        stages.train_reward()
        yield project
    os.chdir(before)


def test_a_project_is_measured_on_what_was_held_out(judged_project: Project) -> None:
    reward = judged_project.latest("reward")
    assert reward is not None
    run = evaluate_project_reward(judged_project, reward)
    found = RewardDiagnosis.model_validate(run.metrics)
    assert (run.stage, run.state, run.parents) == ("diagnosis", "done", (reward.id,))
    assert found.judgments == len(judged_project.store.feedback())
    assert found.claims == reward.metrics["held_out"]
    assert found.accuracy.model_dump(mode="json") == reward.metrics["accuracy"], "the same claims as training held out"
    ids = {one.id for one in judged_project.store.feedback()}
    assert {one.feedback for one in found.contested} <= ids
    (raters,) = (division for division in found.by if division.by == "rater")
    assert {part.name for part in raters.parts} <= {"ann", "bob"}
    (groups,) = (division for division in found.by if division.by == "group")
    assert [part.name for part in groups.parts] == ["everyone"]
    assert evaluate_project_reward(judged_project, reward).id == run.id, "done before with the same inputs"


def test_without_the_list_it_knows_from_the_run_what_was_held_out(judged_project: Project) -> None:
    reward = judged_project.latest("reward")
    assert reward is not None
    with_list = [one.held_out for one in judged_in_project(judged_project, reward)]
    file = judged_project.artifact("model", reward.id) / "trained_on.json"
    content = file.read_text()
    file.unlink()
    try:
        without = [one.held_out for one in judged_in_project(judged_project, reward)]
    finally:
        file.write_text(content)
    assert with_list == without
    assert True in with_list
    assert False in with_list


def test_later_judgments_and_test_prompts_count_as_held_out_and_the_excluded_do_not_count(
    judged_project: Project,
) -> None:
    reward = judged_project.latest("reward")
    assert reward is not None
    store = judged_project.store
    before = len(judged_in_project(judged_project, reward))
    prompt = store.prompts(split="test")[0]
    ids = [completion_id(prompt.id, text, "import") for text in ("aa", "bb")]
    store.add_completions([CompletionRecord(i, prompt.id, text) for i, text in zip(ids, ("aa", "bb"), strict=True)])
    for rater in ("cy", "dee"):
        made = Comparison(rater=rater, prompt_id=prompt.id, completion_ids=(ids[0], ids[1]), choice="b", created=NOON)
        store.add_feedback([made])
    store.write(lambda c: exclusions.exclude(c, "dee", "a test", "lea", NOON))
    later = judged_in_project(judged_project, reward)
    assert len(later) == before + 1
    assert (later[-1].feedback.rater, later[-1].held_out) == ("cy", True)


def test_the_command_in_a_project(judged_project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    heed("evaluate", "reward", "--json", "-q")
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "reward-1"
    written = json.loads((judged_project.folder / "reward.json").read_text())
    assert written == found
    assert found["verdict"] in (judged_project.folder / "reward.html").read_text().replace("&#39;", "'").replace(
        "\u00a0", " "
    )
    heed("runs")
    assert "diagnosis-" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="there is none of this name"):
        heed("evaluate", "reward", "--reward", "reward-9")
