"""Raters whose judgments follow a known utility, seen through a fault of their own.

A rater perceives the difference between two completions, adds logistic noise (so that without another fault its choices
follow the Bradley-Terry model, whose scale is the noise), and says "tie" where it perceives next to none. Every judgment
depends on the rater's seed and the caller's key alone, never on the order of the calls.
"""

from __future__ import annotations

import importlib
import math
import random
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

from heed.config import SimulatedRaterSettings
from heed.errors import ConfigError, DataError
from heed.feedback.kinds import PromptContent

BehaviourName = Literal["careful", "noisy", "lazy_left", "lazy_long", "inverted"]
Choice = Literal["a", "b", "tie", "both_bad"]

# Scale of the logistic noise, in units of one clear difference.
DEFAULT_NOISE: dict[BehaviourName, float] = {
    "careful": 0.15,
    "noisy": 0.8,
    "lazy_left": 0.3,
    "lazy_long": 0.3,
    "inverted": 0.15,
}
_TIE_WIDTH = 0.1
_BOTH_BAD_WIDTH = 0.75
_STRENGTHS = (0.75, 2.0)
_UNREAD_SHARE = 0.7  # of its items a lazy_left rater does not read
_UNREAD_MARGIN = 0.5
_LENGTH_PULL = 0.12  # what a word more is worth to a lazy_long rater
_LENGTH_ATTENTION = 0.2  # how much of the true difference it sees beside the length

_BUILT_IN = {"support_desk": "heed.sandbox.utility:support_desk", "vader": "heed.raters.simulated:vader"}


class Utility(Protocol):
    """What a completion is truly worth, in utility units; more is better.

    Optional attributes: ``parts(prompt, completion)`` gives the named parts of the sum, ``group_weights(group)`` the weights
    that a group of raters gives them, and ``span`` the utilities (bad, best) on which ratings, thumbs and "both bad" rest.
    """

    def __call__(self, prompt: PromptContent, completion: str, /) -> float:
        """Utility of ``completion`` as an answer to ``prompt``."""
        ...


