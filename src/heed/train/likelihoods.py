"""What each kind of feedback says of texts, as parts of one likelihood: its data laid out in tensors, what it learns beside
the reward, and the log-probability of what was said.

Shapes: M entries, each the part of a judgment that one part of the likelihood reads; R texts of an entry; U texts with the
outputs [U, C] of a network: the reward in column 0, then those of attributes and defects.

Whoever inverts gives the opposite of the answer that they see to be right: b for a, the last for the first, 1 of 5 for 5 of 5,
down for up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from heed.losses.rankings import UNRANKED, first_choice_logprobs, plackett_luce_logprobs
from heed.losses.ratings import (
    defect_logprobs,
    level_logprobs,
    ordered_thresholds,
    ordinal_logprobs,
    regression_logprobs,
    thumb_logprobs,
)
from heed.losses.reward import TIE, comparison_logprobs
from heed.train.raters import Raters

GAP_SPREAD, READY_SPREAD = 0.5, 1.0
"""Standard deviations of the normal priors: of the logs of the distances between a rater's thresholds, and of how readily a
rater ticks defects (logits), both around everybody's."""

_SMOOTHED = 0.5  # added to each count behind the habits of who does not read
_GUESSED = 0.5  # share of rankings that are left as shown by who does not read; the others are shuffled


class Judged(NamedTuple):
    """A judgment with its texts as places in a table of texts and its rater as a number; see ``stages.judgments.Judgment``."""

    kind: str
    texts: tuple[int, ...]
    said: Any
    rater: int = 0
    shown: tuple[int, ...] | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Sees:
    """Where the raters of some entries see the texts of these.

    Attributes:
        outputs: [U, C] of a network.
        local: [T], the row of ``outputs`` of each text of the table.
        lengths: [T], standard deviations from the mean length.
        raters: what is known of each.
        rater: [M], who judged.
    """

    outputs: Tensor
    local: Tensor
    lengths: Tensor
    raters: Raters
    rater: Tensor

    def bare(self, column: int, texts: Tensor) -> Tensor:
        """An output as sharply as they see it, of texts [M] or [M, R]."""
        return self.raters.sharpened(self.outputs[:, column][self.local[texts]], self.rater)

    def differences(self, texts: Tensor) -> Tensor:
        """Rewards of texts [M, R] that are compared with each other, in the reward's own unit."""
        return self.raters.pulled_by(self.lengths[texts], self.bare(0, texts), self.rater)

    def place(self, column: int, texts: Tensor) -> Tensor:
        """Where each text [M] stands by itself, with how lenient they are."""
        return self.raters.shifted(
            self.raters.pulled_by(self.lengths[texts], self.bare(column, texts), self.rater), self.rater
        )


@dataclass
class Entries:
    """Entries of one part. ``unread`` [M, 2] holds the log-probability of what was said by who reads nothing and takes what
    stands left, and by who takes what stands right."""

    judgment: Tensor
    rater: Tensor
    texts: Tensor
    unread: Tensor
    values: dict[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device) -> Entries:
        values = {name: value.to(device) for name, value in self.values.items()}
        judgment, rater, texts = (column.to(device) for column in (self.judgment, self.rater, self.texts))
        return Entries(judgment, rater, texts, self.unread.to(device), values)

    def where(self, entries: Tensor) -> Entries:
        """Those at the places ``entries``."""
        values = {name: value[entries] for name, value in self.values.items()}
        return Entries(self.judgment[entries], self.rater[entries], self.texts[entries], self.unread[entries], values)


class Part(nn.Module):
    """One part of the likelihood.

    Attributes:
        kind: of the judgments that it reads.
        columns: of the network's outputs that it needs beyond the reward (count).
    """

    kind = ""
    columns = 0

    def lay(self, judged: Sequence[tuple[int, Judged]]) -> Entries | None:
        """The entries of judgments of its kind, each with its number; None where there are none."""
        raise NotImplementedError

    def logprobs(self, entries: Entries, sees: Sees, opposite: bool) -> Tensor:
        """[M], nats; of what was said, or where ``opposite`` of its opposite having been seen to be right."""
        raise NotImplementedError

    def penalty(self) -> Tensor:
        """Negative log-prior of what it learns of single raters (nats)."""
        return torch.zeros(())


