"""Finding items and seeing their history, on SQLite and on PostgreSQL; flags are settled once."""

from __future__ import annotations

import pytest
from judged_studio import RIGHT, TIE, Studio, row

from heed.errors import ConflictError, DataError, MissingError
from heed.feedback import explorer, items, leases
from heed.feedback.explorer import ItemFilter
from heed.feedback.flags import resolve_flag
from heed.raters import progress, reading


def found(studio: Studio, **conditions: object) -> list[str]:
    with studio.store.reading() as connection:
        return [one.id for one in explorer.find_items(connection, ItemFilter(**conditions))]  # type: ignore[arg-type]


def test_items_are_found_by_each_condition_and_by_all_of_them(studio: Studio) -> None:
    question, other = studio.ask(overlap=1), studio.ask(2, name="other")
    ids = studio.add(question, [row(number) for number in range(10, 14)])
    ann = studio.rater("ann")
    done = studio.next(ann, question)
    assert done
    studio.answer(ann, done.id)
    (gold, withdrawn) = [item for item in ids if item != done.item_id][:2]
    studio.store.write(lambda c: items.make_gold(c, gold, {"better": {"choice": "a"}}, ""))
    studio.store.write(lambda c: items.withdraw(c, [withdrawn]))
    assert found(studio, question=question) == list(reversed(ids))
    assert len(found(studio, question=other)) == 2
    assert found(studio, state="done") == [done.item_id]
    assert found(studio, state="withdrawn") == [withdrawn]
    assert found(studio, purpose="gold") == [gold]
    assert found(studio, rater="ann") == [done.item_id]
    assert found(studio, rater="ann", state="open") == []
    assert found(studio, text=done.item_id) == [done.item_id]
    assert found(studio, text="%") == found(studio, text="_") == []


def test_pages_follow_each_other_while_items_are_added(studio: Studio) -> None:
    question = studio.ask()
    ids = studio.add(question, [row(number) for number in range(10, 17)])
    with studio.store.reading() as connection:
        first = explorer.find_items(connection, ItemFilter(), limit=3)
    studio.add(question, [row(99)])
    with studio.store.reading() as connection:
        second = explorer.find_items(connection, ItemFilter(), before=first[-1].number, limit=30)
    assert [one.id for one in [*first, *second]] == list(reversed(ids))


def test_the_history_holds_what_was_superseded_and_what_became_of_it(studio: Studio) -> None:
    question = studio.ask(1)
    ann = studio.rater("ann")
    showing = studio.next(ann, question)
    assert showing
    first = studio.answer(ann, showing.id)
    studio.undo(ann, question)
    second = studio.answer(ann, showing.id, TIE, note="after all")
    with studio.store.reading() as connection:
        item = explorer.item_detail(connection, showing.item_id)
        mine = explorer.answers_by(connection, "ann")
    old, new = item.answers
    assert (old.id, old.superseded_by) == (first.answer_id, second.answer_id)
    assert (new.superseded_by, new.note, new.answer["better"]["choice"]) == (None, "after all", "tie")
    stored = {one.id for one in studio.store.feedback(include_superseded=True)}
    assert {*old.feedback_ids, *new.feedback_ids} == stored
    assert [one.shown_order for one in item.showings] == [showing.shown_order]
    assert [(where, one.id) for _, where, one in mine] == [(item.summary.id, new.id), (item.summary.id, old.id)]


def test_what_is_not_there_is_said_so(studio: Studio) -> None:
    with studio.store.reading() as connection, pytest.raises(MissingError):
        explorer.item_detail(connection, "i0123456789abcdef")


def test_a_flag_is_settled_once_and_with_a_word(studio: Studio) -> None:
    question = studio.ask(1)
    ann = studio.rater("ann")
    showing = studio.next(ann, question)
    assert showing
    studio.store.write(lambda c: leases.flag(c, ann, showing.id, "broken", studio.now))
    with studio.store.reading() as connection:
        (flag,) = explorer.flags_of(connection, resolved=False)
    with pytest.raises(DataError):
        studio.store.write(lambda c: resolve_flag(c, flag.id, "  ", "lea", studio.now))
    assert studio.store.write(lambda c: resolve_flag(c, flag.id, "mended", "lea", studio.now)) == showing.item_id
    with pytest.raises(ConflictError):
        studio.store.write(lambda c: resolve_flag(c, flag.id, "again", "lea", studio.now))
    with studio.store.reading() as connection:
        assert explorer.flags_of(connection, resolved=False) == []
        (settled,) = explorer.flags_of(connection, item_id=showing.item_id)
    assert (settled.resolution, settled.resolved_by, settled.resolved) == ("mended", "lea", studio.now)


def test_counts_and_columns_are_those_of_the_tables_on_either_database(studio: Studio) -> None:
    question = studio.ask(4, overlap=2)
    ann, bob, cy = studio.rater("ann"), studio.rater("bob"), studio.rater("cy")
    studio.work_through(ann, question)
    for _ in range(2):
        showing = studio.next(bob, question)
        assert showing
        studio.answer(bob, showing.id, RIGHT)
    skipped = studio.next(cy, question)
    assert skipped
    studio.skip(cy, skipped.id)
    assert studio.next(cy, question)
    reader = reading.AnswerReader()
    with studio.store.reading() as connection:
        assert reader.read(connection)
        (counts,) = progress.count_items(connection)
        assert reading.skips_by_rater(connection) == {"cy": 1}
        near = reading.answers_near(connection, "bob", most=1)
    assert (counts.items, counts.done, counts.leased, counts.answers, counts.missing) == (4, 2, 1, 6, 2)
    columns = reader.columns.answers()
    assert columns.size == 6
    assert columns.units.answer.size == 6
    assert sorted(near.raters) == ["ann", "bob"]
    (one,) = progress.progress_of([counts], columns, studio.now)
    assert one.rate == 6.0  # all within the first minute: at least an hour is counted
