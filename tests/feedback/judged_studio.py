"""A studio without a server: a store with questions, items and raters, and a clock that only tests move."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from heed.feedback import answers, asked, items, leases, queue, schema
from heed.feedback.forms import Form, parse_form
from heed.feedback.item_files import ItemRow
from heed.feedback.queue import Claimed, Nothing
from heed.feedback.showings import Rater, Showing
from heed.feedback.store import Store
from heed.feedback.studio_schema import exclusions
from heed.feedback.studio_schema import items as items_table
from heed.feedback.studio_schema import showings as showings_table

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEFT = {"better": {"choice": "left", "strength": 2}}
RIGHT = {"better": {"choice": "right", "strength": 1}}
TIE = {"better": {"choice": "tie", "strength": None}}


def form(**changes: Any) -> Form:
    """One comparison, without gold and repeats unless asked for."""
    field = {"kind": "comparison", "name": "better", "label": "Which is better?"}
    values = {"title": "Which is better?", "fields": [field], "gold_rate": 0.0, "repeat_rate": 0.0}
    return parse_form(values | changes)


@dataclass
class Studio:
    """Attributes: ``store``; ``now``, which tests move; ``rng``; ``raters`` that were entered."""

    store: Store
    now: datetime = NOON
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    known: set[str] = field(default_factory=set)

    def later(self, minutes: float = 0.0, seconds: float = 0.0) -> None:
        self.now += timedelta(minutes=minutes, seconds=seconds)

    def rater(self, name: str, group: str = "") -> Rater:
        if name not in self.known:
            self.store.add_raters([(name, "human", group)])
            self.known.add(name)
        return Rater(name, group)

    def ask(self, count: int = 0, name: str = "which", **changes: Any) -> str:
        """A question with ``count`` items; its id."""
        question = self.store.write(lambda c: asked.create_question(c, name, form(**changes), "lead", self.now)).id
        if count:
            self.add(question, [row(number) for number in range(count)])
        return question

    def add(self, question: str, rows: list[ItemRow]) -> list[str]:
        """Items of a question; their ids."""
        return list(self.store.write(lambda c: items.add_items(c, question, rows, self.now, self.rng)).ids)

    def claim(self, rater: Rater, question: str, ahead: int = 1) -> Claimed | Nothing:
        return self.store.write(lambda c: queue.claim(c, rater, question, self.now, self.rng, ahead))

    def next(self, rater: Rater, question: str) -> Showing | None:
        """What the rater holds or gets."""
        claimed = self.claim(rater, question)
        return claimed.showings[0] if isinstance(claimed, Claimed) else None

    def answer(self, rater: Rater, showing: str, answer: Any = LEFT, **changes: Any) -> answers.Receipt:
        values = {"confidence": None, "seconds": 4.0, "active_seconds": 3.0, "note": ""} | changes
        return self.store.write(lambda c: answers.answer(c, rater, showing, answer, now=self.now, **values))

    def undo(self, rater: Rater, question: str) -> Showing:
        return self.store.write(lambda c: leases.undo(c, rater, question, self.now))

    def skip(self, rater: Rater, showing: str) -> None:
        self.store.write(lambda c: leases.skip(c, rater, showing, "unclear", self.now))

    def sweep(self) -> int:
        return self.store.write(lambda c: leases.sweep(c, self.now))

    def work_through(self, rater: Rater, question: str, answer: Any = LEFT) -> int:
        """Answer all that there is for the rater, a second each; how many they were."""
        done = 0
        while (showing := self.next(rater, question)) is not None:
            self.answer(rater, showing.id, answer)
            self.later(seconds=1)
            done += 1
        return done

    def rows(self, table: Any, *conditions: Any) -> list[Any]:
        with self.store.reading() as connection:
            return list(connection.execute(select(table).where(*conditions).order_by(table.c.number)))

    def item(self, item_id: str) -> Any:
        (found,) = self.rows(items_table, items_table.c.id == item_id)
        return found

    def feedback_of(self, rater: str) -> list[Any]:
        """Standing judgments of a rater."""
        return [stored.feedback for stored in self.store.feedback(raters=[rater])]

    def check(self) -> None:
        """What must hold at every moment, whatever happened."""
        with self.store.reading() as connection:
            check_invariants(connection)


def row(number: int, **changes: Any) -> ItemRow:
    values: dict[str, Any] = {"prompt": f"prompt {number}", "completions": (f"yes {number}", f"no {number}")}
    return ItemRow(**(values | changes))


def check_invariants(connection: Connection) -> None:
    """Levels are what showings say, overlap is kept, nobody saw an item twice, and nobody's judgments stand twice."""
    shown = connection.execute(select(showings_table)).all()
    said = connection.execute(select(answers.answers)).all()
    decided = connection.execute(select(exclusions).order_by(exclusions.c.number))
    left_out = {name for name, out in {d.rater: d.excluded for d in decided}.items() if out}
    work = [s for s in shown if s.purpose == "work" and s.state != "skipped"]
    answered = {s.id: s.item_id for s in work if s.ended is not None and s.rater not in left_out}
    held = [s.item_id for s in work if s.ended is None and s.state == "leased"]
    taken = Counter([*held, *answered.values()])
    for item in connection.execute(select(items_table)):
        assert item.level == taken[item.id], f"item {item.id}: level {item.level}, places taken {taken[item.id]}"
        assert item.answers == Counter(answered.values())[item.id]
        # Answers given elsewhere may be more than were asked for here, and so may those of a rater who is included again.
        more = any(s.selector == "elsewhere" for s in shown if s.item_id == item.id) or connection.scalar(
            select(exclusions.c.number).limit(1)
        )
        assert item.level <= item.overlap or more
        open_to_work = item.state == "active" and item.purpose == "work" and not item.adjudicated
        assert item.available == (open_to_work and item.level < item.overlap)
    seen = Counter((s.item_id, s.rater) for s in shown if s.purpose in ("work", "gold"))
    assert not seen or max(seen.values()) == 1
    superseded = {a.supersedes for a in said if a.supersedes}
    standing = Counter(a.showing_id for a in said if a.id not in superseded and a.showing_id)
    assert not standing or max(standing.values()) == 1
    assert set(standing) == {s.id for s in shown if s.ended is not None and s.state != "skipped"}
    judged = connection.execute(select(schema.feedback)).all()
    corrected = {f.supersedes for f in judged if f.supersedes}
    kept = [f for f in judged if f.id not in corrected]
    about = Counter((f.rater, f.kind, f.prompt_id, frozenset(f.record["completion_ids"])) for f in kept)
    assert not about or max(about.values()) == 1