def _entries(judged: Sequence[tuple[int, Judged]], texts: Any, unread: Any, **values: Any) -> Entries:
    numbers, rows = [number for number, _ in judged], [row for _, row in judged]
    return Entries(
        torch.tensor(numbers),
        torch.tensor([row.rater for row in rows]),
        torch.tensor(texts),
        torch.tensor(unread, dtype=torch.float32),
        {name: torch.tensor(value) for name, value in values.items()},
    )


class ComparisonPart(Part):
    """Comparisons, under one of the models of ties."""

    kind = "comparison"

    def __init__(self, ties: str, rows: Sequence[Judged]) -> None:
        super().__init__()
        self.ties = ties
        # Log nu of Davidson, log(theta - 1) of Rao and Kupper, or the logs of the gaps between the thresholds of a graded
        # answer (tie, slightly, clearly, by far).
        self.values = nn.Parameter(torch.tensor([0.2, 1.0, 2.0]).log() if ties == "graded" else torch.zeros(()))
        outcomes = [row.said for row in rows if row.kind == self.kind]
        tied = sum(outcome == TIE for outcome, _ in outcomes)
        self.tie_share = (tied + _SMOOTHED) / (len(outcomes) + 2 * _SMOOTHED)
        strengths = [strength for outcome, strength in outcomes if outcome != TIE and strength]
        counts = [strengths.count(strength) + _SMOOTHED for strength in (1, 2, 3)]
        self.strength_shares = [1.0, *(count / sum(counts) for count in counts)] if ties == "graded" else [1.0] * 4

    def lay(self, judged: Sequence[tuple[int, Judged]]) -> Entries | None:
        mine = [(number, row) for number, row in judged if row.kind == self.kind]
        if not mine:
            return None
        rows = [row for _, row in mine]
        return _entries(
            mine,
            [row.texts for row in rows],
            [self._unread(row) for row in rows],
            outcome=[row.said[0] for row in rows],
            strength=[row.said[1] for row in rows],
        )

    def _unread(self, row: Judged) -> tuple[float, float]:
        outcome, strength = row.said
        if outcome == TIE:
            # "half" gives a tie no probability of its own, but the mean of both wins.
            tied = math.log(0.5) if self.ties == "half" else math.log(self.tie_share)
            return tied, tied
        won = (1.0 if self.ties == "half" else 1 - self.tie_share) * self.strength_shares[strength]
        if row.shown is None:
            return math.log(won / 2), math.log(won / 2)
        sides = [won if outcome == side else 1e-3 * won for side in row.shown]
        return math.log(sides[0]), math.log(sides[1])

    def logprobs(self, entries: Entries, sees: Sees, opposite: bool) -> Tensor:
        seen = sees.differences(entries.texts)
        lead = seen[:, 1] - seen[:, 0] if opposite else seen[:, 0] - seen[:, 1]
        outcome, strength = entries.values["outcome"], entries.values["strength"]
        return comparison_logprobs(lead, outcome, strength, self.ties, self.values)  # type: ignore[arg-type]


class RankingPart(Part):
    """Rankings: Plackett-Luce."""

    kind = "ranking"

    def lay(self, judged: Sequence[tuple[int, Judged]]) -> Entries | None:
        mine = [(number, row) for number, row in judged if row.kind == self.kind]
        if not mine:
            return None
        most = max(len(row.texts) for _, row in mine)
        texts = [_padded(row.texts, most, row.texts[0]) for _, row in mine]
        places = torch.tensor([_padded(row.said, most, UNRANKED) for _, row in mine])
        shuffled = plackett_luce_logprobs(torch.zeros(places.shape), places)
        unread = [
            [math.log(_GUESSED * (row.said == as_shown) + (1 - _GUESSED) * math.exp(chance)) for as_shown in orders]
            for (_, row), chance in zip(mine, shuffled.tolist(), strict=True)
            for orders in [_orders(row)]
        ]
        return _entries(mine, texts, unread, places=places.tolist())

    def logprobs(self, entries: Entries, sees: Sees, opposite: bool) -> Tensor:
        seen = sees.differences(entries.texts)
        return plackett_luce_logprobs(-seen if opposite else seen, entries.values["places"])


