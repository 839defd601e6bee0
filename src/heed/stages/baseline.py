"""The linear reward of the same data, which every other kind of reward is held beside: what it must beat to be worth it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from heed.config import RewardSettings
from heed.errors import DataError
from heed.stages.data import ComparisonRow, share_of
from heed.stages.judgments import Judgment, Known
from heed.stages.linear_data import LinearData, Single, parts_of
from heed.stages.measured import difference_of, outcomes_of, prompts_of

if TYPE_CHECKING:
    from heed.models.linear_reward import TextBlocks
    from heed.train.linear import Fitted

LINEAR = "A linear reward on words, characters, length and style"
_FEATURES = ("words", "characters", "length", "style")
# Comparisons, and judgments of one text, that a baseline is fitted to (count): more change little, and it is to take seconds.
_ENOUGH = 4_000


class Baseline(NamedTuple):
    """A linear reward on what can be seen without a network, and its weights."""

    blocks: TextBlocks
    fitted: Fitted

    def differences(self, rows: Sequence[ComparisonRow]) -> list[float]:
        """Log-odds that the first completion of each comparison is preferred."""
        scores = []
        for side in ([row.a for row in rows], [row.b for row in rows]):
            made = self.blocks.of([row.prompt for row in rows], side)
            scores.append(sum(made[name] @ weights for name, weights in self.fitted.weights.items()))
        found: list[float] = (scores[0] - scores[1]).tolist()
        return found


def fit_baseline(judgments: Sequence[Judgment], settings: RewardSettings, gold: Sequence[Known] = ()) -> Baseline:
    """Fit the baseline as a linear reward is; of very many judgments, to the first prompts in the order of their hash.

    Args:
        judgments: what the reward beside it has learned from, of every kind.
        settings: whether raters are told apart, and the learner.
        gold: answers to gold items, which tell of who gave them alone.

    Raises:
        DataError: there is none, or only ties; or raters contradict each other, and nothing says who is right.
    """
    from heed.models.linear_reward import TextBlocks
    from heed.train.linear import fit_linear

    pairs, single = parts_of(judgments)
    data = LinearData.of(_some(pairs), _some(single), settings, gold)
    texts, judged = data.judged()
    blocks = TextBlocks.fit(_FEATURES, [text for _, text in texts])
    made = blocks.of([p for p, _ in texts], [c for _, c in texts])
    return Baseline(blocks, fit_linear(made, judged, settings.learner))


Rows = TypeVar("Rows", ComparisonRow, Single)


def _some(rows: list[Rows]) -> list[Rows]:
    """All, as a linear reward takes them, or of very many those of the first prompts in the order of their hash."""
    return rows if len(rows) <= _ENOUGH else sorted(rows, key=lambda row: share_of(row.prompt, "baseline"))[:_ENOUGH]


def beside_baseline(
    differences: Sequence[float],
    held_out: Sequence[ComparisonRow],
    parts: Sequence[tuple[Sequence[Judgment], Sequence[int]]],
    settings: RewardSettings,
    gold: Sequence[Known] = (),
) -> dict[str, Any]:
    """What a linear reward reaches on the same held-out comparisons, and how much oftener the given scores are right.

    Args:
        differences: score differences of what is measured, one for each comparison of ``held_out``.
        parts: what to fit the baseline to, and which rows of ``held_out`` it is then measured on; once, or once for each
            share in cross-validation.
        settings, gold: see :func:`fit_baseline`.

    Returns:
        The features, the accuracy and the difference; where no baseline could be fitted, the reason alone.
    """
    from heed.evaluate.metrics import accuracy

    told = np.zeros(len(held_out))
    try:
        for train, rows in parts:
            fitted = fit_baseline(train, settings, gold)
            told[list(rows)] = fitted.differences([held_out[row] for row in rows])
    except DataError as error:
        return {"reason": f"{error.what}: {error.why}"}
    found = told.tolist()
    return {
        "features": list(_FEATURES),
        "accuracy": accuracy(found, outcomes_of(held_out), prompts_of(held_out)).model_dump(mode="json"),
        "difference": difference_of(differences, found, held_out).model_dump(mode="json"),
    }
