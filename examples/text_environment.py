"""A language model of heed's and an agent of Stable-Baselines3 learn to spell two words in ``heed/Text-v0``.

Needs the extra ``control`` (pip install 'heed[control]'); takes half a minute on one core. A number behind the name of this
file is the seed: python examples/text_environment.py 1
"""

from __future__ import annotations

import sys

import gymnasium
import numpy as np
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.env_util import make_vec_env

import heed.environments
from heed.config import PolicySettings, SamplingSettings
from heed.environments.sb3 import TextFeatures
from heed.environments.training import online_trainer
from heed.models.decode import sample
from heed.models.small import letter_tokenizer, lstm_policy

WORDS = {"a": "cab", "bd": "fed"}
TOKENIZER = letter_tokenizer("abcdef")
TEXTS = 500  # sampled at the end to tell how good a writer is


def spelled(prompt: str, text: str) -> float:
    """Letters in their place less letters too many or too few, in letters of the word; 1 is the best there is."""
    word = WORDS[prompt]
    return (sum(a == b for a, b in zip(text, word, strict=False)) - abs(len(text) - len(word))) / len(word)


def make() -> gymnasium.Env:
    return gymnasium.make(
        heed.environments.ENVIRONMENT, prompts=list(WORDS), reward=spelled, tokenizer=TOKENIZER, max_new_tokens=5
    )


def heeds_own(seed: int) -> list[float]:
    """Rewards of texts of heed's LSTM, trained by PPO."""
    policy = lstm_policy(TOKENIZER, hidden_size=32, context=16, seed=seed)
    settings = PolicySettings(
        steps=60,
        prompts_per_step=16,
        samples_per_prompt=4,
        learning_rate=1e-2,
        value_learning_rate=1e-2,
        entropy_coefficient=0.1,
        kl_coefficient=0.0,
        kl_budget=1e6,
    )
    trainer = online_trainer(make(), policy, settings, seed)
    trainer.run()
    sampling = SamplingSettings(samples_per_prompt=TEXTS // len(WORDS), max_new_tokens=5)
    drawn = sample(policy, [prompt.ids for prompt in trainer.prompts], sampling, seed)
    prompts = [word for word in WORDS for _ in range(sampling.samples_per_prompt)]
    written = zip(prompts, drawn.texts, drawn.finished, strict=True)
    return [spelled(prompt, text) - (0.0 if ended else 1.0) for prompt, text, ended in written]


def stable_baselines(seed: int) -> list[float]:
    """Rewards of texts of Stable-Baselines3's PPO with an LSTM."""
    agent = RecurrentPPO(
        "MultiInputLstmPolicy",
        make_vec_env(make, n_envs=32, seed=seed),
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
    agent.learn(20_000)
    env, rewards = make(), []
    env.reset(seed=seed)
    for _ in range(TEXTS):
        observation, _ = env.reset()
        state, start, over = None, np.ones(1, dtype=bool), False
        while not over:
            action, state = agent.predict(observation, state=state, episode_start=start)
            observation, reward, terminated, truncated, _ = env.step(action)
            start[:] = over = terminated or truncated
        rewards.append(float(reward))
    return rewards


def told(writer: str, rewards: list[float]) -> str:
    """The mean reward with its 95 % interval over texts."""
    reach = 1.96 * np.std(rewards, ddof=1) / len(rewards) ** 0.5
    return f"{writer}: {np.mean(rewards):.3f} of 1, give or take {reach:.3f}"


if __name__ == "__main__":
    torch.set_num_threads(1)  # for networks as small as these more threads only wait for each other
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    print(told("heed's LSTM by heed's PPO", heeds_own(seed)))
    print(told("an LSTM by Stable-Baselines3's PPO", stable_baselines(seed)))
