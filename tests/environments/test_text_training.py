"""Both learn to write in the environment: heed's LSTM by heed's algorithms, and an agent of Stable-Baselines3."""

from __future__ import annotations

from statistics import mean
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.env_util import make_vec_env

from heed.config import PolicySettings, SamplingSettings
from heed.environments.sb3 import TextFeatures
from heed.environments.training import online_trainer
from heed.errors import ConfigError, DataError, ModelError
from heed.models.decode import sample
from heed.models.policy import Policy
from heed.models.small import letter_tokenizer, lstm_policy
from tiny_writing import BEST, END_ID, LETTERS, WORDS, spelled, writing, written_greedily

SMALL: dict[str, Any] = {
    "prompts_per_step": 16,
    "samples_per_prompt": 4,
    "learning_rate": 1e-2,
    "value_learning_rate": 1e-2,
    "entropy_coefficient": 0.1,
    "kl_coefficient": 0.0,
    "kl_budget": 1e6,
}


def new_policy(seed: int = 0, letters: str = LETTERS, context: int = 16) -> Policy:
    return lstm_policy(letter_tokenizer(letters), hidden_size=32, context=context, seed=seed)


def likeliest(policy: Policy) -> dict[str, str]:
    """What a policy writes at each prompt, taking its likeliest token."""
    sampling = SamplingSettings(samples_per_prompt=1, max_new_tokens=5, temperature=0.0)
    drawn = sample(policy, [policy.encode_prompt(prompt) for prompt in WORDS], sampling, 0)
    assert all(drawn.finished)
    return dict(zip(WORDS, drawn.texts, strict=True))


@pytest.mark.parametrize(
    ("algorithm", "steps", "changes"),
    [
        ("ppo", 60, {}),
        ("ppo", 60, {"value_model": "shared"}),
        ("reinforce", 110, {"learning_rate": 2e-2, "entropy_coefficient": 0.03}),
    ],
)
def test_heeds_lstm_reaches_the_optimum(algorithm: Any, steps: int, changes: dict[str, Any]) -> None:
    policy = new_policy()
    settings = PolicySettings(algorithm=algorithm, steps=steps, **(SMALL | changes))
    history = online_trainer(writing(), policy, settings).run().history
    assert history[0]["reward"] + history[0]["constraint"] < 0
    assert likeliest(policy) == WORDS
    # Of several steps: one has few samples, and rounding decides which.
    assert mean(row["reward"] + row["constraint"] for row in history[-5:]) > 0.9 * BEST


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_heeds_lstm_reaches_the_optimum_from_other_seeds(seed: int) -> None:
    policy = new_policy(seed)
    online_trainer(writing(), policy, PolicySettings(steps=60, **SMALL), seed).run()
    assert likeliest(policy) == WORDS


def sb3_agent(seed: int, envs: int, **changes: Any) -> RecurrentPPO:
    """PPO on an LSTM, as docs/environments.md shows it."""
    return RecurrentPPO(
        "MultiInputLstmPolicy",
        make_vec_env(lambda: writing(**changes), n_envs=envs, seed=seed),
        n_steps=16,
        batch_size=128,
        n_epochs=4,
        learning_rate=5e-3,
        gamma=1.0,
        ent_coef=0.1,
        seed=seed,
        policy_kwargs={"features_extractor_class": TextFeatures, "lstm_hidden_size": 32, "net_arch": []},
        device="cpu",
    )


def test_an_agent_of_stable_baselines_gets_better() -> None:
    """At ending its texts first, which every text is paid for."""
    agent = sb3_agent(seed=0, envs=16)
    agent.learn(512)
    before = np.mean([episode["r"] for episode in agent.ep_info_buffer])
    agent.learn(2048)
    after = np.mean([episode["r"] for episode in agent.ep_info_buffer])
    assert before < -0.3
    assert after > before + 0.3


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_agent_of_stable_baselines_reaches_the_optimum(seed: int) -> None:
    agent = sb3_agent(seed, envs=32)
    agent.learn(20_000)
    assert written_greedily(agent, writing()) == {prompt: (word, pytest.approx(BEST)) for prompt, word in WORDS.items()}


