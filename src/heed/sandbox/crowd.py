"""A crowd of simulated raters at work on invented pairs: their answers in columns, to see what is found out about them.

A completion is its worth in figures and some words; every fault of ``raters.behaviours`` has something to go wrong by.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from heed.feedback.kinds import PromptContent
from heed.raters.columns import AnswerColumns, AnswerRow, Answers, Unit
from heed.raters.simulated import SimulatedRater

QUESTION = "q"
_BEGIN = datetime(2026, 1, 5, 9, tzinfo=UTC)
_SESSION, _SLOT = 40, 60.0
_PAUSE = 3.0
_PLEASING = "Great question, you are right!"


def worth(prompt: PromptContent, completion: str) -> float:
    """The number with which a completion begins, in clear differences."""
    return float(completion.partition(" ")[0])


@dataclass(frozen=True)
class Work:
    """How a crowd works.

    Attributes:
        items: pairs to compare (count). overlap: raters who judge each (count).
        gold: pairs whose better one is known (count); everybody judges them all.
        spread: standard deviation of the difference of a pair (clear differences).
        seconds: typical time of an answer.
        accounts: second accounts, and whose they are: both work in turns, never at once.
    """

    items: int = 300
    overlap: int = 3
    gold: int = 0
    spread: float = 1.5
    seconds: float = 20.0
    accounts: Mapping[str, str] | None = None


def crowd_answers(raters: Sequence[SimulatedRater], work: Work, seed: int = 0) -> Answers:
    """What ``raters`` answer, each in an order of their own, at hours of their own."""
    rng = random.Random(seed)
    pairs = [_pair(rng, work.spread, known=number >= work.items) for number in range(work.items + work.gold)]
    todo: list[list[int]] = [[] for _ in raters]
    for item in range(len(pairs)):
        known = item >= work.items
        everybody = range(len(raters))
        for code in everybody if known else rng.sample(everybody, min(work.overlap, len(raters))):
            todo[code].append(item)
    rows: list[AnswerRow] = []
    clocks = _clocks(raters, work, rng)
    for rater, items in zip(raters, todo, strict=True):
        rng.shuffle(items)
        for place, item in enumerate(items):
            seconds = rng.lognormvariate(0, 0.4) * work.seconds
            clock, account = clocks[rater.name]
            then = clock.after(account, place, seconds)
            row = _row(rater, item, pairs[item], place / len(items), item >= work.items, rng)
            rows.append(row._replace(number=len(rows) + 1, created=then, active_seconds=seconds))
    return AnswerColumns(rows).answers()


def _pair(rng: random.Random, spread: float, known: bool) -> tuple[str, str]:
    """Two completions; of a known pair one is better beyond doubt."""
    difference = rng.choice([-3.0, 3.0]) if known else rng.gauss(0, spread)
    base = rng.gauss(0, 1)
    texts = []
    for value in (base + difference, base):
        pleasing = f" {_PLEASING}" if rng.random() < 0.3 else ""
        texts.append(f"{value:.3f}{pleasing}{' word' * rng.randint(5, 30)}")
    return texts[0], texts[1]


def _row(
    rater: SimulatedRater, item: int, pair: tuple[str, str], worn: float, known: bool, rng: random.Random
) -> AnswerRow:
    left_is_a = rng.random() < 0.5
    choice, _ = rater.compare("p", *pair, left_is_a, str(item), worn)
    better = "a" if worth("p", pair[0]) > worth("p", pair[1]) else "b"
    return AnswerRow(
        number=0,
        item=f"i{item}",
        question=QUESTION,
        rater=rater.name,
        purpose="gold" if known else "work",
        created=_BEGIN,
        active_seconds=0.0,
        units=(Unit("better", "@", "nominal", choice),),
        correct=float(choice == better) if known else None,
        chose_left=None if choice not in ("a", "b") else (choice == "a") == left_is_a,
        tied=choice == "tie",
    )


class _Clock:
    """When somebody works: a stretch of answers a day, begun at an hour of their own; all their accounts share its time."""

    def __init__(self, accounts: int, rng: random.Random) -> None:
        self._accounts, self._rng = accounts, rng
        self._begins: dict[int, datetime] = {}
        self._turns: dict[int, list[list[int]]] = {}
        self._free = _BEGIN

    def after(self, account: int, place: int, seconds: float) -> datetime:
        """When the answer at ``place`` of an account is given, which takes so many ``seconds``."""
        session, position = divmod(place, _SESSION)
        if session not in self._begins:
            self._begins[session] = _BEGIN + timedelta(days=session, seconds=self._rng.uniform(0, 3 * 3600))
            # Now one account, now the other, as it comes.
            order = self._rng.sample(range(_SESSION * self._accounts), _SESSION * self._accounts)
            self._turns[session] = [sorted(order[one :: self._accounts]) for one in range(self._accounts)]
        if self._accounts > 1:
            slot = self._turns[session][account][position]
            return self._begins[session] + timedelta(seconds=slot * _SLOT + min(seconds, _SLOT - _PAUSE))
        if position == 0:
            self._free = self._begins[session]
        self._free += timedelta(seconds=seconds + _PAUSE)
        return self._free


def _clocks(raters: Sequence[SimulatedRater], work: Work, rng: random.Random) -> dict[str, tuple[_Clock, int]]:
    """The clock of each rater, and which account of its owner the rater is."""
    accounts: dict[str, list[str]] = {}
    for rater in raters:
        accounts.setdefault((work.accounts or {}).get(rater.name, rater.name), []).append(rater.name)
    found: dict[str, tuple[_Clock, int]] = {}
    for names in accounts.values():
        clock = _Clock(len(names), rng)
        found |= {name: (clock, place) for place, name in enumerate(names)}
    return found