def _orders(row: Judged) -> tuple[Any, Any]:
    """The places that a ranking has where it was left as shown, and where it was turned around."""
    if row.shown is None:
        return None, None
    order = [position for position in row.shown if row.said[position] != UNRANKED]
    found = []
    for each in (order, order[::-1]):
        places = [UNRANKED] * len(row.said)
        for place, position in enumerate(each):
            places[position] = place
        found.append(tuple(places))
    return found[0], found[1]


def _padded(values: Sequence[int], length: int, fill: int) -> list[int]:
    return [*values, *[fill] * (length - len(values))]


class FirstPart(Part):
    """The first text was put above the others: an edit above its original, a demonstration above samples."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def lay(self, judged: Sequence[tuple[int, Judged]]) -> Entries | None:
        mine = [(number, row) for number, row in judged if row.kind == self.kind]
        if not mine:
            return None
        most = max(len(row.texts) for _, row in mine)
        return _entries(
            mine,
            [_padded(row.texts, most, row.texts[0]) for _, row in mine],
            [[-math.log(len(row.texts))] * 2 for _, row in mine],
            present=[[place < len(row.texts) for place in range(most)] for _, row in mine],
        )

    def logprobs(self, entries: Entries, sees: Sees, opposite: bool) -> Tensor:
        seen = sees.differences(entries.texts)
        return first_choice_logprobs(-seen if opposite else seen, entries.values["present"])


class ThumbPart(Part):
    """Thumbs: P(up) = sigmoid(scale x place + bias)."""

    kind = "thumb"

    def __init__(self, rows: Sequence[Judged]) -> None:
        super().__init__()
        said = [row.said for row in rows if row.kind == self.kind]
        self.share = (sum(said) + _SMOOTHED) / (len(said) + 2 * _SMOOTHED)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.tensor(math.log(self.share / (1 - self.share))))

    def lay(self, judged: Sequence[tuple[int, Judged]]) -> Entries | None:
        mine = [(number, row) for number, row in judged if row.kind == self.kind]
        if not mine:
            return None
        unread = [[math.log(self.share if row.said else 1 - self.share)] * 2 for _, row in mine]
        return _entries(mine, [row.texts[0] for _, row in mine], unread, up=[row.said for _, row in mine])

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
    counts = [found.count(level) + _SMOOTHED for level in range(reader.levels)]
    return [count / sum(counts) for count in counts]


def _lay_levels(reader: LevelReader, shares: Sequence[float], judged: Sequence[tuple[int, Judged]]) -> Entries | None:
    levels = [(number, row, reader.level_of(row)) for number, row in judged if row.kind == reader.kind]
    found = [(number, row, level) for number, row, level in levels if level is not None]
    if not found:
        return None
    mine = [(number, row) for number, row, _ in found]
    unread = [[math.log(shares[level])] * 2 for _, _, level in found]
    return _entries(mine, [row.texts[0] for _, row in mine], unread, level=[level for _, _, level in found])


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
        return _entries(mine, [row.texts[0] for _, row in mine], [[u] * 2 for u in unread], share=values.tolist())

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
        counts = [sum(defect in ticked for ticked in said) + _SMOOTHED for defect in defects]
        shares = torch.tensor([count / (len(said) + 2 * _SMOOTHED) for count in counts])
        self.logits = (shares / (1 - shares)).log()
        self.offsets = nn.Parameter(self.logits.clone())
        self.ready = nn.Parameter(torch.zeros(raters))

    def lay(self, judged: Sequence[tuple[int, Judged]]) -> Entries | None:
        mine = [(number, row) for number, row in judged if row.kind == self.kind]
        if not mine:
            return None
        ticked = [[defect in row.said for defect in self.defects] for _, row in mine]
        unread = defect_logprobs(self.logits.expand(len(mine), -1), torch.tensor(ticked)).tolist()
        return _entries(mine, [row.texts[0] for _, row in mine], [[u] * 2 for u in unread], ticked=ticked)

    def logprobs(self, entries: Entries, sees: Sees, opposite: bool) -> Tensor:
        seen = [sees.bare(self.column + place, entries.texts) for place in range(self.columns)]
        logits = torch.stack(seen, -1) + self.offsets
        if len(self.ready):
            logits = logits + self.ready[entries.rater].unsqueeze(1)
        return defect_logprobs(logits, entries.values["ticked"] ^ opposite)

    def penalty(self) -> Tensor:
        return (self.ready / READY_SPREAD).square().sum() / 2
