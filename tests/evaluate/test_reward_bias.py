"""Planted leanings are found at their size, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from heed.evaluate.reward_bias import lean, pair_order
from heed.evaluate.reward_style import STYLES, style_counts, style_differences, style_effects
from heed.statistics import Undefined

RNG = np.random.default_rng


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("", (0, 0, 0, 0)),
        ("one two three", (3, 0, 0, 0)),
        ("# A\n## B\n####### no\n#no", (11 + 4, 2, 0, 0)),
        ("1. a\n2. b\n- c\n  * d\n+ e\n-no\n1.no", (22, 0, 5, 0)),
        ("**bold** and __bold__ and **not\nbold** and * no *", (22, 0, 0, 2)),
        ("```\n# no\n- no\n**no**\n```yes", (1, 0, 0, 0)),
    ],
)
def test_style_is_counted_as_in_style_control(text: str, counts: tuple[int, ...]) -> None:
    assert style_counts(text)[1:] == counts[1:]


def test_a_text_of_empty_lines_is_counted_at_once() -> None:
    assert style_counts("\n" * 200_000) == (0, 0, 0, 0)
    assert style_counts("*" * 100_000)[1:] == (0, 0, 0)


def test_differences_are_over_their_sum() -> None:
    first, second = np.array([[3, 0, 2, 0]]), np.array([[1, 0, 2, 5]])
    assert style_differences(first, second).tolist() == [[0.5, 0.0, 0.0, -1.0]]


def pairs(n: int, seed: int, overpaid: float, spread: float = 1.5):
    """Comparisons of texts worth ``u``, judged by Bradley-Terry, and a reward that adds ``overpaid`` for a usual difference
    in length; headers and lists differ as well, bold hardly ever."""
    rng = RNG(seed)
    x = np.column_stack([rng.uniform(-1, 1, n), rng.choice([-1.0, 0, 0, 1], n), rng.normal(0, 0.3, n), np.zeros(n)])
    worth = rng.normal(0, spread, n)
    outcomes = (rng.random(n) < 1 / (1 + np.exp(-worth))).astype(float)
    usual = x[:, 0] / np.sqrt((x[:, 0] ** 2).mean())
    return worth + overpaid * usual, outcomes, x, [f"p{i // 2}" for i in range(n)]


@pytest.mark.parametrize("overpaid", [0.8, -0.5])
def test_what_is_paid_too_much_is_found_at_its_size(overpaid: float) -> None:
    found = style_effects(*pairs(4000, 0, overpaid))
    length = found[0].excess
    assert length.estimate == pytest.approx(overpaid, abs=0.15)
    assert length.low is not None
    assert length.high is not None
    assert length.low < overpaid < length.high
    assert length.above(0) if overpaid > 0 else length.below(0)
    for other in found[1:3]:
        assert not other.excess.above(0)
        assert not other.excess.below(0)
    assert found[3].excess.estimate is None
    assert found[3].excess.reason == "The texts differ in it in 0 comparisons of 0 prompts; 20 of 10 are needed."


@pytest.mark.slow
@pytest.mark.parametrize("overpaid", [0.0, 0.6])
def test_its_interval_covers_what_was_planted(overpaid: float) -> None:
    covered, repeats = 0, 200
    for seed in range(repeats):
        excess = style_effects(*pairs(400, seed, overpaid))[0].excess
        assert excess.low is not None
        assert excess.high is not None
        covered += excess.low <= overpaid <= excess.high
    assert 0.92 <= covered / repeats <= 0.98


def test_partial_correlation_has_its_closed_form() -> None:
    """The reward is 0.6 x + 0.8 e + 2 y: given the outcome y, its correlation with x is 0.6, and without it is less."""
    rng, n = RNG(3), 20_000
    x, e, y = rng.normal(size=(3, n))
    outcomes = (y > 0).astype(float)
    design = np.column_stack([np.tanh(x), np.zeros((n, 3))])
    usual = design[:, 0] / design[:, 0].std()
    reward = 0.6 * usual + 0.8 * e + 2 * (2 * outcomes - 1)
    found = style_effects(reward, outcomes, design, [f"p{i // 4}" for i in range(n)])[0].correlation
    assert found.estimate == pytest.approx(0.6, abs=0.02)
    assert found.low is not None
    assert found.low < 0.6 < (found.high or 0)
    assert np.corrcoef(reward, usual)[0, 1] < 0.35


def test_which_text_stands_first_does_not_matter() -> None:
    log_odds, outcomes, x, ids = pairs(300, 4, 0.5)
    turn = RNG(5).choice([-1.0, 1.0], 300)
    turned = style_effects(log_odds * turn, np.where(turn > 0, outcomes, 1 - outcomes), x * turn[:, None], ids)
    for one, other in zip(style_effects(log_odds, outcomes, x, ids), turned, strict=True):
        for name in ("excess", "correlation"):
            a, b = getattr(one, name), getattr(other, name)
            if a.estimate is not None:
                assert [a.estimate, a.low, a.high] == pytest.approx([b.estimate, b.low, b.high], abs=1e-8)


def test_preferences_predicted_without_a_fault_stay_finite() -> None:
    log_odds, _, x, ids = pairs(100, 6, 0.0)
    found = style_effects(log_odds, (log_odds > 0).astype(float), x, ids)[0].excess
    assert found.estimate is not None
    assert np.isfinite([found.estimate, found.low or 0, found.high or 0]).all()


# Leaning


def test_lean_by_hand() -> None:
    differences = np.array([1.0, 1.0, -1.0, -1.0, 0.0, 5.0, 5.0])
    outcomes = np.array([1.0, 0.0, 0.0, 1.0, 1.0, 0.5, 1.0])
    longer = np.array([1, 1, 1, -1, -1, 1, 0])
    found = lean(differences, outcomes, longer, list("abcdefg"), 0.95)
    assert not isinstance(found, Undefined)
    # Raters: longer, shorter, shorter, shorter, shorter. Reward: longer, longer, shorter, longer, either.
    assert found.raters.estimate == pytest.approx(1 / 5)
    assert found.reward.estimate == pytest.approx(3.5 / 5)
    assert found.first.estimate == 1.0
    assert found.second.estimate == pytest.approx((0 + 1 + 0 + 0.5) / 4)
    assert found.gap.estimate == pytest.approx(1 - 1.5 / 4)


def test_a_reward_that_is_length_alone_leans_all_the_way() -> None:
    rng = RNG(0)
    length = rng.normal(size=200)
    outcomes = (rng.random(200) < 0.6).astype(float)
    found = lean(length, outcomes, np.sign(length).astype(np.int64), [str(i) for i in range(200)], 0.95)
    assert not isinstance(found, Undefined)
    assert (found.reward.estimate, found.first.estimate, found.second.estimate) == (1.0, 1.0, 0.0)
    assert found.gap.above(0.5)


def test_no_side_no_lean() -> None:
    found = lean(np.ones(3), np.array([1.0, 0.5, 0.0]), np.array([0, 1, 0]), list("abc"), 0.95)
    assert found == Undefined(reason="No comparison with a winner tells the two sides apart.")


def test_the_order_of_a_pair_model_by_hand() -> None:
    # It prefers text one by 2, 1, 0.2 and adds 0.5 for standing first.
    preference = np.array([2.0, 1.0, 0.2])
    found = pair_order(preference + 0.5, -preference + 0.5, list("pqr"), 0.95)
    assert found.changed.estimate == pytest.approx(1 / 3)
    assert found.first_place.estimate == pytest.approx(0.5)


def test_a_style_that_goes_with_every_choice_cannot_be_told_apart_from_it() -> None:
    n = 80
    outcomes = np.tile([1.0, 0.0], n // 2)
    differences = np.zeros((n, len(STYLES)))
    differences[:, 0] = 0.3 * (2 * outcomes - 1)
    found = style_effects(np.random.default_rng(0).normal(size=n), outcomes, differences, [f"p{i}" for i in range(n)])
    assert (found[0].correlation.low, found[0].excess.estimate) == (None, None)
    assert "nothing tells the two apart" in (found[0].excess.reason or "")
    # One answer against it, and it can.
    outcomes[0] = 0.0
    found = style_effects(np.random.default_rng(0).normal(size=n), outcomes, differences, [f"p{i}" for i in range(n)])
    assert found[0].correlation.low is not None
