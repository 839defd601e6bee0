"""The simulated teachers of B-Pref (Lee, Smith, Dragan and Abbeel 2021, arXiv 2111.03026, section 3).

A teacher compares two segments, each a row of rewards, one a step. What a step counts fades with its distance from the
segment's end; the choice is Bradley-Terry with a rationality beta, and may be flipped by mistake. Pairs of which neither is
worth enough are skipped, pairs that differ too little are called equal. A segment of a trajectory is its rewards; a text is
what each of its sentences adds to its worth, so that with gamma 1 a text counts what it is worth as a whole.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from heed.errors import ConfigError

Taught = Literal["a", "b", "tie", "skip"]

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Teacher:
    """How a teacher errs; as it stands, never (the oracle of B-Pref).

    Attributes:
        beta: rationality (1 / reward unit): 0 chooses by chance, infinity takes the better one whenever there is one.
        gamma: what a step counts beside the one after it, 0 to 1; below 1 the teacher is myopic.
        mistake: share of choices that are flipped (probability), B-Pref's epsilon.
        skip: a pair is skipped if neither segment's sum reaches this (reward units).
        equal: a pair is called equal if the sums differ by less than this (reward units).

    Raises:
        ConfigError: a value is none of these.
    """

    beta: float = math.inf
    gamma: float = 1.0
    mistake: float = 0.0
    skip: float = -math.inf
    equal: float = 0.0

    def __post_init__(self) -> None:
        for name, value, fits, allowed in (
            ("beta", self.beta, self.beta >= 0, "at least 0"),
            ("gamma", self.gamma, 0 <= self.gamma <= 1, "0 to 1"),
            ("mistake", self.mistake, 0 <= self.mistake <= 1, "0 to 1"),
            ("skip", self.skip, not math.isnan(self.skip), "a sum of rewards"),
            ("equal", self.equal, self.equal >= 0, "at least 0"),
        ):
            if not fits:
                raise ConfigError(f"{name} {value} of a teacher", "no teacher has it.", f"Give {allowed}.")

    def probability(self, a: Sequence[float], b: Sequence[float]) -> float:
        """How likely ``a`` is chosen where the pair is neither skipped nor called equal, mistakes included."""
        difference = self._seen(a) - self._seen(b)
        if math.isinf(self.beta):
            rational = 0.5 if difference == 0 else float(difference > 0)
        else:
            rational = _sigmoid(self.beta * difference)
        return (1 - self.mistake) * rational + self.mistake * (1 - rational)

    def judge(self, a: Sequence[float], b: Sequence[float], key: str) -> Taught:
        """Which of two segments is better; the same ``key`` gives the same answer.

        Skipping and calling equal go by the plain sums, and neither is ever mistaken, as in the code of B-Pref.

        Raises:
            ConfigError: a reward is not a finite number.
        """
        for segment in (a, b):
            if not all(math.isfinite(reward) for reward in segment):
                raise ConfigError("the rewards of a segment", "one is not a finite number.", "Correct the utility.")
        sums = math.fsum(a), math.fsum(b)
        if max(sums) < self.skip:
            return "skip"
        if abs(sums[0] - sums[1]) < self.equal:
            return "tie"
        return "a" if random.Random(repr(("teacher", key))).random() < self.probability(a, b) else "b"

    def _seen(self, segment: Sequence[float]) -> float:
        """What a segment seems worth: the newest step counts in full, one ``k`` steps before it gamma to the ``k``."""
        last = len(segment) - 1
        return math.fsum(self.gamma ** (last - step) * reward for step, reward in enumerate(segment))


def adaptive_threshold(share: float, mean_return: float, steps: int, steps_of_episode: int) -> float:
    """B-Pref's threshold for ``skip`` and ``equal`` (section 3): a share of what a segment of the policy brings on average.

    Args:
        share: epsilon of the thresholds (0.1 in the paper's experiments).
        mean_return: of an episode under the current policy (reward units).
        steps, steps_of_episode: of a segment, and of an episode (count).

    Raises:
        ConfigError: an episode has no step.
    """
    if steps_of_episode < 1:
        raise ConfigError("an episode without a step", "it has no return to take a share of.", "Count its steps.")
    return share * mean_return * steps / steps_of_episode


def steps_of_text(worth: Callable[[str], float], text: str) -> list[float]:
    """What each sentence of ``text`` adds to the worth of what stands before it; sums to the worth of the whole."""
    ends = [match.start() for match in _SENTENCE_END.finditer(text)]
    parts = [text[:end] for end in [*ends, len(text)]]
    worths = [worth(part) for part in parts]
    return [worths[0], *(after - before for before, after in itertools.pairwise(worths))]


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
