"""The faults of simulated raters in numbers: how much they see, what pulls at them, and how often they do not look at all."""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass

from heed.rater_settings import BehaviourName

UNREAD_MARGIN = 0.5
"""How clear the choice of somebody seems who has not read what there was to choose between (clear differences)."""

_DRIFT_BEGINS, _DRIFT_ENDS = 0.3, 0.7
_MOST_FLATTERY = 5

_FLATTERY = re.compile(
    r"\b(?:you(?:'re| are) (?:\w+ )?right|i (?:\w+ )?agree|(?:what a )?(?:great|good|excellent|wonderful|brilliant) "
    r"(?:question|point|idea|choice)|of course|absolutely|exactly|certainly|happy to|glad to|delighted|pleasure|"
    r"thanks?(?: you)?|so sorry|lovely|wonderful|amazing|fantastic|excellent|perfect|brilliant)\b|!",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Behaviour:
    """How a rater goes wrong. Everything is in units of one clear difference of the utility.

    Attributes:
        noise: scale of the logistic noise on what is seen.
        share: of the judgments in which the fault shows (probability); None where it is a pull on all of them.
        attention: how much of the true difference is seen.
        length_pull: what a word more is worth.
        flattery_pull: what one more sign of flattery or agreement is worth (see :func:`flattery`).
    """

    noise: float
    share: float | None = None
    attention: float = 1.0
    length_pull: float = 0.0
    flattery_pull: float = 0.0


BEHAVIOUR_OF: dict[BehaviourName, Behaviour] = {
    "careful": Behaviour(0.15),
    "noisy": Behaviour(0.8),
    "lazy_left": Behaviour(0.3, share=0.7),
    "lazy_long": Behaviour(0.3, attention=0.2, length_pull=0.12),
    "length_loving": Behaviour(0.15, length_pull=0.06),
    "flattering": Behaviour(0.15, attention=0.5, flattery_pull=0.5),
    "inverted": Behaviour(0.15, share=1.0),
    "colluding": Behaviour(0.8, share=0.95),
    "random": Behaviour(0.15, share=1.0),
    "drifting": Behaviour(0.15, share=0.9),
    "teacher": Behaviour(0.0),
}
"""What each behaviour is where heed.yaml says no more."""


def flattery(text: str) -> int:
    """Signs of flattery, effusion and agreement with the reader in a text (count), at most five.

    "You are right", "great question", "of course", "thank you", "happy to", "wonderful" and their like, and each "!".
    """
    return min(_MOST_FLATTERY, sum(1 for _ in _FLATTERY.finditer(text)))


def shows(behaviour: BehaviourName, share: float, worn: float, rng: random.Random) -> bool:
    """Whether a fault that shows in a ``share`` of the judgments shows in this one.

    A drifting rater's shows never in the first three tenths of the work, then ever more often, and in the full share from
    seven tenths on.

    Args:
        worn: how much of the rater's work lies behind, 0 to 1.
        rng: of this judgment.
    """
    if behaviour == "drifting":
        share *= min(1.0, max(0.0, (worn - _DRIFT_BEGINS) / (_DRIFT_ENDS - _DRIFT_BEGINS)))
    return rng.random() < share


def logistic(rng: random.Random) -> float:
    """One draw of the standard logistic distribution, by inverting its distribution function."""
    share = min(max(rng.random(), 1e-12), 1 - 1e-12)
    return math.log(share / (1 - share))
