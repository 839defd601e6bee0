"""A small task for the text environment: spell the word that belongs to the prompt, out of six letters."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

import heed.environments
from heed.models.small import letter_tokenizer

LETTERS = "abcdef"
END_ID = len(LETTERS)
WORDS = {"a": "cab", "bd": "fed"}
BEST = 1.0
"""The highest reward there is: the whole word, and its end."""


def spelled(prompt: Any, text: str) -> float:
    """Letters in their place less letters too many or too few, in letters of the word."""
    word = WORDS[prompt]
    return (sum(ours == theirs for ours, theirs in zip(text, word, strict=False)) - abs(len(text) - len(word))) / 3


def task_of(**changes: Any) -> dict[str, Any]:
    """What to give ``gymnasium.make`` beside the name."""
    return {
        "prompts": list(WORDS),
        "reward": spelled,
        "tokenizer": letter_tokenizer(LETTERS),
        "max_new_tokens": 5,
    } | changes


def writing(**changes: Any) -> gymnasium.Env[Any, Any]:
    """The environment as users make it."""
    return gymnasium.make(heed.environments.ENVIRONMENT, **task_of(**changes))


def written_greedily(agent: Any, env: gymnasium.Env[Any, Any]) -> dict[str, tuple[str, float]]:
    """(text, reward) that a recurrent agent of Stable-Baselines3 comes to at each prompt, taking its likeliest token."""
    found = {}
    for number, prompt in enumerate(WORDS):
        observation, _ = env.reset(options={"prompt": number})
        state, start, over, reward, told = None, np.ones(1, dtype=bool), False, 0.0, {}
        while not over:
            action, state = agent.predict(observation, state=state, episode_start=start, deterministic=True)
            observation, reward, terminated, truncated, told = env.step(action)
            start[:] = over = terminated or truncated
        found[prompt] = (told["text"], float(reward))
    return found
