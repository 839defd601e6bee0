"""Groups of raters: told apart from noise, compared on one scale, weighted to a population; items for another round."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from populations import HONEST, Team, scored
from scipy import stats

from heed.errors import DataError
from heed.raters.contested import contested_items
from heed.raters.fellows import fit_fellows
from heed.raters.groups import PARTED, group_codes, group_scales, on_one_scale, parted_items, parting_of
from heed.raters.judged import judged_of, pairs_of
from heed.raters.population import reweighted, weighted_share
from heed.raters.trust import trust_of

TEN = dict(zip([f"r{n}" for n in range(10)], ["east", "west"] * 5, strict=True))


def parted(team: Team, seed: int, groups: dict[str, str] = TEN):
    answers = team.answers(seed)
    judged = judged_of(answers)
    pairs = pairs_of(judged)
    group, names = group_codes(judged.raters, groups)
    return answers, judged, group, names, parting_of(judged, pairs, fit_fellows(judged, pairs), group, names, seed)


def test_groups_that_mean_nothing_part_as_seldom_as_is_stated():
    p = [parted(Team(HONEST, items=150), seed)[-1].p for seed in range(60)]
    assert stats.binomtest(sum(one <= PARTED for one in p), 60, PARTED, alternative="greater").pvalue > 1e-3
    assert stats.binomtest(sum(one <= 0.2 for one in p), 60, 0.2, alternative="greater").pvalue > 1e-3


def test_a_group_of_careless_people_does_not_part_from_the_careful():
    """They agree less with everybody, among themselves too: that is error, and no opinion."""
    careless = (0.9, 0.3) * 5
    found = [parted(Team(careless, items=300), seed)[-1] for seed in range(12)]
    assert sum(one.parted for one in found) <= 1


def test_groups_of_opposed_opinions_part_and_their_disagreement_counts_against_nobody():
    team = Team(HONEST, items=400, opinion=(0, 1) * 5, gold=8)
    *_, parting = parted(team, 0)
    assert parting.parted
    assert parting.inside.estimate > 0.5 > parting.across.estimate
    trust = trust_of(team.answers(0), TEN)
    assert not any(one.flags for one in trust.raters.values())
    assert min(one.weight for one in trust.raters.values()) > 0.05
    alone = trust_of(team.answers(0), {})
    # Without the groups one camp seems to say the opposite.
    assert sum(one.agreement.estimate is None or one.agreement.estimate < 0 for one in alone.raters.values()) >= 5


def test_shares_inside_and_across_are_counted_as_they_are():
    answers, judged, group, _, parting = parted(Team(HONEST, items=80), 3)
    said = {(int(u), int(r)): v for u, r, v in zip(judged.unit, judged.rater, judged.said, strict=True)}
    same = {True: [], False: []}
    for unit in {u for u, _ in said}:
        raters = [r for u, r in said if u == unit]
        for i in raters:
            for j in raters:
                if i < j:
                    same[bool(group[i] == group[j])].append(said[unit, i] == said[unit, j])
    assert parting.inside.estimate == pytest.approx(np.mean(same[True]))
    assert parting.across.estimate == pytest.approx(np.mean(same[False]))
    assert answers.size == judged.size


@pytest.mark.parametrize("groups", [{}, {"r0": "east"}, dict.fromkeys(TEN, "east"), {"r0": "east", "r1": "west"}])
def test_too_few_to_say_whether_groups_part_is_said(groups):
    *_, parting = parted(Team(HONEST, items=50), 0, groups)
    assert (parting.p, parting.parted) == (None, False)
    assert parting.reason


def test_items_on_which_groups_part_are_those_on_which_they_do():
    """Twenty items of two hundred on which one group sees the opposite; each judged by all."""
    team = Team((0.95,) * 10, items=200, overlap=10, spread=np.inf)
    answers = team.answers(1)
    away = (answers.item < 20) & (answers.rater % 2 == 1)
    answers.units.value[away] = 1 - answers.units.value[away]
    judged = judged_of(answers)
    group, names = group_codes(judged.raters, TEN)
    found = parted_items(judged, answers.items, answers.places, group, names, most=200)
    sure = [one.item for one in found if one.sure]
    assert {f"i{n}" for n in range(20)} <= set(sure)
    assert len(sure) <= 25  # a tenth of them may be false
    first = found[0]
    assert first.difference == pytest.approx(abs(first.groups[0][2] - first.groups[1][2]))
    assert [name for name, _, _ in first.groups] == ["east", "west"]
    assert sum(n for _, n, _ in first.groups) == 10


def ratings(shift: float, stretch: float):
    """Two groups of three rate the same 300 things; the second higher and wider."""
    rng = np.random.default_rng(0)
    truth, item = rng.normal(size=300), np.tile(np.arange(300), 6)
    rater = np.repeat(np.arange(6), 300)
    values = truth[item] + rng.normal(0, 0.3, item.size)
    values = np.where(rater >= 3, shift + stretch * values, values)
    return values, scored(values, item, rater), rater


def test_a_group_that_rates_higher_and_wider_is_measured_and_can_be_put_on_one_scale():
    values, answers, rater = ratings(0.7, 1.5)
    judged = judged_of(answers)
    group, names = group_codes(judged.raters, {f"r{n}": "low" if n < 3 else "high" for n in range(6)})
    found = {one.group: one for one in group_scales(judged, group, names)}
    assert found["high"].shift.estimate == pytest.approx(0.7, abs=0.1)
    assert found["high"].shift.low < 0.7 < found["high"].shift.high
    assert found["high"].stretch == pytest.approx(1.5, abs=0.1)
    assert found["low"].shift.estimate == pytest.approx(-found["high"].shift.estimate)
    moved = on_one_scale(values, group[rater], {names.index("high"): found["high"]})
    low, high = moved[rater < 3], moved[rater >= 3]
    assert high.mean() == pytest.approx(low.mean(), abs=0.05)
    assert high.std() == pytest.approx(low.std(), abs=0.08)
    assert (moved[rater < 3] == values[rater < 3]).all()


# A target population


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 40), min_size=2),
    st.lists(st.floats(0.05, 1), min_size=4, max_size=4),
)
def test_weighted_answers_stand_in_the_shares_of_the_target(counts, shares):
    target = dict(zip(sorted(counts), shares, strict=False))
    target = {name: share / sum(target.values()) for name, share in target.items()}
    groups = [name for name, count in counts.items() for _ in range(count)]
    found = reweighted(groups, target)
    weights = np.array([found.weights[name] for name in groups])
    assert weights.mean() == pytest.approx(1.0)
    for name, share in target.items():
        assert weights[np.array(groups) == name].sum() / weights.sum() == pytest.approx(share)
    assert found.effective == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert found.effective <= len(groups) + 1e-9


def test_a_weighted_share_is_that_of_the_population_and_its_interval_covers_it():
    """A tenth of the answers stands for half of the people; 400 samples."""
    rng, target, truth = np.random.default_rng(0), {"rare": 0.5, "common": 0.5}, 0.5 * 0.8 + 0.5 * 0.3
    groups = ["rare"] * 20 + ["common"] * 180
    hits, estimates = 0, []
    for _ in range(400):
        outcomes = np.concatenate([rng.random(20) < 0.8, rng.random(180) < 0.3]).astype(float)
        found = weighted_share(outcomes, groups, target)
        hits += found.low <= truth <= found.high
        estimates.append(found.estimate)
    assert np.mean(estimates) == pytest.approx(truth, abs=0.01)
    assert 0.92 <= hits / 400 <= 0.985


@pytest.mark.parametrize(
    ("groups", "target", "told"),
    [
        (["a"], {"a": 0.5, "b": 0.5}, "group 'b' of the target"),
        (["a", "c"], {"a": 1.0}, "group 'c'"),
        (["a"], {"a": 0.7}, "no shares that sum to 1"),
        (["a"], {}, "nothing"),
        (["a", "b"], {"a": 1.5, "b": -0.5}, "no shares"),
    ],
)
def test_a_target_that_nobody_can_stand_for_is_refused(groups, target, told):
    with pytest.raises(DataError, match=told):
        reweighted(groups, target)


def test_a_group_that_is_to_be_left_out_counts_nothing():
    assert reweighted(["a", "b"], {"a": 1.0, "b": 0.0}).weights == {"a": 2.0, "b": 0.0}


# Another round


def test_items_of_two_minds_come_before_those_that_all_agree_on_and_settled_ones_do_not_come():
    answers = Team((1.0,) * 4, items=40, overlap=4, spread=np.inf).answers(0)
    split = (answers.item < 5) & (answers.rater < 2)
    answers.units.value[split] = 1 - answers.units.value[split]
    judged = judged_of(answers)
    found = contested_items(answers, judged, np.ones(4), TEN, settled=["i0"], most=40)
    assert {one.item for one in found[:4]} == {"i1", "i2", "i3", "i4"}
    assert "i0" not in {one.item for one in found}
    assert found[0].open == pytest.approx(1.0)
    assert found[0].judged_by == ("r0", "r1", "r2", "r3")
    assert found[0].missing == ()
    assert found[-1].open < 0.5


def test_who_is_not_reliable_does_not_make_an_item_contested():
    answers = Team((1.0,) * 3, items=2, overlap=3, spread=np.inf).answers(0)
    answers.units.value[(answers.rater == 2) & (answers.item == 0)] += 1
    answers.units.value[:] %= 2
    judged = judged_of(answers)
    trusted = contested_items(answers, judged, np.array([1.0, 1.0, 1.0]), {})
    doubted = contested_items(answers, judged, np.array([1.0, 1.0, 0.0]), {})
    openness = {one.item: one.open for one in trusted}
    assert openness["i0"] > openness["i1"]
    assert {one.item: one.open for one in doubted}["i0"] == pytest.approx({one.item: one.open for one in doubted}["i1"])


def test_scores_are_contested_as_far_as_they_lie_apart():
    values = np.array([1.0, 1.0, 1.2, 1.0, 3.0, 5.0])
    answers = scored(values, np.repeat([0, 1], 3), np.tile([0, 1, 2], 2), tolerance=0.4)
    found = contested_items(answers, judged_of(answers), np.ones(3), {"r0": "a", "r1": "a", "r2": "a", "x": "b"})
    assert [one.item for one in found] == ["i1", "i0"]
    assert found[0].missing == ("b",)
