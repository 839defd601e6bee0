"""Everything that is to be known of a reward model before a policy is trained against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import expit

from heed.evaluate.metrics import Accuracy, Calibration, accuracy, calibration
from heed.evaluate.reward_bias import Lean, PairOrder, lean, pair_order
from heed.evaluate.reward_claims import TIE, Claims, Judged
from heed.evaluate.reward_parts import Division, Part, concordance, parted, quarters
from heed.evaluate.reward_style import StyleEffect, style_counts, style_differences, style_effects
from heed.evaluate.reward_verdict import notes_on, sentence_on, what_now
from heed.feedback.kinds import PromptContent
from heed.statistics import Array, Interval, Record, Undefined, mean_interval
from heed.texts import cut

MOST_CONTESTED = 100
_EXCERPT = 300
_KINDS = ("comparison", "ranking", "edit", "rating", "thumb", "critique", "demonstration")
_STRENGTHS = ("by far", "clearly", "slightly", "not said")


class PairModel(Protocol):
    """A preference model that reads both texts at once."""

    def leads(
        self, prompts: Sequence[PromptContent], first: Sequence[str], second: Sequence[str]
    ) -> Sequence[float | None]:
        """How far each first text, shown first, leads the second [N]; None where they are too long for it."""


class Contested(Record):
    """A judgment that the reward model contradicts."""

    feedback: str = Field(description="id of the judgment, or where it stands in its file")
    rater: str = Field(description="who gave it")
    kind: str = Field(description="kind of judgment")
    source: str = Field(description="where it was given")
    probability: float = Field(
        description="that the other text is the better one, by the reward model at the temperature that fits best"
    )
    held_out: bool = Field(description="whether the reward model has not learned from its prompt")
    prompt: str = Field(description="the prompt, its beginning")
    preferred: str = Field(description="the text that the rater preferred, its beginning")
    other: str = Field(description="the text that the reward model prefers, its beginning")


class RewardDiagnosis(Record):
    """What was found out about a reward model. ``reason`` stands where a part does not exist."""

    schema_version: Literal[1] = Field(1, description="version of these keys")
    model: str = Field(description="the reward model")
    data: str = Field(description="what it was held against")
    verdict: str = Field("", description="what it comes to, a sentence for people")
    notes: list[str] = Field(
        default_factory=list, description="what to look at before a policy is trained against it, sentences for people"
    )
    now: str = Field("", description="what to do next, for people")
    judgments: int = Field(ge=0, description="judgments that were read (count)")
    learned_from: int = Field(
        ge=0, description="of these about prompts that the model learned from: not measured on (count)"
    )
    compares_nothing: dict[str, int] = Field(description="of the others those that compare nothing, by kind (count)")
    too_long: int = Field(ge=0, description="comparisons of texts longer than the model reads: left out (count)")
    claims: int = Field(ge=0, description="comparisons of two texts that the judgments make: measured on (count)")
    accuracy: Accuracy = Field(description="how often the better-scored text is the preferred one")
    by: list[Division] = Field(description="the same, by what the judgments differ in")
    graded: list[Part] = Field(
        description="judgments of single texts: how often, of two by one rater, the better-judged text scores higher"
    )
    calibration: Calibration | Undefined = Field(
        description="predicted preference probabilities against what was preferred"
    )
    styles: list[StyleEffect] = Field(description="what the reward pays for how a text looks")
    length: Lean | Undefined = Field(description="leaning to the longer text (first side) or the shorter")
    position: Lean | Undefined = Field(description="leaning with raters to the left text (first side) or the right")
    order: PairOrder | Undefined = Field(description="what the order means to a model that sees both texts")
    subset_mean: Interval | None = Field(None, description="mean of the subsets' accuracies; null where there are none")
    contested: list[Contested] = Field(description="judgments that it contradicts most surely, the surest first")


@dataclass(frozen=True)
class _Columns:
    """Claims [N] that can be measured on, as columns."""

    place: list[int]
    differences: Array
    outcomes: Array
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    prompts: list[str]

    def where(self, chosen: Sequence[int]) -> _Columns:
        at = np.asarray(chosen, dtype=np.int64)
        columns = (self.differences[at], self.outcomes[at], self.first[at], self.second[at])
        return _Columns([self.place[i] for i in chosen], *columns, [self.prompts[i] for i in chosen])


def diagnose(
    claims: Claims,
    scores: Sequence[float | None],
    temperature: float = 1.0,
    pairs: PairModel | None = None,
    model: str = "reward model",
    data: str = "",
    confidence: float = 0.95,
    seed: int = 0,
) -> RewardDiagnosis:
    """Hold a reward model against judgments.

    Args:
        claims: of the judgments.
        scores: the model's, of each text of ``claims``; None where it is too long for it, or scores none by itself.
        temperature: differences of scores, and leads, over this are log-odds.
        pairs: the model, where it reads both texts of a pair: claims are held against its leads, not its scores.
        model, data: what they are called.
        confidence: coverage of all intervals.
        seed: of bootstraps.
    """
    forth, back = _leads(claims, pairs) if pairs is not None else ({}, {})
    gaps = _differences(claims, scores) if pairs is None else _over_both_orders(claims, forth, back)
    everything = _columns(claims, gaps)
    held = [row for row, place in enumerate(everything.place) if _judged(claims, place).held_out]
    of = everything.where(held)
    log_odds = of.differences / temperature
    counts = np.array([style_counts(text) for _, text in claims.texts], dtype=np.int64).reshape(-1, 4)
    words = counts[:, 0]
    style = style_differences(counts[of.first], counts[of.second])
    longer = np.sign(words[of.first] - words[of.second])
    fitted = calibration(log_odds, of.outcomes, of.prompts, confidence=confidence)
    divisions = _divisions(claims, of, log_odds, words, confidence)
    found = RewardDiagnosis(
        model=model,
        data=data,
        judgments=len(claims.judged),
        learned_from=sum(not one.held_out for one in claims.judged),
        compares_nothing={kind: count for kind, count in claims.silent.items() if count},
        too_long=len(claims.claims) - len(everything.place),
        claims=of.outcomes.size,
        accuracy=accuracy(of.differences, of.outcomes, of.prompts, confidence),
        by=divisions,
        graded=_graded(claims, scores, confidence),
        calibration=fitted,
        styles=style_effects(log_odds, of.outcomes, style, of.prompts, confidence, seed),
        length=lean(of.differences, of.outcomes, longer, of.prompts, confidence),
        position=_position(claims, of, confidence),
        order=_order(claims, of, forth, back, temperature, confidence),
        subset_mean=_subset_mean(claims, of, divisions, confidence),
        contested=_contested(claims, everything, temperature * _best(fitted)),
    )
    found = found.model_copy(update={"verdict": sentence_on(found), "notes": notes_on(found)})
    return found.model_copy(update={"now": what_now(found)})


def _judged(claims: Claims, place: int) -> Judged:
    return claims.judged[claims.claims[place].judgment]


Leads = dict[tuple[int, int], float | None]
"""How far the first of two texts leads, by their positions; None where they are too long for the model."""


def _leads(claims: Claims, pairs: PairModel) -> tuple[Leads, Leads]:
    """What the model makes of each pair of texts that a claim is about, once: how far the first leads where it is shown
    first, and how far the second leads where that is."""
    distinct = list(dict.fromkeys((claim.first, claim.second) for claim in claims.claims))
    prompts = [claims.texts[one][0] for one, _ in distinct]
    one, two = ([claims.texts[pair[side]][1] for pair in distinct] for side in (0, 1))
    forth, back = pairs.leads(prompts, one, two), pairs.leads(prompts, two, one)
    return dict(zip(distinct, forth, strict=True)), dict(zip(distinct, back, strict=True))


def _differences(claims: Claims, scores: Sequence[float | None]) -> list[float | None]:
    sides = ((scores[claim.first], scores[claim.second]) for claim in claims.claims)
    return [None if one is None or two is None else one - two for one, two in sides]


def _over_both_orders(claims: Claims, forth: Leads, back: Leads) -> list[float | None]:
    """The mean lead of each claim's first text over both orders: what the model says whatever stands where."""
    keys = ((claim.first, claim.second) for claim in claims.claims)
    sides = ((forth[key], back[key]) for key in keys)
    return [None if one is None or two is None else (one - two) / 2 for one, two in sides]


