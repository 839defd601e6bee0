"""What judgments claim that a reward model can be held against: of two completions one is better, or one has a value.

A comparison, a ranking and an edit compare by themselves. Ratings, thumbs and critiques of one rater compare where they are of
the same prompt, and a demonstration claims to be better than what was judged beside it. What compares nothing with anything
is counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

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

FIRST, TIE, SECOND = 1.0, 0.5, 0.0

_STRENGTHS = {0: "not said", 1: "slightly", 2: "clearly", 3: "by far"}


@dataclass(frozen=True)
class Judged:
    """One judgment with the texts that it is about, and what it is told apart by.

    Attributes:
        id: of the judgment, or where it stands in its file.
        prompt: the prompt.
        completions: texts of its completions, in their own order.
        feedback: the judgment.
        group: the rater's group; "" where it has none.
        source: where it was given, for people.
        subset: the part of a benchmark that it belongs to; "" for none.
        held_out: whether the reward model has not learned from judgments of this prompt.
        asked: whether it is an answer to an item of the studio, on which a lead can decide.
    """

    id: str
    prompt: PromptContent
    completions: tuple[str, ...]
    feedback: AnyFeedback
    group: str = ""
    source: str = ""
    subset: str = ""
    held_out: bool = True
    asked: bool = False


class Claim(NamedTuple):
    """That one of two texts is better: ``outcome`` is 1 for the first, 0 for the second, 0.5 for neither.

    ``judgment`` is a position among the judgments, ``first`` and ``second`` positions among the texts. ``first_left`` says
    whether the first stood left, None where that is not known. ``alone`` says whether this judgment compares by itself: else
    it is the later one of two judgments.
    """

    judgment: int
    first: int
    second: int
    outcome: float
    strength: str = _STRENGTHS[0]
    first_left: bool | None = None
    alone: bool = True


class Value(NamedTuple):
    """What a judgment of a single text says of it, larger is better; comparable within one rater and kind."""

    judgment: int
    text: int
    value: float


@dataclass
class Claims:
    """All claims of some judgments. ``texts`` holds each text of a prompt once; ``silent`` counts judgments by kind that
    compare nothing."""

    judged: Sequence[Judged]
    texts: list[tuple[PromptContent, str]] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    silent: Counter[str] = field(default_factory=Counter)
    _places: dict[tuple[str, str], int] = field(default_factory=dict)

    def place(self, prompt: PromptContent, identity: str, text: str) -> int:
        """The position of a text, new or known."""
        found = self._places.setdefault((identity, text), len(self.texts))
        if found == len(self.texts):
            self.texts.append((prompt, text))
            self.prompts.append(identity)
        return found


def claims_of(judged: Sequence[Judged]) -> Claims:
    """The claims of judgments, in their order; what compares nothing is counted."""
    found = Claims(judged)
    beside: dict[str, list[int]] = defaultdict(list)
    shown: list[tuple[int, int]] = []
    for number, one in enumerate(judged):
        identity = prompt_id(one.prompt)
        places = [found.place(one.prompt, identity, text) for text in one.completions]
        beside[identity] += places
        if isinstance(one.feedback, Demonstration):
            shown.append((number, found.place(one.prompt, identity, one.feedback.text)))
        else:
            found.claims += _by_itself(found, number, one, places)
        value = value_of(one.feedback)
        if value is not None:
            found.values.append(Value(number, places[0], value))
    found.claims += _of_two(found)
    for number, place in shown:
        others = dict.fromkeys(other for other in beside[found.prompts[place]] if other != place)
        found.claims += [Claim(number, place, other, FIRST, alone=False) for other in others]
    speaking = {claim.judgment for claim in found.claims} | {value.judgment for value in found.values}
    found.silent.update(one.feedback.kind for number, one in enumerate(judged) if number not in speaking)
    return found


def _by_itself(found: Claims, number: int, one: Judged, places: Sequence[int]) -> Iterator[Claim]:
    feedback = one.feedback
    if isinstance(feedback, Comparison):
        outcome = {"a": FIRST, "b": SECOND}.get(feedback.choice, TIE)
        left = None if feedback.shown_order is None else feedback.shown_order[0] == 0
        yield Claim(number, places[0], places[1], outcome, _STRENGTHS[feedback.strength or 0], left)
    elif isinstance(feedback, Ranking):
        rank = {position: rank for rank, group in enumerate(feedback.groups) for position in group}
        for i, j in combinations(sorted(rank), 2):
            outcome = TIE if rank[i] == rank[j] else FIRST if rank[i] < rank[j] else SECOND
            yield Claim(number, places[i], places[j], outcome)
    elif isinstance(feedback, Edit):
        edited = found.place(one.prompt, found.prompts[places[0]], feedback.edited)
        if edited != places[0]:
            yield Claim(number, edited, places[0], FIRST)


def value_of(feedback: AnyFeedback) -> float | None:
    """What a judgment of one text says of it, more is better; None for judgments of other kinds.

    A rating counts the mean of its scores, each as a share of its scale; a thumb 1 or 0; a critique its defects, negative.
    """
    if isinstance(feedback, Rating):
        shares = [
            (score - feedback.scales[name].low) / (feedback.scales[name].high - feedback.scales[name].low)
            for name, score in feedback.scores.items()
        ]
        return sum(shares) / len(shares)
    if isinstance(feedback, Thumb):
        return float(feedback.up)
    if isinstance(feedback, Critique):
        return -float(len(set(feedback.defects) | {span.label for span in feedback.spans}))
    return None


def _of_two(found: Claims) -> Iterator[Claim]:
    """Pairs of values that one rater gave to texts of one prompt, in one kind of judgment."""
    together: dict[tuple[str, str, str], list[Value]] = defaultdict(list)
    for value in found.values:
        feedback = found.judged[value.judgment].feedback
        together[feedback.rater, feedback.kind, found.prompts[value.text]].append(value)
    for values in together.values():
        for one, other in combinations(values, 2):
            if one.text != other.text:
                outcome = TIE if one.value == other.value else FIRST if one.value > other.value else SECOND
                yield Claim(max(one.judgment, other.judgment), one.text, other.text, outcome, alone=False)
