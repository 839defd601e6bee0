"""What is known of each rater, with how sure one can be, or why nothing is known yet."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pydantic import Field

from heed.lazily import np
from heed.raters.agreement import Measured, measured, undefined
from heed.raters.columns import Answers, Ints, Mask, Units
from heed.statistics import Array, Record, wilson_interval

FEWEST_FOR_MEDIAN = 5


class Speed(Record):
    """Active time of an answer (seconds): half of the answers took between ``lower`` and ``upper``."""

    median: float | None = Field(description="seconds; null with too few answers")
    lower: float | None = Field(description="lower quartile (seconds)")
    upper: float | None = Field(description="upper quartile (seconds)")
    total: float = Field(description="active time of all answers (seconds)")
    n: int = Field(ge=0, description="answers (count)")


class FieldAgreement(Record):
    """How far one rater agrees with the others in one field of a question."""

    question: str
    field: str = Field(description="name of the field; of a rating with the scale, as in score.helpful")
    agreement: Measured = Field(description="as that of all fields together, of answers to this field")


COUNTED = ("work", "gold", "repeat")
"""Purposes of the answers that statistics of a rater are of: not practice, tests and decisions."""


class RaterStatistics(Record):
    """One rater. Rates are shares, 0 to 1, with intervals that aim at 95 % coverage."""

    rater: str
    answers: int = Field(ge=0, description="answers that stand, to work, gold and repeated items (count)")
    work: int = Field(ge=0, description="answers of these to work items (count)")
    last: float | None = Field(description="when the last answer was given (seconds since 1970)")
    speed: Speed
    agreement: Measured = Field(description="share of the others' judgments of the same items that are the same")
    by_field: tuple[FieldAgreement, ...] = Field((), description="the same of each field, by question and name")
    gold: Measured = Field(description="agreement with known answers, of gold items")
    left: Measured = Field(description="how often the left one of two won, where one won; half is expected")
    tie: Measured = Field(description="how often two were called equal")
    repeat: Measured = Field(description="share of judgments that are the same when an item comes again")
    skips: int = Field(ge=0, description="items skipped (count)")
    skip_rate: Measured = Field(description="skipped items of those answered or skipped")
    flags: int = Field(ge=0, description="flags raised (count)")


@dataclass(frozen=True)
class Agreements:
    """How far each of some answers agrees with others: the share [answers] of comparisons that agree, over how many."""

    share: Array
    compared: Ints

    @property
    def known(self) -> Mask:
        """Which were compared with anything."""
        return self.compared > 0


@dataclass(frozen=True)
class FieldShares:
    """Columns [rows] of how far each answer agrees with others in each of its fields, where it could be compared."""

    answer: Ints
    field: Ints
    share: Array


def rater_statistics(
    answers: Answers,
    skips: Mapping[str, int],
    flags: Mapping[str, int],
    excluded: Collection[str] = (),
) -> dict[str, RaterStatistics]:
    """Statistics of everybody who answered, skipped or flagged.

    Args:
        answers: those that stand; of test items only gold and repeated ones count.
        skips: showings skipped by rater (count).
        flags: flags raised by rater (count).
        excluded: raters with whom nobody is compared; they themselves are compared with the others.
    """
    agreement = agreement_with_others(answers, excluded)
    by_field = _by_field(answers, agreement_by_field(answers, excluded))
    again = agreement_with_oneself(answers)
    counted = answers.is_of(*COUNTED)
    found = {}
    for name in sorted(set(answers.raters) | set(skips) | set(flags)):
        mine = counted & (answers.rater == (answers.raters.index(name) if name in answers.raters else -1))
        one = _of_one(name, answers, mine, agreement, again, skips.get(name, 0), flags.get(name, 0))
        its = sorted(by_field.get(name, ()), key=lambda field: (field.question, field.field))
        found[name] = one.model_copy(update={"by_field": tuple(its)})
    return {name: one for name, one in found.items() if one.answers or one.skips or one.flags}


def _of_one(
    name: str, answers: Answers, mine: Mask, agreement: Agreements, again: Agreements, skips: int, flags: int
) -> RaterStatistics:
    work, n = mine & answers.is_of("work"), int(mine.sum())
    left, tied = answers.left[mine], answers.tied[mine]
    gold = mine & answers.is_of("gold") & np.isfinite(answers.correct)
    return RaterStatistics(
        rater=name,
        answers=n,
        work=int(work.sum()),
        last=float(answers.created[mine].max()) if n else None,
        speed=speed_of(answers.active_seconds[mine]),
        agreement=_mean_share(agreement, work, "no_overlap", "Nobody else has answered the same items yet."),
        gold=_rate(answers.correct[gold], "No gold item has been answered yet."),
        left=_rate(left[left >= 0], "No comparison with a winner has been answered yet."),
        tie=_rate(tied[tied >= 0], "No comparison has been answered yet."),
        repeat=_mean_share(
            again, mine & answers.is_of("repeat"), "nothing", "No item has come again and been answered yet."
        ),
        skips=skips,
        skip_rate=_rate(np.repeat([1.0, 0.0], [skips, n]), "Nothing has been answered or skipped yet."),
        flags=flags,
    )


def speed_of(seconds: Array) -> Speed:
    """Quartiles of active times, undefined where there are fewer than ``FEWEST_FOR_MEDIAN``."""
    total = float(seconds.sum())
    if seconds.size < FEWEST_FOR_MEDIAN:
        return Speed(median=None, lower=None, upper=None, total=total, n=seconds.size)
    lower, median, upper = (float(value) for value in np.quantile(seconds, [0.25, 0.5, 0.75]))
    return Speed(median=median, lower=lower, upper=upper, total=total, n=seconds.size)


def _rate(outcomes: Array | Ints, reason: str) -> Measured:
    if not outcomes.size:
        return undefined("nothing", reason, "Wilson score")
    return measured(wilson_interval(min(float(outcomes.sum()), outcomes.size), outcomes.size))


def _mean_share(agreements: Agreements, chosen: Mask, why: str, reason: str) -> Measured:
    shares = agreements.share[chosen & agreements.known]
    if not shares.size:
        return undefined(why, reason, "Wilson score over answers")  # type: ignore[arg-type]
    # An answer that agrees in part varies less than one that agrees or not, so this interval is rather too wide.
    return measured(wilson_interval(min(float(shares.sum()), shares.size), shares.size))


def _by_field(answers: Answers, rows: FieldShares) -> dict[str, list[FieldAgreement]]:
    """Agreement of each rater in each field of each question."""
    found: dict[str, list[FieldAgreement]] = {}
    columns = np.stack([answers.rater[rows.answer], answers.question[rows.answer], rows.field])
    groups, group = np.unique(columns, axis=1, return_inverse=True)
    group = group.reshape(-1)
    counts, shares = np.bincount(group), np.bincount(group, weights=rows.share)
    for (rater, question, field), n, agreed in zip(groups.T.tolist(), counts.tolist(), shares.tolist(), strict=True):
        share = measured(wilson_interval(min(agreed, n), n))
        one = FieldAgreement(question=answers.questions[question], field=answers.fields[field][0], agreement=share)
        found.setdefault(answers.raters[rater], []).append(one)
    return found


# Who agrees with whom


def agreement_with_others(answers: Answers, excluded: Collection[str] = ()) -> Agreements:
    """How far each answer to a work item agrees with the answers of others, who are not ``excluded``, to the same item."""
    units, agreed, compared = _with_others(answers, excluded)
    return _averaged(answers, units, agreed, compared)


def agreement_by_field(answers: Answers, excluded: Collection[str] = ()) -> FieldShares:
    """As :func:`agreement_with_others`, field by field: an easy field does not hide how it is with a hard one."""
    units, agreed, compared = _with_others(answers, excluded)
    known = compared > 0
    size = max(len(answers.fields), 1)
    rows, row = np.unique(units.answer[known] * size + units.field[known], return_inverse=True)
    shares = np.bincount(row, weights=agreed[known] / compared[known], minlength=rows.size)
    return FieldShares(rows // size, rows % size, shares / np.maximum(np.bincount(row, minlength=rows.size), 1))


def _with_others(answers: Answers, excluded: Collection[str]) -> tuple[Units, Array, Ints]:
    """The units of answers to work, with how many of others' they agree with, of how many."""
    work = answers.is_of("work")
    left_out = np.isin(answers.rater, [answers.raters.index(name) for name in excluded if name in answers.raters])
    units = answers.units.where(work[answers.units.answer])
    keys = _keys(units, answers.item[units.answer])
    return units, *_compared(units, keys, others=~left_out[units.answer])


