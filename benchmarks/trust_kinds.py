"""Judgments of every kind by simulated raters, and the time that each takes a person.

How long a judgment takes is assumed, from what is published:

- reading, 238 words a minute: Brysbaert 2019, "How many words do we read per minute?", Journal of Memory and Language 109;
- writing, 19 words a minute composed: Karat, Halverson, Horn and Karat 1999, "Patterns of entry and correction in large
  vocabulary continuous speech recognition systems", CHI; an edit writes a third of the reply anew;
- deciding: 4 s for a comparison, a rating or the place of one more reply in a ranking, 2 s for a thumb, 8 s for a list of six
  defects. Nobody publishes these; they are the same for all raters.

What a rater says follows the ways of ``heed.raters.simulated``, carried over to the kinds that it does not have.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

from heed.feedback.kinds import PromptContent
from heed.raters.simulated import SimulatedRater
from heed.sandbox import grammar
from heed.sandbox.utility import support_desk
from heed.stages.data import FIRST, SECOND, TIE
from heed.stages.judgments import Judgment

KINDS = ("comparison", "rating", "ranking", "thumb", "edit", "demonstration", "critique")
RANKED, SAMPLES = 4, 3
"""Replies of a ranking, and samples that a demonstration is set beside (counts)."""

READ, WRITTEN = 238 / 60, 19 / 60
"""Words a second."""

DECIDING = {"comparison": 4.0, "rating": 4.0, "ranking": 4.0 * (RANKED - 1), "thumb": 2.0, "critique": 8.0}
"""Seconds."""

_EDITED = 1 / 3
_TIE = 0.1  # of a clear difference: what a rater takes for equal
# How often a defect that is there is ticked, and one that is not, by who reads well and by who reads badly.
_TICKED = {"careful": (0.95, 0.02), "noisy": (0.75, 0.1), "inverted": (0.1, 0.5)}


def seconds_of() -> dict[str, Any]:
    """The assumptions, for the table."""
    return {"words read a minute": 60 * READ, "words written a minute": 60 * WRITTEN} | {
        f"seconds to decide a {kind}": value for kind, value in DECIDING.items()
    }


def judgments_of_minutes(
    minutes: float, kinds: Sequence[str] | None, people: Sequence[SimulatedRater], seed: int
) -> tuple[list[Judgment], dict[str, int]]:
    """What people say in so much of their time, an equal share of it for each kind (None: all); and counts by kind."""
    wanted = KINDS if kinds is None else kinds
    rows: list[Judgment] = []
    for kind in wanted:
        left = 60 * minutes / len(wanted)
        for row, seconds in _stream(kind, people, seed):
            left -= seconds
            if left < 0:
                break
            rows.append(row)
    random.Random(f"order {seed}").shuffle(rows)
    return rows, dict(Counter(row.kind for row in rows))


def _stream(kind: str, people: Sequence[SimulatedRater], seed: int) -> Iterator[tuple[Judgment, float]]:
    """Judgments of one kind without end, each about a message of its own, and the seconds that each took."""
    rng = random.Random(f"kinds {kind} {seed}")
    for number, prompt in enumerate(grammar.prompts("train", 1_000 * seed + KINDS.index(kind), 4_000)):
        rater = people[number % len(people)]
        situation = grammar.parse(prompt)
        dials = [grammar.mixture_dials(rng) for _ in range(RANKED)]
        texts = list(dict.fromkeys(grammar.reply(situation, dial, rng) for dial in dials))
        if len(texts) < RANKED:
            continue
        row = _judgment(kind, rater, prompt, texts, dials, rng, f"{seed}:{number}")
        read = row.texts[1:] if kind == "edit" else () if kind == "demonstration" else row.texts
        words = sum(len(text.split()) for text in read) + len(grammar.customer_text(prompt).split())
        written = {"edit": _EDITED, "demonstration": 1.0}.get(kind, 0.0) * len(row.texts[0].split())
        yield row, words / READ + DECIDING.get(kind, 0.0) + written / WRITTEN


def _judgment(
    kind: str,
    rater: SimulatedRater,
    prompt: PromptContent,
    texts: list[str],
    dials: list[grammar.Dials],
    rng: random.Random,
    key: str,
) -> Judgment:
    """What the rater says of the first replies, as many as the kind is about."""
    if kind == "comparison":
        left = rng.random() < 0.5
        choice, strength = rater.compare(prompt, texts[0], texts[1], left, key)
        said = ({"a": FIRST, "b": SECOND}.get(choice, TIE), strength or 0)
        return Judgment(kind, prompt, tuple(texts[:2]), said, rater.name, (0, 1) if left else (1, 0))
    if kind == "rating":
        score = {"quality": (rater.rate(prompt, texts[0], key), 1.0, 5.0, 1.0)}
        return Judgment(kind, prompt, (texts[0],), score, rater.name)
    if kind == "thumb":
        return Judgment(kind, prompt, (texts[0],), rater.thumb(prompt, texts[0], key), rater.name)
    if kind == "ranking":
        shown = tuple(rng.sample(range(RANKED), RANKED))
        return Judgment(kind, prompt, tuple(texts), _ranked(rater, prompt, texts, shown, rng), rater.name, shown)
    if kind == "critique":
        return Judgment(kind, prompt, (texts[0],), _ticked(rater, prompt, texts[0], rng), rater.name)
    situation = grammar.parse(prompt)
    if kind == "edit":
        edited = grammar.reply(situation, _mended(rater, dials[0], rng), rng)
        return Judgment(kind, prompt, (edited, texts[0]), None, rater.name)
    written = grammar.reply(situation, _mended(rater, grammar.mixture_dials(rng), rng), rng)
    return Judgment(kind, prompt, (written, *texts[:SAMPLES]), None, rater.name)


def _unread(rater: SimulatedRater, rng: random.Random) -> bool:
    return rater.behaviour == "lazy_left" and rng.random() < 0.7


def _ranked(
    rater: SimulatedRater, prompt: PromptContent, texts: Sequence[str], shown: Sequence[int], rng: random.Random
) -> tuple[int, ...]:
    """The place of each reply; who does not read leaves them as they stand."""
    if _unread(rater, rng):
        return tuple(shown.index(position) for position in range(len(texts)))
    seen = []
    for text in texts:
        worth = support_desk(prompt, text)
        if rater.behaviour == "lazy_long":
            worth = 0.12 * rater.unit * len(text.split()) + 0.2 * worth
        share = min(max(rng.random(), 1e-12), 1 - 1e-12)
        seen.append((-worth if rater.behaviour == "inverted" else worth) + rater.noise * math.log(share / (1 - share)))
    order = sorted(range(len(texts)), key=lambda position: -seen[position])
    places = [0] * len(texts)
    for before, position in pairwise(order):
        step = seen[before] - seen[position] >= _TIE * rater.unit
        places[position] = places[before] + step
    return tuple(places)


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


def _ticked(rater: SimulatedRater, prompt: PromptContent, text: str, rng: random.Random) -> tuple[str, ...]:
    if _unread(rater, rng):
        return ()
    there, absent = _TICKED.get(rater.behaviour, _TICKED["noisy"])
    return tuple(
        sorted(name for name, has in _defects(prompt, text).items() if rng.random() < (there if has else absent))
    )


def _mended(rater: SimulatedRater, dials: grammar.Dials, rng: random.Random) -> grammar.Dials:
    """The dials of a reply as the rater would write it: two of them at their best, at their worst by who inverts, and by who
    does not read as they happen to be."""
    if _unread(rater, rng):
        return grammar.mixture_dials(rng)
    if rater.behaviour == "lazy_long":
        return replace(dials, length="rambling")
    best = grammar.Dials()
    worst = grammar.Dials("beside", "rude", True, True, "rambling")
    goal = worst if rater.behaviour == "inverted" else best
    open_ = [field.name for field in fields(dials) if getattr(dials, field.name) != getattr(goal, field.name)]
    changed = rng.sample(open_, min(2 if rater.behaviour != "noisy" else 1, len(open_)))
    return replace(dials, **{name: getattr(goal, name) for name in changed})
