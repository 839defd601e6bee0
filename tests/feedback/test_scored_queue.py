"""The queue with selectors that go by a reward model's scores, on both databases."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from judged_studio import NOON, Studio
from scipy import stats
from sqlalchemy import bindparam, insert

from heed.feedback import item_scores, queue, schema
from heed.feedback.chances import studio_weights
from heed.feedback.selectors import SHARPNESS, selector_names
from heed.feedback.store import Store
from heed.feedback.studio_schema import item_scores as scores_table
from heed.feedback.studio_schema import items as items_table
from heed.feedback.studio_schema import showings
from heed.feedback.windows import WIDE_WINDOW


def add_run(store: Store, name: str = "weigh-1") -> str:
    """A run to which scores can belong."""
    values = {"id": name, "stage": "weigh", "ordinal": int(name[-1]), "fingerprint": name, "config": {}, "seed": 0}
    values |= {"round": 0, "version": "", "state": "done", "owner": "", "metrics": {}, "labels": 0, "tokens": 0}
    store.write(
        lambda c: c.execute(insert(schema.runs).values(**values, seconds=0.0, error="", started=NOON, ended=NOON))
    )
    return name


def weigh(studio: Studio, scores: dict[str, float], run: str = "weigh-1") -> None:
    told = {item: dict.fromkeys(SHARPNESS, score) for item, score in scores.items()}
    studio.store.write(lambda c: item_scores.put_down(c, run, told))


def ids_of(studio: Studio) -> list[str]:
    return [item.id for item in studio.rows(items_table)]


def test_forms_may_ask_for_every_selector() -> None:
    assert selector_names() == ("random", "disagreement", "d_optimal", "thompson", "gap")


@pytest.mark.parametrize("selector", sorted(SHARPNESS))
def test_each_selector_hands_out_all_items_the_worthier_sooner(studio: Studio, selector: str) -> None:
    question = studio.ask(30, overlap=1, selector=selector, chance_share=0.1)
    add_run(studio.store)
    scores = {item: (n + 1) / 30 for n, item in enumerate(ids_of(studio))}
    weigh(studio, scores)
    ann = studio.rater("ann")
    assert studio.work_through(ann, question) == 30
    studio.check()
    shown = studio.rows(showings)
    assert {one.selector for one in shown} == {selector}
    early, late = (sum(scores[one.item_id] for one in half) for half in (shown[:10], shown[20:]))
    assert early > late
    assert [one.eligible for one in shown] == list(range(30, 0, -1))


def test_without_scores_chance_decides_and_is_recorded(studio: Studio) -> None:
    question = studio.ask(6, overlap=1, selector="d_optimal")
    ann = studio.rater("ann")
    first = studio.next(ann, question)
    assert first is not None
    (shown,) = studio.rows(showings)
    assert (shown.selector, shown.probability, shown.eligible) == ("random", pytest.approx(1 / 6), 6)
    studio.answer(ann, first.id)
    add_run(studio.store)
    weigh(studio, dict.fromkeys(ids_of(studio), 0.5))
    assert studio.next(ann, question) is not None
    assert [one.selector for one in studio.rows(showings)] == ["random", "d_optimal"]


def test_what_no_reward_model_has_looked_at_comes_by_chance_alone(studio: Studio) -> None:
    question = studio.ask(4, overlap=1, selector="gap", chance_share=0.2)
    add_run(studio.store)
    best = ids_of(studio)[2]
    weigh(studio, {best: 1.0})
    showing = studio.next(studio.rater("ann"), question)
    assert showing is not None
    (shown,) = studio.rows(showings)
    assert shown.probability == pytest.approx(0.05 + 0.8 if showing.item_id == best else 0.05)


def claim_often(studio: Studio, question: str, turns: int, keep: dict[str, list[float]]) -> None:
    """Claims of a new rater's first item, the order of the items drawn anew before each."""
    ann, ids = studio.rater("ann"), ids_of(studio)
    fresh = items_table.update().where(items_table.c.id == bindparam("item"))
    fresh = fresh.values(random_key=bindparam("key"), level=0, available=True)

    def work(connection) -> None:
        for _ in range(turns):
            connection.execute(fresh, [{"item": item, "key": studio.rng.random()} for item in ids])
            connection.execute(showings.delete())
            queue.claim(connection, ann, question, NOON, studio.rng, 1)
            shown = connection.execute(showings.select()).one()
            keep.setdefault(shown.item_id, []).append(shown.probability)

    studio.store.write(work)


