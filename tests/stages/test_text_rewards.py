"""Rewards by name: a function, the same function by its name and behind a URL are one reward; what cannot be one is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from heed.config import PolicySettings
from heed.errors import ConfigError, HeedError
from heed.stages.policy import train_policy
from heed.train.text_rewards import reward_named
from tiny_project import completed

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
from test_remote_scorer import Server, serving

PROMPTS = [f"{letter}{letter}" for letter in "abcdefgh"]
SMALL = PolicySettings(
    steps=2,
    prompts_per_step=4,
    max_new_tokens=5,
    epochs=1,
    missing_end_penalty=0.0,
    algorithm="rloo",
    samples_per_prompt=2,
)
MODULE = """
def vowels(prompt, completion):
    return sum(completion.count(letter) for letter in "aeiou") - 0.1 * len(prompt)


def leaves(prompt, completion):
    raise SystemExit(3)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_rewards.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_rewards", raising=False)
    return tmp_path


def test_a_function_its_name_and_a_scorer_of_the_same_are_one_reward(model: Path, here: Path) -> None:
    from heed.raters.utilities import utility_by_name

    vowels = utility_by_name("my_rewards:vowels")

    def answer(body: dict[str, list[str]], _: int) -> tuple[int, dict[str, str], bytes]:
        # A scorer reads prompt and completion as one text; here every prompt is two letters long.
        found = [vowels(text[:2], text[2:]) for text in body["query"]]
        return 200, {}, json.dumps({"rewards": found}).encode()

    weights = []
    server: Server
    with serving(answer) as server:
        for number, reward in enumerate((vowels, "my_rewards:vowels", server.url)):
            done = train_policy(model, reward, PROMPTS, here / f"out{number}", SMALL, seed=1)
            weights.append(load_file(done.folder / "model.safetensors"))
    for other in weights[1:]:
        assert all(torch.equal(other[name], value) for name, value in weights[0].items())
    before = load_file(model / "model.safetensors")
    assert any(not torch.equal(before[name], value) for name, value in weights[0].items()), "it has learned something"


def test_a_function_that_changed_is_another_run(model: Path, here: Path) -> None:
    train_policy(model, "my_rewards:vowels", PROMPTS, here / "out", SMALL, seed=1)
    (here / "my_rewards.py").write_text(MODULE.replace("0.1", "0.2"))
    with pytest.raises(HeedError, match="out"):
        train_policy(model, "my_rewards:vowels", PROMPTS, here / "out", SMALL, seed=1)


def test_a_function_given_as_an_object_that_changed_is_another_run(model: Path, here: Path) -> None:
    def made(weight: float) -> Callable[[Any, str], float]:
        return lambda prompt, completion: weight * completion.count("a")

    first = train_policy(model, made(1.0), PROMPTS, here / "out", SMALL, seed=1)
    again = train_policy(model, made(1.0), PROMPTS, here / "out", SMALL, seed=1)
    assert again.metrics == first.metrics
    with pytest.raises(HeedError, match="already holds the result of another"):
        train_policy(model, made(-1.0), PROMPTS, here / "out", SMALL, seed=1)


def test_a_token_goes_to_a_scorer_that_wants_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEED_REWARD_TOKEN", "sesame")
    with serving(lambda body, _: (200, {}, b'{"rewards": [1.5]}')) as server:
        found = reward_named(server.url)
        assert found is not None
        assert found.scores(["a"], ["b"]) == [1.5]
    assert server.headers[0]["authorization"] == "Bearer sesame"


def test_what_is_no_reward_is_refused(model: Path, here: Path) -> None:
    assert reward_named("out/reward") is None
    for reward, why in (
        ("nowhere:f", "cannot be imported"),
        ("my_rewards:f", "no function"),
        ("my_rewards:leaves", "exit"),
    ):
        with pytest.raises(ConfigError, match=why):
            train_policy(model, reward, PROMPTS, here / "out", SMALL)
    with pytest.raises(ConfigError, match="no members whose differences"):
        train_policy(model, "my_rewards:vowels", PROMPTS, here / "out", SMALL.model_copy(update={"pessimism": 1.0}))
    for name in ("model", "raters", "a.b:c", "https://example.org/score"):
        assert PolicySettings(reward=name).reward == name
    for name in ("people", "ftp://example.org", "https://me:secret@example.org/", ""):
        with pytest.raises(ValueError, match="not model, raters"):
            PolicySettings(reward=name)


def test_the_command_takes_a_function_by_name(model: Path, here: Path) -> None:
    (here / "prompts.jsonl").write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS))
    sets = [f"--set={name}={getattr(SMALL, name)}" for name in ("steps", "prompts_per_step", "max_new_tokens")]
    done = completed(
        here,
        *("train", "policy", "--algorithm", "rloo", "--model", str(model), "--reward", "my_rewards:vowels"),
        *("--prompts", "prompts.jsonl", "--out", "tuned", *sets),
    )
    assert done.returncode == 0, done.stderr
    assert (here / "tuned" / "model.safetensors").is_file()
