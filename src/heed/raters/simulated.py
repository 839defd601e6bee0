"""Raters whose judgments follow a known utility, seen through a fault of their own.

A rater perceives the difference between two completions, adds logistic noise (so that without another fault its choices
follow the Bradley-Terry model, whose scale is the noise), and says "tie" where it perceives next to none. Every judgment
depends on the rater's seed, the caller's key and how much of the work lies behind, never on the order of the calls.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Literal

from heed.errors import ConfigError
from heed.feedback.kinds import PromptContent
from heed.rater_settings import BEHAVIOURS, SHARED, BehaviourName, SimulatedRaterSettings
from heed.raters.behaviours import BEHAVIOUR_OF, UNREAD_MARGIN, flattery, logistic, shows
from heed.raters.teachers import Teacher, steps_of_text
from heed.raters.utilities import Utility

Choice = Literal["a", "b", "tie", "both_bad", "skip"]
Strength = Literal[1, 2, 3]

_TIE_WIDTH = 0.1
_BOTH_BAD_WIDTH = 0.75
_STRENGTHS = (0.75, 2.0)


class SimulatedRater:
    """One rater with one fault.

    Args:
        name: the rater's name; two raters of different names judge independently, unless they collude.
        behaviour: "careful" (little noise), "noisy", "lazy_left" (mostly takes the left unread), "lazy_long" (prefers the
            longer and hardly reads), "length_loving" (reads, and likes length), "flattering" (likes flattery and being
            agreed with), "inverted" (prefers the worse), "colluding" (answers as its ring does), "random" (does not read),
            "drifting" (careful at first, ever more at random later) or "teacher" (see :mod:`heed.raters.teachers`).
        utility: the truth.
        weights: weights of the utility's parts as this rater sees them; None takes the utility itself.
        noise: scale of the logistic noise (utility units); None takes the behaviour's own.
        group: label of the rater's group.
        seed: of everything random in this rater.
        share: of the judgments in which the fault shows (probability); None takes the behaviour's own.
        ring: colluding raters of one ring and one seed answer alike.
        teacher: how a teacher errs; None: never.

    Raises:
        ConfigError: the behaviour is unknown, the noise is negative, weights are given for a utility without parts or name
            a part that it does not have, or a share for a fault that shows in all judgments.
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
        share: float | None = None,
        ring: str = "ring",
        teacher: Teacher | None = None,
    ) -> None:
        if behaviour not in BEHAVIOURS:
            raise ConfigError(
                f"behaviour '{behaviour}'", "no simulated rater behaves so.", f"Use one of {list(BEHAVIOURS)}."
            )
        if noise is not None and not (math.isfinite(noise) and noise >= 0):
            raise ConfigError(f"noise {noise} of rater '{name}'", "it is not a scale.", "Give a number of at least 0.")
        if weights is not None and not hasattr(utility, "parts"):
            raise ConfigError(
                f"weights of rater '{name}'",
                "the utility has no named parts to weigh.",
                "Leave the group at 'everyone', and weights out.",
            )
        if share is not None and not (behaviour in SHARED and 0 <= share <= 1):
            raise ConfigError(
                f"share {share} of rater '{name}'",
                f"it is no probability, or the fault of a {behaviour} rater shows in all judgments.",
                f"Give 0 to 1, to one of {list(SHARED)}.",
            )
        found = BEHAVIOUR_OF[behaviour]
        self.name, self.behaviour, self.utility, self.group, self.seed = name, behaviour, utility, group, seed
        self.weights, self.ring = weights, ring
        self.share = found.share if share is None else share
        self._fault = found
        self._teacher = teacher or Teacher()
        self._span: tuple[float, float] | None = getattr(utility, "span", None)
        self.unit = (self._span[1] - self._span[0]) / 5 if self._span else 1.0
        self.noise = found.noise * self.unit if noise is None else noise

    def compare(
        self, prompt: PromptContent, a: str, b: str, left_is_a: bool, key: str, worn: float = 0.0
    ) -> tuple[Choice, Strength | None]:
        """Choose between two completions.

        Args:
            prompt: what both answer.
            a: a completion.
            b: the other one.
            left_is_a: whether ``a`` was shown on the left.
            key: identifies the judgment; the same key gives the same answer.
            worn: how much of the rater's work lies behind, 0 to 1; only a drifting rater asks.

        Returns:
            The choice ("both_bad" if both are in the lower half of the utility's span and not far apart; a teacher may
            "skip"), and for "a" and "b" how strong it is: 1 (slightly) to 3 (much better).
        """
        if self.behaviour == "teacher":
            return self._taught(prompt, a, b, key), None
        rng = self._rng("compare", key)
        worth_a, worth_b = self._worth(prompt, a), self._worth(prompt, b)
        pull = self._pull(a) - self._pull(b)
        margin = self._perceive(worth_a - worth_b, pull, left_is_a, rng, worn) / self.unit
        if self._span and abs(margin) < _BOTH_BAD_WIDTH and max(worth_a, worth_b) < sum(self._span) / 2:
            return "both_bad", None
        if abs(margin) < _TIE_WIDTH:
            return "tie", None
        size = abs(margin)
        strength: Strength = 1 if size < _STRENGTHS[0] else 2 if size < _STRENGTHS[1] else 3
        return ("a" if margin > 0 else "b"), strength

    def rate(self, prompt: PromptContent, completion: str, key: str, worn: float = 0.0) -> float:
        """Rate one completion on 1, 2, 3, 4, 5 (5 is best); deterministic given the key.

        Raises:
            ConfigError: the utility has no ``span`` to place the scale on.
        """
        bad, best = self._need_span("rating")
        quality = self._quality(prompt, completion, self._rng("rate", key), worn)
        return float(min(5, max(1, round(1 + 4 * (quality - bad) / (best - bad)))))

    def thumb(self, prompt: PromptContent, completion: str, key: str, worn: float = 0.0) -> bool:
        """Thumb up if the perceived quality is in the upper half of the utility's span.

        Raises:
            ConfigError: the utility has no ``span``.
        """
        bad, best = self._need_span("thumb")
        return self._quality(prompt, completion, self._rng("thumb", key), worn) > (bad + best) / 2

    def _rng(self, what: str, key: str) -> random.Random:
        """The chance of one judgment; colluding raters mostly have that of their ring."""
        own = random.Random(repr((self.seed, self.name, what, key)))
        if self.behaviour == "colluding" and own.random() < (self.share or 0.0):
            return random.Random(repr((self.seed, "ring", self.ring, what, key)))
        return own

    def _worth(self, prompt: PromptContent, completion: str) -> float:
        if self.weights is None:
            return self.utility(prompt, completion)
        parts: dict[str, float] = self.utility.parts(prompt, completion)  # type: ignore[attr-defined]
        unknown = sorted(set(self.weights) - set(parts))
        if unknown:
            raise ConfigError(
                f"weight '{unknown[0]}' of rater '{self.name}'",
                "the utility has no such part.",
                f"Use some of {', '.join(parts)}.",
            )
        return sum(weight * parts[name] for name, weight in self.weights.items())

    def _pull(self, completion: str) -> float:
        """What makes a completion seem better beside its worth (utility units)."""
        fault = self._fault
        words = fault.length_pull * len(completion.split()) if fault.length_pull else 0.0
        return self.unit * (words + (fault.flattery_pull * flattery(completion) if fault.flattery_pull else 0.0))

    def _perceive(self, difference: float, pull: float, left_is_a: bool, rng: random.Random, worn: float) -> float:
        """Perceived advantage of ``a`` (utility units), noise included."""
        error = self.noise * logistic(rng)
        if self.share is not None and shows(self.behaviour, self.share, worn, rng):
            if self.behaviour == "inverted":
                return error - difference
            if self.behaviour == "lazy_left":
                return UNREAD_MARGIN * self.unit * (1 if left_is_a else -1)
            if self.behaviour in ("random", "drifting"):
                return UNREAD_MARGIN * self.unit * (1 if rng.random() < 0.5 else -1)
        return pull + self._fault.attention * difference + error

    def _quality(self, prompt: PromptContent, completion: str, rng: random.Random, worn: float) -> float:
        """Perceived quality of one completion (utility units), noise included."""
        bad, best = self._need_span("judgment")
        worth, error = self._worth(prompt, completion), self.noise * logistic(rng)
        if self.share is not None and shows(self.behaviour, self.share, worn, rng):
            if self.behaviour == "inverted":
                return bad + best - worth + error
            if self.behaviour == "lazy_left":
                return best  # the first answer offered, unread
            if self.behaviour in ("random", "drifting"):
                return bad + rng.random() * (best - bad)
        return bad + self._pull(completion) + self._fault.attention * (worth - bad) + error

    def _taught(self, prompt: PromptContent, a: str, b: str, key: str) -> Choice:
        """What a teacher says, who sees the worth of a text grow sentence by sentence."""

        def steps(text: str) -> list[float]:
            return steps_of_text(lambda part: self._worth(prompt, part), text)

        return self._teacher.judge(steps(a), steps(b), repr((self.seed, self.name, key)))

    def _need_span(self, what: str) -> tuple[float, float]:
        if self._span is None:
            raise ConfigError(
                f"a {what} of rater '{self.name}'",
                "the utility does not say which values are bad and best.",
                "Give the utility an attribute 'span', for example span = (0.0, 1.0).",
            )
        return self._span


