"""GLAD: its gradient, crowd-kit's estimates, and crowds with abilities and difficulties that are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import GLAD
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from crowds import coins, crowd
from heed.raters.glad import Hill, glad
from heed.raters.labels import majority
from heed.raters.votes import Votes

pytestmark = pytest.mark.filterwarnings("ignore:The (inplace|copy) keyword", "ignore:Constructing a DataFrame")


def glad_crowd(
    rng: np.random.Generator, items: int, overlap: int, ability: np.ndarray, ease: np.ndarray, classes: int = 2
) -> tuple[Votes, np.ndarray]:
    """Votes by raters of ``ability`` [raters] on items of ``ease`` [items], and the truth."""
    truth = rng.integers(0, classes, items)
    item = np.repeat(np.arange(items), overlap)
    rater = rng.random((items, ability.size)).argsort(axis=1)[:, :overlap].ravel()
    right = rng.random(item.size) < expit(ability[rater] * ease[item])
    other = (truth[item] + rng.integers(1, classes, item.size)) % classes
    names = ([f"{n:04d}" for n in range(count)] for count in (items, ability.size))
    return Votes(item, rater, np.where(right, truth[item], other), *names, [str(k) for k in range(classes)]), truth


@pytest.mark.parametrize("known", [0, 5])
@pytest.mark.parametrize("classes", [2, 3])
def test_slopes_are_those_of_finite_differences(known: int, classes: int) -> None:
    rng = np.random.default_rng(0)
    votes, truth = glad_crowd(rng, 20, 4, rng.normal(1, 1, 7), np.exp(rng.normal(0, 1, 20)), classes)
    hill = Hill(votes, np.where(np.arange(20) < known, truth, -1))
    ability, log_ease, prior = rng.normal(0.5, 0.7, 7), rng.normal(0.5, 0.7, 20), rng.dirichlet(np.ones(classes))
    place = hill.place(ability, log_ease, prior)

    def difference(step: np.ndarray) -> float:
        ends = [hill.place(ability + side * step[:7], log_ease + side * step[7:], prior).height for side in (1, -1)]
        return (ends[0] - ends[1]) / 2e-5

    expected = [difference(step) for step in np.eye(27) * 1e-5]
    found = np.concatenate([hill.slope_in_ability(place)[0], hill.slope_in_ease(place)[0]])
    assert found == pytest.approx(np.array(expected), abs=1e-6)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_every_step_leads_up_and_the_top_is_flat(seed: int) -> None:
    rng = np.random.default_rng(seed)
    votes, _ = glad_crowd(rng, 25, 5, rng.normal(1, 3, 6), np.exp(rng.normal(1, 2, 25)))
    hill = Hill(votes, np.full(25, -1))
    heights = [hill.climb(hill.starts()[0], steps, 0.0)[0].height for steps in range(1, 12)]
    assert (np.diff(heights) >= -1e-8).all()
    top, _, settled = hill.climb(hill.starts()[0], 20_000, 1e-13)
    assert settled
    assert np.abs(np.concatenate([hill.slope_in_ability(top)[0], hill.slope_in_ease(top)[0]])).max() < 0.02


@pytest.mark.slow
def test_it_climbs_at_least_as_high_as_crowd_kit_and_says_the_same() -> None:
    """crowd-kit stops by a rule that compares a sum with a mean (GLAD.fit: Q, then Q / len(data)), so it is run to its end;
    its classes are equally common, as they are in this crowd."""
    rng = np.random.default_rng(1)
    ability = np.concatenate([rng.uniform(0.5, 2.5, 8), [-1.5]])
    votes, truth = glad_crowd(rng, 60, 6, ability, np.exp(rng.normal(1, 0.7, 60)))
    names = {"task": votes.items, "worker": votes.raters, "label": votes.labels}
    codes = {"task": votes.item, "worker": votes.rater, "label": votes.label}
    frame = pd.DataFrame({column: [names[column][code] for code in codes[column]] for column in names})
    other = GLAD(n_iter=20, tol=-np.inf).fit(frame)
    found = glad(votes)
    hill = Hill(votes, found.gold)
    theirs = hill.place(
        other.alphas_.loc[list(votes.raters)].to_numpy(), other.betas_.loc[list(votes.items)].to_numpy(), found.prior
    )
    mine = hill.place(found.ability, np.log(found.ease), found.prior)
    assert mine.height >= theirs.height - 1e-3
    assert np.corrcoef(found.ability, other.alphas_.loc[list(votes.raters)])[0, 1] > 0.99
    labels = other.labels_.loc[list(votes.items)].astype(int).to_numpy()
    assert (found.labels() == labels).mean() > 0.97
    assert (found.labels() == truth).mean() >= (labels == truth).mean() - 0.01


def test_abilities_below_zero_and_difficulties_are_found() -> None:
    rng = np.random.default_rng(2)
    ability = np.array([-1.5, *np.linspace(0.3, 3, 9)])
    ease = np.where(np.arange(600) % 2, 3.0, 0.3)
    votes, truth = glad_crowd(rng, 600, 8, ability, ease)
    found = glad(votes)
    assert found.converged
    assert np.corrcoef(found.ability, ability)[0, 1] > 0.9  # the prior draws the ends in
    assert np.flatnonzero(found.ability < 0).tolist() == [0]
    assert found.ease[ease == 3.0].mean() > 1.5 * found.ease[ease == 0.3].mean()
    easy = ease == 3.0
    assert (found.labels() == truth)[easy].mean() > 0.97
    assert (found.labels() == truth).mean() > (majority(votes).labels() == truth).mean()
    right = np.array([(votes.label == truth[votes.item])[votes.rater == rater].mean() for rater in range(10)])
    assert found.raters.accuracy == pytest.approx(right, abs=0.1)


def test_what_a_rater_would_say_depends_on_the_item() -> None:
    rng = np.random.default_rng(3)
    ease = np.where(np.arange(400) % 2, 3.0, 0.1)
    votes, truth = glad_crowd(rng, 400, 7, np.full(9, 2.0), ease)
    found = glad(votes)
    chances = found.chances(np.arange(400), np.zeros(400, np.intp))
    assert chances.sum(axis=1) == pytest.approx(1.0)
    right = chances[np.arange(400), truth]
    assert right[ease == 3.0].mean() > right[ease == 0.1].mean() + 0.15


def test_known_labels_turn_a_crowd_around() -> None:
    """All raters turn labels around; five known labels say so."""
    made = crowd(np.random.default_rng(4), 100, 5, coins(np.full(8, 0.1)))
    assert (glad(made.votes).labels() == made.truth).mean() < 0.1
    found = glad(made.votes, made.gold(5))
    assert (found.labels() == made.truth).mean() > 0.9
    assert (found.ability < 0).all()
