"""One rater's session at the judge: which pair is shown, on which side, and what is stored. Knows nothing of screens."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from heed.errors import DataError
from heed.feedback.kinds import Comparison
from heed.feedback.store import Store
from heed.questions import Item, judged_pairs
from heed.texts import rater_name_fault, shown

SOURCE = "heed ask"

Side = Literal["left", "right", "tie", "both_bad"]
Strength = Literal[1, 2, 3]


@dataclass(frozen=True)
class Answer:
    """What the rater said of what was on the screen: the better side, and optionally by how much (1 to 3)."""

    side: Side
    strength: Strength | None = None


@dataclass(frozen=True)
class Showing:
    """An item on the screen.

    Attributes:
        item: the item.
        left_is_a: whether completion ``a`` stands on the left.
        supersedes: id of the stored answer that the next one corrects; None for a new item.
    """

    item: Item
    left_is_a: bool
    supersedes: str | None = None

    @property
    def left(self) -> str:
        return (self.item.a if self.left_is_a else self.item.b).text

    @property
    def right(self) -> str:
        return (self.item.b if self.left_is_a else self.item.a).text


def check_rater(store: Store, rater: str, simulated: Sequence[str]) -> None:
    """Refuse a name under which a person must not answer.

    Args:
        store: where the project's raters are.
        rater: the name.
        simulated: names that ``heed.yaml`` gives to simulated raters.

    Raises:
        DataError: nobody can be called so, or the name belongs to a rater that is no person.
    """
    fault = rater_name_fault(rater)
    if fault:
        raise DataError(f"rater {shown(rater)}", f"{fault}.", "Give another name: heed ask --rater NAME")
    kinds = dict.fromkeys(simulated, "simulated") | {known.name: known.kind for known in store.raters()}
    if kinds.get(rater, "human") != "human":
        raise DataError(
            f"rater '{rater}'",
            f"it is a {kinds[rater]} rater of this project; a person's answers must not pass for its own.",
            "Choose another name: heed ask --rater NAME",
        )


class JudgeSession:
    """Goes through items; every answer is on the disk when :meth:`answer` returns.

    An undone answer stays stored until the new one supersedes it: leaving in between keeps the old one.

    Args:
        store: where the answers go.
        rater: the rater's name.
        items: what to ask, in this order.
        seed: of the shuffling of left and right.
    """

    def __init__(self, store: Store, rater: str, items: Sequence[Item], seed: int) -> None:
        self.rater, self.items = rater, items
        self.saved = self.corrected = self.skipped = self.elsewhere = 0
        self._store, self._seed = store, seed
        self._next = 0
        self._showings = 0
        self._history: list[tuple[Item, str]] = []
        self._knows_earlier = False
        self._back = 0  # how many answers before the latest the screen has gone; 0 is a new item
        self.current: Showing | None = None
        self._show_next()

    @property
    def judged(self) -> int:
        """Items of this session that have an answer now, from here or from another session of this rater (count)."""
        return self.saved + self.elsewhere

    def answer(self, answer: Answer, seconds: float) -> str | None:
        """Store the answer to what is shown, and go on.

        Args:
            answer: what the rater said.
            seconds: how long it took (seconds).

        Returns:
            The id under which it is stored; None if this rater has answered in another session since this one began, or
            corrected there what is corrected here: that answer stands, and undo brings it back.
        """
        showing = self._shown()
        item = showing.item
        choice: Literal["a", "b", "tie", "both_bad"]
        if answer.side == "tie" or answer.side == "both_bad":
            choice = answer.side
        else:
            choice = "a" if (answer.side == "left") == showing.left_is_a else "b"
        judgment = Comparison(
            rater=self.rater,
            prompt_id=item.prompt.id,
            completion_ids=(item.a.id, item.b.id),
            choice=choice,
            strength=answer.strength,
            shown_order=(0, 1) if showing.left_is_a else (1, 0),
            seconds=round(seconds, 3),
            created=datetime.now(UTC),
            source=SOURCE,
            supersedes=showing.supersedes,
        )
        standing = self._store.add_answer(judgment)
        stored = standing == judgment.id
        if self._back:
            self._history[-self._back] = (item, standing)
            self.corrected += stored
        else:
            self._history.append((item, standing))
            self.saved += stored
            self.elsewhere += not stored
            self._next += 1
        self._show_next()
        return standing if stored else None

    def leave_out_judged(self) -> None:
        """Drop the items to come that this rater has answered in another session since this one began."""
        judged = judged_pairs(self._store, self.rater)
        coming = self.items[self._next :]
        open_ = [item for item in coming if item.pair not in judged]
        self.elsewhere += len(coming) - len(open_)
        self.items = [*self.items[: self._next], *open_]
        self._show_next()

    def skip(self) -> None:
        """Go on without an answer. A new item comes again in another session; an undone answer stands."""
        self._shown()
        if not self._back:
            self.skipped += 1
            self._next += 1
        self._show_next()

    def undo(self) -> bool:
        """Show the latest answered item again, or the one before where that is shown already; False if there is none.

        Goes back beyond this session, through all that this rater has answered here. An answer brings back the new items.
        """
        if self._back == len(self._history) and not self._knows_earlier:
            self._history = self._answered_before() + self._history
            self._knows_earlier = True
        if self._back == len(self._history):
            return False
        self._back += 1
        self.current = self._showing(*self._history[-self._back])
        return True

    def _shown(self) -> Showing:
        if self.current is None:
            raise RuntimeError("nothing is shown")
        return self.current

    def _show_next(self) -> None:
        self._back = 0
        self.current = self._showing(self.items[self._next]) if self._next < len(self.items) else None

    def _showing(self, item: Item, supersedes: str | None = None) -> Showing:
        self._showings += 1
        draw = random.Random(repr((self._seed, self.rater, item.a.id, item.b.id, supersedes, self._showings)))
        return Showing(item, draw.random() < 0.5, supersedes)

    def _answered_before(self) -> list[tuple[Item, str]]:
        """What this rater answered here in earlier sessions, oldest first."""
        own = {identity for _, identity in self._history}
        stored = [
            entry
            for entry in self._store.feedback(kinds=["comparison"], raters=[self.rater])
            if entry.feedback.source == SOURCE and entry.id not in own
        ]
        judged = sorted({identity for entry in stored for identity in entry.feedback.completion_ids})
        texts = {record.id: record for record in self._store.completions(ids=judged)}
        asked = sorted({entry.feedback.prompt_id for entry in stored})
        prompts = {record.id: record for record in self._store.prompts(ids=asked)}
        return [
            (
                Item(prompts[entry.feedback.prompt_id], *(texts[one] for one in entry.feedback.completion_ids)),
                entry.id,
            )
            for entry in stored
        ]
