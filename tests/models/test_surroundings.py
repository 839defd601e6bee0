"""What lies outside the training texts: against the closed form, and the share that it promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.errors import DataError
from heed.models.surroundings import EXPECTED_OUTSIDE, Surroundings, told_outside


def drawn(count: int, seed: int, width: int = 4) -> np.ndarray:
    """Correlated normal features of very different scales."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(width, width)) * np.array([1.0, 100.0, 0.01, 5.0])[:width]
    return rng.normal(size=(count, width)) @ mix + 3


def ids(count: int) -> list[str]:
    return [f"prompt {number // 2}" for number in range(count)]


def test_distances_are_those_of_mahalanobis_where_data_are_many() -> None:
    x, fresh = drawn(20_000, 0), drawn(50, 1)
    known = Surroundings.of(x, ids(len(x)))
    centred = fresh - x.mean(0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", centred, np.linalg.inv(np.cov(x.T)), centred))
    assert known.distances(fresh) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("count", [150, 3000])
def test_as_many_fresh_texts_lie_outside_as_promised(count: int) -> None:
    """Also where texts are hardly more than features, and distances of training texts to themselves would be far too small."""
    width = 60
    rng = np.random.default_rng(3)
    scale = np.geomspace(0.1, 10, width)
    known = Surroundings.of(rng.normal(size=(count, width)) * scale, ids(count))
    share = known.outside(rng.normal(size=(20_000, width)) * scale).mean()
    assert share == pytest.approx(EXPECTED_OUTSIDE, abs=0.02 if count < 1000 else 0.006)


def test_what_was_never_seen_lies_outside() -> None:
    known = Surroundings.of(drawn(2000, 0), ids(2000))
    assert known.outside(drawn(200, 5) + np.array([60.0, 0, 0, 0])).mean() > 0.95
    # Each number by itself is usual, and only their combination is not.
    swapped = drawn(2000, 6)
    swapped[:, 0] = np.random.default_rng(0).permutation(swapped[:, 0])
    assert known.outside(swapped).mean() > 10 * EXPECTED_OUTSIDE
    constant = Surroundings.of(np.concatenate([drawn(500, 0), np.ones((500, 1))], 1), ids(500))
    assert constant.outside(np.concatenate([drawn(50, 1), np.zeros((50, 1))], 1)).all()


def test_saved_and_loaded_are_the_same(tmp_path: Path) -> None:
    known = Surroundings.of(drawn(300, 0), ids(300))
    known.save(tmp_path)
    again = Surroundings.load(tmp_path)
    assert again is not None
    assert (again.distances(drawn(40, 2)) == known.distances(drawn(40, 2))).all()
    assert (again.limit, again.texts) == (known.limit, 300)
    assert Surroundings.load(tmp_path / "nowhere") is None


def test_one_prompt_tells_nothing_of_what_is_usual() -> None:
    with pytest.raises(DataError, match="prompts to learn surroundings from"):
        Surroundings.of(drawn(10, 0), ["one"] * 10)
    assert Surroundings.known(drawn(10, 0), ["one"] * 10) is None


@given(st.integers(0, 400), st.integers(1, 400))
def test_a_warning_is_given_only_beyond_chance(outside: int, texts: int) -> None:
    outside = min(outside, texts)
    told = told_outside(outside, texts)
    if outside <= 1:
        assert told == ""
    if outside > 0.05 * texts + 4:
        assert f"{outside} of {texts} texts" in told
        assert "errors of the reward" in told
