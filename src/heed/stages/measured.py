"""How rewards that are not networks are split, measured and told about: as networks are, and beside the simplest ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from heed.config import RewardSettings
from heed.errors import DataError
from heed.evaluate.verdict import beside_a_coin
from heed.feedback.kinds import PromptContent, prompt_id
from heed.stages.data import FIRST, SECOND, TIE, ComparisonRow, share_of
from heed.stages.judgments import Judgment
from heed.stages.reward_rows import as_judgments, check_telling, named
from heed.statistics import Interval, Undefined, mean_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Split(NamedTuple):
    """Judgments to fit, to tell when to stop, and to measure on; how many are about prompts of the given test ones."""

    train: list[Judgment]
    validation: list[Judgment]
    held_out: list[Judgment]
    on_test_prompts: int


def split_rows(
    given: Sequence[ComparisonRow | Judgment],
    test: Sequence[ComparisonRow | Judgment] | None,
    settings: RewardSettings,
    validation: bool,
) -> Split:
    """By prompt, as judgments for a network are split.

    Raises:
        DataError: none is left to train on.
    """
    rows, held_out = as_judgments(given), as_judgments(test or ())
    tested = {prompt_id(row.prompt) for row in held_out}
    rest = [row for row in rows if prompt_id(row.prompt) not in tested]
    on_test = len(rows) - len(rest)
    if test is None:
        held_out = [row for row in rest if share_of(row.prompt, "test") < settings.test_fraction]
        rest = [row for row in rest if share_of(row.prompt, "test") >= settings.test_fraction]
    share = settings.validation_fraction if validation else 0.0
    kept = [row for row in rest if share_of(row.prompt, "validation") >= share]
    stopping = [row for row in rest if share_of(row.prompt, "validation") < share]
    if rows and not kept:
        what = named(rows)
        raise DataError(
            f"all {len(rows)} {what} are held out",
            f"test_fraction {settings.test_fraction:g} and validation_fraction {share:g} of the prompts, and every prompt "
            "of --test, leave none to train on.",
            f"Lower the fractions, or collect {what} of more prompts.",
        )
    check_telling(kept)
    return Split(kept, stopping, held_out, on_test)


def outcomes_of(rows: Sequence[ComparisonRow]) -> list[float]:
    """1 where the first was preferred, 0 the second, 0.5 a tie."""
    return [{FIRST: 1.0, SECOND: 0.0}.get(row.outcome, 0.5) for row in rows]


def prompts_of(rows: Sequence[ComparisonRow]) -> list[str]:
    return [prompt_id(row.prompt) for row in rows]


def texts_of(rows: Sequence[ComparisonRow]) -> list[tuple[PromptContent, str]]:
    """Each (prompt, completion) of comparisons once, in the order of their first appearance."""
    return list(dict.fromkeys((row.prompt, text) for row in rows for text in (row.a, row.b)))


def tell_accuracy(differences: Sequence[float], rows: Sequence[ComparisonRow], temperature: float) -> dict[str, Any]:
    """Accuracy and calibration of score differences on comparisons."""
    from heed.evaluate.metrics import accuracy, calibration

    outcomes, prompts = outcomes_of(rows), prompts_of(rows)
    scaled = [difference / temperature for difference in differences]
    return {
        "accuracy": accuracy(differences, outcomes, prompts).model_dump(mode="json"),
        "calibration": calibration(scaled, outcomes, prompts).model_dump(mode="json"),
    }


def temperature_of(differences: Sequence[float], outcomes: Sequence[float]) -> tuple[float, str]:
    """What differences are divided by to be log-odds, and where that comes from; 1 where it is undefined, and why."""
    from heed.evaluate.metrics import fit_temperature

    tuned = fit_temperature(differences, outcomes)
    if isinstance(tuned, Undefined):
        return 1.0, tuned.reason
    return tuned, f"fitted on {len(outcomes)} comparisons"


def right_or_wrong(differences: Sequence[float], rows: Sequence[ComparisonRow]) -> NDArray[np.float64]:
    """1 for each decided comparison that the scores order rightly, 0 wrongly, 0.5 where they are equal; NaN at ties."""
    y = np.array(outcomes_of(rows))
    right = 0.5 + 0.5 * np.sign(np.asarray(differences, dtype=np.float64)) * np.sign(y - 0.5)
    return np.where(y == 0.5, np.nan, right)


def difference_of(
    one: Sequence[float], other: Sequence[float], rows: Sequence[ComparisonRow], confidence: float = 0.95
) -> Interval:
    """How much oftener the first scores' differences are right than the second's on the same comparisons; clustered by
    prompt, each comparison beside itself."""
    gap = right_or_wrong(one, rows) - right_or_wrong(other, rows)
    decided = np.flatnonzero(~np.isnan(gap))
    prompts = prompts_of(rows)
    return mean_interval(gap[decided], [prompts[row] for row in decided.tolist()], confidence)


def by_length(learned: Sequence[ComparisonRow], rows: Sequence[ComparisonRow]) -> tuple[list[float], str]:
    """Score differences on ``rows`` of a reward that is a text's number of characters, or that number turned round where
    comparisons ``learned`` more often went to the shorter text; and which of the two it takes: "longer" or "shorter"."""
    right = right_or_wrong([float(len(row.a) - len(row.b)) for row in learned], learned)
    sign = -1 if np.nansum(right - 0.5) < 0 else 1
    return [float(sign * (len(row.a) - len(row.b))) for row in rows], "longer" if sign > 0 else "shorter"


def told_beside(beside: dict[str, Any], name: str) -> str:
    """A sentence about a baseline; empty where nothing could be measured."""
    if "reason" in beside:
        return f"{name} could not be fitted beside it: {beside['reason']}"
    accuracy, gap = beside.get("accuracy", {}).get("clustered", {}), beside.get("difference", {})
    if accuracy.get("estimate") is None or gap.get("low") is None:
        return ""
    points = f"{100 * gap['estimate']:+.1f} points (interval {100 * gap['low']:+.1f} to {100 * gap['high']:+.1f})"
    text = f"{name} is right on {100 * accuracy['estimate']:.1f} %: a difference of {points}."
    if gap["low"] <= 0:
        text += " This reward is not surely better."
    return text


def account(given: int, split: Split, alone: int = 0, too_long: int = 0) -> dict[str, int]:
    """What became of the judgments, in parts that add up to ``judgments`` (counts).

    Args:
        given: how many there were.
        split: those that were of use, by what for.
        alone: judgments of one text that stand beside no other, of no use to a reward that reads two.
        too_long: judgments whose texts are longer than the model's context.
    """
    every = [*split.train, *split.validation, *split.held_out]
    return {
        "judgments": given,
        "comparisons": sum(row.kind == "comparison" for row in every),
        "trained_on": len(split.train),
        "validation": len(split.validation),
        "held_out": len(split.held_out),
        "alone": alone,
        "too_long": too_long,
        "on_test_prompts": split.on_test_prompts,
        "ties": sum(row.kind == "comparison" and row.said[0] == TIE for row in every),
    }


_NAMED = 3


def least_told(reliability: Mapping[str, float]) -> str:
    """The raters whose answers tell least, by name: up to three of less than half of what a careful one's tell."""
    ordered = sorted((value, name) for name, value in reliability.items())
    few = [f"{name} {value:.2f}" for value, name in ordered[:_NAMED] if value < 0.5]
    return f"; least: {', '.join(few)}" if few else f", least {ordered[0][0]:.2f}"


