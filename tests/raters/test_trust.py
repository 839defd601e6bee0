"""Flags: each fault is found where there is enough to see, and honest teams are suspected no more often than is stated."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from populations import HONEST, Team
from scipy import stats

from heed.raters import copying, drift
from heed.raters.columns import Answers
from heed.raters.concerns import concerns_of
from heed.raters.copying import copying_of, suspected
from heed.raters.drift import drifts_of, patterns_of
from heed.raters.fellows import fit_fellows
from heed.raters.judged import judged_of, pairs_of
from heed.raters.simulated import SimulatedRater
from heed.raters.statistics import rater_statistics
from heed.raters.testing import LEVEL, benjamini_hochberg, holm
from heed.raters.trust import Trust, trust_of
from heed.sandbox.crowd import Work, crowd_answers, worth

KINDS = ("inverted", "chance", "copying", "one_person", "drift", "pattern")


def flagged(trust: Trust) -> dict[str, set[str]]:
    """Names by kind of flag."""
    return {
        kind: {name for name, one in trust.raters.items() if any(flag.kind == kind for flag in one.flags)}
        for kind in KINDS
    }


def crowd(seed: int, **kinds: int) -> list[SimulatedRater]:
    return [
        SimulatedRater(f"{kind}-{n}", kind, worth, seed=seed)  # type: ignore[arg-type]
        for kind, count in kinds.items()
        for n in range(count)
    ]


# Honest teams


HONEST_TEAMS: dict[str, Callable[[int], Answers]] = {
    "careful and less careful": Team(HONEST * 2, items=600).answers,
    "hard items": Team(HONEST, items=500, spread=1.5, ties=0.1).answers,
    "many answers an item": Team(HONEST, items=200, overlap=6).answers,
    "two camps of opinion": Team(HONEST * 2, items=600, opinion=(0, 1) * 10).answers,
}


def as_stated(false: int, repeats: int) -> bool:
    """Whether a count of false alarms may come of a rate of 5 %: more would be seen by an exact binomial test."""
    return bool(stats.binomtest(false, repeats, LEVEL, alternative="greater").pvalue > 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("team", HONEST_TEAMS)
def test_honest_teams_are_suspected_as_seldom_as_is_stated(team: str) -> None:
    """A flag of one kind against anybody in at most 5 % of 200 honest teams.

    Of the two camps nobody may be called inverted: they are equally strong, and nothing says which is right.
    """
    false = dict.fromkeys(KINDS, 0)
    for seed in range(200):
        for kind, names in flagged(trust_of(HONEST_TEAMS[team](seed), {})).items():
            false[kind] += bool(names)
    assert {kind: count for kind, count in false.items() if not as_stated(count, 200)} == {}


def test_honest_teams_are_seldom_suspected_of_copying_drift_or_patterns() -> None:
    """As above, of the tests that look at pairs, time and sides, in 60 teams."""
    false = dict.fromkeys(("copying", "drift", "pattern"), 0)
    for seed in range(60):
        answers = HONEST_TEAMS["careful and less careful"](seed)
        judged = judged_of(answers)
        pairs = pairs_of(judged)
        false["copying"] += bool(copying_of(answers, judged, pairs).found)
        false["drift"] += bool(drifts_of(judged, pairs, fit_fellows(judged, pairs)))
        false["pattern"] += bool(patterns_of(answers))
    assert {kind: count for kind, count in false.items() if not as_stated(count, 60)} == {}


def test_honest_simulated_raters_are_seldom_careless() -> None:
    """Each bound lies beyond a 95 % interval: of 200 careful raters at most one in forty looks careless by any of them."""
    careless = 0
    for seed in range(10):
        answers = crowd_answers(crowd(seed, careful=20), Work(items=300), seed)
        concerns = concerns_of(rater_statistics(answers, {}, {}))
        careless += sum(any(one.concern != "agreement" for one in its) for its in concerns.values())
    assert stats.binomtest(careless, 200, 0.025, alternative="greater").pvalue > 1e-3


# Each fault


def test_who_says_the_opposite_and_who_tosses_a_coin_are_told_apart() -> None:
    trust = trust_of(Team((*[0.9] * 10, 0.0, -0.8), items=900, gold=12).answers(0), {})
    found = {kind: names for kind, names in flagged(trust).items() if names}
    assert found == {"inverted": {"r11"}, "chance": {"r10"}}
    assert trust.raters["r11"].suggestion == "exclude"
    assert trust.raters["r11"].verdict == "against"
    assert trust.raters["r10"].verdict in ("chance", "low")
    assert trust.raters["r0"].verdict == "high"
    assert trust.raters["r11"].weight == 0.0


def test_who_disagrees_with_everybody_is_not_to_be_excluded_as_long_as_no_gold_says_so() -> None:
    trust = trust_of(Team((*[0.9] * 9, -0.9), items=600).answers(0), {})
    assert flagged(trust)["inverted"] == {"r9"}
    assert trust.raters["r9"].suggestion == "look"


def test_two_who_copy_are_named_and_lend_each_other_no_reliability() -> None:
    team = Team((0.9,) * 12, items=1500, overlap=4, rings=((2, 3),))
    answers = team.answers(0)
    trust = trust_of(answers, {})
    assert flagged(trust)["copying"] == {"r2", "r3"}
    (pair,) = trust.alike
    assert {pair.first, pair.second} == {"r2", "r3"}
    assert pair.same > pair.expected + 3 * (pair.items / 4) ** 0.5
    # Their ring tosses coins: with each other left out they are as unreliable as they are.
    assert trust.raters["r2"].agreement.high is not None
    assert trust.raters["r2"].agreement.high < 0.35
    judged = judged_of(answers)
    pairs = pairs_of(judged)
    left_out = suspected(judged, pairs, copying_of(answers, judged, pairs))
    assert {
        frozenset(c) for c in zip(judged.rater[pairs.one][left_out], judged.rater[pairs.other][left_out], strict=True)
    } == {frozenset((2, 3))}


def test_a_ring_of_four_is_found_although_they_lend_each_other_reliability() -> None:
    trust = trust_of(Team((0.9,) * 12, items=1500, overlap=4, rings=((2, 3, 4, 5),)).answers(1), {})
    assert flagged(trust)["copying"] == {"r2", "r3", "r4", "r5"}


def test_who_gets_worse_is_named_with_the_time_and_both_levels() -> None:
    answers = Team((0.9,) * 10, items=1500, drifting=(1,)).answers(0)
    trust = trust_of(answers, {})
    assert flagged(trust)["drift"] == {"r1"}
    (flag,) = trust.raters["r1"].flags
    mine = np.sort(answers.created[answers.rater == 1])
    assert flag.since is not None
    assert mine[int(0.4 * mine.size)] < flag.since < mine[int(0.6 * mine.size)]
    assert flag.expected - flag.value > 0.4


def test_sides_in_a_pattern_are_told_and_one_side_alone_is_another_concern() -> None:
    answers = Team((0.9,) * 4, items=200).answers(0)
    mine = np.flatnonzero(answers.rater == 0)
    answers.left[mine] = np.arange(mine.size) % 2
    answers.left[answers.rater == 1] = 1
    assert [one.rater for one in patterns_of(answers)] == ["r0"]


def test_second_accounts_of_one_person_are_told_by_their_hours() -> None:
    def look(accounts: dict[str, str] | None) -> Trust:
        raters = crowd(5, careful=6, colluding=2)
        for one in raters[-2:]:
            one.share = 1.0
        return trust_of(crowd_answers(raters, Work(items=600, overlap=4, accounts=accounts), 5), {})

    both = {"colluding-0", "colluding-1"}
    person, friends = look({"colluding-1": "colluding-0"}), look(None)
    assert flagged(person)["one_person"] == both
    assert flagged(friends)["one_person"] == set()
    assert flagged(friends)["copying"] == both
    (pair,) = person.alike
    assert pair.clashes is not None
    assert pair.usual_clashes is not None
    assert pair.clashes < 3 < 30 < pair.usual_clashes


@pytest.mark.parametrize("seed", range(3))
def test_simulated_faults_are_worth_less_than_care(seed: int) -> None:
    """What an answer counts, of every behaviour, against careful raters of the same crowd."""
    kinds = {"careful": 12, "noisy": 1, "random": 1, "inverted": 1, "lazy_left": 1, "lazy_long": 1, "flattering": 1}
    trust = trust_of(crowd_answers(crowd(seed, **kinds), Work(items=900, gold=8), seed), {})
    weights = {name: one.weight for name, one in trust.raters.items()}
    least = min(weights[f"careful-{n}"] for n in range(12))
    assert least > 0.6
    for kind in ("noisy", "random", "inverted", "lazy_left", "lazy_long"):
        assert weights[f"{kind}-0"] < least, kind
    assert weights["inverted-0"] == 0.0


# The tests themselves, against closed forms


@given(st.lists(st.integers(0, 200), min_size=1, max_size=12), st.sampled_from([0.0101, 0.0503, 0.1999, 0.6007]))
def test_corrections_for_many_tests_reject_what_their_procedures_reject(hundredths: list[int], level: float) -> None:
    """Holm steps down and stops at the first that stands; Benjamini and Hochberg reject all up to the last that falls."""
    p = [one / 200 for one in hundredths]
    ascending, n = sorted(p), len(p)
    stands = next((k for k, one in enumerate(ascending) if one * (n - k) > level), n)
    assert (holm(np.array(p)) <= level).sum() == stands
    falls = max((k + 1 for k, one in enumerate(ascending) if one * n / (k + 1) <= level), default=0)
    assert (benjamini_hochberg(np.array(p)) <= level).sum() == falls


def test_tests_that_could_not_be_made_do_not_count() -> None:
    found = holm(np.array([0.01, np.nan, 0.04]))
    assert found[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(found[1])


@given(st.integers(1, 40), st.floats(0.5, 9), st.floats(0.5, 9), st.data())
def test_the_tail_of_the_beta_binomial_is_scipys(n: int, a: float, b: float, data: st.DataObject) -> None:
    least = data.draw(st.integers(0, n))
    found = copying._beta_binomial_tail(*(np.array([float(x)]) for x in (least, n, a, b)))
    assert found[0] == pytest.approx(stats.betabinom.sf(least - 1, n, a, b), rel=1e-6, abs=1e-12)


def test_the_highest_point_of_a_bridge_is_as_likely_as_its_closed_form() -> None:
    """P(S > x) = exp(-2 x^2): of 2,000 rows without drift, p-values below 0.1 come in a tenth of them at most."""
    rng = np.random.default_rng(0)
    p = [drift._highest(rng.normal(size=200), np.ones(200))[1] for _ in range(2000)]
    assert 0.05 < np.mean(np.array(p) < 0.1) <= 0.115


def test_runs_have_the_mean_of_all_orders_and_seldom_a_small_p_value() -> None:
    """All orders of 4 left and 5 right; and of 2,000 rows of 40 coin tosses 5 % or fewer have a p-value below 0.05."""
    orders = set(itertools.permutations([1] * 4 + [0] * 5))
    runs = [1 + sum(x != y for x, y in itertools.pairwise(order)) for order in orders]
    expected, _ = drift._runs(np.array([1] * 4 + [0] * 5), 2)
    assert expected == pytest.approx(np.mean(runs))
    rng, small = np.random.default_rng(0), 0
    for _ in range(2000):
        chosen = rng.integers(0, 2, 40)
        small += drift._runs(chosen, 1 + int((np.diff(chosen) != 0).sum()))[1] < 0.05
    assert small <= 120
    assert drift._runs(np.arange(40) % 2, 40)[1] < 1e-6


def test_a_team_of_honest_raters_drifts_together_with_its_items_and_nobody_is_blamed() -> None:
    """From the middle on items are hard for all: everybody agrees less, and that is nobody's drift."""
    first, second = Team((0.9,) * 10, items=500), Team((0.9,) * 10, items=500, spread=0.7)
    one, two = first.answers(0), second.answers(1)
    columns = {
        name: np.concatenate([getattr(one, name), getattr(two, name)]) for name in ("rater", "purpose", "correct")
    }
    columns |= {name: np.concatenate([getattr(one, name), getattr(two, name)]) for name in ("left", "tied", "question")}
    columns["item"] = np.concatenate([one.item, two.item + 500])
    columns["created"] = np.arange(columns["item"].size) * 60.0
    columns["active_seconds"] = np.full(columns["item"].size, 20.0)
    nowhere = np.zeros(columns["item"].size, np.int64)
    value = np.concatenate([one.units.value, two.units.value])
    units = replace(
        one.units, answer=np.arange(value.size), field=nowhere, place=nowhere, value=value, tolerance=0.0 * value
    )
    both = replace(one, **columns, units=units, items=[f"i{n}" for n in range(1000)])
    judged = judged_of(both)
    pairs = pairs_of(judged)
    assert drifts_of(judged, pairs, fit_fellows(judged, pairs)) == ()
