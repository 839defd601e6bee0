"""What is said of one completion by itself, as parts of the likelihood: thumbs, scores on scales, defects.

Shapes as in ``likelihoods``. L levels of a scale, K raters who are told apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from heed.losses.ratings import (
    defect_logprobs,
    level_logprobs,
    ordered_thresholds,
    ordinal_logprobs,
    regression_logprobs,
    thumb_logprobs,
)
from heed.train.likelihoods import SMOOTHED, Entries, Judged, Part, Sees, entries_of

GAP_SPREAD, READY_SPREAD = 0.5, 1.0
"""Standard deviations of the normal priors: of the logs of the distances between a rater's thresholds, and of how readily a
rater ticks defects (logits), both around everybody's."""


class ThumbPart(Part):
    """Thumbs: P(up) = sigmoid(scale x place + bias)."""

    kind = "thumb"

    def __init__(self, rows: Sequence[Judged]) -> None:
        super().__init__()
        said = [row.said for row in rows if row.kind == self.kind]
        self.share = (sum(said) + SMOOTHED) / (len(said) + 2 * SMOOTHED)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.tensor(math.log(self.share / (1 - self.share))))

    def lay(self, judged: Sequence[tuple[int, Judged]]) -> Entries | None:
        mine = [(number, row) for number, row in judged if row.kind == self.kind]
        if not mine:
            return None
        unread = [[math.log(self.share if row.said else 1 - self.share)] * 2 for _, row in mine]
        return entries_of(mine, [row.texts[0] for _, row in mine], unread, up=[row.said for _, row in mine])

    def logprobs(self, entries: Entries, sees: Sees, opposite: bool) -> Tensor:
        place = self.log_scale.exp() * sees.place(0, entries.texts)
        return thumb_logprobs(place, entries.values["up"] ^ opposite, self.bias)


class LevelReader(NamedTuple):
    """How a part finds the level, from 0 for the worst, that a judgment gives a text; None where it gives none."""

    kind: str
    levels: int
    level_of: Callable[[Judged], int | None]


class OrdinalPart(Part):
    """Levels of a scale, with each rater's own distances between thresholds: cumulative logit."""

    def __init__(self, reader: LevelReader, rows: Sequence[Judged], column: int, raters: int) -> None:
        super().__init__()
        self.reader, self.kind, self.column = reader, reader.kind, column
        self.shares = _level_shares(reader, rows)
        below = torch.tensor(self.shares).cumsum(0)[:-1].clamp(1e-4, 1 - 1e-4)
        cuts = (below / (1 - below)).log()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.first = nn.Parameter(cuts[0].clone())
        self.log_gaps = nn.Parameter(cuts.diff().clamp_min(0.05).log())
        self.moves = nn.Parameter(torch.zeros(raters, reader.levels - 2))

    def lay(self, judged: Sequence[tuple[int, Judged]]) -> Entries | None:
        return _lay_levels(self.reader, self.shares, judged)

    def thresholds(self) -> Tensor:
        """Of the usual rater [L - 1]."""
        return ordered_thresholds(self.first, self.log_gaps)

    def logprobs(self, entries: Entries, sees: Sees, opposite: bool) -> Tensor:
        place = self.log_scale.exp() * sees.place(self.column, entries.texts)
        thresholds = self.thresholds()
        if len(self.moves):
            gaps = self.log_gaps + self.moves[entries.rater]
            thresholds = ordered_thresholds(self.first.expand(len(gaps)), gaps)
        level = entries.values["level"]
        return ordinal_logprobs(place, self.reader.levels - 1 - level if opposite else level, thresholds)

    def penalty(self) -> Tensor:
        return (self.moves / GAP_SPREAD).square().sum() / 2


class LevelsPart(Part):
    """Levels of a scale as classes: a classifier with an output for each."""

    def __init__(self, reader: LevelReader, rows: Sequence[Judged], column: int) -> None:
        super().__init__()
        self.reader, self.kind, self.column, self.columns = reader, reader.kind, column, reader.levels
        self.shares = _level_shares(reader, rows)
        self.offsets = nn.Parameter(torch.tensor(self.shares).log())

    def lay(self, judged: Sequence[tuple[int, Judged]]) -> Entries | None:
        return _lay_levels(self.reader, self.shares, judged)

    def logprobs(self, entries: Entries, sees: Sees, opposite: bool) -> Tensor:
        seen = [sees.bare(self.column + level, entries.texts) for level in range(self.columns)]
        level = entries.values["level"]
        logits = torch.stack(seen, -1) + self.offsets
        return level_logprobs(logits, self.columns - 1 - level if opposite else level)