def test_heeds_rollouts_are_paid_as_the_environment_pays() -> None:
    """Token by token through the environment, what the trainer sampled comes to what the trainer was told."""
    rules = [{"name": "long", "kind": "tokens", "most": 3, "weight": 0.5}]
    env = writing(constraints=rules, missing_end_penalty=0.25, reward=lambda prompt, text: 30 * spelled(prompt, text))
    trainer = online_trainer(env, new_policy(), PolicySettings(steps=1, samples_per_prompt=8))
    rollout = trainer.roll_out(trainer.prompts, seed=1)
    paid = rollout.scores + rollout.constraints.total(rollout.scores)
    for row, tokens in enumerate(rollout.samples.tokens):
        env.reset(options={"prompt": list(WORDS).index(str(rollout.prompts[row]))})
        steps = [env.step(token) for token in tokens]
        assert sum(float(step[1]) for step in steps) == pytest.approx(float(paid[row]), abs=1e-5)
        assert [step[2] or step[3] for step in steps] == [False] * (len(tokens) - 1) + [True]
        assert steps[-1][2] == rollout.samples.finished[row]
    assert float(rollout.scores.abs().max()) > 10, "scores are not clipped unless that is asked for"


class Halved(gymnasium.RewardWrapper[Any, Any]):
    def reward(self, reward: Any) -> Any:
        return reward / 2


def test_what_would_be_passed_over_is_refused() -> None:
    with pytest.raises(ConfigError, match="this wrapper makes") as caught:
        online_trainer(Halved(writing()), new_policy())
    assert "env.unwrapped" in caught.value.fix
    online_trainer(Halved(writing()).unwrapped, new_policy())
    with pytest.raises(ConfigError, match="they know heed/Text-v0"):
        online_trainer(gymnasium.make("CartPole-v1"), new_policy())


@pytest.mark.parametrize("changes", [{"max_new_tokens": 4}, {"missing_end_penalty": 0.0}])
def test_settings_do_not_contradict_the_environment(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(changes))} in the settings"):
        online_trainer(writing(), new_policy(), PolicySettings(**changes))
    trainer = online_trainer(writing(**changes), new_policy(), PolicySettings(steps=3, **changes))
    name, value = next(iter(changes.items()))
    assert (getattr(trainer.settings, name), trainer.settings.steps) == (value, 3)


def test_a_policy_that_does_not_fit_the_environment() -> None:
    with pytest.raises(ModelError, match="its tokens are others than the environment's"):
        online_trainer(writing(), new_policy(letters="abcdefg"))
    other_end = new_policy()
    other_end.end_ids = frozenset({0, END_ID})
    with pytest.raises(ModelError, match=r"its texts end with tokens \[0, 6\] than the environment's \[6\]"):
        online_trainer(writing(), other_end)
    with pytest.raises(DataError, match="prompt 2 has 2 tokens"):
        online_trainer(writing(), new_policy(context=6))


def test_the_reference_stays_as_the_policy_was() -> None:
    policy = new_policy()
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    trainer = online_trainer(writing(), policy, PolicySettings(steps=2, **SMALL))
    trainer.run()
    reference = trainer.reference.model.state_dict()
    assert all(torch.equal(before[name], reference[name]) for name in before)
    assert not all(torch.equal(before[name], value) for name, value in policy.model.state_dict().items())


@given(st.integers(0, 1), st.lists(st.integers(0, END_ID - 1), max_size=4), st.integers(0, END_ID))
def test_features_are_of_the_prompt_and_the_last_token(prompt: int, written: list[int], filling: int) -> None:
    """And not of what stands behind the last token, whatever that is."""
    env = writing().unwrapped
    extractor = TextFeatures(env.observation_space, width=4)
    observation, _ = env.reset(options={"prompt": prompt})
    for token in written:
        observation = env.step(token)[0]
    length, asked = int(observation["length"]), int(observation["prompt_length"])
    tokens = observation["tokens"].copy()
    tokens[length:] = filling
    seen = {
        "tokens": torch.tensor(tokens)[None].float(),
        "length": torch.nn.functional.one_hot(torch.tensor([[length]]), env.task.width + 1).float(),
        "prompt_length": torch.nn.functional.one_hot(torch.tensor([[asked]]), env.task.width + 1).float(),
    }
    ids = env.task.prompts[prompt].ids
    table = extractor.embedding.weight
    expected = torch.cat([table[[*ids, *written][-1]], table[ids].mean(0)])
    torch.testing.assert_close(extractor(seen)[0], expected)
    assert torch.isfinite(extractor({name: torch.zeros_like(value) for name, value in seen.items()})).all()