def _columns(claims: Claims, differences: Sequence[float | None]) -> _Columns:
    """The claims whose ``differences`` are known."""
    known = [(place, value) for place, value in enumerate(differences) if value is not None]
    kept = [claims.claims[place] for place, _ in known]
    return _Columns(
        [place for place, _ in known],
        np.array([value for _, value in known], dtype=np.float64),
        np.array([claim.outcome for claim in kept], dtype=np.float64),
        np.array([claim.first for claim in kept], dtype=np.int64),
        np.array([claim.second for claim in kept], dtype=np.int64),
        [claims.prompts[claim.first] for claim in kept],
    )


def _divisions(
    claims: Claims, of: _Columns, log_odds: Array, words: NDArray[np.int64], confidence: float
) -> list[Division]:
    judged = [_judged(claims, place) for place in of.place]
    given = [claims.claims[place] for place in of.place]
    gap, gaps = quarters(100 * expit(np.abs(log_odds)), "% sure")
    length, lengths = quarters((words[of.first] + words[of.second]) / 2, "words")
    labels: list[tuple[str, list[str], Sequence[str]]] = [
        ("kind", [one.feedback.kind for one in judged], _KINDS),
        ("strength", [claim.strength if claim.outcome != TIE else "" for claim in given], _STRENGTHS),
        ("gap", gap, gaps),
        ("length", length, lengths),
        ("group", [one.group for one in judged], ()),
        ("rater", [one.feedback.rater for one in judged], ()),
        ("source", [one.source for one in judged], ()),
        ("subset", [one.subset for one in judged], ()),
    ]
    return [
        parted(by, label, of.differences, of.outcomes, of.prompts, confidence, order)  # type: ignore[arg-type]
        for by, label, order in labels
    ]


