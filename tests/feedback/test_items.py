"""Items and questions, on both databases: there once whatever is put in twice, with the answers that people gave before."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from judged_studio import LEFT, NOON, TIE, Studio, form, row

from heed.errors import ConflictError, DataError, MissingError
from heed.feedback import asked, items
from heed.feedback.earlier import count_judgments
from heed.feedback.kinds import Comparison, Message
from heed.feedback.studio_schema import answers, showings
from heed.feedback.studio_schema import items as items_table

KNOWN = {"better": {"choice": "a"}}


def test_what_is_added_twice_is_there_once_in_whatever_order_its_completions_come(studio: Studio) -> None:
    question, other = studio.ask(), studio.ask(name="other")
    first = studio.add(question, [row(1), row(2)])
    turned = row(1, completions=("no 1", "yes 1"), priority=7)
    added = studio.store.write(lambda c: items.add_items(c, question, [turned, row(3), row(3)], studio.now, studio.rng))
    assert added.ids[0] == first[0]
    assert (added.added, added.duplicates) == (1, 2)
    assert studio.item(first[0]).priority == 0
    assert studio.add(other, [row(1)])[0] not in first
    assert len(studio.rows(items_table)) == 4
    assert len(studio.store.prompts()) == 3
    assert len(studio.store.completions()) == 6


def test_conversations_and_items_without_completions_are_items_too(studio: Studio) -> None:
    demonstration = {"kind": "demonstration", "name": "own", "label": "Your answer"}
    question = studio.ask(fields=[demonstration])
    talk = (Message(role="user", content="Hello"), Message(role="assistant", content="Yes?"))
    studio.add(question, [row(1, completions=()), row(2, prompt=talk, completions=())])
    ann = studio.rater("ann")
    assert studio.work_through(ann, question, {"own": "like this"}) == 2
    assert {f.text for f in studio.feedback_of("ann")} == {"like this"}
    studio.check()


def test_items_that_do_not_fit_the_question_are_refused_as_a_whole(studio: Studio) -> None:
    question = studio.ask()
    three = row(2, completions=("a", "b", "c"))
    for wrong in (three, row(2, purpose="gold", expected={"better": {"choice": "left of it"}})):
        with pytest.raises(DataError):
            studio.add(question, [row(1), wrong])
    assert studio.rows(items_table) == []
    assert studio.store.prompts() == []
    with pytest.raises(MissingError):
        studio.add("q0000000000000000", [row(1)])


def test_an_external_id_belongs_to_one_item_of_a_question(studio: Studio) -> None:
    question, other = studio.ask(), studio.ask(name="other")
    (one,) = studio.add(question, [row(1, external_id="x")])
    assert studio.add(question, [row(1, external_id="x")]) == [one]
    with pytest.raises(DataError, match="external_id"):
        studio.add(question, [row(2, external_id="x")])
    with pytest.raises(DataError, match="external_id"):
        studio.add(question, [row(3, external_id="y"), row(4, external_id="y")])
    studio.add(other, [row(2, external_id="x")])


def test_gold_leaves_the_queue_and_comes_back_as_work(studio: Studio) -> None:
    question = studio.ask(1, overlap=2)
    ann, bob = studio.rater("ann"), studio.rater("bob")
    showing = studio.next(ann, question)
    assert showing is not None
    studio.answer(ann, showing.id)
    make = lambda expected: studio.store.write(  # noqa: E731  one call with one thing that varies
        lambda c: items.make_gold(c, showing.item_id, expected, "because")
    )
    with pytest.raises(DataError):
        make({"better": {"choice": "up"}})
    make({"better": {"choice": "b"}})
    assert studio.next(bob, question) is None
    assert studio.item(showing.item_id).expected["better"]["choice"] == "b"
    assert len(studio.feedback_of("ann")) == 1
    studio.check()
    studio.store.write(lambda c: items.make_work(c, showing.item_id))
    assert studio.work_through(bob, question) == 1
    studio.check()


def test_a_withdrawn_item_is_asked_no_more_but_whoever_holds_it_may_answer(studio: Studio) -> None:
    question = studio.ask(1, overlap=2)
    ann, bob = studio.rater("ann"), studio.rater("bob")
    showing = studio.next(ann, question)
    assert showing is not None
    assert studio.store.write(lambda c: items.withdraw(c, [showing.item_id, "i0"])) == 1
    assert studio.next(bob, question) is None
    studio.answer(ann, showing.id)
    studio.check()
    assert studio.store.write(lambda c: items.restore(c, [showing.item_id])) == 1
    studio.check()
    assert studio.work_through(bob, question) == 1


def test_judgments_given_elsewhere_count_once_in_the_order_of_the_item(studio: Studio) -> None:
    question = studio.ask(3, overlap=2)
    ann, bob = studio.rater("ann"), studio.rater("bob")
    studio.store.add_raters([("machine", "simulated", "")])
    found = studio.rows(items_table)
    ids = [item.id for item in found]

    def say(rater: str, item, choice: str, turned: bool = False, **more) -> None:
        pair = tuple(item.completion_ids[::-1] if turned else item.completion_ids)
        values = {"rater": rater, "prompt_id": item.prompt_id, "completion_ids": pair, "created": NOON}
        studio.store.add_feedback([Comparison(**values, choice=choice, **more)])

    say("ann", found[0], "a", turned=True, shown_order=(1, 0), strength=3, seconds=8.0)
    say("bob", found[0], "tie")
    say("machine", found[1], "a")
    count = lambda: studio.store.write(lambda c: count_judgments(c, question, ids))  # noqa: E731
    assert count() == 2
    assert count() == 0
    studio.check()
    by_rater = {answer.rater: answer for answer in studio.rows(answers)}
    assert by_rater["ann"].answer == {"better": {"choice": "b", "strength": 3}}
    assert by_rater["ann"].chose_left is False  # b of the item stood at place 1: shown_order (0, 1) of the item
    assert by_rater["bob"].tied is True
    assert [studio.item(i).answers for i in ids] == [2, 0, 0]
    # Who judged it elsewhere is not asked again; the others are still wanted.
    assert studio.work_through(ann, question) == studio.work_through(bob, question) == 2
    assert len(studio.feedback_of("ann")) == 3
    studio.undo(ann, question)
    studio.check()


def test_a_question_keeps_its_versions_and_a_stale_change_is_refused(studio: Studio) -> None:
    question = studio.ask(1)
    save = lambda version, **changes: studio.store.write(  # noqa: E731
        lambda c: asked.save_question(c, question, form(**changes), "why", "lead", version, NOON + timedelta(days=1))
    )
    assert save(1).version == 1  # nothing has changed
    assert save(1, title="Anew").version == 2
    with pytest.raises(ConflictError):
        save(1, title="Stale")
    with studio.store.reading() as connection:
        assert [v.form.title for v in asked.versions(connection, question)] == ["Which is better?", "Anew"]
        assert asked.question_named(connection, "which") == asked.question(connection, question)
        assert asked.form_of(connection, question, 1) == form()
        assert asked.count_items(connection, question) == 1
    with pytest.raises(ConflictError):
        studio.ask(name="which")
    with pytest.raises(DataError):
        studio.ask(name=" ")


def test_a_showing_is_answered_by_the_form_that_it_showed(studio: Studio) -> None:
    question = studio.ask(2, overlap=1)
    ann = studio.rater("ann")
    showing = studio.next(ann, question)
    assert showing is not None
    without_ties = [{"kind": "comparison", "name": "better", "label": "Which?", "tie": False, "both_bad": False}]
    studio.store.write(
        lambda c: asked.save_question(c, question, form(fields=without_ties), "no ties", "lead", 1, studio.now)
    )
    studio.answer(ann, showing.id, TIE)
    newer = studio.next(ann, question)
    assert newer is not None
    with pytest.raises(DataError):
        studio.answer(ann, newer.id, TIE)
    studio.answer(ann, newer.id, LEFT)
    assert [s.form_version for s in studio.rows(showings)] == [1, 2]


def test_the_cost_of_adding_does_not_depend_on_what_is_there(sqlite_url) -> None:
    """Counted in steps of SQLite's machine, which no other load changes."""
    from heed.feedback.store import Store

    with Store.open(sqlite_url()) as store:
        studio = Studio(store)
        question = studio.ask()
        steps = []
        for piece in range(8):
            rows = [row(1000 * piece + n) for n in range(500)]

            def work(connection, rows=rows) -> int:
                count = [0]

                def tick() -> None:
                    count[0] += 1

                raw = connection.connection.driver_connection
                raw.set_progress_handler(tick, 100)
                items.add_items(connection, question, rows, NOON, random.Random(0))
                raw.set_progress_handler(None, 100)
                return count[0]

            steps.append(store.write(work))
        assert max(steps[1:]) < 1.3 * min(steps[1:])
