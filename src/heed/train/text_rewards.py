"""Rewards that are no model of heed's: a function, a scorer on another machine, people. All score a batch of texts at once."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from heed.errors import ConfigError
from heed.feedback.kinds import PromptContent
from heed.raters.utilities import CheckedUtility, utility_by_name
from heed.settings import FUNCTION
from heed.train.code_hash import code_hash
from heed.train.constraint_functions import no_exit, source_of
from heed.train.remote_scorer import RemoteScorer, joined

TOKEN_VARIABLE = "HEED_REWARD_TOKEN"
"""Variable of the environment that holds a remote reward's bearer token, where it wants one."""
_SECONDS = 30.0


@dataclass(frozen=True)
class TextReward:
    """A reward of texts.

    Attributes:
        name: what runs and errors call it.
        scores: of prompts [N] and completions [N], the rewards [N]; higher is better.
        scaled: whether its scores are centred and scaled to samples of the reference, as a reward model's are; else they are
            taken as they come.
        asks: whether each score costs somebody time: then nothing but rollouts is scored.
        source: a hash of what computes it, where there is something that could be hashed.
    """

    name: str
    scores: Callable[[Sequence[PromptContent], Sequence[str]], Sequence[float]]
    scaled: bool = True
    asks: bool = False
    source: str = ""

    @classmethod
    def of(cls, function: Callable[[PromptContent, str], float]) -> TextReward:
        """A function of one prompt and one completion."""

        def scores(prompts: Sequence[PromptContent], texts: Sequence[str]) -> list[float]:
            return [float(function(prompt, text)) for prompt, text in zip(prompts, texts, strict=True)]

        return cls(_name_of(function), scores, source=_source_of(function))


def reward_named(name: str) -> TextReward | None:
    """The reward that a text names: the URL of a scorer, or package.module:function; None where it is neither, but a path.

    Raises:
        ConfigError: the function cannot be imported or called.
    """
    if name.startswith(("http://", "https://")):
        scorer = RemoteScorer("reward", name, _SECONDS, token=os.environ.get(TOKEN_VARIABLE, ""))
        # What follows a "?" may be a key: a run is known by its hash, and its record does not tell it.
        known = hashlib.sha256(name.encode()).hexdigest()[:16]
        return TextReward(
            name.partition("?")[0], lambda prompts, texts: scorer(list(map(joined, prompts, texts))), source=known
        )
    if not FUNCTION.fullmatch(name) or Path(name).is_dir():
        return None
    with no_exit(f"reward '{name}'", f"'{name.partition(':')[0]}' ends the program when it is imported"):
        function = utility_by_name(name, "reward")

    def one(prompt: PromptContent, text: str) -> float:
        with no_exit(f"reward '{name}'", f"it ends the program for the completion {text[:60]!r}"):
            return function(prompt, text)

    def scores(prompts: Sequence[PromptContent], texts: Sequence[str]) -> list[float]:
        return [one(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]

    return TextReward(name, scores, source=source_of(name)[0] or "")


def of_texts(reward: str | Path | TextReward | Callable[[PromptContent, str], float]) -> TextReward | None:
    """A reward as one of texts; None where it is a path, of a reward model.

    Raises:
        ConfigError: a function cannot be imported.
    """
    if isinstance(reward, TextReward):
        return reward
    return TextReward.of(reward) if callable(reward) else reward_named(str(reward))


def known_by(function: Callable[..., object]) -> str:
    """What a function is known by in another process: its name, and a hash of the files that hold it where it was named in a setting, else
    of its code."""
    return f"{_name_of(function)} {_source_of(function)}"


def _name_of(function: Callable[..., object]) -> str:
    if isinstance(function, CheckedUtility):
        return function.name
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def _source_of(function: Callable[..., object]) -> str:
    # One that was made by hand may have any name.
    name = function.name if isinstance(function, CheckedUtility) else ""
    imported = FUNCTION.fullmatch(name) and name.partition(":")[0] in sys.modules
    return (source_of(name)[0] if imported else None) or code_hash(function)


def refuse_pessimism(reward: TextReward, pessimism: float) -> None:
    """Raise ConfigError where a reward is to be doubted by its members' differences and has none."""
    if pessimism:
        raise ConfigError(
            f"pessimism {pessimism:g} with {reward.name} as reward",
            "it has no members whose differences could tell how sure it is.",
            "Set policy.pessimism to 0, or give a reward model of several members.",
        )
