"""Reliability: recovered from what raters answer, with intervals that cover the truth as often as they say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from populations import HONEST, Team, labelled, scored
from scipy import stats
from scipy.optimize import check_grad, minimize

from heed.raters import joint
from heed.raters.agreement import undefined
from heed.raters.columns import AnswerColumns
from heed.raters.duels import Duels, shared_sides
from heed.raters.fellows import direction_of, fit_fellows
from heed.raters.judged import judged_of, pairs_of
from heed.raters.reliability import (
    agreement_reliability,
    chance_of,
    combined,
    error_of,
    estimates_of,
    gold_reliability,
    known_outcomes,
)

MIXED = (0.9, 0.8, 0.8, 0.7, 0.6, 0.5, 0.4, 0.0, -0.6, 0.9)


def estimated(team, seed):
    answers = team.answers(seed)
    judged = judged_of(answers)
    fellows = fit_fellows(judged, pairs_of(judged))
    return estimates_of(answers, judged, fellows)


def covered(found, truth):
    return [one.low <= r <= one.high for one, r in zip(found, truth, strict=True) if one.low is not None]


def test_the_products_have_the_mean_that_the_model_states():
    """E[y_ij] = r_i r_j where the truth is never in doubt: all pairs of 40,000 items, against the plain formula."""
    team = Team((0.9, 0.6, 0.3, -0.5), items=40_000, overlap=4, spread=np.inf)
    judged = judged_of(team.answers(1))
    pairs = pairs_of(judged)
    i, j = judged.rater[pairs.one], judged.rater[pairs.other]
    for one, other in itertools.combinations(range(4), 2):
        mine = (i == one) & (j == other)
        expected = team.reliability[one] * team.reliability[other]
        assert pairs.product[mine].mean() == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("shares", [(0.5, 0.3, 0.2), (0.8, 0.1, 0.1)])
def test_products_of_labels_are_reliabilities_whatever_is_common(shares):
    """Who knows says the truth, who does not guesses a name as often as it comes: the mean product is r_i r_j."""
    rng, size = np.random.default_rng(0), 60_000
    truth = rng.choice(3, size, p=shares)
    reliability = (0.8, 0.5, 0.0)
    labels = [np.where(rng.random(size) < r, truth, rng.choice(3, size, p=shares)) for r in reliability]
    item = np.tile(np.arange(size), 3)
    judged = judged_of(labelled(np.concatenate(labels), item, np.repeat(np.arange(3), size), ["x", "y", "z"]))
    pairs = pairs_of(judged)
    i, j = judged.rater[pairs.one], judged.rater[pairs.other]
    for one, other in itertools.combinations(range(3), 2):
        found = pairs.product[(i == one) & (j == other)].mean()
        assert found == pytest.approx(reliability[one] * reliability[other], abs=0.03)


def test_products_of_scores_are_correlations_whatever_scale_a_rater_uses():
    rng, size = np.random.default_rng(0), 4_000
    truth = rng.normal(size=size)
    scores = np.concatenate([truth, 3 + 2 * truth, 10 - truth, np.full(size, 4.0)])
    judged = judged_of(scored(scores, np.tile(np.arange(size), 4), np.repeat(np.arange(4), size)))
    pairs = pairs_of(judged)
    i, j = judged.rater[pairs.one], judged.rater[pairs.other]
    means = {(a, b): pairs.product[(i == a) & (j == b)].mean() for a, b in itertools.combinations(range(4), 2)}
    assert means[0, 1] == pytest.approx(1.0, abs=0.03)
    assert means[0, 2] == pytest.approx(-1.0, abs=0.03)
    assert means[0, 3] == 0.0  # the same score for everything says nothing


def test_agreement_is_corrected_for_how_reliable_the_others_are():
    """Plain agreement would put the best of a bad team behind the worst of a good one."""
    team = Team((0.9, 0.9, 0.9, 0.3, 0.3, 0.3), items=4_000, spread=np.inf)
    found = [one.estimate for one in estimated(team, 2).agreement]
    assert found == pytest.approx(team.reliability, abs=0.08)


def test_least_squares_are_least():
    """The fit against a general minimiser of the same sum of squares."""
    judged = judged_of(Team(HONEST, items=200).answers(0))
    pairs = pairs_of(judged)
    i, j = judged.rater[pairs.one], judged.rater[pairs.other]
    best = minimize(lambda r: float(((pairs.product - r[i] * r[j]) ** 2).sum()), np.full(10, 0.7), tol=1e-12)
    assert fit_fellows(judged, pairs).reliability == pytest.approx(best.x, abs=1e-3)


def test_gold_is_wilsons_interval_less_chance():
    answers = Team((1.0, 0.5, -1.0), items=3, gold=40).answers(1)
    judged = judged_of(answers)
    gold, met = known_outcomes(answers)
    for code, one in enumerate(gold_reliability(answers, judged)):
        right = int(met[gold & (answers.rater == code)].sum())
        interval = stats.binomtest(right, 40).proportion_ci(method="wilson")
        assert one.estimate == pytest.approx(2 * right / 40 - 1)
        assert (one.low, one.high) == pytest.approx((2 * interval.low - 1, 2 * interval.high - 1))


def test_chance_of_labels_is_how_often_two_are_equal_and_of_scores_how_often_they_are_near():
    labels = np.array([0, 0, 0, 1])
    judged = judged_of(labelled(labels, np.arange(4), np.zeros(4, int), ["x", "y"]))
    assert chance_of(judged, "q") == pytest.approx(0.75**2 + 0.25**2)
    scores = np.array([1.0, 1.0, 2.0, 5.0])
    near = np.mean([[abs(x - y) <= 1.0 for x in scores] for y in scores])
    assert chance_of(judged_of(scored(scores, np.arange(4), np.zeros(4, int), 1.0)), "q") == pytest.approx(near)


@pytest.mark.parametrize(
    ("repeats", "slack"), [(20, 0.06), pytest.param(200, 0.02, marks=pytest.mark.slow)], ids=["quick", "whole"]
)
@pytest.mark.parametrize(("spread", "bases"), [(np.inf, ("gold", "agreement")), (3.0, ("gold", "joint"))])
def test_intervals_cover_the_truth(spread, bases, repeats, slack):
    """95 % intervals of ten reliabilities, from 300 pairs judged by three each and 20 known ones, in 95 % of cases.

    By agreement reliability is that for things as hard to tell as these, which is the rater's own where no truth is in doubt; the
    joint model tells the two apart.
    """
    team = Team(MIXED, spread=spread, gold=20)
    hits = {name: [] for name in bases}
    for seed in range(repeats):
        found = estimated(team, seed)
        for name, kept in hits.items():
            kept += covered(getattr(found, name), MIXED)
    for name, kept in hits.items():
        assert len(kept) == repeats * len(MIXED), name
        assert np.mean(kept) == pytest.approx(0.95, abs=slack), name


# Which way is up


def test_a_minority_that_says_the_opposite_is_found_without_gold():
    found = estimated(Team((0.9,) * 7 + (-0.9,) * 3), 0)
    assert set(found.direction) == {"majority"}
    assert [one.high < 0 for one in found.agreement] == [False] * 7 + [True] * 3


def test_a_majority_that_says_the_opposite_is_found_by_gold_and_not_guessed_without():
    liars = (0.9,) * 4 + (-0.9,) * 6
    known = estimated(Team(liars, gold=10), 0)
    assert set(known.direction) == {"gold"}
    assert [one.estimate > 0 for one in known.agreement] == [r > 0 for r in liars]
    assert [one.estimate > 0 for one in known.joint] == [r > 0 for r in liars]
    unknown = estimated(Team(liars), 0)
    assert set(unknown.direction) == {"unidentifiable"}
    for one in (*unknown.agreement, *unknown.joint):
        assert (one.estimate, one.why) == (None, "no_direction")
    # What could not be checked counts against nobody.
    assert set(combined(unknown.gold, unknown.agreement).weight) == {1.0}


def test_of_two_nobody_can_say_who_is_reliable():
    found = estimated(Team((0.9, 0.1), overlap=2), 0)
    assert [one.why for one in found.agreement] == ["two_raters", "two_raters"]


def test_two_sides_that_only_meet_each_other_tell_nothing_of_either():
    """Ann and Bob were only compared with Cy and Dee: twice as reliable ones here and half as reliable ones there fit too."""
    rng = np.random.default_rng(0)
    item = np.repeat(np.arange(400), 2)
    rater = np.stack([rng.integers(0, 2, 400), rng.integers(2, 4, 400)], axis=1).ravel()
    judged = judged_of(labelled(rng.integers(0, 2, 800), item, rater, ["a", "b"]))
    assert not fit_fellows(judged, pairs_of(judged)).known.any()


def test_signs_are_decided_camp_by_camp():
    first, second = Team((0.9, 0.9, 0.8)).answers(0), Team((0.9, 0.9, -0.8)).answers(1)
    item = np.concatenate([first.item, second.item + 300])
    rater = np.concatenate([first.rater, second.rater + 3])
    judged = judged_of(
        labelled(np.concatenate([first.units.value, second.units.value]), item, rater, ["a", "b", "tie"])
    )
    fellows = fit_fellows(judged, pairs_of(judged))
    assert len(set(fellows.camp.tolist())) == 2
    nothing = np.full(6, np.nan)
    assert direction_of(fellows, np.arange(3), nothing) == ("majority", 1)
    assert direction_of(fellows, np.arange(3, 6), nothing) == ("majority", 1)
    agreement, _ = agreement_reliability(judged, fellows, [undefined("nothing", "none", "gold")] * 6)
    assert agreement[5].high < 0 < agreement[2].low


# The joint model


def duels(team, seed):
    answers = team.answers(seed)
    judged = judged_of(answers)
    camp = np.zeros(len(answers.raters), np.int64)
    return Duels.of(answers, judged, shared_sides(judged, camp), camp)


def test_the_slopes_of_the_joint_model_are_those_of_its_likelihood():
    """Every pair's score by every share and by the spread, against finite differences of the summed log-likelihood."""
    d = duels(Team((0.9, 0.5, -0.3), items=30, ties=0.2), 1)
    rows = joint._sorted(d.pair, d.first_left, d.outcome, d.rater, d.gold, 3)
    nodes, base = joint._nodes()

    def unpack(x):
        free = x[:9].reshape(3, 3)
        return np.concatenate([free, 1 - free.sum(axis=1, keepdims=True)], axis=1), np.exp(x[9])

    def loglik(x):
        ways, spread = unpack(x)
        logs = joint._logs(joint._tables(ways, spread * nodes))
        total = base + rows.counts @ logs
        return float(np.logaddexp.reduce(total, axis=1).sum())

    def slopes(x):
        ways, spread = unpack(x)
        tables = joint._tables(ways, spread * nodes)
        weights = rows.weights(joint._logs(tables), base)
        scores = joint._scores(rows, tables, ways, weights, spread * nodes)
        return np.asarray(scores.sum(axis=0)).ravel()

    x = np.array([0.6, 0.1, 0.2, 0.4, 0.3, 0.1, 0.25, 0.25, 0.25, 0.4])
    assert check_grad(loglik, slopes, x) < 1e-4


