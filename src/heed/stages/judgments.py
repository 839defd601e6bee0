"""Judgments of every kind as a reward model learns from them, from files and from feedback as it is kept. No torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from heed.errors import DataError
from heed.feedback.formats import BrokenRow, FileFormat, Row
from heed.feedback.kinds import (
    AnyFeedback,
    Comparison,
    Critique,
    Demonstration,
    Edit,
    PromptContent,
    Ranking,
    Rating,
    Thumb,
    prompt_id,
)
from heed.stages.data import (
    FIRST,
    SECOND,
    TIE,
    ComparisonRow,
    comparisons_of,
    once,
    order_of,
    read_feedback,
    told_first,
)

KINDS_LEARNED = ("comparison", "rating", "ranking", "thumb", "edit", "demonstration", "critique")
SINGLE = ("thumb", "rating", "critique")
"""Kinds of judgments of one text."""
UNRANKED = -1
LARGEST_RANKING = 26
REPEATED = "the same judgment of the same rater stands there more than once"
WITHOUT_SAMPLES = "demonstrations without a sample of the same prompt"

# Who heeds meets a known answer in so many of a hundred cases; who does not read says that two are equal so often.
_MET, _UNREAD_TIES = 0.95, 0.1
_NEAR = 0.1  # of a scale: scores that are this close are the same, as with known answers in the studio


class Judgment(NamedTuple):
    """One rater's judgment of texts of one prompt.

    Attributes:
        kind: one of ``KINDS_LEARNED``.
        prompt: what the texts answer.
        texts: what it is about, in the item's own order. An edit: the edited text, then its original; a demonstration: its
            text, then samples of the same prompt.
        said: comparison (outcome, strength); ranking the place of each text, 0 is best, ``UNRANKED`` for none; rating
            {attribute: (score, low, high, step or None)}; thumb whether up; critique the defects ticked; others None.
        rater: who judged, "" where it is not known.
        shown: place k on the screen showed ``texts[shown[k]]``; None where it is not known or nothing stood beside another.
    """

    kind: str
    prompt: PromptContent
    texts: tuple[str, ...]
    said: Any
    rater: str = ""
    shown: tuple[int, ...] | None = None


class Known(NamedTuple):
    """A rater's judgment of a gold item, and the same judgment as it would be right. It tells of the rater alone."""

    given: Judgment
    expected: Judgment


def judgment_of(feedback: AnyFeedback, prompt: PromptContent, completions: Sequence[str]) -> Judgment:
    """A judgment as it is kept, as it is learned from; a demonstration is still without samples."""
    texts, shown = tuple(completions), feedback.shown_order
    said: Any = None
    if isinstance(feedback, Comparison):
        outcome = {"a": FIRST, "b": SECOND}.get(feedback.choice, TIE)
        said = (outcome, feedback.strength or 0)
    elif isinstance(feedback, Ranking):
        place = {position: rank for rank, group in enumerate(feedback.groups) for position in group}
        said = tuple(place.get(position, UNRANKED) for position in range(len(texts)))
    elif isinstance(feedback, Rating):
        scales = feedback.scales
        said = {
            name: (score, scales[name].low, scales[name].high, scales[name].step)
            for name, score in sorted(feedback.scores.items())
        }
    elif isinstance(feedback, Thumb):
        said = feedback.up
    elif isinstance(feedback, Critique):
        said = tuple(sorted({*feedback.defects, *(span.label for span in feedback.spans)}))
    elif isinstance(feedback, Edit):
        texts = (feedback.edited, *texts)
    elif isinstance(feedback, Demonstration):
        texts = (feedback.text,)
    shown = shown if feedback.kind in ("comparison", "ranking") else None
    return Judgment(feedback.kind, prompt, texts, said, feedback.rater, shown)


def judgment_of_row(row: ComparisonRow) -> Judgment:
    """A comparison as a judgment."""
    shown = {None: None, FIRST: (0, 1), SECOND: (1, 0)}[row.left]
    return Judgment("comparison", row.prompt, (row.a, row.b), (row.outcome, row.strength), row.rater, shown)


def learned_from(feedback: AnyFeedback, prompt: PromptContent, completions: Sequence[str], kind: str) -> list[Judgment]:
    """What a reward model of ``kind`` learns from a judgment: nothing, itself, or for "comparison" the pairs it implies."""
    if kind == "comparison":
        return [judgment_of_row(row) for row in comparisons_of(feedback, prompt, completions)]
    if kind not in ("joint", feedback.kind):
        return []
    found = judgment_of(feedback, prompt, completions)
    return [found] if len(found.texts) <= LARGEST_RANKING else []


def with_samples(rows: Iterable[Judgment], samples: Mapping[str, Sequence[str]]) -> tuple[list[Judgment], int]:
    """Judgments with the samples that each demonstration is better than, and how many have none and are left out.

    Args:
        rows: demonstrations among them still alone.
        samples: texts that a model wrote, by prompt id.
    """
    kept: list[Judgment] = []
    alone = 0
    for row in rows:
        if row.kind != "demonstration":
            kept.append(row)
            continue
        others = [text for text in dict.fromkeys(samples.get(prompt_id(row.prompt), ())) if text != row.texts[0]]
        if others:
            kept.append(row._replace(texts=(row.texts[0], *others[: LARGEST_RANKING - 1])))
        else:
            alone += 1
    return kept, alone


