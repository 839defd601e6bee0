"""Learning by values as stages: what judgments are worth, files, refusals, and a whole loop of a project by dqn and by ilql."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from heed.cli import app
from heed.config import DQNSettings, ILQLSettings, PolicySettings, SamplingSettings
from heed.errors import ConfigError, DataError
from heed.models.decode import sample
from heed.models.policy import Policy
from heed.project import Project
from heed.stages.data import SECOND, TIE, ComparisonRow
from heed.stages.ilql import rewarded_by, train_ilql
from heed.stages.judgments import Judgment
from heed.stages.policy import train_policy
from heed.stages.preference import TIES, UNTRUSTED
from tiny_models import tiny_policy
from tiny_project import completed, letters, make_project, write_lines

QUICK = ILQLSettings(beta=8.0, epochs=10, prompts_per_step=16, learning_rate=3e-3, head_rate=2.0, test_fraction=0.25)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    tiny_policy(initializer_range=0.05).save(folder)
    return folder


def rated(count: int, seed: int = 0, rater: str = "r", turned: bool = False) -> list[Judgment]:
    """Three texts a prompt, rated from 0 to 6 by how often they have the letter a."""
    rng = random.Random(seed)
    found = []
    for n in range(count):
        text = "".join(rng.choice("abcd") for _ in range(6))
        score = 6.0 - text.count("a") if turned else float(text.count("a"))
        found.append(Judgment("rating", letters(n // 3, 3), (text,), {"quality": (score, 0.0, 6.0, 1.0)}, rater))
    return found


def letters_a(folder: Path) -> float:
    """Of samples of a policy, how many letters are an a (share)."""
    settings = SamplingSettings(samples_per_prompt=60, max_new_tokens=7)
    texts = sample(Policy.load(folder), [[0, 1, 2], [5, 4, 3], [9, 9, 9]], settings, 0).texts
    return "".join(texts).count("a") / len("".join(texts))


def test_every_kind_of_judgment_has_its_reward() -> None:
    scale = {"tone": (5.0, 1.0, 5.0, 1.0), "truth": (2.0, 1.0, 5.0, 1.0)}
    rows = [
        Judgment("rating", "p", ("both",), scale, "r"),
        Judgment("rating", "p", ("middle",), {"tone": (3.0, 1.0, 5.0, None)}, "r"),
        Judgment("thumb", "p", ("up",), True, "r"),
        Judgment("thumb", "p", ("down",), False, "r"),
        Judgment("critique", "p", ("clean",), (), "r"),
        Judgment("critique", "p", ("rude",), ("rude",), "r"),
        Judgment("comparison", "p", ("worse", "better"), (SECOND, 0), "r"),
        Judgment("comparison", "p", ("x", "y"), (TIE, 0), "r"),
    ]
    left_out: Counter[str] = Counter()
    found = {one.texts[0]: reward for one, reward in rewarded_by(rows, left_out)}
    expected = {"both": 0.25, "middle": 0, "up": 1, "down": -1, "clean": 1, "rude": -1, "better": 1, "worse": -1}
    assert found == pytest.approx(expected)
    assert left_out == {TIES: 1}


def test_ilql_learns_from_ratings_what_raters_like_and_plain_transformers_loads_it(model: Path, tmp_path: Path) -> None:
    done = train_ilql(model, rated(480), tmp_path / "out", QUICK, seed=1)
    assert done.metrics["accuracy"]["clustered"]["low"] > 0.5, done.verdict
    assert done.metrics["examples"] > 150
    assert "Implicit language Q-learning on" in done.verdict
    still = QUICK.model_copy(update={"beta": 0.0})
    train_ilql(model, rated(480), tmp_path / "imitated", still, seed=1)
    assert letters_a(tmp_path / "out") > letters_a(tmp_path / "imitated") + 0.03
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").config.model_type == "llama"
    assert train_ilql(model, rated(480), tmp_path / "out", QUICK, seed=1) == done
    train_ilql(model, rated(480), tmp_path / "twin", QUICK, seed=1)
    assert (tmp_path / "twin/model.safetensors").read_bytes() == (tmp_path / "out/model.safetensors").read_bytes()


def test_ilql_weighs_raters_as_a_reward_model_learned_them(model: Path, tmp_path: Path) -> None:
    few = QUICK.model_copy(update={"epochs": 2.0})
    both = [*rated(90, 1, "careful"), *rated(90, 1, "inverted", turned=True)]
    weighed = train_ilql(model, both, tmp_path / "w", few, reliability={"careful": 1.0, "inverted": -1.0})
    alone = train_ilql(model, rated(90, 1, "careful"), tmp_path / "a", few)
    assert weighed.metrics["left_out"][UNTRUSTED] == alone.metrics["examples"]
    assert (tmp_path / "w/model.safetensors").read_bytes() == (tmp_path / "a/model.safetensors").read_bytes()
    equal = few.model_copy(update={"raters": "equal"})
    found = train_ilql(model, both, tmp_path / "e", equal, reliability={"careful": 1.0, "inverted": -1.0})
    assert found.metrics["examples"] == 2 * alone.metrics["examples"]


def test_what_cannot_be_learned_from_is_refused_with_the_way_out(model: Path, tmp_path: Path) -> None:
    ties = [ComparisonRow(letters(n, 3), "ab", "cd", TIE) for n in range(20)]
    with pytest.raises(DataError, match=r"nothing for ilql to learn from in 20 judgments: .*ratings, thumbs"):
        train_ilql(model, ties, tmp_path / "out", QUICK)
    refused: list[tuple[str, dict[str, Any]]] = [
        ("a temperature of their own", {"algorithm": "dqn", "temperature": 0.7}),
        ("likelihood of texts has no place", {"algorithm": "dqn", "pretraining_coefficient": 0.5}),
        ("judgments as they are", {"algorithm": "ilql"}),
    ]
    for told, changes in refused:
        with pytest.raises(ConfigError, match=told):
            train_policy(
                model, lambda p, t: 0.0, ["abc"], tmp_path / "out", PolicySettings(**changes), pretraining=[("a", "b")]
            )
    assert not (tmp_path / "out").exists()


def test_dqn_moves_towards_a_function_and_its_folder_is_a_policy(model: Path, tmp_path: Path) -> None:
    def reward(prompt: object, text: str) -> float:
        return text.count("a") / max(1, len(text))

    settings = PolicySettings(
        algorithm="dqn",
        steps=12,
        prompts_per_step=8,
        samples_per_prompt=4,
        max_new_tokens=4,
        learning_rate=3e-3,
        missing_end_penalty=0.0,
        kl_budget=1e6,
    )
    prompts = [letters(n, 3) for n in range(16)]
    own = DQNSettings(temperature_start=0.05, n_step=4, updates=6, completions_per_update=32)
    done = train_policy(model, reward, prompts, tmp_path / "out", settings, 1, reward, dqn=own)
    history = done.metrics["history"]
    assert sum(row["reward"] for row in history[-3:]) / 3 > history[0]["reward"] + 0.5
    assert history[-1]["buffer"] == 8 * 4 * 12
    greedy = SamplingSettings(samples_per_prompt=1, max_new_tokens=4, temperature=0.0)
    policy = Policy.load(tmp_path / "out")
    written = sample(policy, [policy.encode_prompt(prompt) for prompt in prompts[:4]], greedy, 0)
    assert written.texts == ["aaaa"] * 4
    assert "true" in history[0]
    again = train_policy(model, reward, prompts, tmp_path / "out", settings, 1, reward, dqn=own)
    assert again == done


def heed(*arguments: str) -> int:
    return app(arguments, standalone_mode=False) or 0


def test_on_the_command_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    thumbs = [{"prompt": r.prompt, "completion": r.texts[0], "label": "a" in r.texts[0]} for r in rated(60)]
    write_lines(Path("thumbs.jsonl"), thumbs)
    write_lines(Path("prompts.jsonl"), [{"prompt": letters(n, 3)} for n in range(8)])
    train = ("train", "policy", "--model", str(model))
    ilql = (*train, "--algorithm", "ilql", "--data", "thumbs.jsonl")
    assert heed(*ilql, "--out", "ilql", "-q", "--set", "epochs=1", "--set", "beta=2") == 0
    assert "Implicit language Q-learning on" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="unknown key 'clip_ratio'"):
        heed(*ilql, "--out", "other", "--set", "clip_ratio=1")
    with pytest.raises(ConfigError, match="ilql with --reward"):
        heed(*ilql, "--out", "other", "--reward", "net")
    with pytest.raises(ConfigError, match="dqn"):
        heed(*train, "--algorithm", "dqn", "--data", "thumbs.jsonl", "--out", "other")
    assert heed(
        "train", "reward", "--model", str(model), "--data", "thumbs.jsonl", "--out", "net", "-q", "--set", "epochs=1"
    ) in (0, 1)
    online = (*train, "--reward", "net", "--prompts", "prompts.jsonl", "-q")
    small = ("--set", "steps=2", "--set", "prompts_per_step=2", "--set", "max_new_tokens=4", "--set", "updates=1")
    assert heed(*online, "--algorithm", "dqn", "--out", "dqn", *small, "--set", "n_step=1") == 0
    assert "2 steps" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="n_step=1 with ppo"):
        heed(*online, "--out", "other", "--set", "n_step=1")
    Path("all.yaml").write_text("policy: {algorithm: dqn, steps: 1, max_new_tokens: 4}\ndqn: {updates: 1, buffer: 3}\n")
    assert heed(*online, "--out", "by-file", "--config", "all.yaml") == 0


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["dqn", "ilql"])
def test_a_project_goes_around_by_values(algorithm: str, tmp_path: Path) -> None:
    folder = make_project(
        tmp_path,
        policy=PolicySettings(algorithm=algorithm, steps=3, prompts_per_step=3, max_new_tokens=6, checkpoint_every=1),
        dqn=DQNSettings(updates=2, completions_per_update=4),
        ilql=ILQLSettings(prompts_per_step=4, learning_rate=1e-3, checkpoint_every=1, test_fraction=0.0),
    )
    done = completed(folder, "loop", "--quiet")
    assert done.returncode == 0, done.stderr
    with Project(folder) as project:
        policy, reward = project.latest("policy"), project.latest("reward")
        assert policy is not None
        assert reward is not None
        assert reward.id in policy.parents
        if algorithm == "ilql":
            assert policy.metrics["raters_weighed"]
            assert project.feedback_of(policy.id)
        else:
            assert policy.config["dqn"]["updates"] == 2
            assert policy.metrics["history"][-1]["buffer"] == 18
    assert completed(folder, "report").returncode == 0
    report = json.loads((folder / "report.json").read_text())
    if algorithm == "ilql":
        assert "judgments as they are" in report["training"]["reason"]
    else:
        assert len(report["training"]) == 3
    assert completed(folder, "train", "policy", "--round", "1").returncode == 0
    with Project(folder) as project:
        assert project.latest("policy") == policy, "what was done is not done again"
