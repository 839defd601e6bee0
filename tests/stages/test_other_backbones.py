"""Linear and pairwise rewards as stages: what they write and measure, and that they go wherever a network goes."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from heed.cli import app
from heed.config import EvaluateSettings, PolicySettings, RewardSettings
from heed.errors import ConfigError, DataError, ModelError
from heed.models.linear_reward import LinearReward
from heed.models.pairwise import PairwiseReward
from heed.models.rewards import load_reward
from heed.stages.baseline import beside_baseline
from heed.stages.data import FIRST, SECOND, TIE, ComparisonRow
from heed.stages.evaluation import evaluate_policy
from heed.stages.judgments import Judgment, Known
from heed.stages.measured import by_length, difference_of
from heed.stages.policy import train_policy
from heed.stages.rater_weights import differ, weigh
from heed.stages.reward import score, train_reward
from heed.stages.scoring import score_all
from heed.train.progress import Stopped, Watcher
from tiny_models import encoder_model, wordpiece_tokenizer

GOOD, BAD = ["glad", "kind", "warm"], ["rude", "cold", "grim"]
FILLER = ["tea", "sun", "mat", "oak", "sea", "ink", "fog", "elm"]
LINEAR = RewardSettings(backbone="linear", test_fraction=0.3, members=4)
PAIRWISE = RewardSettings(backbone="pairwise", test_fraction=0.3, prompts_per_step=32, learning_rate=1e-2, members=2)


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "encoder"
    tokenizer = wordpiece_tokenizer()
    encoder_model(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def written(rng: random.Random) -> str:
    return " ".join(rng.choice([*GOOD, *BAD, *FILLER]) for _ in range(rng.randint(5, 7)))


def worth(text: str) -> int:
    words = text.split()
    return sum(word in GOOD for word in words) - sum(word in BAD for word in words)


def compared(count: int, seed: int = 0, name: str = "prompt") -> list[ComparisonRow]:
    """Three comparisons a prompt; more of the good words and fewer of the bad is better, and equals tie."""
    rng = random.Random(seed)
    rows = []
    for n in range(count):
        a, b = written(rng), written(rng)
        gap = worth(a) - worth(b)
        outcome = FIRST if gap > 0 else SECOND if gap < 0 else TIE
        rows.append(ComparisonRow(f"{name} {n // 3}", a, b, outcome))
    return rows


def test_a_linear_reward_learns_the_words_and_says_what_it_beats(tmp_path: Path) -> None:
    rows = compared(300)
    done = train_reward("", rows, tmp_path / "out", LINEAR, seed=1)
    right = done.metrics["accuracy"]["clustered"]
    assert right["estimate"] > 0.85
    assert done.metrics["trained_on"] + done.metrics["held_out"] == done.metrics["judgments"] == 300
    assert {word for word, _ in done.metrics["telling"]["words"][:3]} <= set(GOOD)
    longer, gap = (done.metrics["baseline"][name] for name in ("accuracy", "difference"))
    assert gap["estimate"] == pytest.approx(right["estimate"] - longer["clustered"]["estimate"])
    assert gap["low"] > 0
    assert f"Taking the {done.metrics['baseline']['takes']} text is right on" in done.verdict
    assert "not surely better" not in done.verdict
    reward = load_reward(tmp_path / "out")
    assert isinstance(reward, LinearReward)
    assert reward.member_scores(["p"], ["warm tea"]).shape == (4, 1)
    again = train_reward("", rows, tmp_path / "out", LINEAR, seed=1)
    assert again == done
    twin = train_reward("", rows, tmp_path / "twin", LINEAR, seed=1)
    for name in ("linear.safetensors", "vocabulary.json", "reward.json", "surroundings.safetensors"):
        assert (tmp_path / "twin" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    assert twin.metrics == done.metrics


@pytest.mark.parametrize("better", ["longer", "shorter"])
def test_length_alone_goes_the_way_that_what_was_learned_from_goes(better: str) -> None:
    """Whichever way that is, and whatever those it is measured on say."""
    rows = [
        ComparisonRow(f"p{n}", "long words", "brief", FIRST if (better == "longer") == bool(n % 4) else SECOND)
        for n in range(20)
    ]
    measured_on = [ComparisonRow("q", "a", "bcd", TIE), ComparisonRow("r", "abcd", "e", FIRST)]
    leads, taken = by_length(rows, measured_on)
    assert taken == better
    assert leads == ([-2.0, 3.0] if better == "longer" else [2.0, -3.0])


def test_probabilities_of_a_linear_reward_are_calibrated(tmp_path: Path) -> None:
    """On comparisons by a noisy rater: outcomes come as often as sigmoid(difference / temperature) says."""
    rng = random.Random(3)

    def noisy(count: int) -> list[ComparisonRow]:
        made = []
        for n in range(count):
            a, b = written(rng), written(rng)
            lead = worth(a) - worth(b) + np.log(1 / max(1e-9, 1 - rng.random()) - 1 + 1e-12)
            made.append(ComparisonRow(f"{count} {n}", a, b, FIRST if lead > 0 else SECOND))
        return made

    settings = RewardSettings(backbone="linear", features=["words", "length"])
    done = train_reward("", noisy(1200), tmp_path / "out", settings, test=noisy(2500))
    calibration = done.metrics["calibration"]
    assert calibration["ece"] < 0.035
    assert calibration["temperature"] == pytest.approx(1, abs=0.2)
    assert "that were left out" in done.metrics["temperature_note"]


@pytest.mark.slow
def test_thumbs_and_ratings_teach_a_linear_reward_too(tmp_path: Path) -> None:
    rng = random.Random(5)
    judgments = []
    for n in range(400):
        text = written(rng)
        if n % 2:
            judgments.append(Judgment("thumb", f"p{n}", (text,), worth(text) > 0))
        else:
            score_ = min(5, max(1, 3 + worth(text)))
            judgments.append(Judgment("rating", f"p{n}", (text,), {"quality": (score_, 1, 5, 1)}))
    settings = RewardSettings(backbone="linear", test_fraction=0)
    done = train_reward("", judgments, tmp_path / "out", settings, test=compared(90, 9, "test"))
    assert done.metrics["accuracy"]["clustered"]["estimate"] > 0.85
    assert done.metrics["kinds"] == {"thumb": 200, "rating": 200}


def test_inverted_raters_are_turned_round_and_noise_counts_less(tmp_path: Path) -> None:
    rng, rows = random.Random(0), []
    # Raters meet on the same texts, or nothing would tell them apart.
    for row in compared(90, seed=2):
        for who in ("honest", "careful", "third", "fourth", "upside", "coin"):
            turns = row.outcome != TIE and (who == "upside" or (who == "coin" and rng.random() < 0.5))
            rows.append(row._replace(outcome=1 - row.outcome if turns else row.outcome, rater=who))
    found = weigh(rows, RewardSettings())
    assert found.reliability["honest"] > 0.8
    assert found.reliability["upside"] < -0.8
    assert abs(found.reliability["coin"]) < 0.4
    assert found.weights["coin"] < 0.3 < found.weights["upside"]
    upside = [n for n, row in enumerate(rows) if row.rater == "upside" and row.outcome != TIE]
    assert [float(found.better[n]) for n in upside] == [1.0 if rows[n].outcome == SECOND else 0.0 for n in upside]
    assert found.not_told_apart == ""
    equal = weigh(rows, RewardSettings(raters="equal"))
    assert (set(equal.weight), equal.reliability) == ({1.0}, {})
    done = train_reward(
        "", rows, tmp_path / "out", RewardSettings(backbone="linear", test_fraction=0), test=compared(90, 8, "test")
    )
    assert done.metrics["accuracy"]["clustered"]["estimate"] > 0.85
    assert "Raters weighed by their reliability: 6" in done.verdict


def test_raters_whom_nothing_tells_apart_are_not_called_measured(tmp_path: Path) -> None:
    settings = RewardSettings(backbone="linear", test_fraction=0)
    alone = [row._replace(rater=f"rater {number % 3}") for number, row in enumerate(compared(90, seed=2))]
    found = weigh(alone, settings)
    assert found.not_told_apart.startswith("no two of them compared the same texts")
    verdict = train_reward("", alone, tmp_path / "out", settings, test=compared(90, 8, "test")).verdict
    assert "The 3 raters could not be told apart, as no two of them compared the same texts" in verdict
    assert "weighed by their reliability" not in verdict
    # On the same texts, and right equally often, each at other texts.
    rng, rows = random.Random(1), []
    for row in compared(90, seed=2):
        for who in ("one", "two", "three", "four"):
            slips = row.outcome != TIE and rng.random() < 0.2
            rows.append(row._replace(outcome=1 - row.outcome if slips else row.outcome, rater=who))
    assert weigh(rows, settings).not_told_apart == "they differ no more than chance gives"


def test_comparisons_of_equal_texts_tell_nothing_of_raters() -> None:
    rows = [row._replace(rater=who) for row in compared(60, seed=6) for who in ("one", "two")]
    same = [ComparisonRow("prompt 0", "tea", "tea", FIRST, rater=who) for who in ("one", "two", "three")]
    plain, mixed = weigh(rows, RewardSettings()), weigh([*same, *rows], RewardSettings())
    assert mixed.reliability == pytest.approx(plain.reliability)
    assert mixed.weight.tolist() == pytest.approx([1.0] * 3 + plain.weight.tolist())
    assert mixed.better.tolist()[3:] == plain.better.tolist()


def test_raters_of_two_camps_that_nothing_decides_between_are_refused(tmp_path: Path) -> None:
    rows = compared(120, seed=4)
    turned = [row._replace(outcome={FIRST: SECOND, SECOND: FIRST}.get(row.outcome, TIE), rater="other") for row in rows]
    both = [row._replace(rater="one") for row in rows] + turned
    with pytest.raises(DataError, match="which way the reward points"):
        train_reward("", both, tmp_path / "out", RewardSettings(backbone="linear"))
    # A few answers to items whose answer is known decide it, and are not learned from.
    expected = Judgment("comparison", "gold", ("yes", "no"), (FIRST, 0))
    answers = [
        Known(
            expected._replace(prompt=f"gold {n}", rater=who, said=(outcome, 0)), expected._replace(prompt=f"gold {n}")
        )
        for n in range(12)
        for who, outcome in (("one", SECOND), ("other", FIRST))
    ]
    found = weigh(both, RewardSettings(), answers)
    assert found.reliability["one"] < -0.5 < 0.5 < found.reliability["other"]
    assert len(found.weight) == len(both)


class StopsAfter(Watcher):
    """Asks to stop as Ctrl-C does, at the first progress of the features."""

    def __init__(self) -> None:
        self.asked = False

    def advance(self, done: int, total: int, line: str) -> None:
        if "frozen" in line and not self.asked:
            self.asked = True
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)


def test_frozen_features_go_on_where_they_were_stopped(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from heed.models import features

    monkeypatch.setattr(features, "_TEXTS_AT_ONCE", 50)
    settings = RewardSettings(backbone="linear", features=["frozen", "length"], test_fraction=0.3)
    rows = compared(120)
    with pytest.raises(Stopped):
        train_reward(encoder, rows, tmp_path / "out", settings, watcher=StopsAfter())
    kept = list((tmp_path / "cache" / "features").rglob("*.safetensors"))
    assert len(kept) == 1
    stopped = train_reward(encoder, rows, tmp_path / "out", settings)
    assert len(list((tmp_path / "cache" / "features").rglob("*.safetensors"))) > 2
    monkeypatch.setenv("HEED_CACHE", str(tmp_path / "another"))
    whole = train_reward(encoder, rows, tmp_path / "whole", settings)
    assert stopped.metrics == whole.metrics
    first, second = (tmp_path / name / "linear.safetensors" for name in ("out", "whole"))
    assert first.read_bytes() == second.read_bytes()
    reward = load_reward(tmp_path / "out")
    assert torch.isfinite(reward.score(["p"], ["warm tea"])).all()


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["pairwise", "cross"])
def test_a_pairwise_reward_is_fitted_saved_and_measured_beside_the_linear_one(
    model: Path, tmp_path: Path, backbone: Any
) -> None:
    rows = compared(99)
    settings = PAIRWISE.model_copy(update={"backbone": backbone, "epochs": 1.0})
    done = train_reward(model, rows, tmp_path / "out", settings, seed=2)
    assert 0 <= done.metrics["accuracy"]["clustered"]["estimate"] <= 1
    linear = done.metrics["linear"]
    gap = done.metrics["accuracy"]["clustered"]["estimate"] - linear["accuracy"]["clustered"]["estimate"]
    assert linear["difference"]["estimate"] == pytest.approx(gap)
    assert "A linear reward on words, characters, length and style is right on" in done.verdict
    reward = load_reward(tmp_path / "out")
    assert isinstance(reward, PairwiseReward)
    assert reward.comparer.leads(["p"], ["tea"], ["sun"]).shape == (2, 1)
    scores = reward.score([row.prompt for row in rows[:4]], [row.a for row in rows[:4]])
    assert torch.isfinite(scores).all()
    twin = train_reward(model, rows, tmp_path / "twin", settings, seed=2)
    assert twin.metrics == done.metrics
    with pytest.raises(DataError, match="no sample of the reference"):
        score(tmp_path / "out", [("never seen", "tea")])


def test_the_linear_baseline_stands_beside_a_network(model: Path, tmp_path: Path) -> None:
    settings = RewardSettings(epochs=1, prompts_per_step=16, test_fraction=0.3, raters="equal")
    done = train_reward(model, compared(120), tmp_path / "out", settings)
    beside, right = done.metrics["linear"], done.metrics["accuracy"]["clustered"]["estimate"]
    told = beside["accuracy"]["clustered"]["estimate"]
    assert told > 0.8
    assert beside["difference"]["estimate"] == pytest.approx(right - told)
    assert beside["difference"]["low"] < beside["difference"]["estimate"] < beside["difference"]["high"]
    assert f"is right on {100 * told:.1f} %" in done.verdict
    crossed = settings.model_copy(update={"members": 3, "cross_fit": True})
    done = train_reward(model, compared(120), tmp_path / "crossed", crossed)
    assert done.metrics["linear"]["accuracy"]["clustered"]["n"] == done.metrics["accuracy"]["clustered"]["n"]
    assert done.metrics["linear"]["accuracy"]["clustered"]["estimate"] > 0.8


def test_differences_are_taken_comparison_by_comparison() -> None:
    rows = [ComparisonRow(f"p{n}", "a", "b", (FIRST, SECOND, TIE)[n % 3]) for n in range(60)]
    right = [{FIRST: 1.0, SECOND: -1.0}.get(row.outcome, 0.3) for row in rows]
    same, wrong = difference_of(right, right, rows), difference_of(right, [-x for x in right], rows)
    assert (same.estimate, same.low, same.high, same.n) == (0, 0, 0, 40)
    assert wrong.estimate == 1
    half = difference_of(right, [0.0] * 60, rows)
    assert half.estimate == 0.5
    undefined = beside_baseline([0.0], [rows[0]], [([], [0])], RewardSettings())
    assert "no judgment" in undefined["reason"]


SMALL = PolicySettings(
    steps=2,
    prompts_per_step=4,
    max_new_tokens=6,
    epochs=1,
    checkpoint_every=1,
    kl_control="fixed",
    missing_end_penalty=0,
)
PROMPTS = [f"prompt {n}" for n in range(16)]


@pytest.mark.parametrize("backbone", ["linear", "pairwise"])
def test_other_rewards_score_train_a_policy_and_evaluate_it(model: Path, tmp_path: Path, backbone: str) -> None:
    settings = LINEAR if backbone == "linear" else PAIRWISE.model_copy(update={"epochs": 1.0})
    train_reward(model, compared(90), tmp_path / "reward", settings)
    reward = tmp_path / "reward"
    known = [(f"prompt {n}", "warm kind glad tea") for n in range(3)]
    assert score(reward, known) == score_all(reward, known).scores
    plain = train_policy(model, reward, PROMPTS, tmp_path / "plain", SMALL)
    wary = SMALL.model_copy(update={"pessimism": 1.0})
    careful = train_policy(model, reward, PROMPTS, tmp_path / "careful", wary)
    # The same first rollout, of which the members' differences are taken off.
    assert careful.metrics["history"][0]["length"] == plain.metrics["history"][0]["length"]
    assert careful.metrics["history"][0]["reward"] < plain.metrics["history"][0]["reward"]
    assert 0 <= plain.metrics["history"][0]["outside"] <= 1
    found = evaluate_policy(tmp_path / "plain", model, PROMPTS, EvaluateSettings(), 6, reward=reward)
    assert found.proxy.estimate is not None


def test_samples_unlike_the_training_texts_raise_an_alarm(model: Path, tmp_path: Path) -> None:
    train_reward("", compared(120), tmp_path / "reward", LINEAR)
    done = train_policy(model, tmp_path / "reward", PROMPTS, tmp_path / "out", SMALL)
    assert done.metrics["history"][0]["outside"] > 0.5
    assert any("unlike what the reward was trained on" in alarm for alarm in done.metrics["alarms"])


def test_pessimism_needs_members(model: Path, tmp_path: Path) -> None:
    wary = SMALL.model_copy(update={"pessimism": 1.0})
    with pytest.raises(ConfigError, match="no members whose differences"):
        train_policy(model, lambda p, t: 0.0, PROMPTS, tmp_path / "function", wary)
    train_reward("", compared(90), tmp_path / "one", LINEAR.model_copy(update={"members": 1}))
    with pytest.raises(ModelError, match="one member"):
        train_policy(model, tmp_path / "one", PROMPTS, tmp_path / "out", wary)


# The commands


def heed(*arguments: str) -> int:
    return app(arguments, standalone_mode=False) or 0


def test_a_linear_reward_needs_no_model_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [row for row in compared(150) if row.outcome != TIE]
    lines = [
        {"prompt": r.prompt, "chosen": r.a, "rejected": r.b}
        if r.outcome == FIRST
        else {"prompt": r.prompt, "chosen": r.b, "rejected": r.a}
        for r in rows
    ]
    Path("pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    train = ["train", "reward", "--data", "pairs.jsonl", "--out", "reward", "--backbone", "linear", "-q"]
    assert heed(*train, "--set", "members=3") == 0
    assert re.search("Taking the (longer|shorter) text is right on", capsys.readouterr().out)
    usual = [{"prompt": "p", "completion": written(random.Random(n))} for n in range(20)]
    strange = [{"prompt": "p", "completion": f"http://{n}.example/???\n\nSELECT * FROM {n}{n}"} for n in range(20)]
    Path("texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*usual, *strange]))
    assert heed("score", "--reward", "reward", "--data", "texts.jsonl") == 0
    shown = capsys.readouterr()
    scored = [json.loads(line) for line in shown.out.splitlines()]
    assert set(scored[0]) == {"prompt", "completion", "score", "deviation", "outside"}
    assert sum(line["outside"] for line in scored[:20]) <= 2
    assert all(line["outside"] for line in scored[20:])
    assert "unlike what the reward was trained on" in " ".join(shown.err.split())
    with pytest.raises(ConfigError, match="without a project it also needs"):
        heed("train", "reward", "--data", "pairs.jsonl", "--out", "other", "--backbone", "pairwise")
    with pytest.raises(ModelError, match="no backbone for frozen features"):
        heed(*train[:-1], "-q", "--set", "features=[words, frozen]", "--out", "third")


@pytest.mark.parametrize(("reliability", "apart"), [([0.9, 0.5, 0.9], True), ([0.9, 0.8, 0.95], False)])
def test_raters_differ_where_chance_does_not_explain_it(reliability: list[float], apart: bool) -> None:
    # Chi-squared with 2 degrees is beyond 5.99 in 5 %: here it is 10.7, and 1.17.
    assert differ(reliability, [0.1, 0.1, 0.1]) is apart
