"""Which of the items that may come next does come next, and with what probability.

A selector sees a uniform sample of the items that a rater may get (see ``heed.feedback.queue``) and weighs them. Whatever it
prefers, a share of the choices is left to chance, so that every item has a known probability above zero: what is learned
from the answers can be weighed by it, and what was picked for being hard does not pass for what is usual
(``heed.feedback.chances``).

All but chance go by what a reward model makes of the items, which a stage puts down after training
(``heed.feedback.item_scores``); where it has looked at none of the candidates, chance decides and is recorded.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from heed.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item that may come next: its id, its prompt's, and those of its completions as the database has them, in JSON."""

    item_id: str
    prompt_id: str
    completions: str
    score: float = 0.0
    """What asking it is worth to the selector, the best of the question 1; 0 where no reward model has looked at it."""

    @property
    def completion_ids(self) -> tuple[str, ...]:
        """Ids of the completions; taken apart where somebody asks, since most candidates come and go unread."""
        return tuple(json.loads(self.completions))


class Selector(Protocol):
    """Weighs candidates.

    Attributes:
        name: by which forms ask for it, and which is recorded with each showing (up to 32 characters).
    """

    name: str

    def weights(self, candidates: Sequence[Candidate], rater: str) -> Sequence[float]:
        """A weight for each candidate, not negative, not all zero; an item is chosen in proportion to it."""
        ...


class RandomSelector:
    """All alike."""

    name = "random"

    def weights(self, candidates: Sequence[Candidate], rater: str) -> Sequence[float]:
        return [1.0] * len(candidates)


class ScoredSelector:
    """In proportion to a power of what asking is worth by a reward model.

    Attributes:
        name: of the selector, and of the column of scores that it reads.
        sharpness: the power; the higher, the surer the best candidate is.
    """

    def __init__(self, name: str, sharpness: float) -> None:
        self.name, self.sharpness = name, sharpness

    def weights(self, candidates: Sequence[Candidate], rater: str) -> Sequence[float]:
        most = max(candidate.score for candidate in candidates)
        return [(candidate.score / most) ** self.sharpness for candidate in candidates]


SHARPNESS = {"disagreement": 2.0, "d_optimal": 2.0, "thompson": 1.0, "gap": 2.0}
"""How sharply each selector that reads scores prefers the best. Thompson's are probabilities, and are taken as such."""

_SELECTORS: dict[str, Selector] = {}


def register(selector: Selector) -> None:
    """Make a selector known by its name."""
    _SELECTORS[selector.name] = selector


RANDOM = RandomSelector()
register(RANDOM)
for _name, _sharpness in SHARPNESS.items():
    register(ScoredSelector(_name, _sharpness))


def selector_names() -> tuple[str, ...]:
    """Names that a form may ask for."""
    return tuple(_SELECTORS)


def selector_named(name: str) -> Selector:
    """The selector of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in _SELECTORS:
        raise ConfigError(f"selector '{name}'", "there is no such selector.", f"Choose one of {', '.join(_SELECTORS)}.")
    return _SELECTORS[name]


def able(selector: Selector, candidates: Sequence[Candidate]) -> Selector:
    """``selector``, or chance where it goes by scores and none of the candidates has one."""
    if isinstance(selector, ScoredSelector) and not any(candidate.score > 0 for candidate in candidates):
        return RANDOM
    return selector


def choose(
    selector: Selector, candidates: Sequence[Candidate], rater: str, chance_share: float, rng: random.Random
) -> tuple[int, float]:
    """Position of the chosen candidate, and the probability with which it was chosen from these.

    Args:
        selector: weighs them.
        candidates: at least one.
        rater: who is to get it.
        chance_share: share of choices left to chance, 0 to 1.
        rng: where chance comes from.
    """
    weights = selector.weights(candidates, rater)
    total = sum(weights)
    if len(weights) != len(candidates) or min(weights) < 0 or not 0 < total < float("inf"):
        raise ValueError(f"selector '{selector.name}' gave weights that are none: {list(weights)!r}")
    even = chance_share / len(candidates)
    probabilities = [even + (1 - chance_share) * weight / total for weight in weights]
    position = rng.choices(range(len(candidates)), probabilities)[0]
    return position, probabilities[position]
