"""Judgments made ready for a reward model: sides of splits, raters as numbers, texts as token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from heed.config import RewardSettings
from heed.errors import DataError
from heed.feedback.kinds import PromptContent, prompt_id
from heed.stages.data import TIE, ComparisonRow, share_of
from heed.stages.judgments import SINGLE, UNRANKED, Judgment, Known, evidence, judgment_of_row

if TYPE_CHECKING:
    from heed.models.reward import Encoded, RewardModel
    from heed.train.likelihoods import Judged


def as_judgments(rows: Sequence[ComparisonRow | Judgment]) -> list[Judgment]:
    """Rows of either sort as judgments."""
    return [row if isinstance(row, Judgment) else judgment_of_row(row) for row in rows]


@dataclass(frozen=True)
class Split:
    """Judgments by what they are for; those of one prompt stay together."""

    train: list[Judgment]
    validation: list[Judgment]
    test: list[Judgment]


def folds(rows: Sequence[Judgment], members: int) -> list[int]:
    """The member that each judgment is left out for: prompts are dealt in the order of a hash, so that no share is empty.

    Raises:
        DataError: there are fewer prompts than members.
    """
    prompts = sorted({prompt_id(row.prompt): row.prompt for row in rows}.items(), key=lambda p: share_of(p[1], "fold"))
    if len(prompts) < members:
        raise DataError(
            f"{named(rows)} of {len(prompts)} prompts cannot be shared out",
            f"each of the {members} members is to leave out a prompt of its own.",
            f"Collect {named(rows)} of more prompts, lower members, or set cross_fit to false.",
        )
    fold = {identity: rank % members for rank, (identity, _) in enumerate(prompts)}
    return [fold[prompt_id(row.prompt)] for row in rows]


def named(rows: Sequence[Judgment]) -> str:
    """What the rows are called, all together."""
    return "comparisons" if all(row.kind == "comparison" for row in rows) else "judgments"


def raters_of(rows: Sequence[Judgment], known: Sequence[Known], settings: RewardSettings) -> list[str]:
    """The raters that are told apart, by name; none where they are not to be, or there is but one and no gold."""
    if settings.raters == "equal":
        return []
    names = sorted({row.rater for row in [*rows, *(answer.given for answer in known)]})
    return names if len(names) > 1 or (known and names) else []


def gold_of(known: Sequence[Known], names: Sequence[str]) -> list[tuple[int, tuple[float, ...]]]:
    """(rater, log-probability in each way) of answers to gold items; none where raters are not told apart."""
    return [(names.index(answer.given.rater), evidence(answer)) for answer in known] if names else []


@dataclass
class EncodedRows:
    """Judgments beside the same as the trainer reads them."""

    rows: list[Judgment]
    judged: list[Judged]


class Encoder:
    """Makes token ids of judgments; those with a text longer than the backbone's context are left out and counted.

    Attributes:
        table: the texts of all that was encoded as judgments, each with its number.
        too_long: judgments and texts that were left out (count).
    """

    def __init__(self, network: RewardModel, names: Sequence[str], counts: Mapping[str, float]) -> None:
        self.reader, self.too_long = network.reader, 0
        self._counts = counts
        self.table: dict[Encoded, int] = {}
        self._raters = {name: number for number, name in enumerate(names)}
        self._known: dict[tuple[PromptContent, str], Encoded | None] = {}

    def encode(self, rows: Sequence[Judgment]) -> EncodedRows:
        """The judgments that fit."""
        from heed.train.likelihoods import Judged

        kept = EncodedRows([], [])
        for row in rows:
            texts = [self._text(row.prompt, text) for text in row.texts]
            fitting = [text for text in texts if text is not None]
            if len(fitting) < len(texts):
                self.too_long += 1
                continue
            numbers = tuple(self.table.setdefault(text, len(self.table)) for text in fitting)
            kept.rows.append(row)
            counted = self._counts.get(row.rater, 1.0)
            kept.judged.append(Judged(row.kind, numbers, row.said, self._raters.get(row.rater, 0), row.shown, counted))
        return kept

    def texts(self, texts: Sequence[tuple[PromptContent, str]]) -> list[Encoded]:
        """The texts that fit, by themselves."""
        found = [self._text(prompt, text) for prompt, text in texts]
        self.too_long += sum(text is None for text in found)
        return [text for text in found if text is not None]

    def _text(self, prompt: PromptContent, text: str) -> Encoded | None:
        if (prompt, text) not in self._known:
            try:
                self._known[prompt, text] = self.reader.encode(prompt, text)
            except DataError:
                self._known[prompt, text] = None
        return self._known[prompt, text]


def check_split(parts: Split, train: EncodedRows, encoder: Encoder, settings: RewardSettings) -> None:
    """Say why nothing is left to train on, where there were judgments, or nothing that tells better from worse.

    Raises:
        DataError: with the reason.
    """
    given = [*parts.train, *parts.validation, *parts.test]
    what = named(given)
    if parts.train and not train.rows:
        raise DataError(
            f"none of {len(parts.train)} {what} fits the model",
            f"the context of its backbone is {encoder.reader.context} tokens.",
            "Shorten them, or use a backbone with a longer context.",
        )
    if not parts.train and (held := len(parts.validation) + len(parts.test)):
        raise DataError(
            f"all {held} {what} are held out",
            f"test_fraction {settings.test_fraction:g} and validation_fraction {settings.validation_fraction:g} of the "
            "prompts, and every prompt of --test, leave none to train on.",
            f"Lower the fractions, or collect {what} of more prompts.",
        )
    check_telling(train.rows)


def check_telling(rows: Sequence[Judgment]) -> None:
    """Refuse judgments that no reward can be learned from.

    Raises:
        DataError: there are none, or only ties and judgments that call every completion equally good.
    """
    if not rows:
        raise DataError(
            "no comparison to learn from", "the list is empty.", "Collect some with 'heed ask' or import them."
        )
    ties, single = [row for row in rows if _ties(row)], [row for row in rows if row.kind in SINGLE]
    if len(ties) == len(rows):
        raise DataError(
            f"all {len(rows)} {named(rows)} are ties",
            "ties alone do not say which completion is better.",
            "Collect comparisons of completions that differ more (raise the sampling temperature).",
        )
    if len(ties) + len(single) == len(rows) and not any(map(_differs, _by_kind(single))):
        raise DataError(
            f"all {len(rows)} judgments say the same",
            "who calls every completion equally good does not say which one is better.",
            "Collect judgments of completions that differ more, or comparisons.",
        )


def _by_kind(rows: Sequence[Judgment]) -> list[list[Judgment]]:
    return [[row for row in rows if row.kind == kind] for kind in SINGLE]


def _differs(rows: Sequence[Judgment]) -> bool:
    """Whether judgments of one text, all of a kind, call one completion better than another."""
    said: dict[str, set[Any]] = {}
    for row in rows:
        if row.kind == "rating":
            for name, (score, low, high, _) in row.said.items():
                said.setdefault(name, set()).add((score - low) / (high - low))
        elif row.kind in SINGLE:
            said.setdefault(row.kind, set()).add(row.said)
    return any(len(values) > 1 for values in said.values())


def _ties(row: Judgment) -> bool:
    """Whether a judgment says of all that it is about that it is equally good."""
    if row.kind == "comparison":
        return bool(row.said[0] == TIE)
    return row.kind == "ranking" and len({place for place in row.said if place != UNRANKED}) < 2


def keyed(row: Judgment) -> list[Any]:
    """A judgment for a hash of what is learned from."""
    return [row.kind, prompt_id(row.prompt), *row[2:]]
