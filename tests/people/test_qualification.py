"""The test before the work: attempts, marks, and a lead's word."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from sqlalchemy import insert, update
from townsfolk import NOON, later, person

from heed.errors import ConflictError, MissingError, RefusedError
from heed.feedback import leases
from heed.feedback import studio_schema as tables
from heed.feedback.forms import default_form
from heed.feedback.showings import Rater
from heed.people import audit, qualification
from heed.people.accounts import OPERATOR

QUESTION = "q" + "1" * 16
PLAIN = default_form().model_dump(mode="json")


def ask(store, test: dict | None, items: int = 3) -> None:
    """A question with a test and so many items for it, and one item of work."""
    (prompt,) = store.add_prompts([("Say hello.", "train", "t")])

    def work(connection):
        connection.execute(
            insert(tables.questions).values(id=QUESTION, name="which", state="open", version=1, created=NOON)
        )
        connection.execute(
            insert(tables.question_versions).values(
                question_id=QUESTION,
                version=1,
                definition=PLAIN | {"qualification": test},
                note="",
                author="boss",
                created=NOON,
            )
        )
        for number in range(items + 1):
            add_item(connection, prompt, f"i{number}", "qualification" if number < items else "work")

    store.write(work)


def add_item(connection, prompt: str, item: str, purpose: str, created: datetime = NOON) -> None:
    connection.execute(
        insert(tables.items).values(
            id=item,
            question_id=QUESTION,
            prompt_id=prompt,
            completion_ids=["x", "y"],
            purpose=purpose,
            expected={"better": {"choice": "a"}},
            explanation=f"because of {item}",
            priority=0,
            overlap=2,
            level=0,
            answers=0,
            available=purpose == "work",
            state="active",
            adjudicated=False,
            random_key=0.5,
            source="",
            search_text="",
            created=created,
        )
    )


def answer(store, item: str, correct: float, turn: int = 0, at: datetime = NOON, rater: str = "ann") -> None:
    showing, said = f"{rater}-{item}-{turn}", f"a-{item}-{turn}"

    def work(connection):
        common = {"item_id": item, "question_id": QUESTION, "rater": rater, "purpose": "qualification"}
        connection.execute(
            insert(tables.showings).values(
                id=showing,
                group_name="",
                turn=turn,
                state="answered",
                form_version=1,
                guideline_version=0,
                shown_order=[0, 1],
                selector="test",
                probability=1.0,
                eligible=1,
                created=at,
                expires=at,
                active_seconds=1.0,
                skip_reason="",
                **common,
            )
        )
        connection.execute(
            insert(tables.answers).values(
                id=said,
                showing_id=showing,
                form_version=1,
                guideline_version=0,
                answer={},
                correct=correct,
                seconds=1.0,
                active_seconds=1.0,
                note="",
                created=at,
                **common,
            )
        )

    store.write(work)


def standing(store, rater="ann"):
    with store.reading() as connection:
        return qualification.state_of(connection, rater, QUESTION)


def begin(store, at=NOON, rater="ann"):
    return store.write(lambda c: qualification.begin(c, rater, QUESTION, at))


def finish(store, at=NOON, rater="ann"):
    return store.write(lambda c: qualification.finish(c, rater, QUESTION, at))


@pytest.fixture(autouse=True)
def people(store):
    person(store, "ann")
    person(store, "bob")


@pytest.mark.parametrize(("test", "items"), [(None, 3), ({"pass_mark": 0.8, "attempts": 2}, 0)])
def test_without_a_test_or_without_its_items_everybody_may_work(store, test, items):
    ask(store, test, items)
    assert standing(store).state == "not needed"
    assert standing(store).may_work
    with pytest.raises(ConflictError):
        begin(store)


def test_all_items_are_asked_once_and_then_it_is_passed(store):
    ask(store, {"pass_mark": 0.6, "attempts": 2})
    assert standing(store).state == "open"
    assert not standing(store).may_work
    assert begin(store).state == "running"
    assert begin(store).attempt == 1
    for number in range(3):
        with store.reading() as connection:
            assert qualification.progress(connection, "ann", QUESTION) == (number, 3)
        assert finish(store).state == "running"
        answer(store, f"i{number}", 1.0 if number else 0.0)
    done = finish(store)
    assert (done.state, done.may_work) == ("passed", True)
    assert done.score == pytest.approx(2 / 3)
    assert finish(store) == done
    with pytest.raises(ConflictError):
        begin(store)
    assert standing(store, "bob").state == "open"


def test_the_mark_itself_is_enough(store):
    ask(store, {"pass_mark": 0.7, "attempts": 1}, 3)
    begin(store)
    for number in range(3):
        answer(store, f"i{number}", 0.7)
    assert finish(store).state == "passed"


def test_who_fails_may_try_again_as_often_as_there_are_attempts(store):
    ask(store, {"pass_mark": 0.8, "attempts": 2}, 2)
    for turn in range(2):
        begun = begin(store, later(hours=turn))
        assert (begun.attempt, begun.answered) == (turn + 1, 0)
        for number in range(2):
            answer(store, f"i{number}", 0.5, turn, later(hours=turn, minutes=number))
        failed = finish(store, later(hours=turn, minutes=5))
        assert failed.state == ("open" if turn == 0 else "failed")
        assert failed.score == 0.5
        assert not failed.may_work
    with pytest.raises(RefusedError):
        begin(store, later(hours=3))


@pytest.mark.parametrize("explain", [True, False])
def test_answers_are_explained_only_after_the_end_and_only_if_the_test_says_so(store, explain):
    ask(store, {"pass_mark": 0.8, "attempts": 2, "explain": explain}, 2)
    begin(store)
    answer(store, "i1", 0.25)
    with store.reading() as connection:
        assert qualification.explanations(connection, "ann", QUESTION) == []
    answer(store, "i0", 1.0)
    finish(store)
    with store.reading() as connection:
        told = qualification.explanations(connection, "ann", QUESTION)
    expected = [(1, 0.25, "because of i1"), (2, 1.0, "because of i0")]
    assert [(one.place, one.correct, one.explanation) for one in told] == (expected if explain else [])


def test_the_queue_shows_each_item_once_an_attempt_and_none_can_be_skipped(store):
    ask(store, {"pass_mark": 0.5, "attempts": 2}, 2)
    ann, rng = Rater("ann"), random.Random(1)
    assert store.write(lambda c: qualification.claim(c, ann, QUESTION, NOON, rng)) is None
    begin(store)
    shown = []
    for _ in range(2):
        showing, again = (store.write(lambda c: qualification.claim(c, ann, QUESTION, NOON, rng)) for _ in range(2))
        assert showing == again
        assert showing.purpose == "qualification"
        with pytest.raises(ConflictError):
            store.write(lambda c, one=showing: leases.skip(c, ann, one.id, "cannot tell", NOON))
        with store.engine.begin() as connection:
            connection.execute(
                update(tables.showings).where(tables.showings.c.id == showing.id).values(state="answered", ended=NOON)
            )
        shown.append(showing.item_id)
    assert shown == ["i0", "i1"]
    assert store.write(lambda c: qualification.claim(c, ann, QUESTION, NOON, rng)) is None


def test_items_that_come_or_go_meanwhile_keep_nobody_from_the_end(store):
    ask(store, {"pass_mark": 0.8, "attempts": 2}, 2)
    begin(store)
    answer(store, "i0", 1.0)
    (prompt,) = store.add_prompts([("Say hello.", "train", "t")])
    store.write(lambda c: add_item(c, prompt, "late", "qualification", later(minutes=1)))
    store.write(lambda c: c.execute(update(tables.items).where(tables.items.c.id == "i1").values(state="withdrawn")))
    assert (standing(store).answered, standing(store).asked) == (1, 2)
    answer(store, "late", 1.0, at=later(minutes=1))
    done = finish(store, later(minutes=2))
    assert (done.state, done.asked) == ("passed", 2)


def test_a_lead_may_let_somebody_in_before_during_and_after(store):
    ask(store, {"pass_mark": 0.8, "attempts": 1}, 1)
    begin(store, rater="bob")
    for rater in ("ann", "bob"):
        assert store.write(lambda c, r=rater: qualification.grant(c, r, QUESTION, OPERATOR, NOON)).may_work
        assert standing(store, rater).state == "granted"
    with store.reading() as connection:
        assert {(e.action, e.subject) for e in audit.entries(connection)} == {
            ("qualification.grant", "ann"),
            ("qualification.grant", "bob"),
        }


def test_a_rater_lets_nobody_in(store):
    ask(store, {"pass_mark": 0.8, "attempts": 1})
    rater = person(store, "eve")
    with pytest.raises(RefusedError):
        store.write(lambda c: qualification.grant(c, "eve", QUESTION, rater, NOON))


def test_two_windows_begin_one_attempt(store):
    ask(store, {"pass_mark": 0.8, "attempts": 3})
    with ThreadPoolExecutor(4) as pool:
        assert {begun.attempt for begun in pool.map(lambda _: begin(store), range(4))} == {1}


def test_a_question_that_is_not_there(store):
    with pytest.raises(MissingError):
        standing(store)