def _level_shares(reader: LevelReader, rows: Sequence[Judged]) -> list[float]:
    """How often each level is given, by who does not read as by all."""
    found = [reader.level_of(row) for row in rows if row.kind == reader.kind]
    counts = [found.count(level) + SMOOTHED for level in range(reader.levels)]
    return [count / sum(counts) for count in counts]


def _lay_levels(reader: LevelReader, shares: Sequence[float], judged: Sequence[tuple[int, Judged]]) -> Entries | None:
    levels = [(number, row, reader.level_of(row)) for number, row in judged if row.kind == reader.kind]
    found = [(number, row, level) for number, row, level in levels if level is not None]
    if not found:
        return None
    mine = [(number, row) for number, row, _ in found]
    unread = [[math.log(shares[level])] * 2 for _, _, level in found]
    return entries_of(mine, [row.texts[0] for _, row in mine], unread, level=[level for _, _, level in found])


class ShareReader(NamedTuple):
    """How a part finds the score, as a share of its scale, that a judgment gives a text; None where it gives none."""

    kind: str
    share_of: Callable[[Judged], float | None]


class RegressionPart(Part):
    """Scores without steps, or of several attributes together: least squares on base + scale x place."""

    def __init__(self, reader: ShareReader, rows: Sequence[Judged], column: int) -> None:
        super().__init__()
        self.reader, self.kind, self.column = reader, reader.kind, column
        found = torch.tensor(
            [share for row in rows if row.kind == reader.kind and (share := reader.share_of(row)) is not None]
        )
        self.mean, self.deviation = float(found.mean()), max(0.05, float(found.std(correction=0)))
        self.base = nn.Parameter(torch.tensor(self.mean))
        self.log_scale = nn.Parameter(torch.tensor(math.log(self.deviation)))
        self.log_deviation = nn.Parameter(torch.tensor(math.log(self.deviation)))

    def lay(self, judged: Sequence[tuple[int, Judged]]) -> Entries | None:
        shares = [(number, row, self.reader.share_of(row)) for number, row in judged if row.kind == self.kind]
        found = [(number, row, share) for number, row, share in shares if share is not None]
        if not found:
            return None
        mine = [(number, row) for number, row, _ in found]
        values = torch.tensor([share for _, _, share in found])
        spread = torch.tensor(math.log(self.deviation))
        unread = regression_logprobs(torch.full_like(values, self.mean), values, spread).tolist()
        return entries_of(mine, [row.texts[0] for _, row in mine], [[u] * 2 for u in unread], share=values.tolist())

    def logprobs(self, entries: Entries, sees: Sees, opposite: bool) -> Tensor:
        place = self.base + self.log_scale.exp() * sees.place(self.column, entries.texts)
        share = entries.values["share"]
        return regression_logprobs(place, 1 - share if opposite else share, self.log_deviation)


class DefectPart(Part):
    """Which defects a critique ticks: a classifier with an output for each, and how readily each rater ticks."""

    kind = "critique"

    def __init__(self, defects: Sequence[str], rows: Sequence[Judged], column: int, raters: int) -> None:
        super().__init__()
        self.defects, self.column, self.columns = tuple(defects), column, len(defects)
        said = [row.said for row in rows if row.kind == self.kind]
        counts = [sum(defect in ticked for ticked in said) + SMOOTHED for defect in defects]
        shares = torch.tensor([count / (len(said) + 2 * SMOOTHED) for count in counts])
        self.logits = (shares / (1 - shares)).log()
        self.offsets = nn.Parameter(self.logits.clone())
        self.ready = nn.Parameter(torch.zeros(raters))

    def lay(self, judged: Sequence[tuple[int, Judged]]) -> Entries | None:
        mine = [(number, row) for number, row in judged if row.kind == self.kind]
        if not mine:
            return None
        ticked = [[defect in row.said for defect in self.defects] for _, row in mine]
        unread = defect_logprobs(self.logits.expand(len(mine), -1), torch.tensor(ticked)).tolist()
        return entries_of(mine, [row.texts[0] for _, row in mine], [[u] * 2 for u in unread], ticked=ticked)

    def logprobs(self, entries: Entries, sees: Sees, opposite: bool) -> Tensor:
        seen = [sees.bare(self.column + place, entries.texts) for place in range(self.columns)]
        logits = torch.stack(seen, -1) + self.offsets
        if len(self.ready):
            logits = logits + self.ready[entries.rater].unsqueeze(1)
        return defect_logprobs(logits, entries.values["ticked"] ^ opposite)

    def penalty(self) -> Tensor:
        return (self.ready / READY_SPREAD).square().sum() / 2