class SimulatedRater:
    """One rater with one fault.

    Args:
        name: the rater's name; two raters of different names judge independently.
        behaviour: "careful" (little noise), "noisy", "lazy_left" (mostly takes the left unread), "lazy_long" (prefers the
            longer) or "inverted" (prefers the worse).
        utility: the truth.
        weights: weights of the utility's parts as this rater sees them; None takes the utility itself.
        noise: scale of the logistic noise (utility units); None takes the behaviour's own.
        group: label of the rater's group.
        seed: of everything random in this rater.

    Raises:
        ConfigError: the behaviour is unknown, the noise is negative, or weights are given for a utility without parts.
    """

    kind = "simulated"

    def __init__(
        self,
        name: str,
        behaviour: BehaviourName,
        utility: Utility,
        weights: dict[str, float] | None = None,
        noise: float | None = None,
        group: str = "everyone",
        seed: int = 0,
    ) -> None:
        if behaviour not in DEFAULT_NOISE:
            raise ConfigError(
                f"behaviour '{behaviour}'", "no simulated rater behaves so.", f"Use one of {list(DEFAULT_NOISE)}."
            )
        if noise is not None and not (math.isfinite(noise) and noise >= 0):
            raise ConfigError(f"noise {noise} of rater '{name}'", "it is not a scale.", "Give a number of at least 0.")
        if weights is not None and not hasattr(utility, "parts"):
            raise ConfigError(
                f"weights of rater '{name}'",
                "the utility has no named parts to weigh.",
                "Leave the group at 'everyone'.",
            )
        self.name, self.behaviour, self.utility, self.group, self.seed = name, behaviour, utility, group, seed
        self.weights = weights
        self._span: tuple[float, float] | None = getattr(utility, "span", None)
        self.unit = (self._span[1] - self._span[0]) / 5 if self._span else 1.0
        self.noise = DEFAULT_NOISE[behaviour] * self.unit if noise is None else noise

    def compare(
        self, prompt: PromptContent, a: str, b: str, left_is_a: bool, key: str
    ) -> tuple[Choice, Literal[1, 2, 3] | None]:
        """Choose between two completions.

        Args:
            prompt: what both answer.
            a: a completion.
            b: the other one.
            left_is_a: whether ``a`` was shown on the left.
            key: identifies the judgment; the same key gives the same answer.

        Returns:
            The choice ("both_bad" if both are in the lower half of the utility's span and not far apart), and for "a" and "b" how strong it is: 1 (slightly) to 3 (much better).
        """
        rng = self._rng("compare", key)
        worth_a, worth_b = self._worth(prompt, a), self._worth(prompt, b)
        margin = self._perceive(worth_a - worth_b, len(a.split()) - len(b.split()), left_is_a, rng) / self.unit
        if self._span and abs(margin) < _BOTH_BAD_WIDTH and max(worth_a, worth_b) < sum(self._span) / 2:
            return "both_bad", None
        if abs(margin) < _TIE_WIDTH:
            return "tie", None
        size = abs(margin)
        strength: Literal[1, 2, 3] = 1 if size < _STRENGTHS[0] else 2 if size < _STRENGTHS[1] else 3
        return ("a" if margin > 0 else "b"), strength

    def rate(self, prompt: PromptContent, completion: str, key: str) -> float:
        """Rate one completion on 1, 2, 3, 4, 5 (5 is best); deterministic given the key.

        Raises:
            ConfigError: the utility has no ``span`` to place the scale on.
        """
        bad, best = self._need_span("rating")
        quality = self._quality(prompt, completion, self._rng("rate", key))
        return float(min(5, max(1, round(1 + 4 * (quality - bad) / (best - bad)))))

    def thumb(self, prompt: PromptContent, completion: str, key: str) -> bool:
        """Thumb up if the perceived quality is in the upper half of the utility's span.

        Raises:
            ConfigError: the utility has no ``span``.
        """
        bad, best = self._need_span("thumb")
        return self._quality(prompt, completion, self._rng("thumb", key)) > (bad + best) / 2

    def _rng(self, what: str, key: str) -> random.Random:
        return random.Random(repr((self.seed, self.name, what, key)))

    def _worth(self, prompt: PromptContent, completion: str) -> float:
        if self.weights is None:
            return self.utility(prompt, completion)
        parts: dict[str, float] = self.utility.parts(prompt, completion)  # type: ignore[attr-defined]
        return sum(weight * parts[name] for name, weight in self.weights.items())

    def _perceive(self, difference: float, more_words: int, left_is_a: bool, rng: random.Random) -> float:
        """Perceived advantage of ``a`` (utility units), noise included."""
        error = self.noise * _logistic(rng)
        if self.behaviour == "lazy_left" and rng.random() < _UNREAD_SHARE:
            return _UNREAD_MARGIN * self.unit * (1 if left_is_a else -1)
        if self.behaviour == "lazy_long":
            return _LENGTH_PULL * self.unit * more_words + _LENGTH_ATTENTION * difference + error
        return (-difference if self.behaviour == "inverted" else difference) + error

    def _quality(self, prompt: PromptContent, completion: str, rng: random.Random) -> float:
        """Perceived quality of one completion (utility units), noise included."""
        bad, best = self._need_span("judgment")
        worth, error = self._worth(prompt, completion), self.noise * _logistic(rng)
        if self.behaviour == "lazy_left" and rng.random() < _UNREAD_SHARE:
            return best  # the first answer offered, unread
        if self.behaviour == "lazy_long":
            length = _LENGTH_PULL * self.unit * len(completion.split())
            return bad + length + _LENGTH_ATTENTION * (worth - bad) + error
        return (bad + best - worth if self.behaviour == "inverted" else worth) + error

    def _need_span(self, what: str) -> tuple[float, float]:
        if self._span is None:
            raise ConfigError(
                f"a {what} of rater '{self.name}'",
                "the utility does not say which values are bad and best.",
                "Give the utility an attribute 'span', for example span = (0.0, 1.0).",
            )
        return self._span


def _logistic(rng: random.Random) -> float:
    """One draw of the standard logistic distribution, by inverting its distribution function."""
    share = min(max(rng.random(), 1e-12), 1 - 1e-12)
    return math.log(share / (1 - share))


