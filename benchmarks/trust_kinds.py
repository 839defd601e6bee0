"""Judgments of every kind by simulated raters, and the time that each takes a person.

Two ways to spend the same minutes: comparisons, each of two replies to a message of its own; and forms, each of which asks for
judgments of several kinds of the same four replies, which are read once. How long it takes is assumed, from what is published:

- reading, 238 words a minute: Brysbaert 2019, "How many words do we read per minute?", Journal of Memory and Language 109;
- writing, 19 words a minute composed: Karat, Halverson, Horn and Karat 1999, "Patterns of entry and correction in large
  vocabulary continuous speech recognition systems", CHI; an edit writes a third of the reply anew;
- deciding: 4 s for a comparison, a rating or the place of one more reply in a ranking, 2 s for a thumb, 8 s for a list of six
  defects. Nobody publishes these; they are the same for all raters.

What a rater says follows the ways of ``heed.raters.simulated``, carried over to the kinds that it does not have. In a form a
reply is perceived once: what a rater has misread is misread in all that is said of it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

from heed.feedback.kinds import PromptContent
from heed.raters.behaviours import BEHAVIOUR_OF, logistic
from heed.raters.simulated import SimulatedRater
from heed.sandbox import grammar
from heed.sandbox.utility import support_desk
from heed.stages.data import FIRST, SECOND, TIE
from heed.stages.judgments import Judgment

ONE_FORM_IN = {
    "ranking": 1,
    "rating": 1,
    "comparison": 10,
    "thumb": 10,
    "critique": 10,
    "edit": 40,
    "demonstration": 80,
}
"""How often a form asks for each kind: one form in so many. What is quick to say once the replies are read is always asked."""

REPLIES, SAMPLES = 4, 3
"""Replies that a form is about, and those of them that a demonstration is set beside (counts)."""

READ, WRITTEN = 238 / 60, 19 / 60
"""Words a second."""

DECIDING = {"comparison": 4.0, "rating": 4.0, "place in a ranking": 4.0, "thumb": 2.0, "critique": 8.0}
"""Seconds."""

_EDITED = 1 / 3
_TIE = 0.1  # of a clear difference: what a rater takes for equal
_STRENGTHS = (0.75, 2.0)  # clear differences from which a preference is clear, and strong
# How often a defect that is there is ticked, and one that is not, by who reads well and by who reads badly.
_TICKED = {"careful": (0.95, 0.02), "noisy": (0.75, 0.1), "inverted": (0.1, 0.5)}


def seconds_of() -> dict[str, Any]:
    """The assumptions, for the table."""
    asked = {f"one form in, {kind}": forms for kind, forms in ONE_FORM_IN.items()}
    told = {"words read a minute": 60 * READ, "words written a minute": 60 * WRITTEN}
    return told | {f"seconds to decide a {kind}": value for kind, value in DECIDING.items()} | asked


def comparisons_of_minutes(minutes: float, people: Sequence[SimulatedRater], seed: int) -> list[Judgment]:
    """What people say in so much of their time who compare two replies to one message after the other."""
    return _within(minutes, _comparisons(people, seed))


def forms_of_minutes(
    minutes: float, people: Sequence[SimulatedRater], seed: int
) -> tuple[list[Judgment], dict[str, int]]:
    """What they say in as much time in forms of all kinds, in an order of chance; and counts by kind."""
    rows = _within(minutes, _forms(people, seed))
    random.Random(f"order {seed}").shuffle(rows)
    return rows, dict(Counter(row.kind for row in rows))


def _within(minutes: float, stream: Iterator[tuple[list[Judgment], float]]) -> list[Judgment]:
    left, rows = 60 * minutes, list[Judgment]()
    for said, seconds in stream:
        left -= seconds
        if left < 0:
            break
        rows += said
    return rows


def _read(prompt: PromptContent, texts: Sequence[str]) -> float:
    """Seconds to read them."""
    return (sum(len(text.split()) for text in texts) + len(grammar.customer_text(prompt).split())) / READ


def _comparisons(people: Sequence[SimulatedRater], seed: int) -> Iterator[tuple[list[Judgment], float]]:
    rng = random.Random(f"kinds comparison {seed}")
    for number, prompt in enumerate(grammar.prompts("train", 1_000 * seed, 4_000)):
        rater, situation = people[number % len(people)], grammar.parse(prompt)
        texts = list(dict.fromkeys(grammar.reply(situation, grammar.mixture_dials(rng), rng) for _ in range(REPLIES)))
        if len(texts) < REPLIES:
            continue
        left = rng.random() < 0.5
        choice, strength = rater.compare(prompt, texts[0], texts[1], left, f"{seed}:{number}")
        said = ({"a": FIRST, "b": SECOND}.get(choice, TIE), strength or 0)
        row = Judgment("comparison", prompt, tuple(texts[:2]), said, rater.name, (0, 1) if left else (1, 0))
        yield [row], _read(prompt, row.texts) + DECIDING["comparison"]


@dataclass
class _Form:
    """What is shown in one form, and how the rater takes it.

    Attributes:
        texts: [4], dials: [4], what they were written by; shown: [4], their order on the screen.
        seen: [4], how good each seems (utility units); None where the rater does not read.
    """

    rater: SimulatedRater
    prompt: PromptContent
    texts: list[str]
    dials: list[grammar.Dials]
    shown: tuple[int, ...]
    seen: list[float] | None
    rng: random.Random

    def judgment(self, kind: str, texts: Sequence[str], said: Any, shown: tuple[int, ...] | None = None) -> Judgment:
        return Judgment(kind, self.prompt, tuple(texts), said, self.rater.name, shown)


def _forms(people: Sequence[SimulatedRater], seed: int) -> Iterator[tuple[list[Judgment], float]]:
    rng = random.Random(f"forms {seed}")
    for number, prompt in enumerate(grammar.prompts("train", 1_000 * seed + 1, 4_000)):
        rater, situation = people[number % len(people)], grammar.parse(prompt)
        dials = [grammar.mixture_dials(rng) for _ in range(REPLIES)]
        texts = list(dict.fromkeys(grammar.reply(situation, dial, rng) for dial in dials))
        if len(texts) < REPLIES:
            continue
        unread = rater.behaviour == "lazy_left" and rng.random() < 0.7
        seen = None if unread else [_seen(rater, prompt, text, rng) for text in texts]
        form = _Form(rater, prompt, texts, dials, tuple(rng.sample(range(REPLIES), REPLIES)), seen, rng)
        rows, seconds = list[Judgment](), _read(prompt, texts)
        for kind, forms in ONE_FORM_IN.items():
            if rng.random() < 1 / forms:
                said, took = _ASKED[kind](form)
                rows += said
                seconds += took
        yield rows, seconds


def _seen(rater: SimulatedRater, prompt: PromptContent, text: str, rng: random.Random) -> float:
    """How good a rater who reads it takes a reply to be (utility units)."""
    worth, fault = support_desk(prompt, text), BEHAVIOUR_OF[rater.behaviour]
    (bad, best), error = support_desk.span, rater.noise * logistic(rng)
    if rater.behaviour == "inverted":
        return bad + best - worth + error
    return bad + rater.unit * fault.length_pull * len(text.split()) + fault.attention * (worth - bad) + error


def _ranking(form: _Form) -> tuple[list[Judgment], float]:
    seconds = DECIDING["place in a ranking"] * (REPLIES - 1)
    if form.seen is None:  # left as they stand
        places = [form.shown.index(position) for position in range(REPLIES)]
    else:
        seen, places = form.seen, [0] * REPLIES
        for before, position in pairwise(sorted(range(REPLIES), key=lambda position: -seen[position])):
            places[position] = places[before] + (seen[before] - seen[position] >= _TIE * form.rater.unit)
    return [form.judgment("ranking", form.texts, tuple(places), form.shown)], seconds


def _rating(form: _Form) -> tuple[list[Judgment], float]:
    """Each reply on 1 to 5; who does not read takes what stands first, the best."""
    bad, best = support_desk.span
    seen = form.seen or [best] * REPLIES
    levels = [float(min(5, max(1, round(1 + 4 * (worth - bad) / (best - bad))))) for worth in seen]
    rows = [
        form.judgment("rating", [text], {"quality": (level, 1.0, 5.0, 1.0)})
        for text, level in zip(form.texts, levels, strict=True)
    ]
    return rows, DECIDING["rating"] * REPLIES


def _comparison(form: _Form) -> tuple[list[Judgment], float]:
    """How much better one of the first two on the screen is."""
    first, second = form.shown[:2]
    if form.seen is None:
        said = (FIRST, 1)
    else:
        lead = (form.seen[first] - form.seen[second]) / form.rater.unit
        strength = 1 + sum(abs(lead) >= step for step in _STRENGTHS)
        said = (TIE, 0) if abs(lead) < _TIE else (FIRST if lead > 0 else SECOND, strength)
    row = form.judgment("comparison", [form.texts[first], form.texts[second]], said, (0, 1))
    return [row], DECIDING["comparison"]


def _thumb(form: _Form) -> tuple[list[Judgment], float]:
    first = form.shown[0]
    up = form.seen is None or form.seen[first] > sum(support_desk.span) / 2
    return [form.judgment("thumb", [form.texts[first]], up)], DECIDING["thumb"]


def _critique(form: _Form) -> tuple[list[Judgment], float]:
    text = form.texts[form.shown[0]]
    there, absent = _TICKED.get(form.rater.behaviour, _TICKED["noisy"])
    found = [] if form.seen is None else list(_defects(form.prompt, text).items())
    ticked = sorted(name for name, has in found if form.rng.random() < (there if has else absent))
    return [form.judgment("critique", [text], tuple(ticked))], DECIDING["critique"]


def _edit(form: _Form) -> tuple[list[Judgment], float]:
    """The reply that stands first, mended."""
    first = form.shown[0]
    written = grammar.reply(grammar.parse(form.prompt), _mended(form, form.dials[first]), form.rng)
    return [form.judgment("edit", [written, form.texts[first]], None)], _EDITED * len(written.split()) / WRITTEN


def _demonstration(form: _Form) -> tuple[list[Judgment], float]:
    written = grammar.reply(grammar.parse(form.prompt), _mended(form, grammar.mixture_dials(form.rng)), form.rng)
    row = form.judgment("demonstration", [written, *form.texts[:SAMPLES]], None)
    return [row], len(written.split()) / WRITTEN


_ASKED: dict[str, Callable[[_Form], tuple[list[Judgment], float]]] = {
    "ranking": _ranking,
    "rating": _rating,
    "comparison": _comparison,
    "thumb": _thumb,
    "critique": _critique,
    "edit": _edit,
    "demonstration": _demonstration,
}


def _defects(prompt: PromptContent, text: str) -> dict[str, bool]:
    parts = support_desk.parts(prompt, text)
    return {
        "misses the point": parts["helpful"] < 0.5,
        "rude": parts["polite"] < 0.3,
        "gives data away": parts["harmless"] < 0.5,
        "promises too much": parts["honest"] < 0.5,
        "wordy or too short": parts["concise"] < 0.5,
        "hard to read": parts["fluent"] < 0.7,
    }


def _mended(form: _Form, dials: grammar.Dials) -> grammar.Dials:
    """The dials of a reply as the rater would write it: two of them at their best, at their worst by who inverts, and by who
    does not read as they happen to be."""
    behaviour, rng = form.rater.behaviour, form.rng
    if form.seen is None:
        return grammar.mixture_dials(rng)
    if behaviour == "lazy_long":
        return replace(dials, length="rambling")
    goal = grammar.Dials("beside", "rude", True, True, "rambling") if behaviour == "inverted" else grammar.Dials()
    open_ = [field.name for field in fields(dials) if getattr(dials, field.name) != getattr(goal, field.name)]
    changed = rng.sample(open_, min(2 if behaviour != "noisy" else 1, len(open_)))
    return replace(dials, **{name: getattr(goal, name) for name in changed})
