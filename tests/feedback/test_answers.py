"""What becomes of an answer, on both databases: once, whatever is sent again; changed by undo; a judgment of the store."""

from __future__ import annotations

import pytest
from judged_studio import LEFT, RIGHT, TIE, Studio, row

from heed.errors import ConflictError, DataError, MissingError
from heed.feedback import adjudication, drafts, items, leases
from heed.feedback.kinds import Comparison
from heed.feedback.studio_schema import answers as answers_table
from heed.feedback.studio_schema import drafts as drafts_table
from heed.feedback.studio_schema import flags, guidelines, showings

MIXED = {
    "fields": [
        {"kind": "comparison", "name": "better", "label": "Which is better?"},
        {"kind": "edit", "name": "mended", "label": "Mend it", "required": False},
    ]
}


def test_an_answer_becomes_a_judgment_in_the_items_own_order(studio: Studio) -> None:
    question = studio.ask(20, overlap=1)
    ann = studio.rater("ann")
    while (showing := studio.next(ann, question)) is not None:
        studio.answer(ann, showing.id, LEFT, confidence=0.5)
        judgment = studio.feedback_of("ann")[-1]
        assert judgment.completion_ids == showing.completion_ids
        assert judgment.shown_order == showing.shown_order
        assert judgment.choice == "ab"[showing.shown_order[0]]
        assert (judgment.strength, judgment.seconds, judgment.confidence) == (2, 4.0, 0.5)
        (answer,) = studio.rows(answers_table, answers_table.c.showing_id == showing.id)
        assert answer.answer == {"better": {"choice": judgment.choice, "strength": 2}}
        assert answer.chose_left is True
        assert answer.tied is False
    assert len(studio.feedback_of("ann")) == 20


def test_the_same_answer_again_is_the_same_receipt_and_another_is_refused(studio: Studio) -> None:
    question = studio.ask(1)
    ann = studio.rater("ann")
    showing = studio.next(ann, question)
    assert showing is not None
    first = studio.answer(ann, showing.id, LEFT)
    studio.later(minutes=1)
    again = studio.answer(ann, showing.id, LEFT, seconds=9.0)
    assert (again.answer_id, first.repeated, again.repeated) == (first.answer_id, False, True)
    with pytest.raises(ConflictError):
        studio.answer(ann, showing.id, RIGHT)
    with pytest.raises(ConflictError):
        studio.answer(ann, showing.id, LEFT, note="another")
    assert len(studio.rows(answers_table)) == len(studio.feedback_of("ann")) == 1
    studio.check()


def test_undo_reopens_the_newest_answers_one_by_one_and_new_ones_supersede_them(studio: Studio) -> None:
    question = studio.ask(5, overlap=1)
    ann, bob = studio.rater("ann"), studio.rater("bob")
    given = []
    for _ in range(3):
        showing = studio.next(ann, question)
        assert showing is not None
        given.append((showing, studio.answer(ann, showing.id, LEFT)))
        studio.later(seconds=1)
    last, before = studio.undo(ann, question), studio.undo(ann, question)
    assert [last.id, before.id] == [given[2][0].id, given[1][0].id]
    assert last.reopened
    studio.check()
    assert len(studio.feedback_of("ann")) == 3  # what was said stands until another answer supersedes it
    held = studio.claim(ann, question, ahead=1)
    assert [showing.id for showing in held.showings[:2]] == [before.id, last.id]
    changed = studio.answer(ann, last.id, RIGHT)
    same = studio.answer(ann, before.id, LEFT)
    assert (changed.repeated, same.repeated) == (False, True)
    assert same.answer_id == given[1][1].answer_id
    (row_of_change,) = studio.rows(answers_table, answers_table.c.id == changed.answer_id)
    assert row_of_change.supersedes == given[2][1].answer_id
    choices = {f.completion_ids: f.choice for f in studio.feedback_of("ann")}
    assert len(choices) == 3
    assert choices[last.completion_ids] == "ab"[last.shown_order[1]]
    assert len(studio.store.feedback(include_superseded=True)) == 4
    assert {item.answers for item in studio.rows(items.items)} == {0, 1}
    with pytest.raises(MissingError):
        studio.undo(bob, question)
    studio.check()


