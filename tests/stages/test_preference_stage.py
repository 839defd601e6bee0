"""Training a policy on judgments as a stage: what each kind says, what is left out, weights of raters, files and a project."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from heed.algorithms import ALGORITHMS, algorithm_named
from heed.cli import app
from heed.config import PolicySettings, PreferenceSettings
from heed.errors import ConfigError, DataError
from heed.models.policy import Policy
from heed.project import Project
from heed.stages.data import FIRST, SECOND, TIE, ComparisonRow
from heed.stages.judgments import Judgment
from heed.stages.preference import NEUTRAL, TIES, UNTRUSTED, said_by, train_preferences
from heed.train.preferences import Text, text_logprobs
from tiny_models import tiny_policy
from tiny_project import completed, letters, make_project

QUICK = PreferenceSettings(epochs=4, prompts_per_step=16, learning_rate=3e-3, test_fraction=0.25)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    tiny_policy(initializer_range=0.05).save(folder)
    return folder


def compared(count: int, seed: int = 0, rater: str = "", turned: bool = False) -> list[ComparisonRow]:
    """Three comparisons a prompt; more of the letter a is better, or worse where ``turned``; equal counts tie."""
    rng = random.Random(seed)
    rows = []
    for n in range(count):
        a, b = ("".join(rng.choice("abcd") for _ in range(6)) for _ in range(2))
        gap = (a.count("a") - b.count("a")) * (-1 if turned else 1)
        outcome = FIRST if gap > 0 else SECOND if gap < 0 else TIE
        rows.append(ComparisonRow(letters(n // 3, 3), a, b, outcome, rater=rater))
    return rows


def rated(share: float) -> dict[str, tuple[float, float, float, float]]:
    return {"quality": (1 + 4 * share, 1.0, 5.0, 1.0)}


KINDS = [
    Judgment("comparison", "p", ("x", "y"), (SECOND, 2), "r"),
    Judgment("comparison", "p", ("x", "z"), (TIE, 0), "r"),
    Judgment("ranking", "q", ("x", "y", "z"), (1, 0, -1), "r"),
    Judgment("edit", "p", ("edited", "x"), None, "r"),
    Judgment("demonstration", "p", ("shown", "x", "y"), None, "r"),
    Judgment("thumb", "t", ("x",), True, "r"),
    Judgment("thumb", "t", ("y",), False, "r"),
    Judgment("rating", "u", ("x",), rated(0.75), "r"),
    Judgment("rating", "u", ("y",), rated(0.5), "r"),
    Judgment("critique", "v", ("x",), ("rude",), "r"),
    Judgment("critique", "v", ("y",), (), "r"),
]


def told(algorithm: str, rows: list[Judgment] = KINDS) -> tuple[set[tuple[str, ...]], Counter[str]]:
    left_out: Counter[str] = Counter()
    said = said_by(rows, algorithm_named(algorithm), left_out)
    return {(one.prompt, *map(str, (one.texts, one.places))) for one in said}, left_out


def test_every_kind_of_judgment_says_which_of_two_is_better() -> None:
    said, left_out = told("dpo")
    pairs = [("p", "y", "x"), ("q", "y", "x"), ("p", "edited", "x"), ("p", "shown", "x"), ("p", "shown", "y")]
    pairs += [("t", "x", "y"), ("u", "x", "y"), ("v", "y", "x")]
    assert said == {(prompt, str((better, worse)), "(0, 1)") for prompt, better, worse in pairs}
    assert left_out == {TIES: 1}


def test_every_kind_of_judgment_says_whether_a_text_was_liked() -> None:
    said, left_out = told("kto")
    liked = [("t", "x", 0), ("t", "y", 1), ("u", "x", 0), ("v", "x", 1), ("v", "y", 0), ("p", "y", 0), ("p", "x", 1)]
    liked += [("q", "y", 0), ("q", "x", 1), ("p", "edited", 0), ("p", "shown", 0), ("p", "y", 1)]
    assert said == {(prompt, str((text,)), str((place,))) for prompt, text, place in liked}
    assert left_out == {NEUTRAL: 1, TIES: 1}


def test_rankings_are_learned_from_whole_and_ties_with_them() -> None:
    said, left_out = told("listwise_dpo")
    assert ("q", "('x', 'y', 'z')", "(1, 0, -1)") in said
    assert ("p", "('x', 'z')", "(0, 0)") in said
    assert ("p", "('x', 'y')", "(1, 0)") in said
    assert not left_out


@pytest.mark.parametrize("name", [one.name for one in ALGORITHMS.values() if one.family == "offline"])
def test_a_policy_learns_from_comparisons_what_raters_like(name: str, model: Path, tmp_path: Path) -> None:
    rows = compared(240)
    done = train_preferences(model, rows, tmp_path / "out", name, QUICK, seed=1)
    right = done.metrics["accuracy"]["clustered"]
    assert right["low"] > 0.5, done.verdict
    assert done.metrics["examples"] > 100
    policy, before = Policy.load(tmp_path / "out"), Policy.load(model)
    texts = [Text((3, 3, 3), (*("abcd".index(c) for c in word), 16)) for word in ("aaaa", "bcdb")]
    gain = (text_logprobs(policy, texts, 100) - text_logprobs(before, texts, 100)).tolist()
    assert gain[0] > gain[1]
    again = train_preferences(model, rows, tmp_path / "out", name, QUICK, seed=1)
    assert again == done
    twin = train_preferences(model, rows, tmp_path / "twin", name, QUICK, seed=1)
    assert (tmp_path / "twin/model.safetensors").read_bytes() == (tmp_path / "out/model.safetensors").read_bytes()
    assert twin.metrics == done.metrics


def test_a_rater_whose_answers_tell_nothing_teaches_nothing(model: Path, tmp_path: Path) -> None:
    """A rater who turns all round has as many answers as a careful one; with weights the policy learns from the other."""
    rows = [*compared(150, 1, "careful"), *compared(150, 1, "inverted", turned=True)]
    reliability = {"careful": 1.0, "inverted": -1.0}
    weighed = train_preferences(model, rows, tmp_path / "weighed", "dpo", QUICK, reliability=reliability)
    alone = train_preferences(model, compared(150, 1, "careful"), tmp_path / "alone", "dpo", QUICK)
    assert weighed.metrics["left_out"][UNTRUSTED] == alone.metrics["examples"]
    assert weighed.metrics["examples"] == alone.metrics["examples"]
    assert (tmp_path / "weighed/model.safetensors").read_bytes() == (tmp_path / "alone/model.safetensors").read_bytes()
    equal = train_preferences(
        model, rows, tmp_path / "equal", "dpo", QUICK.model_copy(update={"raters": "equal"}), reliability=reliability
    )
    assert not equal.metrics["raters_weighed"]
    assert equal.metrics["examples"] == 2 * alone.metrics["examples"]


def test_a_policy_that_was_pushed_too_far_or_the_wrong_way_is_told(model: Path, tmp_path: Path) -> None:
    far = QUICK.model_copy(update={"learning_rate": 0.3})
    done = train_preferences(model, compared(120), tmp_path / "far", "dpo", far, seed=1)
    assert "Nothing of what it could write is left" in done.verdict or "moved the wrong way" in done.verdict
    assert "is usual for such losses" not in done.verdict


def test_what_cannot_be_learned_from_is_refused_with_the_way_out(model: Path, tmp_path: Path) -> None:
    thumbs = [Judgment("thumb", f"{letters(n, 3)}", ("ab",), True, "r") for n in range(20)]
    with pytest.raises(DataError, match="nothing for dpo to learn from in 20 judgments"):
        train_preferences(model, thumbs, tmp_path / "out", "dpo")
    ties = [ComparisonRow(letters(n, 3), "ab", "cd", TIE) for n in range(20)]
    with pytest.raises(DataError, match=f"20 {TIES}"):
        train_preferences(model, ties, tmp_path / "out", "ipo", QUICK.model_copy(update={"test_fraction": 0.0}))
    with pytest.raises(ConfigError, match="Give --reward and --prompts"):
        train_preferences(model, compared(9), tmp_path / "out", "ppo")
    with pytest.raises(ConfigError, match="Did you mean 'dpo'"):
        train_preferences(model, compared(9), tmp_path / "out", "dpoo")
    assert not (tmp_path / "out").exists()


def heed(*arguments: str) -> int:
    return app(arguments, standalone_mode=False) or 0


def test_on_the_command_line_a_file_of_judgments_makes_a_policy(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [r for r in compared(90) if r.outcome != TIE]
    sides = [(r.a, r.b) if r.outcome == FIRST else (r.b, r.a) for r in rows]
    lines = [
        json.dumps({"prompt": r.prompt, "chosen": a, "rejected": b}) for r, (a, b) in zip(rows, sides, strict=True)
    ]
    Path("pairs.jsonl").write_text("\n".join(lines) + "\n")
    train = [
        "train",
        "policy",
        "--algorithm",
        "ipo",
        "--model",
        str(model),
        "--data",
        "pairs.jsonl",
        "--out",
        "ipo",
        "-q",
    ]
    assert heed(*train, "--set", "epochs=2", "--set", "learning_rate=3e-3") == 0
    assert "Identity preference optimisation on" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="it also needs --out"):
        heed(*train[:-3])
    with pytest.raises(ConfigError, match="--algorithm dpo"):
        heed("train", "policy", "--model", str(model), "--data", "pairs.jsonl", "--out", "x")
    for option, given in (("--reward", "net"), ("--prompts", "pairs.jsonl")):
        with pytest.raises(ConfigError, match=f"ipo with {option}"):
            heed(*train[:-2], "other", option, given)
    with pytest.raises(ConfigError, match=r"margin 0\.1 with ipo"):
        heed(*train[:-3], "--out", "other", "--set", "margin=0.1")
    Path("both.yaml").write_text("policy: {algorithm: ipo}\npreference: {epochs: 1, beta: 0.2}\n")
    assert heed(*train[:2], *train[4:-2], "by-file", "--config", "both.yaml") == 0
    capital = ["IPO" if word == "ipo" else word for word in train[:-2]]
    assert heed(*capital, "capital") == 0
    with pytest.raises(ConfigError, match="unknown key 'clip_ratio'"):
        heed(*train[:-2], "other", "--set", "clip_ratio=1")


def test_what_each_algorithm_is_for_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert heed("explain") == 0
    everything = capsys.readouterr().out
    assert all(f"  {name} " in everything for name in ALGORITHMS)
    for one in ALGORITHMS.values():
        assert heed("explain", one.name) == 0
        shown = " ".join(capsys.readouterr().out.split())
        for told in (one.title, one.when, one.needs, one.costs, one.paper):
            assert told in shown
        assert f"settings {one.section}." in shown
    assert heed("explain", "cdpo") == heed("explain", "dqn") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "preference.beta 0.1, preference.label_smoothing 0.1" in shown
    assert "dqn.n_step 5, dqn.anchored true, dqn.double true" in shown
    with pytest.raises(ConfigError, match="Did you mean 'simpo'"):
        heed("explain", "simp")


def test_a_project_learns_from_its_judgments_without_rollouts(tmp_path: Path) -> None:
    """The whole loop, the report too, with an algorithm that samples nothing."""
    folder = make_project(
        tmp_path,
        policy=PolicySettings(algorithm="dpo", max_new_tokens=6),
        preference=PreferenceSettings(prompts_per_step=4, learning_rate=1e-3, checkpoint_every=1, test_fraction=0.0),
    )
    done = completed(folder, "loop", "--quiet")
    assert done.returncode == 0, done.stderr
    with Project(folder) as project:
        policy, reward = project.latest("policy"), project.latest("reward")
        assert policy is not None
        assert reward is not None
        assert reward.id in policy.parents
        assert policy.metrics["algorithm"] == "dpo"
        assert policy.metrics["raters_weighed"]
        assert project.feedback_of(policy.id)
    assert completed(folder, "report").returncode == 0
    report = json.loads((folder / "report.json").read_text())
    assert "judgments as they are" in report["training"]["reason"]
    again = completed(folder, "train", "policy", "--round", "1")
    assert "Direct preference optimisation" in again.stdout
    with Project(folder) as project:
        assert project.latest("policy") == policy, "what was done is not done again"
    policies = [policy.id]
    for sets, beta in ((["--set", "beta=0.4"], 0.4), (["--set", "preference.beta=0.3", "--algorithm", "ipo"], 0.3)):
        other = completed(folder, "train", "policy", *sets, "--quiet")
        assert other.returncode == 0, other.stderr
        with Project(folder) as project:
            policy = project.latest("policy")
            assert policy is not None
            policies.append(policy.id)
            assert policy.config["beta"] == beta, "a setting of the command line is that of the algorithm's section"
            assert policy.metrics["algorithm"] == ("ipo" if "ipo" in sets else "dpo")
    assert "ipo" in completed(folder, "runs").stdout
    judged = completed(folder, "evaluate", "--policy", policies[0], "--quiet")
    assert judged.returncode == 0, judged.stderr
    with Project(folder) as project:
        evaluation = project.latest("evaluate")
        assert evaluation is not None
        assert policies[0] in evaluation.parents
        assert policies[-1] not in evaluation.parents
    for run, why in ((reward.id, "made no policy"), ("policy-99", "no such run")):
        assert why in completed(folder, "evaluate", "--policy", run).stderr
    refused = completed(folder, "train", "policy", "--set", "kl_budget=3")
    assert refused.returncode == 2
    assert "unknown key 'kl_budget'" in refused.stderr