def test_items_come_as_often_as_their_probabilities_say(sqlite_url) -> None:
    with Store.open(sqlite_url()) as store:
        studio = Studio(store, rng=random.Random(3))
        question = studio.ask(7, overlap=1, selector="disagreement", chance_share=0.3)
        add_run(store)
        weigh(studio, {item: n / 6 for n, item in enumerate(ids_of(studio))})
        found: dict[str, list[float]] = {}
        claim_often(studio, question, 500, found)
        kept = {item: {round(p, 12) for p in told} for item, told in found.items()}
        assert all(len(told) == 1 for told in kept.values()), "all are candidates, so the probability is the same"
        expected = {item: 500 * told.pop() for item, told in kept.items()}
        assert sum(expected.values()) == pytest.approx(500)
        counts = Counter({item: len(told) for item, told in found.items()})
        items = sorted(expected)
        assert stats.chisquare([counts[i] for i in items], [expected[i] for i in items]).pvalue > 1e-3


def test_beyond_the_window_weights_by_the_probability_are_unbiased(sqlite_url) -> None:
    """Each item's count, weighted by one over what was recorded, comes to the number of turns."""
    count, turns = WIDE_WINDOW + 30, 300
    with Store.open(sqlite_url()) as store:
        studio = Studio(store, rng=random.Random(4))
        question = studio.ask(count, overlap=1, selector="disagreement", chance_share=0.3)
        add_run(store)
        scores = {item: (n % 10) / 9 for n, item in enumerate(ids_of(studio))}
        weigh(studio, scores)
        found: dict[str, list[float]] = {}
        claim_often(studio, question, turns, found)
        weighted = [(scores[item], 1 / (p * count)) for item, told in found.items() for p in told]
        estimates = [score * weight for score, weight in weighted]
        mean, error = sum(estimates) / turns, (sum(e * e for e in estimates) / turns) ** 0.5 / turns**0.5
        truth = sum(scores.values()) / count
        assert abs(mean - truth) < 4 * error
        assert sum(score for score, _ in weighted) / turns > truth + 0.2, "unweighted it would be far off"


def test_the_weights_of_judgments_are_what_their_showings_say(studio: Studio) -> None:
    question = studio.ask(5, overlap=1, selector="thompson")
    add_run(studio.store)
    weigh(studio, {item: (n + 1) / 5 for n, item in enumerate(ids_of(studio))})
    ann = studio.rater("ann")
    studio.work_through(ann, question)
    with studio.store.reading() as connection:
        found = studio_weights(connection)
    told = [1 / (one.probability * one.eligible) for one in studio.rows(showings)]
    assert sorted(found.values()) == pytest.approx(sorted(told))
    assert set(found) == {stored.id for stored in studio.store.feedback()}


def test_new_scores_take_the_place_of_old_ones_and_a_half_done_change_can_be_done_again(studio: Studio) -> None:
    question = studio.ask(6, overlap=1)
    ids = ids_of(studio)
    add_run(studio.store)
    add_run(studio.store, "weigh-2")
    weigh(studio, dict.fromkeys(ids, 0.3))
    weigh(studio, dict.fromkeys(ids[:2], 0.9), "weigh-2")  # and was killed here
    weigh(studio, dict.fromkeys(ids[:4], 0.9), "weigh-2")
    while studio.store.write(lambda c: item_scores.forget_others(c, "weigh-2", 1)):
        pass
    with studio.store.reading() as connection:
        kept = {r.item_id: (r.run_id, r.gap) for r in connection.execute(scores_table.select())}
        assert item_scores.looked_at(connection, question) == 4
    assert kept == dict.fromkeys(ids[:4], ("weigh-2", 0.9))