def test_an_answer_that_was_reopened_and_left_alone_stands(studio: Studio) -> None:
    question = studio.ask(1, overlap=1, lease_minutes=5)
    ann, bob = studio.rater("ann"), studio.rater("bob")
    showing = studio.next(ann, question)
    assert showing is not None
    studio.answer(ann, showing.id)
    studio.undo(ann, question)
    with pytest.raises(ConflictError):
        studio.skip(ann, showing.id)
    studio.later(minutes=6)
    assert studio.sweep() == 1
    assert studio.next(bob, question) is None
    assert studio.next(ann, question) is None
    assert len(studio.feedback_of("ann")) == 1
    studio.check()


def test_no_more_answers_are_open_for_a_change_than_a_few(studio: Studio) -> None:
    question = studio.ask(15, overlap=1)
    ann = studio.rater("ann")
    studio.work_through(ann, question)
    for _ in range(leases.MOST_REOPENED):
        studio.undo(ann, question)
    with pytest.raises(ConflictError):
        studio.undo(ann, question)


def test_what_a_change_leaves_unsaid_holds_no_more(studio: Studio) -> None:
    question = studio.ask(1, **MIXED)
    ann = studio.rater("ann")
    showing = studio.next(ann, question)
    assert showing is not None
    studio.answer(ann, showing.id, LEFT | {"mended": ["better so", None]})
    assert {f.kind for f in studio.feedback_of("ann")} == {"comparison", "edit"}
    studio.undo(ann, question)
    studio.answer(ann, showing.id, RIGHT)
    assert [f.kind for f in studio.feedback_of("ann")] == ["comparison"]
    newest = studio.store.newest_feedback()
    pages = [entry.feedback for _, page in studio.store.feedback_pages(until=newest) for entry in page]
    assert [f.kind for f in pages] == ["comparison"]
    # As the store stood before the change, both held.
    earlier = [entry.feedback for _, page in studio.store.feedback_pages(until=newest - 1) for entry in page]
    assert {f.kind for f in earlier} == {"comparison", "edit"}


def test_a_later_answer_supersedes_what_the_rater_said_elsewhere_of_the_same(studio: Studio) -> None:
    question = studio.ask(1)
    ann = studio.rater("ann")
    showing = studio.next(ann, question)
    assert showing is not None
    b, a = showing.completion_ids[1], showing.completion_ids[0]
    elsewhere = Comparison(
        rater="ann", prompt_id=showing.prompt_id, completion_ids=(b, a), created=studio.now, choice="tie"
    )
    studio.store.add_answer(elsewhere)
    studio.later(minutes=1)
    studio.answer(ann, showing.id, LEFT)
    (standing,) = studio.feedback_of("ann")
    assert standing.supersedes == elsewhere.id
    assert standing.choice in ("a", "b")
    studio.check()


def test_what_is_no_answer_is_refused_and_changes_nothing(studio: Studio) -> None:
    question = studio.ask(1)
    ann = studio.rater("ann")
    showing = studio.next(ann, question)
    assert showing is not None
    for wrong, changes in (
        ({}, {}),
        ({"better": {"choice": "middle"}}, {}),
        (TIE | {"other": 1}, {}),
        ([], {}),
        (LEFT, {"confidence": 2.0}),
        (LEFT, {"confidence": float("nan")}),
        (LEFT, {"seconds": -1.0}),
        (LEFT, {"active_seconds": float("inf")}),
        (LEFT, {"note": "\x00"}),
        (LEFT, {"note": "x" * 20_000}),
    ):
        with pytest.raises(DataError):
            studio.answer(ann, showing.id, wrong, **changes)
    assert studio.rows(answers_table) == []
    assert studio.answer(ann, showing.id, TIE).repeated is False
    studio.check()


def test_gold_is_marked_and_changed_by_undo_like_any_other_and_never_becomes_feedback(studio: Studio) -> None:
    question = studio.ask(2, gold_rate=1.0, overlap=1)
    studio.add(question, [row(9, purpose="gold", expected={"better": {"choice": "a"}})])
    ann = studio.rater("ann")
    showing = studio.next(ann, question)
    assert showing is not None
    assert showing.purpose == "gold"
    right, wrong = (LEFT, RIGHT) if showing.shown_order == (0, 1) else (RIGHT, LEFT)
    assert studio.answer(ann, showing.id, wrong).correct == 0.0
    studio.undo(ann, question)
    assert studio.answer(ann, showing.id, right).correct == 1.0
    assert studio.store.feedback() == []
    studio.check()


