"""What is to be known of a question before anything of it is given to a rater, in one reading.

Every request for the next item begins with it, so that it costs one statement, on PostgreSQL together with the rater's turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, select

from heed.errors import MissingError
from heed.feedback.asked import QuestionState
from heed.feedback.schema import raters
from heed.feedback.showings import WORKED, Rater
from heed.feedback.studio_schema import acknowledgements, guidelines, items, one_of, questions, showings


@dataclass(frozen=True)
class Head:
    """A question as one rater finds it.

    Attributes:
        question_id: which.
        state: whether it is handed out.
        version: of its form, the newest.
        guideline: version of the newest guidelines; 0 where there are none.
        acknowledged: version of the guidelines that the rater acknowledged last; 0 for none.
        trains: whether there are training items that the rater has not done.
        answered: how many items the rater has answered as work.
        lost: whether the rater held items whose time ran out before they were answered.
    """

    question_id: str
    state: QuestionState
    version: int
    guideline: int
    acknowledged: int
    trains: bool
    answered: int
    lost: bool


_mine = (showings.c.rater == bindparam("rater"), showings.c.question_id == bindparam("question"))
_done = select(showings.c.number).where(
    showings.c.item_id == items.c.id,
    showings.c.rater == bindparam("rater"),
    one_of(showings.c.state, "answered", "skipped"),
)
_to_train = select(items.c.number).where(
    items.c.question_id == questions.c.id,
    one_of(items.c.purpose, "training"),
    one_of(items.c.state, "active"),
    ~_done.exists(),
)
_acknowledged = select(func.max(acknowledgements.c.version)).where(acknowledgements.c.rater == bindparam("rater"))
_answered = select(func.count()).where(
    *_mine, one_of(showings.c.state, "answered"), one_of(showings.c.purpose, *WORKED)
)
_HEAD: Select[Any] = select(
    questions.c.state,
    questions.c.version,
    select(func.max(guidelines.c.version)).scalar_subquery().label("guideline"),
    _acknowledged.scalar_subquery().label("acknowledged"),
    _to_train.exists().label("trains"),
    _answered.scalar_subquery().label("answered"),
    select(showings.c.number).where(*_mine, one_of(showings.c.state, "expired", "released")).exists().label("lost"),
).where(questions.c.id == bindparam("question"))
_in_turn = questions.join(raters, raters.c.name == bindparam("rater"))
# What is only handed out need not wait for the disk. Whatever is acknowledged later does, and with it all that came before: a
# lease that is lost with the power is one of the last half second, which nobody has answered yet.
_unhurried = func.set_config("synchronous_commit", "off", True).label("unhurried")
_HEAD_IN_TURN = _HEAD.add_columns(_unhurried).select_from(_in_turn).with_for_update(of=raters, key_share=True)


def head(connection: Connection, rater: str, question_id: str) -> Head:
    """How a question stands for a rater.

    Raises:
        MissingError: there is no such question.
    """
    return _head(question_id, connection.execute(_HEAD, {"question": question_id, "rater": rater}).first())


def head_in_turn(connection: Connection, rater: Rater, question_id: str) -> Head:
    """As :func:`head`, once it is the rater's turn (see ``showings.take_turn``), in a transaction that only hands out.

    Raises:
        MissingError: there is no such question.
    """
    if connection.dialect.name == "postgresql":
        row = connection.execute(_HEAD_IN_TURN, {"question": question_id, "rater": rater.name}).first()
        if row is not None:
            return _head(question_id, row)
    return head(connection, rater.name, question_id)  # SQLite; or a name that is not among the raters yet


def _head(question_id: str, row: Row[Any] | None) -> Head:
    if row is None:
        raise MissingError("this question", "there is no such question.", "Choose one from the list.")
    return Head(
        question_id,
        row.state,
        row.version,
        row.guideline or 0,
        row.acknowledged or 0,
        row.trains,
        row.answered,
        row.lost,
    )
