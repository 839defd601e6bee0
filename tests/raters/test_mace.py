"""MACE: its likelihood by enumeration, crowd-kit's estimates, and crowds of raters who know or guess."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import MACE

from crowds import Crowd, camps, crowd
from heed.errors import DataError
from heed.raters.labels import majority
from heed.raters.mace import Training, mace
from heed.raters.votes import Votes

pytestmark = pytest.mark.filterwarnings("ignore:The (inplace|copy) keyword")


def knowing_crowd(seed: int, knows: np.ndarray, items: int = 200, overlap: int = 6) -> Crowd:
    """Raters who know with chance ``knows`` [raters], else answer by habits of their own."""
    rng = np.random.default_rng(seed)
    habits = rng.dirichlet(np.ones(3), knows.size)
    confusion = knows[:, None, None] * np.eye(3) + ((1 - knows)[:, None] * habits)[:, None, :]
    return crowd(rng, items, overlap, confusion)


@pytest.mark.slow
@pytest.mark.parametrize(("training", "method"), [("variational", "vb"), ("smoothed", "em")])
def test_it_comes_to_where_crowd_kit_comes(training: Training, method: str) -> None:
    """crowd-kit numbers raters and labels as they first come and counts them as they sort (MACE._e_step): here both are one
    order. All six raters judge every item, and labels get their names in the order in which they come."""
    made = knowing_crowd(0, np.array([0.9, 0.8, 0.7, 0.3, 0.6, 0.85]), items=40)
    votes = made.votes.where(np.lexsort([made.votes.rater, made.votes.item]))
    places = {label: place for place, label in enumerate(dict.fromkeys(votes.label.tolist()))}
    frame = pd.DataFrame(
        {"task": votes.item, "worker": votes.rater, "label": [places[label] for label in votes.label.tolist()]}
    )
    other = MACE(n_restarts=1, n_iter=150, method=method, random_state=3).fit(frame)
    found = mace(votes, training=training, iterations=2000, tolerance=1e-10)
    assert found.fitted[:, list(places)] == pytest.approx(other.probas_.sort_index().to_numpy(), abs=2e-3)
    assert found.raters.accuracy == pytest.approx(made.accuracy, abs=0.2)


def test_the_smoothed_likelihood_is_a_sum_over_what_was_known_and_what_was_not() -> None:
    made = knowing_crowd(1, np.array([0.7, 0.5, 0.8]), items=12, overlap=3)
    found = mace(made.votes, training="smoothed", restarts=2)
    total = 0.0
    for item in range(12):
        its = made.votes.where(made.votes.item == item)
        chance = 0.0
        for true, *knew in product(range(3), *[(True, False)] * its.size):
            part = 1 / 3
            for k, label, rater in zip(knew, its.label, its.rater, strict=True):
                knows = found.knows[rater]
                part *= knows * (label == true) if k else (1 - knows) * found.habits[rater, label]
            chance += part
        total += np.log(chance)
    assert found.log_likelihood == pytest.approx(total, rel=1e-9)


def test_it_finds_who_knows_and_who_guesses() -> None:
    knows = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.1, 0.0, 0.0])
    made = knowing_crowd(2, knows, items=800)
    found = mace(made.votes)
    assert found.knows == pytest.approx(knows, abs=0.1)
    assert (found.labels() == made.truth).mean() > (majority(made.votes).labels() == made.truth).mean()
    assert found.raters.accuracy == pytest.approx(made.accuracy, abs=0.08)
    spammer = found.habits[8]
    assert spammer == pytest.approx(made.confusion[8, 0], abs=0.08)


def test_restarts_differ_and_the_likeliest_is_kept() -> None:
    """Of two opposed camps either may be those who know: starts end in different places."""
    made = camps(np.random.default_rng(0), 60, 4, 10, turned=0.5)
    single = [mace(made.votes, training="smoothed", restarts=1, seed=seed).log_likelihood for seed in range(4)]
    assert np.ptp(single) > 0.01
    many = mace(made.votes, training="smoothed", restarts=6, seed=0).log_likelihood
    assert many > min(single)
    assert many >= single[0]
    again = [mace(made.votes, restarts=3, seed=5).fitted for _ in range(2)]
    assert (again[0] == again[1]).all()


def test_an_unknown_training_is_refused() -> None:
    votes = Votes.of([0, 0], ["a", "b"], ["x", "y"])
    with pytest.raises(DataError, match="MACE is not trained so"):
        mace(votes, training="hard")  # type: ignore[arg-type]