def test_an_adjudication_settles_an_item_and_a_second_one_supersedes_the_first(studio: Studio) -> None:
    question = studio.ask(1, overlap=3)
    ann, lead = studio.rater("ann"), studio.rater("lead")
    showing = studio.next(ann, question)
    assert showing is not None
    studio.answer(ann, showing.id)

    def decide(answer, note="seen it"):
        return studio.store.write(lambda c: adjudication.adjudicate(c, lead, showing.item_id, answer, note, studio.now))

    first = decide(RIGHT)
    assert decide(RIGHT) == first
    studio.later(minutes=1)
    second = decide(LEFT)
    assert second != first
    (judgment,) = studio.feedback_of("lead")
    assert (judgment.choice, judgment.completion_ids) == ("a", showing.completion_ids)
    assert studio.item(showing.item_id).adjudicated
    assert studio.next(studio.rater("bob"), question) is None
    with pytest.raises(MissingError):
        studio.store.write(lambda c: adjudication.adjudicate(c, lead, "i0", LEFT, "", studio.now))
    studio.check()


# Drafts and flags


def test_a_draft_is_kept_by_revision_and_goes_with_the_answer(studio: Studio) -> None:
    question = studio.ask(1, overlap=1, lease_minutes=5)
    ann, bob = studio.rater("ann"), studio.rater("bob")
    showing = studio.next(ann, question)
    assert showing is not None

    def save(draft, revision, rater=ann):
        return studio.store.write(lambda c: drafts.save_draft(c, rater, showing.id, draft, revision, studio.now))

    assert save({"text": "so"}, 0) == 1
    assert save({"text": "so far"}, 1) == 2
    with pytest.raises(ConflictError):
        save({"text": "elsewhere"}, 1)
    with pytest.raises(MissingError):
        save({}, 0, bob)
    studio.later(minutes=6)
    studio.sweep()
    assert save({"text": "late"}, 2) == 3
    back = studio.next(ann, question)
    assert back is not None
    kept = studio.store.write(lambda c: drafts.drafts_of(c, [back.id]))[back.id]
    assert kept == drafts.Draft({"text": "late"}, 3)
    studio.answer(ann, showing.id)
    assert studio.store.write(lambda c: c.execute(drafts_table.select()).all()) == []
    with pytest.raises(ConflictError):
        save({"text": "too late"}, 0)


def test_an_answer_that_is_refused_leaves_the_draft(studio: Studio) -> None:
    question = studio.ask(1, overlap=1, lease_minutes=5)
    ann, bob = studio.rater("ann"), studio.rater("bob")
    showing = studio.next(ann, question)
    assert showing is not None
    studio.store.write(lambda c: drafts.save_draft(c, ann, showing.id, "typed", 0, studio.now))
    studio.later(minutes=6)
    assert studio.work_through(bob, question) == 1
    with pytest.raises(ConflictError):
        studio.answer(ann, showing.id)
    assert studio.store.write(lambda c: drafts.drafts_of(c, [showing.id]))[showing.id].draft == "typed"


def test_a_flag_is_kept_once_for_each_note(studio: Studio) -> None:

    question = studio.ask(1)
    ann = studio.rater("ann")
    showing = studio.next(ann, question)
    assert showing is not None
    for note in ("broken", "broken", "rude"):
        studio.store.write(lambda c, note=note: leases.flag(c, ann, showing.id, note, studio.now))
    assert [flag.note for flag in studio.rows(flags)] == ["broken", "rude"]
    bob = studio.rater("bob")
    with pytest.raises(MissingError):
        studio.store.write(lambda c: leases.flag(c, bob, showing.id, "", studio.now))


def test_the_version_of_the_guidelines_is_recorded_with_showing_and_answer(studio: Studio) -> None:

    question = studio.ask(1)
    ann = studio.rater("ann")
    values = {"text": "Be fair.", "note": "", "author": "lead", "created": studio.now}
    studio.store.write(lambda c: c.execute(guidelines.insert(), values | {"version": 7}))
    showing = studio.next(ann, question)
    assert showing is not None
    studio.answer(ann, showing.id)
    assert [s.guideline_version for s in studio.rows(showings)] == [7]
    assert [a.guideline_version for a in studio.rows(answers_table)] == [7]