def told_accuracy(metrics: dict[str, Any]) -> str:
    """How much was learned from, and how often that is right."""
    right = metrics["accuracy"]["clustered"]
    text = f"Learned from {metrics['trained_on']} of {metrics['judgments']} judgments"
    kept = [("validation", "kept to tell when to stop"), ("held_out", "held out to measure on")]
    kept += [("on_test_prompts", "left out: about prompts of the test judgments"), ("too_long", "left out: too long")]
    kept += [("alone", "left out: their rater said nothing else of another text for the same prompt")]
    told = [f"{metrics[part]} {what}" for part, what in kept if metrics[part]]
    pairs = metrics.get("comparisons_trained_on", metrics["trained_on"])
    text += f", which make {pairs} comparisons" if pairs != metrics["trained_on"] else ""
    text += f" ({'; '.join(told)})." if told else "."
    if metrics.get("raters"):
        values = sorted(metrics["raters"].values())
        middle = values[len(values) // 2]
        if why := metrics.get("raters_not_told_apart"):
            text += f" The {len(values)} raters could not be told apart, as {why}; they count nearly alike (reliability {middle:.2f})."
        else:
            text += f" Raters weighed by their reliability: {len(values)}, median {middle:.2f}{least_told(metrics['raters'])}."
    if right["estimate"] is None:
        return f"{text} Held-out accuracy is undefined: {right['reason']}"
    text += f" Right on {100 * right['estimate']:.1f} % of {right['n']} held-out comparisons"
    if right["low"] is None:
        return f"{text}; no interval: {right['reason']}"
    text += f" ({100 * right['low']:.1f} to {100 * right['high']:.1f} %)."
    return f"{text} {beside_a_coin(right['low'], right['high'])}".rstrip()
