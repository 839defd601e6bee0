"""Who gets what next, on both databases: overlap, evenness, priorities, chance, leases."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import sleep

import pytest
from judged_studio import NOON, Studio, form, row
from sqlalchemy import bindparam, event

from heed.errors import ConflictError, MissingError
from heed.feedback import asked, items, leases, queue
from heed.feedback.census import Census
from heed.feedback.queue import REPEAT_AFTER, Claimed, Nothing
from heed.feedback.store import Store
from heed.feedback.studio_schema import answers, showings
from heed.feedback.studio_schema import items as items_table
from heed.feedback.windows import WINDOW


def test_every_item_is_answered_as_often_as_its_overlap_says_and_by_different_raters(studio: Studio) -> None:
    question = studio.ask(12, overlap=2)
    ann, bob, cid = (studio.rater(name) for name in ("ann", "bob", "cid"))
    done = Counter()
    for turn in range(30):
        rater = (ann, bob, cid)[turn % 3]
        showing = studio.next(rater, question)
        if showing is not None:
            studio.answer(rater, showing.id)
            done[rater.name] += 1
        studio.check()
    assert sum(done.values()) == 24
    assert {item.answers for item in studio.rows(items_table)} == {2}


def test_all_items_are_answered_once_before_any_is_answered_twice(studio: Studio) -> None:
    question = studio.ask(20, overlap=3)
    raters = [studio.rater(f"rater {n}") for n in range(4)]
    for turn in range(60):
        rater = raters[turn % 4]
        showing = studio.next(rater, question)
        if showing is None:
            continue
        studio.answer(rater, showing.id)
        levels = {item.level for item in studio.rows(items_table)}
        assert max(levels) - min(levels) <= 1


def test_a_higher_priority_comes_first_whatever_its_level(studio: Studio) -> None:
    question = studio.ask()
    usual = studio.add(question, [row(n) for n in range(3)])
    urgent = studio.add(question, [row(n, priority=5) for n in range(3, 6)])
    ann, bob = studio.rater("ann"), studio.rater("bob")
    order = []
    for rater in (ann, ann, ann, bob, bob, bob, ann):
        showing = studio.next(rater, question)
        assert showing is not None
        order.append(showing.item_id)
        studio.answer(rater, showing.id)
    assert set(order[:3]) == set(order[3:6]) == set(urgent)
    assert order[6] in usual
    studio.store.write(lambda c: items.set_priority(c, usual[:1], 9))
    showing = studio.next(bob, question)
    assert showing is not None
    assert showing.item_id == usual[0]


def test_asking_again_returns_what_is_held_and_never_more_than_allowed(studio: Studio) -> None:
    question = studio.ask(10)
    ann = studio.rater("ann")
    first = studio.claim(ann, question, ahead=2)
    second = studio.claim(ann, question, ahead=2)
    third = studio.claim(ann, question, ahead=2)
    assert isinstance(first, Claimed)
    assert isinstance(second, Claimed)
    assert isinstance(third, Claimed)
    assert [len(claimed.showings) for claimed in (first, second, third)] == [1, 2, 2]
    assert second.showings == third.showings
    assert second.showings[0] == first.showings[0]


def test_a_rater_never_gets_what_was_answered_or_skipped_and_a_skip_frees_the_place(studio: Studio) -> None:
    question = studio.ask(3, overlap=1)
    ann, bob = studio.rater("ann"), studio.rater("bob")
    skipped = studio.next(ann, question)
    assert skipped is not None
    studio.skip(ann, skipped.id)
    studio.skip(ann, skipped.id)
    studio.check()
    assert studio.work_through(ann, question) == 2
    last = studio.next(bob, question)
    assert last is not None
    assert last.item_id == skipped.item_id
    with pytest.raises(ConflictError):
        studio.answer(ann, skipped.id)
    with pytest.raises(MissingError):
        studio.answer(ann, last.id)


def test_why_there_is_nothing_is_said(studio: Studio) -> None:
    question = studio.ask(1, overlap=1)
    ann, bob = studio.rater("ann"), studio.rater("bob")
    showing = studio.next(ann, question)
    assert showing is not None
    assert studio.claim(bob, question) == Nothing("waiting", 0)
    studio.answer(ann, showing.id)
    assert studio.claim(bob, question) == Nothing("done", 0)
    assert studio.claim(ann, question) == Nothing("done", 1)
    for state in ("paused", "closed"):
        studio.store.write(lambda c, state=state: asked.set_state(c, question, state))
        assert studio.claim(ann, question) == Nothing(state, 1)
    with pytest.raises(MissingError):
        studio.claim(ann, "q0000000000000000")


def test_a_lease_that_ran_out_frees_the_place_and_its_rater_may_have_it_back(studio: Studio) -> None:
    question = studio.ask(1, overlap=1, lease_minutes=10)
    ann, bob = studio.rater("ann"), studio.rater("bob")
    lost = studio.next(ann, question)
    assert lost is not None
    studio.later(minutes=9.9)
    assert studio.next(bob, question) is None
    studio.later(minutes=0.2)
    taken = studio.next(bob, question)
    assert taken is not None
    assert taken.item_id == lost.item_id
    studio.check()
    assert studio.next(ann, question) is None
    studio.later(minutes=11)
    assert studio.sweep() == 1
    back = studio.next(ann, question)
    assert back is not None
    assert (back.id, back.shown_order) == (lost.id, lost.shown_order)
    studio.answer(ann, back.id)
    studio.check()


def test_an_answer_after_the_lease_is_taken_while_the_place_is_free_and_refused_when_it_is_not(studio: Studio) -> None:
    question = studio.ask(2, overlap=1, lease_minutes=10)
    ann, bob = studio.rater("ann"), studio.rater("bob")
    first = studio.claim(ann, question, ahead=2)
    held = studio.claim(ann, question, ahead=2)
    assert isinstance(first, Claimed)
    assert isinstance(held, Claimed)
    one, other = held.showings
    studio.later(minutes=20)
    assert studio.sweep() == 2
    studio.answer(ann, one.id)
    taken = studio.next(bob, question)
    assert taken is not None
    assert taken.item_id == other.item_id
    with pytest.raises(ConflictError, match="others have answered it"):
        studio.answer(ann, other.id)
    with pytest.raises(ConflictError):
        studio.store.write(lambda c: leases.renew(c, ann, other.id, 1.0, studio.now))
    studio.check()


def test_renewing_extends_a_lease_and_counts_active_time(studio: Studio) -> None:
    question = studio.ask(1, overlap=1, lease_minutes=10)
    ann, bob = studio.rater("ann"), studio.rater("bob")
    showing = studio.next(ann, question)
    assert showing is not None
    for _ in range(5):
        studio.later(minutes=8)
        until = studio.store.write(lambda c: leases.renew(c, ann, showing.id, 100.0, studio.now))
        assert (until - studio.now).total_seconds() == 600
        assert studio.next(bob, question) is None
    studio.answer(ann, showing.id, active_seconds=3.0)
    (answer,) = studio.rows(answers)
    assert answer.active_seconds == 100.0


def test_what_a_paused_rater_holds_goes_to_others(studio: Studio) -> None:
    question = studio.ask(2, overlap=1)
    ann, bob = studio.rater("ann"), studio.rater("bob")
    answered = studio.next(ann, question)
    assert answered is not None
    studio.answer(ann, answered.id)
    studio.undo(ann, question)
    assert studio.next(ann, question) is not None
    studio.claim(ann, question, ahead=2)
    assert studio.store.write(lambda c: leases.release(c, ann, studio.now)) == 2
    studio.check()
    assert studio.work_through(bob, question) == 1


def test_no_group_takes_more_places_of_an_item_than_its_quota(studio: Studio) -> None:
    question = studio.ask(6, overlap=3, group_quota={"east": 1, "idle": 0})
    east = [studio.rater(f"east {n}", "east") for n in range(3)]
    west = [studio.rater(f"west {n}", "west") for n in range(3)]
    idle = studio.rater("idle", "idle")
    assert studio.next(idle, question) is None
    for _ in range(12):
        for rater in east:
            showing = studio.next(rater, question)
            if showing is not None:
                studio.answer(rater, showing.id)
    by_group = Counter((s.item_id, s.group_name) for s in studio.rows(showings))
    assert set(by_group.values()) == {1}
    assert len(by_group) == 6
    for rater in west:
        studio.work_through(rater, question)
    by_group = Counter((s.item_id, s.group_name) for s in studio.rows(showings))
    assert {count for (_, group), count in by_group.items() if group == "west"} == {2}
    studio.check()


def test_gold_comes_at_its_rate_once_for_each_rater_and_takes_no_places(studio: Studio) -> None:
    question = studio.ask(400, overlap=1, gold_rate=0.2)
    known = {"better": {"choice": "a"}}
    gold = studio.add(question, [row(n, purpose="gold", expected=known) for n in range(1000, 1200)])
    ann = studio.rater("ann")
    purposes = []
    for _ in range(300):
        showing = studio.next(ann, question)
        assert showing is not None
        purposes.append(showing.purpose)
        studio.answer(ann, showing.id)
    # 300 draws at 0.2: 60 on average with a standard deviation of 7.
    assert 32 <= purposes.count("gold") <= 88
    shown = [s.item_id for s in studio.rows(showings, showings.c.purpose == "gold")]
    assert len(set(shown)) == len(shown)
    assert set(shown) <= set(gold)
    assert not studio.store.feedback() or len(studio.store.feedback()) == purposes.count("work")
    studio.check()


def test_gold_never_comes_when_there_is_no_work(studio: Studio) -> None:
    question = studio.ask(gold_rate=1.0)
    studio.add(question, [row(1, purpose="gold", expected={"better": {"choice": "a"}})])
    assert studio.next(studio.rater("ann"), question) is None


def test_an_item_is_repeated_once_and_not_before_others_came_between(studio: Studio) -> None:
    question = studio.ask(200, overlap=1, repeat_rate=0.5)
    ann = studio.rater("ann")
    order = []
    for _ in range(120):
        showing = studio.next(ann, question)
        assert showing is not None
        order.append((showing.item_id, showing.purpose))
        studio.answer(ann, showing.id)
        studio.later(seconds=1)
    repeats = [place for place, (_, purpose) in enumerate(order) if purpose == "repeat"]
    assert len(repeats) > 20
    for place in repeats:
        first = order.index((order[place][0], "work"))
        works_between = sum(purpose == "work" for _, purpose in order[first + 1 : place])
        assert works_between >= REPEAT_AFTER
    assert max(Counter(item for item, _ in order).values()) == 2
    studio.check()


def test_a_showing_says_nothing_of_its_purpose_but_the_purpose_itself(studio: Studio) -> None:
    question = studio.ask(60, overlap=1, gold_rate=0.3, repeat_rate=0.3)
    known = {"better": {"choice": "b"}}
    studio.add(question, [row(n, purpose="gold", expected=known) for n in range(1000, 1030)])
    ann = studio.rater("ann")
    seen = {}
    for _ in range(60):
        showing = studio.next(ann, question)
        assert showing is not None
        seen.setdefault(showing.purpose, []).append(showing)
        studio.answer(ann, showing.id)
        studio.later(seconds=1)
    assert set(seen) == {"work", "gold", "repeat"}
    for found in seen.values():
        assert {len(showing.id) for showing in found} == {33}
        assert {(showing.expires - showing.created).total_seconds() for showing in found} == {900}
        assert {showing.shown_order for showing in found} == {(0, 1), (1, 0)}
        assert {showing.state for showing in found} == {"leased"}


def test_left_and_right_are_shuffled_for_each_showing_and_recorded(studio: Studio) -> None:
    question = studio.ask(200, overlap=1)
    ann = studio.rater("ann")
    studio.work_through(ann, question)
    orders = Counter(tuple(s.shown_order) for s in studio.rows(showings))
    assert set(orders) == {(0, 1), (1, 0)}
    assert 60 <= orders[0, 1] <= 140  # 200 coins: 100 on average with a standard deviation of 7


@pytest.mark.parametrize("count", [5, WINDOW, 40])
def test_items_are_chosen_as_often_as_the_recorded_probability_says(sqlite_url, count: int) -> None:
    """The keys are drawn anew each time: the probability is over them as well."""
    with Store.open(sqlite_url()) as store:
        studio = Studio(store, rng=random.Random(count))
        question = studio.ask(count, overlap=1)
        ann = studio.rater("ann")
        chosen, probabilities = Counter(), set()
        turns = 600
        fresh = items_table.update().where(items_table.c.id == bindparam("item"))
        fresh = fresh.values(random_key=bindparam("key"), level=0, available=True)
        ids = [item.id for item in studio.rows(items_table)]

        def work(connection) -> None:
            for _ in range(turns):
                connection.execute(fresh, [{"item": item, "key": studio.rng.random()} for item in ids])
                connection.execute(showings.delete())
                claimed = queue.claim(connection, ann, question, NOON, studio.rng, 1)
                chosen[claimed.showings[0].item_id] += 1
                row = connection.execute(showings.select()).one()
                probabilities.add((row.probability, row.eligible))

        store.write(work)
        ((probability, eligible),) = probabilities
        assert (probability, eligible) == (pytest.approx(1 / count), count)
        expected = turns / count
        spread = (expected * (1 - 1 / count)) ** 0.5
        assert all(abs(chosen[item] - expected) < 4.5 * spread for item in ids)


class Greedy:
    """Prefers the item of the smallest id, as an example of a selector that does prefer."""

    name = "greedy"

    def weights(self, candidates, rater):
        best = min(candidate.item_id for candidate in candidates)
        return [float(candidate.item_id == best) for candidate in candidates]


def test_a_selector_decides_but_for_its_share_of_chance_and_the_probability_is_recorded(
    studio: Studio, monkeypatch
) -> None:
    from heed.feedback import selectors

    monkeypatch.setitem(selectors._SELECTORS, "greedy", Greedy())
    question = studio.ask(10, overlap=1, selector="greedy", chance_share=0.2)
    ann = studio.rater("ann")
    smallest = min(item.id for item in studio.rows(items_table))
    showing = studio.next(ann, question)
    assert showing is not None
    (shown,) = studio.rows(showings)
    assert shown.selector == "greedy"
    assert shown.eligible == 10
    assert shown.probability == pytest.approx(0.02 + 0.8 if showing.item_id == smallest else 0.02)


def test_counts_of_large_buckets_are_kept_and_still_right(sqlite_url) -> None:
    with Store.open(sqlite_url()) as store:
        studio = Studio(store)
        question = studio.ask(overlap=1)
        studio.add(question, [row(n) for n in range(700)])
        census, ann = Census(), studio.rater("ann")
        for _ in range(250):
            claimed = store.write(lambda c: queue.claim(c, ann, question, studio.now, studio.rng, 1, census))
            studio.answer(ann, claimed.showings[0].id)
            studio.later(seconds=0.1)
        eligible = [s.eligible for s in studio.rows(showings)]
        assert eligible == list(range(700, 450, -1))


def test_a_large_bucket_is_counted_once_for_all_who_ask_at_a_time(sqlite_url) -> None:
    with Store.open(sqlite_url()) as store:
        studio = Studio(store)
        question = studio.ask(overlap=1)
        studio.add(question, [row(n) for n in range(600)])
        counts, census, together = [], Census(), Barrier(6)

        def ask(name: str) -> int:
            with store.reading() as connection:
                event.listen(connection, "before_cursor_execute", count)
                together.wait()
                return census.eligible(connection, name, question, (0, 0), None, studio.now)

        def count(connection, cursor, statement, *rest) -> None:
            if "count(*)" in statement and "showings" not in statement:
                counts.append(statement)
                sleep(0.2)  # as with very many items: the others arrive meanwhile

        with ThreadPoolExecutor(6) as threads:
            assert set(threads.map(ask, [f"rater {n}" for n in range(6)])) == {600}
        assert len(counts) == 1


def test_whoever_asks_ends_leases_that_ran_out_but_not_more_than_once_a_second(studio: Studio) -> None:
    question = studio.ask(6, overlap=1, lease_minutes=30)
    census, ann, bob, cid = Census(), studio.rater("ann"), studio.rater("bob"), studio.rater("cid")

    def claim(rater) -> None:
        studio.store.write(lambda c: queue.claim(c, rater, question, studio.now, studio.rng, 1, census))

    def states() -> dict[str, str]:
        return {one.rater: one.state for one in studio.rows(showings)}

    claim(ann)
    studio.later(seconds=0.6)
    claim(cid)
    studio.later(minutes=29)
    claim(bob)
    studio.later(seconds=60 - 0.5)
    claim(bob)
    assert states() == {"ann": "expired", "bob": "leased", "cid": "leased"}
    studio.later(seconds=0.6)
    claim(bob)
    assert states()["cid"] == "leased"
    studio.later(seconds=0.5)
    claim(bob)
    assert states()["cid"] == "expired"


def test_another_overlap_of_the_form_holds_for_items_that_have_none_of_their_own(studio: Studio) -> None:
    question = studio.ask(2, overlap=1)
    (own,) = studio.add(question, [row(9, overlap=3)])
    ann, bob = studio.rater("ann"), studio.rater("bob")
    assert studio.work_through(ann, question) == 3
    studio.store.write(lambda c: asked.save_question(c, question, form(overlap=2), "more", "lead", 1, studio.now))
    studio.check()
    assert studio.work_through(bob, question) == 3
    assert studio.item(own).overlap == 3
    assert {s.form_version for s in studio.rows(showings, showings.c.rater == "bob")} == {2}


def test_training_and_test_items_come_in_order_and_again_when_named(studio: Studio) -> None:
    question = studio.ask(3)
    known = {"better": {"choice": "a"}}
    training = studio.add(question, [row(n, purpose="training", expected=known) for n in range(10, 13)])
    test = studio.add(question, [row(n, purpose="qualification", expected=known) for n in range(20, 22)])
    ann = studio.rater("ann")

    def claim(purpose, item=None):
        return studio.store.write(lambda c: queue.claim_known(c, ann, question, purpose, studio.now, studio.rng, item))

    order = []
    while (showing := claim("training")) is not None:
        assert claim("training") == showing
        order.append(showing.item_id)
        receipt = studio.answer(ann, showing.id)
        assert receipt.correct == float(showing.shown_order == (0, 1))
    assert order == training
    for _ in range(2):
        showing = claim("qualification", test[1])
        assert showing is not None
        assert showing.item_id == test[1]
        with pytest.raises(ConflictError):
            studio.skip(ann, showing.id)
        studio.answer(ann, showing.id)
    assert studio.store.feedback() == []
    assert isinstance(studio.claim(ann, question), Claimed)
    studio.check()
