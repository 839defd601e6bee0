"""Judgments of which everything is known: what texts are worth, who judges how, and which labels are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from heed.evaluate.reward_claims import Claims, Judged, claims_of
from heed.feedback.formats.rows import import_ids
from heed.feedback.kinds import KINDS, AnyFeedback, PromptContent, prompt_id

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def feedback(
    kind: str, prompt: PromptContent, texts: tuple[str, ...], rater: str = "ann", **values: object
) -> AnyFeedback:
    given = {
        "rater": rater,
        "prompt_id": prompt_id(prompt),
        "completion_ids": import_ids(prompt, texts),
        "created": NOW,
    }
    return KINDS[kind](**(given | values))  # type: ignore[return-value]


def judged(kind: str, prompt: PromptContent, texts: tuple[str, ...], number: int = 0, **values: object) -> Judged:
    """A judgment; ``group``, ``source``, ``subset`` and ``held_out`` go to it, everything else to its feedback."""
    own = {name: values.pop(name) for name in ("group", "source", "subset", "held_out") if name in values}
    return Judged(f"f{number}", prompt, texts, feedback(kind, prompt, texts, **values), **own)  # type: ignore[arg-type]


@dataclass(frozen=True)
class World:
    """Comparisons, two a prompt, whose labels follow Bradley-Terry on ``worth``; ``flipped`` are those turned round."""

    claims: Claims
    worth: dict[str, float]
    flipped: NDArray[np.bool_]

    def scores(self, more: dict[str, float] | None = None) -> list[float]:
        """What each text is worth, with ``more`` added by text."""
        return [self.worth[text] + (more or {}).get(text, 0.0) for _, text in self.claims.texts]


def world(
    comparisons: int,
    seed: int,
    spread: float = 1.5,
    wrong: float = 0.0,
    words: tuple[int, int] = (1, 40),
    left_unread: float = 0.0,
) -> World:
    """A world.

    Args:
        spread: standard deviation of what texts are worth (log-odds).
        wrong: share of the labels that are turned round.
        words: fewest and most words of a text.
        left_unread: share of the judgments that take the left text unread.
    """
    rng = np.random.default_rng(seed)
    worth: dict[str, float] = {}
    rows, flipped = [], np.zeros(comparisons, dtype=bool)
    for number in range(comparisons):
        prompt = f"prompt {number // 2}"
        texts = tuple(" ".join([f"t{number}{side}", *["word"] * int(rng.integers(*words))]) for side in "ab")
        for text in texts:
            worth[text] = float(rng.normal(0, spread))
        a_wins = rng.random() < 1 / (1 + np.exp(worth[texts[1]] - worth[texts[0]]))
        flipped[number] = rng.random() < wrong
        order = (0, 1) if rng.random() < 0.5 else (1, 0)
        choice = "a" if a_wins != flipped[number] else "b"
        if rng.random() < left_unread:
            choice = "ab"[order[0]]
        rater = f"rater {number % 4}"
        rows.append(judged("comparison", prompt, texts, number, rater=rater, choice=choice, shown_order=order))
    return World(claims_of(rows), worth, flipped)
