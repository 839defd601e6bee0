"""Judgments as a linear reward is fitted to them: comparisons weighed by their raters, and judgments of one text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from heed.config import RewardSettings
from heed.feedback.kinds import PromptContent, prompt_id
from heed.stages.data import ComparisonRow
from heed.stages.judgments import SINGLE, Judgment, Known, compared
from heed.stages.measured import prompts_of, texts_of
from heed.stages.rater_weights import Weighed, weigh

if TYPE_CHECKING:
    from heed.train.linear import Judged

Text = tuple[PromptContent, str]


class Single(NamedTuple):
    """A judgment of one text: how good it calls that (0 to 1), and by whom."""

    prompt: PromptContent
    text: str
    good: float
    rater: str


def parts_of(judgments: Sequence[Judgment]) -> tuple[list[ComparisonRow], list[Single]]:
    """The comparisons that judgments are or imply, and the judgments of one text: each counts as a thumb, or a share of one."""
    pairs = compared([row for row in judgments if row.kind not in SINGLE])
    return pairs, [Single(row.prompt, row.texts[0], _good(row), row.rater) for row in judgments if row.kind in SINGLE]


def _good(row: Judgment) -> float:
    if row.kind == "rating":
        shares = [(score - low) / (high - low) for score, low, high, _ in row.said.values()]
        return sum(shares) / len(shares)
    return float(row.said) if row.kind == "thumb" else float(not row.said)


class LinearData(NamedTuple):
    """What a linear reward is fitted to.

    Attributes:
        pairs: comparisons.
        single: judgments of one text.
        weighed: what the comparisons come to, by who made them; single judgments count by the same raters' weights.
    """

    pairs: Sequence[ComparisonRow]
    single: Sequence[Single]
    weighed: Weighed

    @classmethod
    def of(
        cls,
        pairs: Sequence[ComparisonRow],
        single: Sequence[Single],
        settings: RewardSettings,
        gold: Sequence[Known],
    ) -> LinearData:
        """Weigh the comparisons by ``settings.raters`` and the answers to ``gold`` items.

        Raises:
            DataError: raters contradict each other, and nothing says who is right.
        """
        return cls(pairs, single, weigh(pairs, settings, gold))

    def judged(self) -> tuple[list[Text], Judged]:
        """The texts, and the rows about them: those of the comparisons first, in their order."""
        from heed.train.linear import Judged

        texts = texts_of(self.pairs)
        place = {text: number for number, text in enumerate(texts)}
        first, second = ([place[row.prompt, text] for row, text in self._sides(side)] for side in (0, 1))
        # Without a strength a preference counts as a clear one, the middle of 1 to 3.
        leads = [(row.strength or 2) / 2 for row in self.pairs]
        better, weight = self.weighed.better.tolist(), self.weighed.weight.tolist()
        judged = Judged.of(first, second, better, prompts_of(self.pairs), weight, leads)
        if not self.single:
            return texts, judged
        places = range(len(texts), len(texts) + len(self.single))
        groups = [prompt_id(row.prompt) for row in self.single]
        weights = [self.weighed.weights.get(row.rater, 1.0) for row in self.single]
        own = Judged.of(places, [-1] * len(places), [row.good for row in self.single], groups, weights)
        return [*texts, *((row.prompt, row.text) for row in self.single)], judged.joined(own)

    def _sides(self, side: int) -> list[tuple[ComparisonRow, str]]:
        return [(row, (row.a, row.b)[side]) for row in self.pairs]