class GoldFile(NamedTuple):
    """What became of a file of known answers: how many it has, how many of them nobody's judgment meets, broken rows."""

    answers: int
    unmet: int
    broken: list[BrokenRow]


class Learned(NamedTuple):
    """Judgments to learn from; how many are of no use, by reason; answers to gold items, and the file that knows them."""

    rows: list[Judgment]
    unused: dict[str, int]
    known: list[Known]
    gold: GoldFile | None = None


def read_judgments(
    path: str | Path, kind: str = "joint", gold: str | Path | None = None, format: FileFormat | str = "auto"
) -> tuple[Learned, list[BrokenRow]]:
    """Judgments in a file of any feedback format, and its broken rows. What a named rater says again counts once.

    Args:
        path: the file.
        kind: of the reward model, see ``RewardSettings.kind``.
        gold: a file of known answers, in any feedback format; what raters said of the same texts tells of them alone.
        format: of both files.

    Raises:
        DataError: a file is missing, or nothing in it is to be learned from; or known answers contradict each other.
    """
    found, broken = read_feedback(path, format)
    answers, faults = ({}, []) if gold is None else _known_answers(gold, format)
    rows: list[Judgment] = []
    known: list[Known] = []
    met = set()
    unused: Counter[str] = Counter()
    different, unused[REPEATED] = once(found)
    for row in different:
        given = judgment_of(row.feedback, row.prompt, row.completions)
        item = _item_of(given)
        if item in answers:
            met.add(item)
            known.append(Known(given, _aligned(answers[item], given.texts)))
            continue
        taken = learned_from(row.feedback, row.prompt, row.completions, kind)
        rows += taken
        unused[row.feedback.kind] += not taken
    rows, alone = with_samples(rows, _sampled(found))
    unused[WITHOUT_SAMPLES] += alone
    if not rows:
        wanting = "judges a completion" if kind == "joint" else "serves a reward of this kind"
        raise DataError(
            f"{path} has no comparison or other judgment of completions"
            if kind == "joint"
            else f"{path} has no {kind}",
            f"of its {len(found)} readable rows, none {wanting}." if found else told_first(broken),
            'Give judgments, such as JSON lines with "prompt", "chosen" and "rejected"; see docs/formats.md.'
            if kind == "joint"
            else f"Give judgments of this kind, or another --kind than {kind}.",
        )
    counts = {reason: count for reason, count in unused.items() if count}
    file = None if gold is None else GoldFile(len(answers), len(answers) - len(met), faults)
    return Learned(rows, counts, known, file), broken


def _known_answers(path: str | Path, format: FileFormat | str) -> tuple[dict[Any, Judgment], list[BrokenRow]]:
    """The known answer to each item of a file, and its broken rows.

    Raises:
        DataError: the file has none, or two that contradict each other.
    """
    found, broken = read_feedback(path, format)
    if not found:
        raise DataError(
            f"{path} has no known answer", told_first(broken), "Give judgments as they would be right, or no --gold."
        )
    answers: dict[Any, Judgment] = {}
    lines: dict[Any, int] = {}
    for row in found:
        expected = judgment_of(row.feedback, row.prompt, row.completions)
        item = _item_of(expected)
        before = answers.setdefault(item, expected)
        if _right(_aligned(before, expected.texts)) != _right(expected):
            raise DataError(
                f"{path} contradicts itself",
                f"lines {lines[item]} and {row.line} know different answers about the same texts of one prompt.",
                "Leave the line that is right.",
            )
        lines.setdefault(item, row.line)
    return answers, broken


def _right(row: Judgment) -> Any:
    """What a known answer says; of a comparison who wins, however clearly."""
    return row.said[0] if row.kind == "comparison" else row.said


