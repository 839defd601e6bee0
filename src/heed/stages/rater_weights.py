"""How much each comparison counts, by who made it: for rewards that do not learn their raters themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heed.config import RewardSettings
from heed.errors import DataError
from heed.feedback.kinds import prompt_id
from heed.stages.data import FIRST, SECOND, TIE, ComparisonRow
from heed.stages.judgments import Known, compared

if TYPE_CHECKING:
    from heed.raters.crowd_bt import CrowdRanking

# Standard errors that a reliability must lie below 0 for somebody's answers to be turned round.
_SURELY = 2.0

_CHANCE = 0.05
"""How likely chance alone gives such differences between raters, from which on they are not told apart."""


ALIKE = "they differ no more than chance gives"
"""Why raters are not told apart where they could be compared."""


class Weighed(NamedTuple):
    """What comparisons come to.

    Attributes:
        better: [N], share of an answer for the first text, 0 to 1; turned round where the rater surely inverts.
        weight: [N], what the answer tells beside one of a rater who always heeds, 0 to 1.
        reliability: by rater, -1 to 1; empty where raters are not told apart.
        weights: by rater.
        not_told_apart: why the answers tell no rater from another, a clause for people; "" where they do.
    """

    better: NDArray[np.float64]
    weight: NDArray[np.float64]
    reliability: dict[str, float]
    weights: dict[str, float]
    not_told_apart: str = ""


def weigh(rows: Sequence[ComparisonRow], settings: RewardSettings, gold: Sequence[Known] = ()) -> Weighed:
    """Weigh comparisons by the reliability of their raters, learned from these comparisons with the worth of each text.

    By ``heed.raters.crowd_bt``. All count alike where fewer than two raters are known, or ``settings.raters`` says so.

    Args:
        gold: answers to comparisons whose answer is known; they tell of who gave them alone.

    Raises:
        DataError: raters contradict each other, and nothing says who is right.
    """
    better = np.array([{FIRST: 1.0, SECOND: 0.0}.get(row.outcome, 0.5) for row in rows])
    ones = np.ones(len(rows))
    # Which of two equal texts is better tells neither of them nor of the rater.
    known = [place for place, row in enumerate(rows) if row.rater and row.a != row.b]
    names = sorted({rows[place].rater for place in known})
    if settings.raters == "equal" or len(names) < 2:
        return Weighed(better, ones, {}, {})
    asked = [rows[place] for place in known]
    told = [answer for answer in gold if _tells(answer) and answer.given.rater in names]
    told = [answer for answer in told if len(set(answer.given.texts)) > 1]
    given = compared([answer.given for answer in told])
    right = [float(answer.expected.said[0] == FIRST) for answer in told]
    found, who = _learned([*asked, *given], [float("nan")] * len(asked) + right, names)
    if found.direction == "unidentifiable":
        raise DataError(
            "which way the reward points cannot be told",
            found.reason,
            "Ask raters about gold items, whose answers are known; or set raters to equal to go by the larger number.",
        )
    who = who[: len(asked)]
    inverts = found.reliability + _SURELY * found.reliability_errors < 0
    trusted = np.where(inverts | (found.reliability > 0), found.weight, 0.0)
    weight = ones.copy()
    weight[known] = trusted[who]
    better[known] = np.where(inverts[who], 1 - better[known], better[known])
    reliability = dict(zip(names, map(float, found.reliability), strict=True))
    weights = dict(zip(names, map(float, trusted), strict=True))
    return Weighed(better, weight, reliability, weights, _why_alike(asked, found, measured=bool(told)))


def _why_alike(rows: Sequence[ComparisonRow], found: CrowdRanking, measured: bool) -> str:
    """Why these comparisons tell no rater from another; "" where they do.

    Args:
        measured: whether answers to gold items were there too.
    """
    by_texts: dict[tuple[str, frozenset[str]], set[str]] = {}
    for row in rows:
        by_texts.setdefault((prompt_id(row.prompt), frozenset((row.a, row.b))), set()).add(row.rater)
    if not measured and all(len(names) < 2 for names in by_texts.values()):
        return "no two of them compared the same texts: what is said of them is assumed, not measured"
    return "" if differ(found.reliability, found.reliability_errors) else ALIKE


def differ(reliability: ArrayLike, errors: ArrayLike) -> bool:
    """Whether raters of these reliabilities [raters] differ more than their standard errors explain (Cochran's test)."""
    from scipy.special import chdtrc

    found, precision = np.asarray(reliability), 1 / np.maximum(np.asarray(errors), 1e-6) ** 2
    mean = float(np.average(found, weights=precision))
    beyond = float((precision * (found - mean) ** 2).sum())
    return float(chdtrc(found.size - 1, beyond)) < _CHANCE


def _tells(answer: Known) -> bool:
    """Whether an answer to a gold item is one to a comparison with a winner."""
    return bool(answer.given.kind == "comparison" and answer.expected.said[0] != TIE)


def unused_gold(gold: Sequence[Known], settings: RewardSettings) -> str:
    """A sentence on answers to gold items that :func:`weigh` has no use for; "" where there are none."""
    if gold and settings.raters == "equal":
        return f"answers to gold items that tell nothing: all {len(gold):,}, as raters is set to equal"
    lost = sum(not _tells(answer) for answer in gold)
    if not lost:
        return ""
    return (
        f"answers to gold items that tell nothing: {lost:,} of {len(gold):,}; a {settings.backbone} reward tells raters apart "
        "by comparisons with a winner alone"
    )


def _learned(
    rows: Sequence[ComparisonRow], gold: Sequence[float], names: Sequence[str]
) -> tuple[CrowdRanking, NDArray[np.intp]]:
    """Worths and raters of these comparisons, and the number of the rater of each [N]."""
    from heed.raters.crowd_bt import crowd_bradley_terry

    texts: dict[tuple[str, str], int] = {}
    sides = [[texts.setdefault((prompt_id(row.prompt), text), len(texts)) for text in (row.a, row.b)] for row in rows]
    pairs = np.array(sides, dtype=np.intp)
    said = np.array([{FIRST: 1.0, SECOND: 0.0}.get(row.outcome, 0.5) for row in rows])
    # Where it is not known which stood left, the first is taken for it: a lean to one side is then not told.
    turned, known = np.array([row.left == 1 for row in rows]), np.array(gold)
    left, right = np.where(turned, pairs[:, 1], pairs[:, 0]), np.where(turned, pairs[:, 0], pairs[:, 1])
    said, known = (np.where(turned, 1 - column, column) for column in (said, known))
    code = {name: number for number, name in enumerate(names)}
    who = np.array([code[row.rater] for row in rows], dtype=np.intp)
    return crowd_bradley_terry(left, right, said, who, gold=known, raters=len(names)), who