def test_a_left_bias_is_told_apart_from_unreliability():
    team = Team((0.9, 0.9, 0.8, 0.8, 0.9), items=3_000, spread=np.inf, left={4: 0.5})
    d = duels(team, 0)
    found = joint.joint_model(d.pair, d.first_left, d.outcome, d.rater, d.gold, np.ones(5), 5)
    bias = found.ways[:, joint.LEFT] - found.ways[:, joint.RIGHT]
    assert bias[4] == pytest.approx(0.5, abs=0.1)
    assert np.abs(bias[:4]).max() < 0.1
    assert found.reliability[4] == pytest.approx(0.45, abs=0.12)


def test_pairs_with_few_answers_make_nobody_look_more_reliable_than_they_are():
    """Scores fitted to three answers a pair call somebody who tosses coins half reliable; summed out they do not."""
    team = Team((0.9, 0.8, 0.8, 0.7, 0.0), items=1_000, spread=np.inf)
    d = duels(team, 3)
    found = joint.joint_model(d.pair, d.first_left, d.outcome, d.rater, d.gold, np.ones(5), 5)
    assert found.reliability[4] == pytest.approx(0.0, abs=0.12)


# What it comes to


def interval(estimate, error):
    found = undefined("nothing", "none", "a test")
    if estimate is None:
        return found
    values = {"estimate": estimate, "low": estimate - 1.96 * error, "high": estimate + 1.96 * error, "n": 9}
    return found.model_copy(update=values | {"reason": None, "why": None})


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(-0.9, 0.9), st.floats(0.02, 0.5)), min_size=1, max_size=4))
def test_what_was_not_checked_counts_as_is_usual_and_what_was_moves_with_its_precision(known):
    gold = [interval(estimate, error) for estimate, error in known] + [interval(None, 1)]
    nothing = [interval(None, 1)] * len(gold)
    found = combined(gold, nothing)
    assert found.reliability[-1] == pytest.approx(found.usual)
    for (estimate, error), r, weight in zip(known, found.reliability, found.weight, strict=False):
        assert error_of(interval(estimate, error)) == pytest.approx(error, rel=1e-3)
        precision, prior = 1 / error**2, 1 / 0.3**2  # of a team of fewer than five
        assert r == pytest.approx((precision * estimate + prior * 0.6) / (precision + prior), rel=1e-3, abs=1e-3)
        assert weight == pytest.approx(max(r, 0) ** 2)


def test_two_bases_are_averaged_by_their_precision():
    found = combined([interval(0.8, 0.1)], [interval(0.4, 0.2)])
    precisions = np.array([1 / 0.1**2, 1 / 0.2**2, 1 / 0.3**2])
    assert found.reliability[0] == pytest.approx(precisions @ [0.8, 0.4, 0.6] / precisions.sum(), rel=1e-3)
    assert found.error[0] == pytest.approx(precisions.sum() ** -0.5, rel=1e-3)


def test_nothing_at_all_is_told_of_nobody():
    answers = AnswerColumns().answers()
    judged = judged_of(answers)
    found = estimates_of(answers, judged, fit_fellows(judged, pairs_of(judged)))
    assert (found.gold, found.agreement, found.joint, found.direction) == ((), (), (), ())
