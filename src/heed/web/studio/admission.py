"""What comes before the work: the newest guidelines read, the test passed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, bindparam, func, select

from heed.feedback import asked
from heed.feedback.heads import Head
from heed.feedback.studio_schema import items, one_of, showings
from heed.people import accounts, qualification
from heed.web.call import not_signed_in
from heed.web.errors import PausedError, StatusError

Needs = Literal["guidelines", "qualification"]
Stage = Literal["training", "qualification", "work"]

_done = select(showings.c.number).where(
    showings.c.item_id == items.c.id,
    showings.c.rater == bindparam("rater"),
    showings.c.state.in_(("answered", "skipped")),
)
_trained = (
    select(func.count(), func.count().filter(_done.exists()))
    .select_from(items)
    .where(
        items.c.question_id == bindparam("question"),
        one_of(items.c.purpose, "training"),
        one_of(items.c.state, "active"),
    )
)


def known_progress(connection: Connection, rater: str, question_id: str, stage: Stage) -> tuple[int, int]:
    """(done, all) of the items of the training or, in that stage, of the test."""
    if stage == "qualification":
        return qualification.progress(connection, rater, question_id)
    count, done = connection.execute(_trained, {"rater": rater, "question": question_id}).one()
    return done, count


@dataclass(frozen=True)
class Admission:
    """What a rater may do with a question, or what is needed first."""

    stage: Stage
    needs: Needs | None
    why: str = ""


def check_still_active(connection: Connection, rater: str) -> None:
    """See that the rater may still be given something, now that it is the rater's turn.

    The request may have been let in a moment before the account was paused or closed and gave up all that it held; who is
    paused would hold it again.

    Raises:
        PausedError: the account is paused. SignInError: it is closed.
    """
    state = accounts.state_now(connection, rater)
    if state == "paused":
        raise PausedError()
    if state != "active":
        raise not_signed_in()


def admission(connection: Connection, rater: str, head: Head) -> Admission:
    """How far a rater is: training, then the test, then the work, each under the newest guidelines."""
    if head.guideline > head.acknowledged:
        return Admission("work", "guidelines")
    if asked.form_of(connection, head.question_id, head.version).qualification is not None:
        standing = qualification.state_of(connection, rater, head.question_id)
        if standing.state == "running":
            return Admission("qualification", None)
        if not standing.may_work:
            # Who failed may train again before the next try, where there is something left to train with.
            if head.trains and standing.state == "open":
                return Admission("training", None)
            why = "all tries are used" if standing.state == "failed" else "the test before the work is not passed"
            return Admission("work", "qualification", why)
    return Admission("training" if head.trains else "work", None)


def admitted(connection: Connection, rater: str, head: Head) -> Stage:
    """What a rater may be given.

    Raises:
        StatusError: something is needed first (403, with what as the code).
    """
    found = admission(connection, rater, head)
    if found.needs == "guidelines":
        raise StatusError(
            "this question",
            "there are guidelines that you have not acknowledged yet.",
            "Read them first.",
            403,
            "guidelines",
        )
    if found.needs == "qualification":
        fix = "Ask a lead to let you in." if "used" in found.why else "Take the test first."
        raise StatusError("this question", f"{found.why}.", fix, 403, "qualification")
    return found.stage
