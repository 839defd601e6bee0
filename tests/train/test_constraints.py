"""Constraints: closed forms, PPO with them, and without a difference where they weigh nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from test_remote_scorer import rewards, serving
from torch import Tensor

from heed.config import PolicySettings
from heed.constraint_settings import ConstraintSettings
from heed.errors import ConfigError, DataError
from heed.models.decode import Samples
from heed.train.constraints import Constraints, constraints_told, word_count
from heed.train.online import OnlineTrainer
from heed.train.online_loop import live_line, verdict
from tiny_training import trainer_of

BOTH = pytest.mark.parametrize("shared", [False, True], ids=["separate", "shared"])


def samples_of(texts: list[str], tokens: list[list[int]] | None = None) -> Samples:
    tokens = [[1] * max(1, len(text.split())) for text in texts] if tokens is None else tokens
    return Samples(tokens, [True] * len(texts), [[0.0] * len(t) for t in tokens], None, texts)


def stated(entry: dict[str, Any], texts: list[str], **changes: Any) -> list[float]:
    """What one constraint adds to the reward of each text."""
    settings = PolicySettings(missing_end_penalty=0.0, constraints=[{"name": "it", **entry}])
    return Constraints(settings)([""] * len(texts), samples_of(texts, **changes)).added["it"].tolist()


# Closed forms


def test_words_outside_the_band_count_one_by_one() -> None:
    texts = ["", "one", "one two", "one two three", "one two three four five"]
    band = {"kind": "words", "least": 2, "most": 3, "weight": 0.5}
    assert stated(band, texts) == [-1.0, -0.5, 0.0, 0.0, -1.0]
    assert stated({"kind": "words", "most": 3}, texts) == [0.0, 0.0, 0.0, 0.0, -2.0]
    assert stated({"kind": "words", "least": 3}, texts) == [-3.0, -2.0, -1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Hello, world!", 2),
        ("don't stop — re-read it’s 3 times…", 6),
        ("我们为您查询订单。", 8),
        ("GPT-4 说 hello", 3),
        (" \n\t.,;", 0),
    ],
)
def test_words_are_counted_as_people_do(text: str, count: int) -> None:
    assert word_count(text) == count


def test_tokens_outside_the_band() -> None:
    tokens = [[1], [1] * 4, [1] * 9]
    assert stated({"kind": "tokens", "least": 2, "most": 6}, ["a", "b", "c"], tokens=tokens) == [-1.0, 0.0, -3.0]


def test_formats() -> None:
    pattern = {"kind": "format", "format": "regex", "pattern": "^Dear .*,$", "weight": 2.0}
    assert stated(pattern, ["Dear Ada,", "Dear Ada", "Oh Dear Ada,", ""]) == [0.0, -2.0, -2.0, -2.0]
    texts = ['{"a": [1, 2]}', "3", "{'a': 1}", "[1,]", "NaN", "[1, Infinity]", "", "[" * 10_000]
    assert stated({"kind": "format", "format": "json"}, texts) == [0.0, 0.0, *[-1.0] * 6]
    sentences = [
        "Done.",
        'He said "no!" ',
        "Really?)",
        "**Bold.**",
        "好的。",
        "to be continued…",
        "no end",
        "a, b,",
        "",
    ]
    assert stated({"kind": "format", "format": "punctuation"}, sentences) == [*[0.0] * 6, *[-1.0] * 3]


def test_personal_data_counts_its_pieces() -> None:
    texts = ["nothing", "me@example.org", "me@example.org or 4111 1111 1111 1111"]
    assert stated({"kind": "personal_data", "weight": 0.5}, texts) == [0.0, -0.5, -1.0]
    assert stated({"kind": "personal_data", "find": ["card"]}, texts) == [0.0, 0.0, -1.0]


RULES = """
def shouts(prompt, completion):
    return sum(sign.isupper() for sign in completion)

def negative(prompt, completion):
    return -1.0

def nothing(prompt, completion):
    return None

def breaks(prompt, completion):
    raise KeyError("oh")