def agreement_with_oneself(answers: Answers) -> Agreements:
    """How far each answer to a repeated item agrees with what the same rater had answered before; only those are known."""
    repeats = answers.is_of("repeat")
    both = answers.is_of("work", "repeat")
    units = answers.units.where(both[answers.units.answer])
    pair = answers.item[units.answer] * max(len(answers.raters), 1) + answers.rater[units.answer]
    found = _averaged(answers, units, *_compared(units, _keys(units, pair), others=~repeats[units.answer]))
    return Agreements(found.share, np.where(repeats, found.compared, 0))


def _keys(units: Units, owner: Ints) -> Ints:
    """A number for each unit of each ``owner``, an item or an item of a rater."""
    columns = np.stack([owner, units.field, units.place])
    if not columns.size:
        return np.zeros(0, np.int64)
    codes = np.zeros(owner.size, np.int64)
    for column in columns:
        codes = np.unique(codes * (int(column.max()) + 1) + column, return_inverse=True)[1]
    return codes


def _compared(units: Units, keys: Ints, others: Mask) -> tuple[Array, Ints]:
    """With how many units of the same key that are ``others`` each unit agrees, and with how many it was compared."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    sizes = np.diff(starts, append=keys.size)
    agreed, compared = np.zeros(keys.size), np.zeros(keys.size, np.int64)
    for size in np.unique(sizes[sizes > 1]):
        rows = order[starts[sizes == size][:, None] + np.arange(size)]
        for shift in range(1, size):
            other = np.roll(rows, shift, axis=1)
            counts = others[other]
            same = np.abs(units.value[rows] - units.value[other]) <= units.tolerance[rows] + 1e-9
            agreed[rows] += counts & same
            compared[rows] += counts
    return agreed, compared


def _averaged(answers: Answers, units: Units, agreed: Array, compared: Ints) -> Agreements:
    """The mean over the units of each answer."""
    known = compared > 0
    per_answer = np.bincount(units.answer[known], minlength=answers.size)
    shares = np.bincount(
        units.answer[known], weights=agreed[known] / compared[known], minlength=answers.size
    ) / np.maximum(per_answer, 1)
    return Agreements(shares, per_answer)