def _graded(claims: Claims, scores: Sequence[float | None], confidence: float) -> list[Part]:
    parts = []
    for kind in _KINDS:
        chosen = [
            value
            for value in claims.values
            if (one := claims.judged[value.judgment]).feedback.kind == kind
            and one.held_out
            and scores[value.text] is not None
        ]
        if chosen:
            found = concordance(
                [scores[value.text] or 0.0 for value in chosen],
                [value.value for value in chosen],
                [claims.judged[value.judgment].feedback.rater for value in chosen],
                [claims.prompts[value.text] for value in chosen],
                confidence,
            )
            parts.append(Part(name=kind, accuracy=found, ties=0))
    return parts


def _position(claims: Claims, of: _Columns, confidence: float) -> Lean | Undefined:
    left = _left(claims, of)
    if not left.any():
        return Undefined(reason="The judgments do not say which text stood left.")
    return lean(of.differences, of.outcomes, left, of.prompts, confidence)


def _left(claims: Claims, of: _Columns) -> NDArray[np.int64]:
    """1 where the first text of a claim stood left, -1 where it stood right, 0 where that is not known."""
    stood = (claims.claims[place].first_left for place in of.place)
    return np.array([0 if left is None else 1 if left else -1 for left in stood], dtype=np.int64)


def _order(
    claims: Claims, of: _Columns, forth: Leads, back: Leads, temperature: float, confidence: float
) -> PairOrder | Undefined:
    if not forth:
        return Undefined(reason="This model scores each text by itself: where it stands cannot matter.")
    distinct = list(dict.fromkeys(zip(of.first.tolist(), of.second.tolist(), strict=True)))
    if not distinct:
        return Undefined(reason="There are no held-out comparisons.")
    one, two = (np.array([leads[pair] for pair in distinct], dtype=np.float64) / temperature for leads in (forth, back))
    return pair_order(one, two, [claims.prompts[first] for first, _ in distinct], confidence)