def _sampled(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Texts that heed sampled itself, by prompt id: of others nobody knows whether a model wrote them."""
    from heed.feedback.formats.rows import import_ids

    found: dict[str, list[str]] = {}
    for row in rows:
        imported = import_ids(row.prompt, row.completions)
        for text, key, other in zip(row.completions, row.feedback.completion_ids, imported, strict=True):
            if key != other:
                found.setdefault(row.feedback.prompt_id, []).append(text)
    return found


def _item_of(row: Judgment) -> Any:
    return row.kind, prompt_id(row.prompt), tuple(sorted(row.texts))


def _aligned(row: Judgment, texts: tuple[str, ...]) -> Judgment:
    """``row`` with its texts in the order of ``texts``."""
    if row.texts == texts:
        return row
    if row.kind == "comparison":
        outcome, strength = row.said
        return row._replace(texts=texts, said=({FIRST: SECOND, SECOND: FIRST}.get(outcome, TIE), strength), shown=None)
    places = dict(zip(row.texts, row.said, strict=True))
    return row._replace(texts=texts, said=tuple(places[text] for text in texts), shown=None)


def compared(rows: Sequence[Judgment]) -> list[ComparisonRow]:
    """The comparisons that judgments imply, which accuracy is measured on: themselves, pairs of a ranking, an edit over its
    original, a demonstration over each sample, and of what one rater said of several texts of a prompt the better one."""
    return [one.pair for one in implied(rows)]


class Implied(NamedTuple):
    """A comparison, and the places of the judgments that it comes of among those given."""

    pair: ComparisonRow
    places: tuple[int, ...]


def implied(rows: Sequence[Judgment]) -> list[Implied]:
    """The comparisons that judgments imply, see :func:`compared`, with what each comes of."""
    found: list[Implied] = []
    alone: dict[tuple[str, str, str], list[tuple[int, str, float]]] = {}
    for number, row in enumerate(rows):
        if row.kind == "comparison":
            left = None if row.shown is None else row.shown[0]
            (a, b), (outcome, strength) = row.texts, row.said
            found.append(Implied(ComparisonRow(row.prompt, a, b, outcome, strength, row.rater, left), (number,)))
        elif row.kind == "ranking":
            placed = [(text, place) for text, place in zip(row.texts, row.said, strict=True) if place != UNRANKED]
            found += [
                Implied(ComparisonRow(row.prompt, a, b, order_of(one, other), rater=row.rater), (number,))
                for (a, one), (b, other) in combinations(placed, 2)
            ]
        elif row.kind in ("edit", "demonstration"):
            best, *others = row.texts
            found += [
                Implied(ComparisonRow(row.prompt, best, text, FIRST, rater=row.rater), (number,)) for text in others
            ]
        else:
            scored = alone.setdefault((row.kind, row.rater, prompt_id(row.prompt)), [])
            worth, own = _worth(row), row.texts[0]
            for before, text, other in scored:
                if worth != other and text != own:
                    outcome = FIRST if worth > other else SECOND
                    found.append(
                        Implied(ComparisonRow(row.prompt, own, text, outcome, rater=row.rater), (before, number))
                    )
            scored.append((number, own, worth))
    return found


def rating_share(row: Judgment) -> float:
    """Where a rating lies on its scales, 0 (the lowest) to 1, the mean over its attributes."""
    shares = [(score - low) / (high - low) for score, low, high, _ in row.said.values()]
    return math.fsum(shares) / len(shares)


def _worth(row: Judgment) -> float:
    """How good a judgment of one text calls it, to be compared with others of the same kind and rater."""
    if row.kind == "rating":
        return rating_share(row)
    return float(row.said) if row.kind == "thumb" else -float(len(row.said))


def evidence(known: Known) -> tuple[float, float, float, float]:
    """Log-probability of what was said of a gold item by who heeds, inverts, says left and says right.

    Who heeds meets a known answer in 95 of 100 cases, who inverts its opposite.
    """
    given, expected = known
    if given.kind == "comparison":
        said, right = given.said[0], expected.said[0]
        places = (0, 1) if given.shown is None else given.shown
        if said == TIE or right == TIE:
            met = _MET if said == right else (1 - _MET) / 2
            unread = _UNREAD_TIES if said == TIE else (1 - _UNREAD_TIES) / 2
            return (*(math.log(met),) * 2, *(math.log(unread),) * 2)
        heeds, inverts = (_MET, (1 - _MET) / 2) if said == right else ((1 - _MET) / 2, _MET)
        sides = [1 - _UNREAD_TIES - 0.01 if said == side else 0.01 for side in places]
        if given.shown is None:
            sides = [(1 - _UNREAD_TIES) / 2] * 2
        return math.log(heeds), math.log(inverts), math.log(sides[0]), math.log(sides[1])
    share = share_met(given, expected)
    hit, miss = math.log(_MET), math.log(1 - _MET)
    return share * hit + (1 - share) * miss, share * miss + (1 - share) * hit, math.log(0.5), math.log(0.5)


def share_met(given: Judgment, expected: Judgment) -> float:
    """Share of a known answer that a judgment says as well, 0 to 1; as known answers are compared in the studio."""
    if given.kind == "rating":
        near = [
            name in given.said and abs(given.said[name][0] - score) <= _NEAR * (high - low)
            for name, (score, low, high, _) in expected.said.items()
        ]
        return sum(near) / len(near)
    if given.kind == "ranking":
        pairs = [pair for pair in combinations(range(len(expected.said)), 2) if UNRANKED not in _taken(expected, pair)]
        same = [
            UNRANKED not in _taken(given, pair) and order_of(*_taken(given, pair)) == order_of(*_taken(expected, pair))
            for pair in pairs
        ]
        return sum(same) / len(same)
    if given.kind == "critique":
        one, other = set(given.said), set(expected.said)
        return len(one & other) / len(one | other) if one | other else 1.0
    return float(given.said == expected.said)


def _taken(row: Judgment, pair: tuple[int, int]) -> tuple[int, int]:
    return row.said[pair[0]], row.said[pair[1]]


def kinds_of(rows: Iterable[Judgment]) -> dict[str, int]:
    """Judgments of each kind (count)."""
    return dict(Counter(row.kind for row in rows))
