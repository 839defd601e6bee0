"""Token buckets against an account of the same kept by hand."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from townsfolk import NOON, later

from heed.errors import LimitError
from heed.feedback.store import Store
from heed.people import limits


def tries(store: Store, moments, capacity=3, refill=0.1, bucket="door") -> list[bool]:
    passed = []
    for moment in moments:
        try:
            store.write(lambda c, moment=moment: limits.take(c, bucket, capacity, refill, moment))
            passed.append(True)
        except LimitError:
            passed.append(False)
    return passed


def test_as_many_as_it_holds_at_once_and_then_one_for_each_refill(store):
    assert tries(store, [NOON] * 5) == [True, True, True, False, False]
    assert tries(store, [later(seconds=9.9), later(seconds=10.1), later(seconds=10.2)]) == [False, True, False]


def test_it_never_holds_more_than_its_capacity(store):
    assert tries(store, [NOON]) == [True]
    assert tries(store, [later(days=30)] * 4) == [True, True, True, False]


def test_a_clock_set_back_neither_fills_nor_empties_it(store):
    assert tries(store, [NOON, NOON, later(hours=-5)]) == [True, True, True]
    assert tries(store, [later(hours=-5), later(hours=-5, seconds=11)]) == [False, True]


def test_the_error_says_when_to_come_back(store):
    tries(store, [NOON] * 3)
    with pytest.raises(LimitError, match="in 10 s"):
        store.write(lambda c: limits.take(c, "door", 3, 0.1, NOON))


def test_what_was_in_order_can_be_given_back(store):
    tries(store, [NOON] * 3)
    store.write(lambda c: limits.give_back(c, "door", 3, 0.1, NOON))
    assert tries(store, [NOON, NOON]) == [True, False]


def test_buckets_are_apart_and_names_of_them_hide_who_it_was(store):
    tries(store, [NOON] * 3)
    assert tries(store, [NOON], bucket="window") == [True]
    name = limits.bucket_name("sign-in", "ann\ud800" * 500)
    assert len(name) < 128
    assert "ann" not in name
    with pytest.raises(ValueError, match="128"):
        tries(store, [NOON], bucket="x" * 129)


def test_over_a_long_time_no_more_pass_than_the_rate_allows(store):
    rng = random.Random(5)
    moments, clock = [], NOON
    for _ in range(150):
        clock += timedelta(seconds=rng.expovariate(0.5))
        moments.append(clock)
    assert sum(tries(store, moments)) <= 3 + 0.1 * (moments[-1] - moments[0]).total_seconds() + 1


def test_at_once_from_many_threads_exactly_the_capacity_passes(store):
    def one(_):
        return tries(store, [NOON], capacity=5)[0]

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(24))) == 5


def test_unused_buckets_are_forgotten(store):
    tries(store, [NOON])
    assert store.write(lambda c: limits.forget(c, later(hours=23))) == 0
    assert store.write(lambda c: limits.forget(c, later(hours=25))) == 1


def test_an_empty_bucket_fills_again_after_the_clock_was_set_back(store):
    assert tries(store, [NOON] * 4) == [True, True, True, False]
    assert tries(store, [later(hours=-5), later(hours=-5), later(hours=-5, seconds=11)]) == [True, False, True]


def test_clocks_that_differ_a_little_give_nothing_away(store):
    assert tries(store, [NOON] * 3) == [True] * 3
    assert tries(store, [later(seconds=-3), NOON, later(seconds=-3)]) == [False] * 3