def _subset_mean(claims: Claims, of: _Columns, divisions: Sequence[Division], confidence: float) -> Interval | None:
    """Mean over the subsets, each weighing alike however large it is.

    Where no prompt stands in two of them they are independent, and the ends follow from their own intervals (the method of
    variance estimates recovery, Zou and Donner 2008, "Construction of confidence limits about effect measures", Statistics in
    Medicine 27, section 2): so they are wide enough, too, where all is right.
    """
    parts = [part for one in divisions if one.by == "subset" for part in one.parts if part.accuracy.n]
    if not parts:
        return None
    sizes = {part.name: part.accuracy.n for part in parts}
    subsets = [_judged(claims, place).subset for place in of.place]
    kept = [i for i, name in enumerate(subsets) if name in sizes and of.outcomes[i] != 0.5]
    right = 0.5 + 0.5 * np.sign(of.differences[kept]) * np.sign(of.outcomes[kept] - 0.5)
    # Weighted so that the mean over claims is the mean over subsets.
    share = np.array([len(kept) / (len(sizes) * sizes[subsets[i]]) for i in kept])
    found = mean_interval(right * share, [of.prompts[i] for i in kept], confidence)
    ends = [(part.accuracy.low, part.accuracy.estimate, part.accuracy.high) for part in parts]
    apart = len({(subsets[i], of.prompts[i]) for i in kept}) == len({of.prompts[i] for i in kept})
    if not apart or any(None in three for three in ends):
        return found.model_copy(update={"method": "mean of the subsets, cluster-robust t"})
    low, middle, high = np.array(ends, np.float64).T
    below, above = (float(np.linalg.norm(side)) / len(parts) for side in (middle - low, high - middle))
    mean = float(middle.mean())
    method = f"mean of the subsets, ends recovered from theirs: {parts[0].accuracy.method}"
    return found.model_copy(update={"low": mean - below, "high": mean + above, "method": method})


def _best(fitted: Calibration | Undefined) -> float:
    """What to multiply the temperature by, so that probabilities are those of these judgments; 1 where that is not known."""
    if isinstance(fitted, Undefined) or isinstance(fitted.temperature, Undefined):
        return 1.0
    return fitted.temperature


def _contested(claims: Claims, of: _Columns, temperature: float) -> list[Contested]:
    """The claim of each judgment that is contradicted most surely, the surest first; ties and other claims contradict none.

    So many of those on which a lead can decide, and as many of others: thousands of simulated raters leave room for people.
    """
    against = -np.sign(of.outcomes - 0.5) * of.differences / temperature
    surest: dict[int, tuple[float, int]] = {}
    for row in np.flatnonzero(against > 0).tolist():
        claim = claims.claims[of.place[row]]
        if claim.alone:
            surest[claim.judgment] = max(surest.get(claim.judgment, (0.0, row)), (float(against[row]), row))
    ordered = sorted(surest.items(), key=lambda entry: (-entry[1][0], entry[0]))
    asked = [entry for entry in ordered if claims.judged[entry[0]].asked][:MOST_CONTESTED]
    others = [entry for entry in ordered if not claims.judged[entry[0]].asked][:MOST_CONTESTED]
    kept = sorted([*asked, *others], key=lambda entry: (-entry[1][0], entry[0]))
    return [_one_contested(claims, of.place[row], float(expit(gap))) for _, (gap, row) in kept]


def _one_contested(claims: Claims, place: int, probability: float) -> Contested:
    claim = claims.claims[place]
    one = claims.judged[claim.judgment]
    preferred, other = (claim.first, claim.second) if claim.outcome == 1.0 else (claim.second, claim.first)
    prompt = one.prompt if isinstance(one.prompt, str) else one.prompt[-1].content
    return Contested(
        feedback=one.id,
        rater=one.feedback.rater,
        kind=one.feedback.kind,
        source=one.source,
        probability=probability,
        held_out=one.held_out,
        prompt=cut(prompt, _EXCERPT),
        preferred=cut(claims.texts[preferred][1], _EXCERPT),
        other=cut(claims.texts[other][1], _EXCERPT),
    )