def simulated_raters(settings: Sequence[SimulatedRaterSettings], utility: Utility, seed: int) -> list[SimulatedRater]:
    """The raters of ``heed.yaml``; a group other than "everyone" takes its weights from the utility.

    Raises:
        ConfigError: two raters share a name, or the utility has no such group.
    """
    names = [entry.name for entry in settings]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"rater '{twice}'", "two simulated raters have this name.", "Rename one of them.")
    return [_rater(entry, utility, seed) for entry in settings]


def _rater(entry: SimulatedRaterSettings, utility: Utility, seed: int) -> SimulatedRater:
    return SimulatedRater(
        entry.name,
        entry.behaviour,
        utility,
        _weights(entry, utility),
        entry.noise,
        entry.group,
        seed,
        entry.share,
        entry.ring,
        Teacher(
            beta=math.inf if entry.beta is None else entry.beta,
            gamma=1.0 if entry.gamma is None else entry.gamma,
            mistake=entry.mistake or 0.0,
            skip=-math.inf if entry.skip is None else entry.skip,
            equal=entry.equal or 0.0,
        ),
    )


def _weights(entry: SimulatedRaterSettings, utility: Utility) -> dict[str, float] | None:
    """The weights that a rater gives the parts of the utility: those of everyone or of the group, less what it has its own of.

    With weights of its own the group is a mere label, unless the utility knows it.
    """
    if entry.group == "everyone" and entry.weights is None:
        return None
    if not hasattr(utility, "group_weights"):
        if entry.weights is not None:
            return dict(entry.weights)
        raise ConfigError(
            f"group '{entry.group}' of rater '{entry.name}'",
            "the utility knows no groups.",
            "Leave the group at 'everyone'.",
        )
    base = "everyone" if entry.weights is not None else entry.group
    known: dict[str, float] = utility.group_weights(base)
    unknown = sorted(set(entry.weights or ()) - set(known))
    if unknown:
        raise ConfigError(
            f"weight '{unknown[0]}' of rater '{entry.name}'",
            "the utility has no such part.",
            f"Use some of {', '.join(known)}.",
        )
    return known | (entry.weights or {})
