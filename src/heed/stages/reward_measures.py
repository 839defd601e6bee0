"""How often a reward model is right on judgments that it has not seen, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from heed.config import RewardSettings
from heed.feedback.kinds import prompt_id
from heed.stages.baseline import beside_baseline
from heed.stages.data import FIRST, SECOND, TIE, ComparisonRow
from heed.stages.judgments import Judgment, Known, compared
from heed.stages.reward_rows import EncodedRows, Encoder

if TYPE_CHECKING:
    from heed.models.reward import Encoded, RewardModel
    from heed.models.words import WordScorer

# What the outcome of a comparison without a strength counts for, on the scale 1 to 3.
_CLEAR = 2
SURE = 2.0
"""Standard errors by which a reliability must lie above 0 for a rater to be one whose answers are measured on."""


class Trust(NamedTuple):
    """Reliability by rater, and its standard error; empty where raters are not told apart."""

    reliability: Mapping[str, float]
    errors: Mapping[str, float]

    def surely(self, rater: str) -> bool:
        """Whether the rater surely heeds more than inverts; True of everybody where they are not told apart."""
        return not self.reliability or self.reliability[rater] - SURE * self.errors[rater] > 0


NOBODY_TOLD_APART = Trust({}, {})


class Measured(NamedTuple):
    """Comparisons beside what the model makes of them, one entry each."""

    differences: list[float]
    outcomes: list[float]
    prompts: list[str]
    raters: list[str]

    def joined(self, more: Measured) -> Measured:
        """These and ``more``."""
        return Measured(
            self.differences + more.differences,
            self.outcomes + more.outcomes,
            self.prompts + more.prompts,
            self.raters + more.raters,
        )

    def of_trusted(self, trust: Trust) -> Measured:
        """Those of raters who surely heed."""
        kept = [
            place for place, rater in enumerate(self.raters) if rater not in trust.reliability or trust.surely(rater)
        ]
        return Measured(
            [self.differences[place] for place in kept],
            [self.outcomes[place] for place in kept],
            [self.prompts[place] for place in kept],
            [self.raters[place] for place in kept],
        )


def fit_words(rows: Sequence[ComparisonRow], trust: Trust) -> WordScorer:
    """A scorer of words from comparisons, each counting as much as its rater's answers tell."""
    from heed.models.words import WordScorer

    # A preference without a strength counts as a clear one; a tie leads nowhere.
    leads = [
        {FIRST: 1, SECOND: -1, TIE: 0}[row.outcome] * (row.strength or _CLEAR) * trust.reliability.get(row.rater, 1.0)
        for row in rows
    ]
    return WordScorer.fit([r.a for r in rows], [r.b for r in rows], leads, [prompt_id(r.prompt) for r in rows])


def _judged(network: RewardModel, part: EncodedRows, encoder: Encoder, settings: RewardSettings) -> Measured:
    rows = compared(part.rows)
    texts = encoder.texts([(row.prompt, text) for row in rows for text in (row.a, row.b)])
    once = list(dict.fromkeys(texts))  # however many comparisons name a text
    scored = network.score_encoded(once, settings.tokens_per_microbatch).tolist() if once else []
    score = dict(zip(once, scored, strict=True))
    differences = [score[a] - score[b] for a, b in zip(texts[::2], texts[1::2], strict=True)]
    outcomes = [{FIRST: 1.0, SECOND: 0.0}.get(row.outcome, 0.5) for row in rows]
    return Measured(differences, outcomes, [prompt_id(row.prompt) for row in rows], [row.rater for row in rows])