def simulated_raters(settings: Sequence[SimulatedRaterSettings], utility: Utility, seed: int) -> list[SimulatedRater]:
    """The raters of ``heed.yaml``; a group other than "everyone" takes its weights from the utility.

    Raises:
        ConfigError: two raters share a name, or the utility has no such group.
    """
    names = [entry.name for entry in settings]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"rater '{twice}'", "two simulated raters have this name.", "Rename one of them.")
    raters = []
    for entry in settings:
        weights = None
        if entry.group != "everyone":
            if not hasattr(utility, "group_weights"):
                raise ConfigError(
                    f"group '{entry.group}' of rater '{entry.name}'",
                    "the utility knows no groups.",
                    "Leave the group at 'everyone'.",
                )
            weights = utility.group_weights(entry.group)
        raters.append(SimulatedRater(entry.name, entry.behaviour, utility, weights, entry.noise, entry.group, seed))
    return raters


@lru_cache(maxsize=1)
def _vader_analyzer() -> Any:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        raise ConfigError(
            "utility 'vader'", "the package vaderSentiment is not installed.", "Run: pip install vaderSentiment"
        ) from None
    return SentimentIntensityAnalyzer()


class Vader:
    """The compound sentiment of the completion by VADER (Hutto and Gilbert 2014), from -1 to 1; the prompt is not read."""

    span = (-1.0, 1.0)

    def __call__(self, prompt: PromptContent, completion: str) -> float:
        """Compound score of ``completion``.

        Raises:
            ConfigError: the package vaderSentiment is missing.
        """
        return float(_vader_analyzer().polarity_scores(completion)["compound"])


vader = Vader()


class CheckedUtility:
    """A user's function as a utility: every value is checked to be a finite number.

    ``parts``, ``group_weights`` and ``span`` of the function are passed on where it has them.
    """

    def __init__(self, name: str, function: Callable[[PromptContent, str], float]) -> None:
        self.name, self._function = name, function
        for optional in ("parts", "group_weights", "span"):
            if hasattr(function, optional):
                setattr(self, optional, getattr(function, optional))

    def __call__(self, prompt: PromptContent, completion: str) -> float:
        """The function's value.

        Raises:
            DataError: it is not a finite number, or the function failed.
        """
        try:
            value = self._function(prompt, completion)
        except Exception as error:  # somebody else's code may raise anything
            raise DataError(
                f"utility '{self.name}' failed for the completion {completion[:60]!r}",
                f"{_told(error)}.",
                "Correct the function: it takes a prompt and a completion, and gives a number.",
            ) from error
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise DataError(
                f"utility '{self.name}' gave {value!r} for the completion {completion[:60]!r}",
                "a utility is a finite number.",
                "Correct the function.",
            )
        return number


def utility_by_name(name: str) -> Utility:
    """The utility that ``heed.yaml`` names: "support_desk", "vader", or "package.module:function".

    A module in the current folder is found too.

    Raises:
        ConfigError: there is no such utility, it cannot be imported or called, or a package for it is missing.
    """
    if name == "vader":
        _vader_analyzer()
    target = _BUILT_IN.get(name, name)
    module_name, separator, attribute = target.partition(":")
    if not (separator and attribute and all(part.isidentifier() for part in module_name.split("."))):
        raise ConfigError(
            f"utility '{name}'",
            "it is neither built in nor of the form package.module:function.",
            f"Use one of {list(_BUILT_IN)}, or for example 'my_utility:score'.",
        )
    function = getattr(_import(module_name, name), attribute, None)
    if not callable(function):
        raise ConfigError(
            f"utility '{name}'", f"'{module_name}' has no function '{attribute}'.", "Correct the name after the colon."
        )
    return function if name in _BUILT_IN else CheckedUtility(name, function)


def _told(error: Exception) -> str:
    """An error of somebody else's code, with the place where it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"


def _import(module_name: str, utility: str) -> Any:
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        return importlib.import_module(module_name)
    except Exception as error:  # a module runs when it is imported, and may raise anything
        raise ConfigError(
            f"utility '{utility}'",
            f"'{module_name}' cannot be imported: {_told(error)}.",
            "Correct the name before the colon, or the module.",
        ) from error
    finally:
        if added:
            sys.path.remove(here)
