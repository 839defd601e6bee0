"""What an excluded rater answered counts for nothing, whenever it was answered; others are asked in the rater's stead."""

from __future__ import annotations

from datetime import UTC, datetime

from judged_studio import LEFT, RIGHT, Studio, row

from heed.feedback import schema
from heed.feedback.earlier import count_judgments
from heed.feedback.kinds import Comparison
from heed.feedback.studio_schema import answers
from heed.feedback.studio_schema import items as items_table
from heed.people import exclusions


def decide(studio: Studio, name: str, out: bool) -> None:
    act = exclusions.exclude if out else exclusions.include
    studio.store.write(lambda c: act(c, name, "as told", "lead", studio.now))
    studio.check()


def counts(studio: Studio) -> set[tuple[int, int, bool]]:
    return {(item.answers, item.level, item.available) for item in studio.rows(items_table)}


def test_items_of_an_excluded_rater_are_asked_of_others_until_the_rater_is_included_again(studio: Studio) -> None:
    question = studio.ask(4, overlap=2)
    ann, bob, cid = (studio.rater(name) for name in ("ann", "bob", "cid"))
    studio.work_through(ann, question)
    studio.work_through(bob, question)
    assert studio.work_through(cid, question) == 0
    assert counts(studio) == {(2, 2, False)}
    decide(studio, "ann", True)
    assert counts(studio) == {(1, 1, True)}
    decide(studio, "ann", False)
    assert counts(studio) == {(2, 2, False)}
    decide(studio, "ann", True)
    assert studio.work_through(cid, question) == 4
    assert counts(studio) == {(2, 2, False)}
    # Included again, it is one more than was asked for, and nobody else is asked.
    decide(studio, "ann", False)
    assert counts(studio) == {(3, 3, False)}
    studio.check()


def test_an_excluded_rater_goes_on_and_frees_each_place_by_answering(studio: Studio) -> None:
    question = studio.ask(3, overlap=1)
    ann, bob = studio.rater("ann"), studio.rater("bob")
    held = studio.next(ann, question)
    assert held is not None
    decide(studio, "ann", True)
    studio.answer(ann, held.id)
    studio.check()
    assert studio.work_through(ann, question) == 2
    assert len(studio.rows(answers)) == 3
    assert counts(studio) == {(0, 0, True)}
    assert studio.work_through(bob, question) == 3
    assert counts(studio) == {(1, 1, False)}
    studio.check()


def test_changing_an_answer_counts_no_place_twice_whenever_the_rater_was_excluded(studio: Studio) -> None:
    question = studio.ask(2, overlap=2)
    ann = studio.rater("ann")
    studio.work_through(ann, question)
    open_before = studio.undo(ann, question)
    decide(studio, "ann", True)
    studio.answer(ann, open_before.id, RIGHT)
    studio.check()
    open_after = studio.undo(ann, question)
    studio.check()
    decide(studio, "ann", False)
    studio.answer(ann, open_after.id, LEFT)
    studio.check()
    assert counts(studio) == {(1, 1, True)}


def test_a_skip_or_a_lease_that_ends_frees_the_place_of_an_excluded_rater_once(studio: Studio) -> None:
    question = studio.ask(2, overlap=1)
    ann = studio.rater("ann")
    held = studio.claim(ann, question, ahead=2)
    decide(studio, "ann", True)
    studio.skip(ann, held.showings[0].id)
    studio.later(minutes=20)
    studio.sweep()
    studio.check()
    decide(studio, "ann", False)
    assert counts(studio) == {(0, 0, True)}


def test_an_excluded_rater_uses_up_no_quota_of_the_group(studio: Studio) -> None:
    question = studio.ask(2, overlap=2, group_quota={"east": 1})
    ann, bob = studio.rater("ann", "east"), studio.rater("bob", "east")
    assert studio.work_through(ann, question) == 2
    assert studio.work_through(bob, question) == 0
    decide(studio, "ann", True)
    assert studio.work_through(bob, question) == 2
    studio.check()


def test_what_was_decided_or_is_known_stays_closed_when_its_rater_is_excluded(studio: Studio) -> None:
    question = studio.ask(overlap=1)
    first, _ = studio.add(question, [row(0), row(1)])
    ann, bob = studio.rater("ann"), studio.rater("bob")
    studio.work_through(ann, question)
    studio.store.write(
        lambda c: c.execute(items_table.update().where(items_table.c.id == first).values(state="withdrawn"))
    )
    decide(studio, "ann", True)
    assert studio.work_through(bob, question) == 1


def test_a_judgment_given_elsewhere_by_an_excluded_rater_takes_no_place(studio: Studio) -> None:
    question = studio.ask(1, overlap=1)
    studio.rater("ann")
    decide(studio, "ann", True)
    (item,) = studio.rows(items_table)
    assert studio.store.counts()[schema.feedback.name] == 0
    told = datetime(2026, 2, 1, tzinfo=UTC)
    values = {"rater": "ann", "prompt_id": item.prompt_id, "completion_ids": tuple(item.completion_ids)}
    studio.store.add_feedback([Comparison(**values, choice="a", created=told)])
    assert studio.store.write(lambda c: count_judgments(c, question, [item.id])) == 1
    assert counts(studio) == {(0, 0, True)}
    decide(studio, "ann", False)
    assert counts(studio) == {(1, 1, False)}