def _cross_judged(
    network: RewardModel,
    train: EncodedRows,
    left_out: Sequence[int],
    reference: Sequence[Encoded],
    encoder: Encoder,
    trust: Trust,
    settings: RewardSettings,
) -> Measured:
    """Each judgment's comparisons judged by the member that has not seen its prompt, with words learned without it too.

    Cross-validation as in Stone 1974, "Cross-Validatory Choice and Assessment of Statistical Predictions", JRSS B 36:
    one member of the committee is measured, which is if anything less often right than all together.
    """
    from heed.models.reward import RewardModel

    found = Measured([], [], [], [])
    for number, member in enumerate(network.members):
        alone = RewardModel([member], network.reader, network.pooling)
        mine = [place for place, out in enumerate(left_out) if out == number]
        if not mine:
            continue
        if settings.words:
            seen = [row for row, out in zip(train.rows, left_out, strict=True) if out != number]
            alone.words = fit_words(compared(seen), trust)
        alone.calibrate_scale(reference, settings.tokens_per_microbatch)
        part = EncodedRows([train.rows[place] for place in mine], [train.judged[place] for place in mine])
        found = found.joined(_judged(alone, part, encoder, settings))
    return found


def assess(
    network: RewardModel,
    train: EncodedRows,
    validation: EncodedRows,
    held_out: EncodedRows,
    left_out: Sequence[int],
    reference: Sequence[Encoded],
    encoder: Encoder,
    trust: Trust,
    settings: RewardSettings,
    gold: Sequence[Known],
) -> dict[str, Any]:
    """Accuracy and calibration on the held-out judgments, or where there are none on what each member left out; beside it
    a linear reward, fitted to the same judgments with the same answers to ``gold`` items."""
    crossed = bool(left_out and not held_out.rows)
    if crossed:
        judged = _cross_judged(network, train, left_out, reference, encoder, trust, settings)
    else:
        judged = _judged(network, held_out, encoder, settings)
    # One number fitted to comparisons that no member had seen: without validation comparisons those left out serve.
    tuning = judged if crossed and not validation.rows else _judged(network, validation, encoder, settings)
    parts = _linear_parts(train.rows, validation.rows, held_out.rows, left_out if crossed else None)
    beside = beside_baseline(judged.differences, *parts, settings, gold)
    return {**_measure(network, tuning, judged, trust), "cross_fit": crossed, "linear": beside}


Parts = list[tuple[Sequence[Judgment], Sequence[int]]]


def _linear_parts(
    train: Sequence[Judgment],
    validation: Sequence[Judgment],
    held_out: Sequence[Judgment],
    left_out: Sequence[int] | None,
) -> tuple[list[ComparisonRow], Parts]:
    """The comparisons that were judged, and what a linear reward may know of to judge which of them: what the network, or
    the member of it that judged them, did. It keeps none back to tell when to stop."""
    if left_out is None:
        rows = compared(held_out)
        return rows, [([*train, *validation], range(len(rows)))]
    rows = []
    parts: Parts = []
    for number in sorted(set(left_out)):
        mine = compared([row for row, out in zip(train, left_out, strict=True) if out == number])
        seen = [row for row, out in zip(train, left_out, strict=True) if out != number]
        parts.append(([*seen, *validation], range(len(rows), len(rows) + len(mine))))
        rows += mine
    return rows, parts


def _measure(network: RewardModel, tuning: Measured, held_out: Measured, trust: Trust) -> dict[str, Any]:
    """Accuracy and calibration on held-out comparisons; the temperature is fitted to the comparisons ``tuning``."""
    from heed.evaluate.metrics import accuracy, calibration, fit_temperature
    from heed.statistics import Undefined

    # How probable an answer is, is meant of raters who heed; of others the reward knows that they do not.
    tuning = tuning.of_trusted(trust)
    tuned = fit_temperature(tuning.differences, tuning.outcomes)
    if not isinstance(tuned, Undefined):
        network.temperature = tuned
    heeded = held_out.of_trusted(trust)
    scaled = [difference / network.temperature for difference in heeded.differences]
    measured = {
        "accuracy": accuracy(*held_out[:3]).model_dump(mode="json"),
        "calibration": calibration(scaled, heeded.outcomes, heeded.prompts).model_dump(mode="json"),
        "temperature": network.temperature,
        "temperature_note": tuned.reason
        if isinstance(tuned, Undefined)
        else f"fitted on {len(tuning.outcomes)} comparisons",
    }
    if len(heeded.outcomes) < len(held_out.outcomes):
        measured["accuracy_trusted"] = accuracy(*heeded[:3]).model_dump(mode="json")
    network.card["accuracy"] = measured["accuracy"]
    return measured