knows = lambda prompt, completion: float(len(prompt))
"""


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "house_rules.py").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "house_rules", raising=False)


def test_any_function_of_prompt_and_completion(rules: None) -> None:
    assert stated({"kind": "function", "function": "house_rules:shouts", "weight": 0.25}, ["OK, No", "ok"]) == [
        -0.75,
        0,
    ]
    settings = PolicySettings(constraints=[{"name": "it", "kind": "function", "function": "house_rules:knows"}])
    assert Constraints(settings)(["abc", "a"], samples_of(["x", "y"])).added["it"].tolist() == [-3.0, -1.0]


@pytest.mark.parametrize(
    ("function", "told"), [("negative", "0 is the least"), ("nothing", "finite number"), ("breaks", "KeyError: 'oh'")]
)
def test_a_function_that_does_not_keep_to_it_is_named(rules: None, function: str, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        stated({"kind": "function", "function": f"house_rules:{function}"}, ["x"])
    assert "constraint 'it'" in caught.value.what


def test_a_function_that_is_not_there_is_an_error_before_training(rules: None) -> None:
    for function in ("house_rules:missing", "no_such_module:f"):
        with pytest.raises(ConfigError, match=function.split(":")[0]):
            trainer_of(False, constraints=[{"name": "it", "kind": "function", "function": function}])


def test_rewards_of_a_scorer_are_added_with_their_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TONE_TOKEN", "s3cret")
    with serving(lambda body, _: rewards(*(float(len(text)) - 3 for text in body["query"]))) as server:
        entry = {"kind": "http", "url": server.url, "weight": 0.5, "token_variable": "TONE_TOKEN"}
        settings = PolicySettings(missing_end_penalty=0.0, constraints=[{"name": "it", **entry}])
        found = Constraints(settings)(["ab", "c"], samples_of(["cd", "e"]))
        assert found.added["it"].tolist() == [0.5, -0.5]
        assert found.broken == {}
        assert found.figures() == {"constraint:it": 0.0}
        assert stated({**entry, "reads": "completion"}, ["cd", "e"]) == [-0.5, -1.0]
    assert [body["query"] for body in server.bodies] == [["abcd", "ce"], ["cd", "e"]]
    assert server.headers[0]["authorization"] == "Bearer s3cret"


def test_a_token_that_is_not_set_is_an_error_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TONE_TOKEN", raising=False)
    entry = {"name": "it", "kind": "http", "url": "http://localhost:1/", "token_variable": "TONE_TOKEN"}
    with pytest.raises(ConfigError, match="export TONE_TOKEN"):
        Constraints(PolicySettings(constraints=[entry]))


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"kind": "words"}, "least', 'most' or both"),
        ({"kind": "words", "least": 5, "most": 3}, "least 5 is more than most 3"),
        ({"kind": "words", "most": 3, "pattern": "a"}, "'pattern' means nothing to a constraint of kind 'words'"),
        ({"kind": "format"}, "needs 'format'"),
        ({"kind": "format", "format": "regex"}, "'pattern' belongs to"),
        ({"kind": "format", "format": "json", "pattern": "a"}, "'pattern' belongs to"),
        ({"kind": "format", "format": "regex", "pattern": "("}, "no regular expression"),
        ({"kind": "function"}, "needs 'function'"),
        ({"kind": "function", "function": "rules"}, "package.module:function"),
        ({"kind": "function", "function": "a b:c"}, "package.module:function"),
        ({"kind": "http"}, "needs 'url'"),
        ({"kind": "http", "url": "ftp://x/"}, "not like http"),
        ({"kind": "http", "url": "http://me:pw@x/"}, "token_variable"),
        ({"kind": "http", "url": "http://x/#a"}, "fragment"),
        ({"kind": "http", "url": "http://[::1"}, "not like http"),
        ({"kind": "words", "most": 3, "weight": -1.0}, "greater than or equal to 0"),
        ({"kind": "words", "most": 3, "weight": float("nan")}, "finite"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(entry: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ConstraintSettings(name="it", **entry)


@pytest.mark.parametrize(("names", "told"), [(["a", "a"], "two constraints"), (["missing_end"], "settings of its own")])
def test_names_tell_constraints_apart(names: list[str], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        PolicySettings(constraints=[{"name": name, "kind": "words", "most": 3} for name in names])


# With PPO


def weights(trainer: OnlineTrainer) -> Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.parameters.values()])


def every_kind(url: str, weight: float) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = [
        {"kind": "words", "least": 2, "most": 3},
        {"kind": "tokens", "most": 2},
        {"kind": "format", "format": "json"},
        {"kind": "format", "format": "regex", "pattern": "^a"},
        {"kind": "personal_data"},
        {"kind": "function", "function": "house_rules:knows"},
        {"kind": "http", "url": url},
    ]
    return [{"name": f"c{n}", "weight": weight, **entry} for n, entry in enumerate(entries)]


@BOTH
def test_constraints_of_weight_zero_leave_training_as_it_is_to_the_bit(shared: bool, rules: None) -> None:
    settings: dict[str, Any] = {
        "steps": 3, "kl_control": "adaptive", "kl_target": 0.05, "kl_horizon": 64, "whiten_rewards": True,
        "missing_end_penalty": 0.5, "length_target": 3, "length_penalty": 0.1, "minibatches": 2,
    }  # fmt: skip
    plain = trainer_of(shared, **settings)
    before = plain.run().history
    with serving(lambda body, count: rewards(*(0.5 * count for _ in body["query"]))) as server:
        watched = trainer_of(shared, constraints=every_kind(server.url, 0.0), **settings)
        history = watched.run().history
    assert torch.equal(weights(plain), weights(watched))
    extra = {f"{kind}:c{n}" for kind in ("constraint", "broken") for n in range(7)} - {"broken:c6"}
    for one, other in zip(before, history, strict=True):
        assert set(other) - set(one) == extra
        assert {key: other[key] for key in one} == one
        assert all(other[f"constraint:c{n}"] == 0 for n in range(7))
    assert any(row["broken:c3"] > 0 for row in history), "what weighs nothing is looked at all the same"


def test_constraints_of_a_weight_change_training(rules: None) -> None:
    trainers = [trainer_of(True, steps=2, constraints=entries) for entries in ([], every_kind("http://x/", 0.1)[:1])]
    for trainer in trainers:
        trainer.run()
    assert not torch.equal(*map(weights, trainers))


def whitened(rewards: Any, mask: Any) -> Any:
    """To variance 1 over all real tokens, the mean kept."""
    real = rewards[mask > 0]
    return np.where(mask > 0, (rewards - real.mean()) / np.sqrt(real.var() + 1e-8) + real.mean(), 0.0)


def test_rewards_are_constraints_and_clipped_scores_less_kl_and_whitened_after(rules: None) -> None:
    """The order of Huang et al. 2024: score clipped, constraints added at the last token, KL at all, then whitened."""
    trainer = trainer_of(
        False, steps=2, kl_coefficient=0.3, gamma=0.9, gae_lambda=0.8, whiten_advantages=False, whiten_rewards=True,
        reward_clip=0.3, missing_end_penalty=0.7,
        constraints=[{"name": "a", "kind": "format", "format": "regex", "pattern": "a", "weight": 5.0},
                     {"name": "short", "kind": "tokens", "most": 2, "weight": 0.25}],
    )  # fmt: skip
    trainer.step(0)
    rollout = trainer.roll_out(trainer.prompts[:5], seed=3)
    texts, lengths = rollout.samples.texts, rollout.lengths
    added = np.array([-5.0 * ("a" not in text) for text in texts])
    added += [-0.25 * max(0, n - 2) for n in lengths]
    added += [-0.7 * (not done) for done in rollout.samples.finished]
    scores = [min(0.3, tokens.count(0) / len(tokens)) for tokens in rollout.samples.tokens]
    assert len(set(added)) > 3
    mask = rollout.mask.numpy()
    rewards = -0.3 * (rollout.logprobs - rollout.reference_logprobs).numpy() * mask
    rewards[range(len(lengths)), np.array(lengths) - 1] += np.array(scores) + added
    rewards, values = whitened(rewards, mask), rollout.values.numpy()
    for row, n in enumerate(lengths):
        following = [*values[row, 1:n], 0.0]
        deltas = [rewards[row, t] + 0.9 * following[t] - values[row, t] for t in range(n)]
        for t in range(n):
            expected = sum(0.72**k * deltas[t + k] for k in range(n - t))
            assert float(rollout.advantages[row, t]) == pytest.approx(expected, abs=2e-5)
    figures = trainer._rollout_figures(rollout)
    assert figures["reward"] == pytest.approx(np.mean(scores), abs=1e-6), "constraints are no part of the reward"
    assert figures["constraint"] == pytest.approx(added.mean(), abs=1e-5)
    parts = [figures[f"constraint:{name}"] for name in ("missing_end", "a", "short")]
    assert sum(parts) == pytest.approx(figures["constraint"], abs=1e-5)
    assert figures["broken:a"] == pytest.approx(np.mean(["a" not in text for text in texts]))


def test_a_policy_learns_to_keep_a_rule_that_the_reward_knows_nothing_of() -> None:
    def nothing(prompts: Any, prompt_ids: Any, samples: Samples) -> Tensor:
        return torch.zeros(len(samples.tokens))

    rule = {"name": "begins", "kind": "format", "format": "regex", "pattern": "^[ab]", "weight": 2.0}
    trainer = trainer_of(
        False,
        scorer=nothing,
        steps=10,
        max_new_tokens=2,
        learning_rate=6e-3,
        prompts_per_step=8,
        samples_per_prompt=4,
        kl_coefficient=0.01,
        constraints=[rule],
    )
    history = trainer.run().history
    assert history[0]["broken:begins"] > 0.5
    assert np.mean([row["broken:begins"] for row in history[-3:]]) < 0.1
    assert all(row["reward"] == 0 for row in history)
    told = verdict(trainer.result)
    first, last = history[0], history[-1]
    assert f"constraints add {first['constraint']:+.2f} to {last['constraint']:+.2f}: begins" in told
    assert f"broken by {100 * first['broken:begins']:.0f} to" in told
    assert f"constraint {first['constraint']:+.2f}" in live_line(first)
    assert json.loads(json.dumps(history)) == history


def test_nothing_is_told_where_there_are_no_constraints() -> None:
    assert constraints_told({"constraint": 0.0}, {"constraint": 0.0}) == ""
