"""The stages as functions on plain data: what they write, what they measure, and what they do when called again."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heed.config import EvaluateSettings, PolicySettings, RewardSettings, SFTSettings
from heed.errors import ConfigError, DataError, ProjectError, TrainingError
from heed.feedback.kinds import prompt_id
from heed.models.reward import RewardModel
from heed.raters.simulated import SimulatedRater
from heed.stages.data import FIRST, SECOND, TIE, ComparisonRow
from heed.stages.evaluation import evaluate_policy
from heed.stages.policy import train_policy
from heed.stages.results import prepare_machine
from heed.stages.reward import share_of, train_reward
from heed.stages.supervised import train_sft
from heed.train.progress import Watcher
from tiny_models import tiny_policy
from tiny_project import letter_likes, letters

QUICK = RewardSettings(epochs=3, prompts_per_step=16, learning_rate=1e-2, test_fraction=0.25, validation_fraction=0.2)
PROMPTS = [letters(n, 3) for n in range(48)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    tiny_policy(initializer_range=0.05).save(folder)
    return folder


def compared(count: int, seed: int = 0) -> list[ComparisonRow]:
    """Three comparisons a prompt; more of the letter a is better, and equal counts tie."""
    rng = random.Random(seed)
    rows = []
    for n in range(count):
        a, b = ("".join(rng.choice("abcd") for _ in range(6)) for _ in range(2))
        gap = a.count("a") - b.count("a")
        rows.append(ComparisonRow(letters(n // 3, 3), a, b, FIRST if gap > 0 else SECOND if gap < 0 else TIE))
    return rows


class Listener(Watcher):
    def __init__(self) -> None:
        self.heard: list[str] = []
        self.plans: dict[str, dict[str, str]] = {}

    def say(self, text: str) -> None:
        self.heard.append(text)

    def plan(self, title: str, lines: dict[str, str]) -> None:
        self.plans[title] = lines


def finite(value: Any) -> bool:
    """Whether all numbers in JSON-able data are numbers."""
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def test_sft_leaves_a_model_and_its_figures_and_is_done_once(model: Path, tmp_path: Path) -> None:
    shown = [(p, "aab") for p in PROMPTS] + [("a", "b" * 200)]
    settings = SFTSettings(epochs=4, prompts_per_step=16, learning_rate=1e-2)
    listener = Listener()
    first = train_sft(model, shown, tmp_path / "out", settings, seed=1, watcher=listener)
    assert first.metrics["too_long"] == 1
    assert first.metrics["demonstrations"] == len(PROMPTS)
    assert first.metrics["loss_after"] < first.metrics["loss_before"]
    assert f"of {settings.prompts_per_step} examples" in listener.plans["supervised tuning"]["steps"]
    card = json.loads((tmp_path / "out" / "heed.json").read_text())
    assert finite(card)
    assert (card["stage"], card["metrics"]) == ("sft", first.metrics)
    assert not (tmp_path / "out" / "checkpoints").exists()
    assert train_sft(model, shown, tmp_path / "out", settings, seed=1, watcher=listener) == first
    assert any("already done" in text for text in listener.heard)
    for other in ({"seed": 2}, {"demonstrations": shown[:3]}, {"settings": SFTSettings()}):
        values: dict[str, Any] = {"demonstrations": shown, "settings": settings, "seed": 1, **other}
        with pytest.raises(ProjectError, match="another sft run"):
            train_sft(model, out=tmp_path / "out", **values)
    again = train_sft(model, shown, tmp_path / "twin", settings, seed=1)
    assert (tmp_path / "twin/model.safetensors").read_bytes() == (tmp_path / "out/model.safetensors").read_bytes()
    assert again.metrics == first.metrics


def test_a_prompt_stays_on_its_side_of_the_split_whatever_else_is_there(model: Path, tmp_path: Path) -> None:
    sides = [share_of(prompt, "test") < 0.25 for prompt in PROMPTS]
    assert sides == [share_of(prompt, "test") < 0.25 for prompt in PROMPTS]
    shares = [share_of(f"prompt {n}", "test") for n in range(4000)]
    assert np.histogram(shares, 10, (0, 1))[0] == pytest.approx(400, abs=5 * math.sqrt(400 * 0.9))
    validation = [share_of(f"prompt {n}", "validation") for n in range(4000)]
    assert abs(np.corrcoef(shares, validation)[0, 1]) < 5 / math.sqrt(4000), "the two splits know nothing of each other"


def test_the_reward_model_is_measured_on_prompts_it_never_saw(model: Path, tmp_path: Path) -> None:
    rows = compared(144)
    listener = Listener()
    done = train_reward(model, rows, tmp_path / "out", QUICK, seed=2, watcher=listener)
    held = [row for row in rows if share_of(row.prompt, "test") < 0.25]
    trained = [
        row for row in rows if row not in held and share_of(row.prompt, "validation") >= QUICK.validation_fraction
    ]
    assert not {prompt_id(r.prompt) for r in held} & {prompt_id(r.prompt) for r in trained}
    assert done.metrics["trained_on"] == len(trained)
    assert (
        f"{len(held)} comparisons of {len({r.prompt for r in held})} prompts"
        in listener.plans["reward model"]["held out"]
    )
    right = done.metrics["accuracy"]["clustered"]
    assert right["n"] == sum(row.outcome != TIE for row in held)
    assert done.metrics["ties"] == sum(row.outcome == TIE for row in rows)
    assert finite(json.loads((tmp_path / "out" / "heed.json").read_text()))
    # The accuracy again, from the scores alone.
    network = RewardModel.load(tmp_path / "out")
    sides = [network.score([r.prompt for r in held], [getattr(r, side) for r in held]).tolist() for side in "ab"]
    judged = [(a > b) == (row.outcome == FIRST) for row, a, b in zip(held, *sides, strict=True) if row.outcome != TIE]
    assert right["estimate"] == pytest.approx(np.mean(judged))
    assert f"Right on {100 * right['estimate']:.1f} % of {right['n']}" in done.verdict


def adds_up(metrics: dict[str, Any], given: int) -> bool:
    """Whether the parts of the comparisons are all that were given."""
    parts = ("trained_on", "validation", "held_out", "on_test_prompts", "too_long")
    return metrics["comparisons"] == given == sum(metrics[part] for part in parts)


def test_what_became_of_every_comparison_is_said(model: Path, tmp_path: Path) -> None:
    rows = compared(144)
    held = [row for row in rows if share_of(row.prompt, "test") < QUICK.test_fraction]
    kept = [row for row in rows if row not in held and share_of(row.prompt, "validation") < QUICK.validation_fraction]
    done = train_reward(model, rows, tmp_path / "out", QUICK)
    assert done.verdict.startswith(
        f"Learned from {144 - len(held) - len(kept)} of 144 comparisons "
        f"({len(kept)} kept to tell when to stop; {len(held)} held out to measure on). "
    )
    ties = sum(row.outcome == TIE for row in held)
    assert f" % of {len(held) - ties} held-out comparisons" in done.verdict
    assert f"; beside them, ties: {ties}." in done.verdict
    assert adds_up(done.metrics, 144)
    test = compared(12, seed=9)
    tested = train_reward(model, rows, tmp_path / "tested", QUICK, test=test)
    prompts = {row.prompt for row in test}
    about = sum(row.prompt in prompts for row in rows)
    assert f"; {about} left out: about prompts of the test comparisons)" in tested.verdict
    assert adds_up(tested.metrics, 156)


def test_a_test_set_of_its_own_keeps_its_prompts_out_of_training(model: Path, tmp_path: Path) -> None:
    rows = compared(60)
    test = compared(12, seed=9)
    done = train_reward(model, rows, tmp_path / "out", QUICK, test=test)
    tested = {row.prompt for row in test}
    assert done.metrics["trained_on"] <= sum(row.prompt not in tested for row in rows)
    assert done.metrics["accuracy"]["clustered"]["n"] == sum(row.outcome != TIE for row in test)


def test_the_temperature_knows_only_the_validation_comparisons(model: Path, tmp_path: Path) -> None:
    rows = compared(144)
    turned = [
        row._replace(outcome={FIRST: SECOND, SECOND: FIRST}.get(row.outcome, TIE))
        if share_of(row.prompt, "test") < QUICK.test_fraction
        else row
        for row in rows
    ]
    one, other = (train_reward(model, r, tmp_path / name, QUICK) for name, r in (("one", rows), ("other", turned)))
    assert one.metrics["temperature"] == other.metrics["temperature"]
    total = [m.metrics["accuracy"]["clustered"]["estimate"] for m in (one, other)]
    assert sum(total) == pytest.approx(1.0)


CROSSED = QUICK.model_copy(update={"members": 3, "cross_fit": True, "validation_fraction": 0.0})


def fold_of(prompt: str) -> int:
    """Of three: prompts are dealt out in the order of their hash."""
    dealt = sorted({row.prompt for row in compared(120)}, key=lambda p: share_of(p, "fold"))
    return dealt.index(prompt) % 3


def test_cross_fitting_measures_every_comparison_by_a_member_that_never_saw_its_prompt(
    model: Path, tmp_path: Path
) -> None:
    rows = compared(120)
    listener = Listener()
    done = train_reward(model, rows, tmp_path / "out", CROSSED, seed=2, watcher=listener)
    right = done.metrics["accuracy"]["clustered"]
    assert (done.metrics["trained_on"], right["n"]) == (120, sum(row.outcome != TIE for row in rows))
    assert "all 120 comparisons in turn" in listener.plans["reward model"]["held out"]
    assert "had not seen its prompt" in done.verdict
    assert done.verdict.startswith("Learned from 120 of 120 comparisons. Right on ")
    # The accuracy again, from the members as they were saved, each on its own share.
    network = RewardModel.load(tmp_path / "out")
    judged = []
    for number, member in enumerate(network.members):
        alone = RewardModel([member], network.reader, network.pooling)
        for row in rows:
            if fold_of(row.prompt) == number and row.outcome != TIE:
                a, b = alone.score([row.prompt] * 2, [row.a, row.b]).tolist()
                judged.append((a > b) == (row.outcome == FIRST))
    assert right["estimate"] == pytest.approx(np.mean(judged))


@pytest.mark.slow
def test_a_member_is_the_same_whatever_the_comparisons_it_leaves_out_say(model: Path, tmp_path: Path) -> None:
    rows = compared(120)
    turned = [
        row._replace(outcome={FIRST: SECOND, SECOND: FIRST}.get(row.outcome, TIE)) if fold_of(row.prompt) == 1 else row
        for row in rows
    ]
    for name, given in (("one", rows), ("other", turned)):
        train_reward(model, given, tmp_path / name, CROSSED, seed=2)
    same = [
        (tmp_path / "one" / f"member-{n}/model.safetensors").read_bytes()
        == (tmp_path / "other" / f"member-{n}/model.safetensors").read_bytes()
        for n in range(3)
    ]
    assert same == [False, True, False]


def test_words_have_as_much_to_say_as_the_members(model: Path, tmp_path: Path) -> None:
    rng = random.Random(1)
    worth = {letters(n, 4): rng.gauss(0, 1) for n in range(12)}
    rows = []
    for n in range(90):
        a, b = rng.sample(sorted(worth), 2)
        strength = 1 + (abs(worth[a] - worth[b]) > 1)
        rows.append(ComparisonRow(letters(n // 3, 3), a, b, FIRST if worth[a] > worth[b] else SECOND, strength))
    texts = [(letters(n, 3), text) for n, text in enumerate(worth)]
    settings = QUICK.model_copy(update={"words": True, "epochs": 1})
    done = train_reward(model, rows, tmp_path / "out", settings, reference_texts=texts)
    network = RewardModel.load(tmp_path / "out")
    prompts, replies = [p for p, _ in texts], [t for _, t in texts]
    whole = network.score(prompts, replies).numpy()
    told = network.words.score(replies)  # type: ignore[union-attr]
    assert np.corrcoef(told, list(worth.values()))[0, 1] > 0.7
    assert {word for word, _ in done.metrics["telling_words"]} <= set(worth)
    network.words, network.mean, network.std = None, 0.0, 1.0
    members = network.score(prompts, replies).numpy()
    both = members / members.std() + told / told.std()
    assert whole == pytest.approx((both - both.mean()) / both.std(), abs=1e-3)


def test_cross_fitting_on_few_prompts_gives_each_member_one_to_leave_out(model: Path, tmp_path: Path) -> None:
    done = train_reward(model, compared(9), tmp_path / "three", CROSSED)
    assert done.metrics["accuracy"]["clustered"]["n"] > 0
    for count in (1, 6):
        with pytest.raises(DataError, match="prompts cannot be shared out"):
            train_reward(model, compared(count), tmp_path / str(count), CROSSED)


def test_what_is_too_long_is_said(model: Path, tmp_path: Path) -> None:
    class Alarmed(Listener):
        def alarm(self, text: str) -> None:
            self.heard.append(text)

    listener = Alarmed()
    rows = [*compared(60), ComparisonRow("a", "b" * 5000, "c", FIRST)]
    done = train_reward(model, rows, tmp_path / "out", QUICK, watcher=listener)
    assert any("1 comparisons are left out: longer than" in text for text in listener.heard)
    assert "; 1 left out: too long for the model)" in done.verdict
    assert adds_up(done.metrics, len(rows))
    texts = [("a", "b"), ("a", "ca"), ("a", "b" * 5000), ("a", "b" * 6000)]
    scaled = train_reward(model, rows, tmp_path / "scaled", QUICK, reference_texts=texts)
    assert "too long for the model: 2." in scaled.verdict
    assert (done.metrics["too_long"], scaled.metrics["too_long"]) == (1, 1), "a text for the scale is no comparison"


def test_a_function_is_brought_to_the_references_scale(model: Path, tmp_path: Path) -> None:
    """A reward and the same in other units, a hundred times as large and shifted, make the same policy."""
    once = [
        train_policy(model, reward, PROMPTS, tmp_path / name, SMALL, seed=1)
        for name, reward in (
            ("small", lambda p, t: float(t.count("a"))),
            ("large", lambda p, t: 5000.0 + 128.0 * t.count("a")),
            ("far", lambda p, t: 1e9 + 2.0**-10 * t.count("a")),
            ("tiny", lambda p, t: 2.0**-100 * t.count("a")),
            ("huge", lambda p, t: 2.0**1000 * t.count("a")),
        )
    ]
    first, *others = ([row["reward"] for row in done.metrics["history"]] for done in once)
    for other in others:
        assert first == pytest.approx(other, abs=1e-3)
    assert max(map(abs, first)) < 5
    assert "standard deviations of the reference's samples" in once[0].verdict


def test_a_function_that_tells_no_sample_from_another_stays_as_it_is(model: Path, tmp_path: Path) -> None:
    flat = train_policy(model, lambda p, t: 7.0, PROMPTS, tmp_path / "flat", SMALL)
    assert flat.metrics["reward_scale"] == [0.0, 1.0]
    assert "standard deviations" not in flat.verdict
    loud = train_policy(model, lambda p, t: 70.0, PROMPTS, tmp_path / "loud", SMALL)
    assert any("100 % of the rewards lie beyond plus or minus 10" in alarm for alarm in loud.metrics["alarms"])


def test_a_scale_rests_on_many_samples_of_a_single_prompt(model: Path, tmp_path: Path) -> None:
    done = train_policy(model, lambda p, t: float(t.count("a")), PROMPTS[:1], tmp_path / "one", SMALL)
    _, std = done.metrics["reward_scale"]
    assert std > 0
    assert abs(done.metrics["history"][0]["reward"]) < 2


def test_an_evaluation_on_prompts_that_were_trained_on_says_so(model: Path, tmp_path: Path) -> None:
    train_policy(model, lambda p, t: letter_likes(t), PROMPTS[:20], tmp_path / "out", SMALL)
    fresh, mixed = (
        evaluate_policy(tmp_path / "out", model, prompts, EvaluateSettings(), 6, truth=lambda p, t: letter_likes(t))
        for prompts in (PROMPTS[20:40], PROMPTS[15:35])
    )
    assert not any("trained on" in caveat for caveat in fresh.verdict.caveats)
    assert "20 held-out prompts" in fresh.verdict.sentence
    assert mixed.verdict.caveats[0].startswith("5 of the prompts are ones that the policy was trained on")
    assert "held-out" not in mixed.verdict.sentence


def test_cross_fitting_needs_two_members() -> None:
    with pytest.raises(ValueError, match="set members to 2 or more"):
        RewardSettings(cross_fit=True)


def test_scores_are_centred_and_scaled_to_the_reference_texts(model: Path, tmp_path: Path) -> None:
    texts = [(letters(n, 3), letters(3 * n, 5)) for n in range(40)]
    train_reward(model, compared(60), tmp_path / "out", QUICK, reference_texts=texts)
    scores = RewardModel.load(tmp_path / "out").score([p for p, _ in texts], [t for _, t in texts]).numpy()
    assert scores.mean() == pytest.approx(0, abs=1e-4)
    assert scores.std() == pytest.approx(1, abs=1e-4)


SMALL = PolicySettings(
    steps=3,
    prompts_per_step=4,
    max_new_tokens=6,
    epochs=1,
    checkpoint_every=1,
    kl_control="fixed",
    missing_end_penalty=0,
)


def test_ppo_leaves_a_model_its_history_and_audits(model: Path, tmp_path: Path) -> None:
    done = train_policy(
        model, lambda p, t: letter_likes(t), PROMPTS, tmp_path / "out", SMALL, truth=lambda p, t: len(t)
    )
    assert [row["step"] for row in done.metrics["history"]] == [1, 2, 3]
    assert "true" in done.metrics["history"][0]
    assert "true" in done.metrics["history"][-1]
    assert finite(done.metrics)
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert done.tokens == sum(round(row["length"] * 8) for row in done.metrics["history"])


def test_a_truth_with_too_few_prompts_to_set_aside_is_no_error(model: Path, tmp_path: Path) -> None:
    done = train_policy(model, lambda p, t: 0.0, PROMPTS[:3], tmp_path / "out", SMALL, truth=lambda p, t: 0.0)
    assert done.metrics["frontier"] == []


class Score:
    """A reward that is an object: a new one of the same kind is the same reward."""

    def __call__(self, prompt: object, text: str) -> float:
        return letter_likes(text)


def test_a_function_as_reward_is_known_again_in_another_process(model: Path, tmp_path: Path) -> None:
    first = train_policy(model, Score(), PROMPTS, tmp_path / "out", SMALL)
    assert train_policy(model, Score(), PROMPTS, tmp_path / "out", SMALL) == first


def test_a_reward_that_is_no_number_names_the_step_and_keeps_the_checkpoint(model: Path, tmp_path: Path) -> None:
    calls = []
    scaled = -(-64 // len(PROMPTS)) * len(PROMPTS)

    def reward(prompt: object, text: str) -> float:
        calls.append(text)
        # The samples it is scaled to, two of the self-check's four prompts and two steps of four are fine.
        return math.nan if len(calls) > scaled + 8 + 2 * 8 else letter_likes(text)

    with pytest.raises(TrainingError, match="step 3") as caught:
        train_policy(model, reward, PROMPTS, tmp_path / "out", SMALL)
    assert "of 8 samples 8" in caught.value.why
    assert (tmp_path / "out" / "checkpoints" / "main" / "step-2").is_dir()


def test_nothing_to_roll_out_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no prompt"):
        train_policy(model, lambda p, t: 0.0, [], tmp_path / "out", SMALL)


@pytest.mark.parametrize("device", ["abacus", "cuda:99", "cuda:x", "cpu:1", ""])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match="auto"):
        prepare_machine(device)


# Evaluation


def test_a_policy_against_itself_is_undecided_and_at_no_distance(model: Path) -> None:
    found = evaluate_policy(
        model, model, PROMPTS, EvaluateSettings(), max_new_tokens=8, truth=lambda p, t: letter_likes(t), seed=4
    )
    assert found.true.low is not None
    assert found.true.high is not None
    assert found.true.low < 0.5 < found.true.high
    assert found.verdict.outcome == "undecided"
    assert found.kl.per_completion.estimate == pytest.approx(0, abs=1e-4)  # type: ignore[union-attr]
    assert found.proxy.estimate is None
    assert found.proxy.reason
    assert finite(found.model_dump(mode="json"))


def test_a_policy_that_writes_what_is_liked_wins(model: Path, tmp_path: Path) -> None:
    shown = [(p, "aaaa") for p in PROMPTS]
    train_sft(model, shown, tmp_path / "better", SFTSettings(epochs=20, prompts_per_step=16, learning_rate=2e-2))
    raters = [SimulatedRater("gauge", "careful", lambda p, t: letter_likes(t), noise=0.0)]
    settings = EvaluateSettings(prompts=30)
    found = evaluate_policy(
        tmp_path / "better", model, PROMPTS, settings, 8, truth=lambda p, t: letter_likes(t), raters=raters
    )
    assert found.true.low is not None
    assert found.true.low > 0.75
    assert found.verdict.outcome == "better"
    assert found.judged.estimate is not None
    assert found.judged.estimate > 0.9
    assert found.raters == {"gauge": 30}
    assert found.kl.per_completion.low > 1  # type: ignore[union-attr, operator]


class SideCounter(SimulatedRater):
    """Takes the left side always."""

    def __init__(self) -> None:
        super().__init__("lefty", "careful", lambda p, t: 0.0)
        self.shown: list[bool] = []

    def compare(self, prompt: Any, a: str, b: str, left_is_a: bool, key: str) -> Any:
        self.shown.append(left_is_a)
        return ("a" if left_is_a else "b"), None


def test_raters_are_blind_to_the_side(model: Path) -> None:
    rater = SideCounter()
    found = evaluate_policy(model, model, PROMPTS, EvaluateSettings(), max_new_tokens=4, raters=[rater])
    assert len(rater.shown) == len(PROMPTS)
    assert abs(sum(rater.shown) - 24) < 5 * math.sqrt(48) / 2
    assert found.judged.estimate == pytest.approx(sum(rater.shown) / 48)


def test_one_prompt_is_too_few(model: Path) -> None:
    with pytest.raises(DataError, match="at least two"):
        evaluate_policy(model, model, PROMPTS[:1])


def test_a_result_never_replaces_the_model_it_comes_from(model: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(model)
    before = (model / "model.safetensors").read_bytes()
    for out in (model, link):
        with pytest.raises(ProjectError, match="overwrite"):
            train_sft(model, [("ab", "cd"), ("b", "c")], out, SFTSettings(epochs=1))
    assert (model / "model.safetensors").read_bytes() == before
