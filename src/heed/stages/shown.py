"""What supervised tuning learns from: demonstrations, edits, texts that were judged; and which of them are good enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heed.config import SFTSettings
from heed.errors import DataError
from heed.feedback.formats import BrokenRow
from heed.feedback.kinds import Demonstration, prompt_id
from heed.stages.data import DemonstrationRow, Demonstrations, read_feedback, share_of, told_first
from heed.stages.judgments import SINGLE, Judgment, judgment_of
from heed.stages.linear_data import Single, parts_of
from heed.statistics import proportion_interval

POORER = "less likely to be called good than sft.quality_from"


class Chosen(NamedTuple):
    """What is learned from, and what is told of how it was chosen."""

    rows: list[DemonstrationRow]
    told: dict[str, Any]


def read_shown(
    path: str | Path, settings: SFTSettings, labels: str | Path | None = None
) -> tuple[list[DemonstrationRow], list[Judgment], list[BrokenRow]]:
    """Demonstrations of a file, and the judgments of it and of ``labels``, in any feedback format.

    Raises:
        DataError: a file is missing, or there is nothing to learn from.
    """
    found, broken = read_feedback(path)
    rows = [
        DemonstrationRow(r.prompt, r.feedback.text, r.whole) for r in found if isinstance(r.feedback, Demonstration)
    ]
    judged = found
    if labels is not None:
        more, faults = read_feedback(labels)
        judged, broken = [*found, *more], [*broken, *faults]
    judgments = [judgment_of(r.feedback, r.prompt, r.completions) for r in judged if r.feedback.kind != "demonstration"]
    if not _candidates(rows, judgments, settings):
        wanted = ", ".join(settings.sources)
        raise DataError(
            f"{path} has none of: {wanted}",
            f"its {len(found)} readable rows are of other kinds." if found else told_first(broken),
            'Each demonstration is JSON with "prompt" and "completion", or "messages"; sft.sources names what else is learned '
            "from.",
        )
    return rows, judgments, broken


def chosen(
    demonstrations: Demonstrations,
    judgments: Sequence[Judgment],
    settings: SFTSettings,
    reliability: Mapping[str, float] | None = None,
) -> Chosen:
    """What is learned from: of the sources that ``settings`` names, all, the good ones, or all weighed by how good they are.

    How good a text is says a classifier that has learned from the judgments of single texts, but from none of its own prompt's
    fifth of the prompts; each label counts as much as its rater's answers tell, where ``reliability`` knows.

    Raises:
        DataError: nothing is left, or there are too few labels.
    """
    rows = _candidates([DemonstrationRow(*row) for row in demonstrations], judgments, settings)
    told: dict[str, Any] = {"sources": dict(Counter(source for source, _ in rows))}
    texts = [row for _, row in rows]
    if settings.quality == "off":
        return Chosen(texts, told)
    labels = parts_of(judgments)[1]
    chances, measured = _chances(texts, labels, reliability)
    told |= measured
    if settings.quality == "weigh":
        mean = float(chances.mean())
        weighed = [row._replace(weight=float(chance) / mean) for row, chance in zip(texts, chances, strict=True)]
        return Chosen(weighed, told)
    kept = [row for row, chance in zip(texts, chances, strict=True) if chance >= settings.quality_from]
    told["left_out"] = {POORER: len(texts) - len(kept)}
    if not kept:
        raise DataError(
            f"none of {len(texts)} texts is good enough to learn from",
            f"the likeliest to be called good has a chance of {chances.max():.2f}, and sft.quality_from is "
            f"{settings.quality_from:g}.",
            "Lower sft.quality_from, or set sft.quality to weigh.",
        )
    return Chosen(kept, told)


def _candidates(
    demonstrations: Sequence[DemonstrationRow], judgments: Sequence[Judgment], settings: SFTSettings
) -> list[tuple[str, DemonstrationRow]]:
    """Each with the source that it comes from; an edit or a judged text that stands there already is not taken again."""
    rows: list[tuple[str, DemonstrationRow]] = []
    if "demonstrations" in settings.sources:
        rows += [("demonstrations", row) for row in demonstrations]
    seen = {(prompt_id(row.prompt), row.answer) for _, row in rows}
    for source, kinds in (("edits", ("edit",)), ("judged", SINGLE)):
        for judgment in judgments if source in settings.sources else ():
            key = (prompt_id(judgment.prompt), judgment.texts[0])
            if judgment.kind in kinds and key not in seen and judgment.texts[0].strip():
                seen.add(key)
                rows.append((source, DemonstrationRow(judgment.prompt, judgment.texts[0])))
    return rows


def _chances(
    rows: Sequence[DemonstrationRow], labels: Sequence[Single], reliability: Mapping[str, float] | None
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """How likely each row would be called good [N], and how well that was told of the labelled texts."""
    from heed.train.quality import FOLDS, Labelled, out_of_fold

    def folds(prompts: Sequence[Any]) -> NDArray[np.intp]:
        return np.array([int(share_of(prompt, "quality") * FOLDS) for prompt in prompts], dtype=np.intp)

    weights = np.array(weights_of([label.rater for label in labels], reliability))
    good = np.array([label.good for label in labels], dtype=np.float64)
    labelled = Labelled([label.text for label in labels], good, weights, folds([label.prompt for label in labels]))
    found = out_of_fold(labelled, [_said(row) for row in rows], folds([row.prompt for row in rows]))
    decided = np.flatnonzero((good != 0.5) & (weights > 0))
    right = (found.of_labelled[decided] >= 0.5) == (good[decided] > 0.5)
    accuracy = proportion_interval(right.astype(float), [prompt_id(labels[k].prompt) for k in decided.tolist()])
    told = {
        "labels": len(labels),
        "labels_of_no_weight": int((weights == 0).sum()),
        "accuracy": accuracy.model_dump(mode="json"),
        "mean_chance": float(found.chances.mean()),
    }
    return found.chances, told


def _said(row: DemonstrationRow) -> str:
    """What of a row is learned, as one text."""
    if not row.whole or isinstance(row.prompt, str):
        return row.answer
    return "\n\n".join([*(turn.content for turn in row.prompt if turn.role == "assistant"), row.answer])


def weights_of(raters: Sequence[str], reliability: Mapping[str, float] | None) -> list[float]:
    """What what each says counts, on average 1: as much as the rater's answers tell, and the mean where that is not known.

    Answers that tell nothing, or the opposite, count nothing. Without ``reliability`` all count alike.
    """
    if not reliability:
        return [1.0] * len(raters)
    usual = sum(max(0.0, value) for value in reliability.values()) / len(reliability)
    raw = [max(0.0, reliability.get(rater, usual)) for rater in raters]
    counted = [value for value in raw if value > 0]
    mean = sum(counted) / len(counted) if counted else 1.0
    return [value / mean for value in raw]


def sentence(told: Mapping[str, Any]) -> str:
    """What was chosen, for people; empty where there was nothing to choose."""
    sources = told["sources"]
    text = (
        "; ".join(f"{count:,} {name}" for name, count in sources.items()) if set(sources) != {"demonstrations"} else ""
    )
    text = f"Learned from {text}." if text else ""
    if "accuracy" not in told:
        return text
    right = told["accuracy"]
    text += f" Of {told['labels']:,} labels the classifier of quality told {100 * right['estimate']:.0f} %"
    text += f" ({100 * right['low']:.0f} to {100 * right['high']:.0f} %)" if right["low"] is not None else ""
    text += " unseen."
    if "left_out" in told:
        text += f" Left out: {told['left_out'][POORER]:,} {POORER}."
    return text.strip()
