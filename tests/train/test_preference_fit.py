"""Fitting reward models: recovering a known reward, ties, ensembles, early stopping."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch

from heed.config import RewardSettings
from heed.errors import DataError
from heed.losses.reward import preference_probabilities
from heed.models.reward import Encoded, Reader, RewardModel, ScalarModel
from heed.train.preference import ComparisonTask, Pair, check_pairs, fit_reward, score_differences
from tiny_models import encoder_model, ragged, tiny_policy
from tiny_training import pairs_of, reward_model_of

VALUES = torch.linspace(-3, 3, 16)  # what each letter is worth in the true reward


def texts_of(count: int, seed: int) -> list[Encoded]:
    return [Encoded((*ids, 16), 2, 11) for ids in ragged([10] * count, 17, seed)]


def true_reward(text: Encoded) -> float:
    """Linear in the letters of the completion."""
    return float(VALUES[list(text.ids[2:10])].mean())


def comparisons(count: int, seed: int, log_nu: float = -math.inf, scale: float = 3.0) -> tuple[list[Pair], np.ndarray]:
    """Pairs judged by Davidson's model on the true reward, and each pair's probabilities [N, 3]."""
    first, second = texts_of(count, seed), texts_of(count, seed + 1)
    gaps = torch.tensor([scale * (true_reward(a) - true_reward(b)) for a, b in zip(first, second, strict=True)])
    weights = np.exp(np.stack([gaps.numpy() / 2, -gaps.numpy() / 2, np.full(count, log_nu)], 1))
    probabilities = weights / weights.sum(1, keepdims=True)
    draws = np.random.default_rng(seed).random(count)
    outcomes = (draws[:, None] > probabilities.cumsum(1)[:, :2]).sum(1)
    return [Pair(a, b, int(o)) for a, b, o in zip(first, second, outcomes, strict=True)], probabilities


def encoder_reward() -> RewardModel:
    network = ScalarModel(encoder_model(36, initializer_range=0.05), 0)
    return RewardModel([network], Reader(None, True, 64, None), "mean")


@pytest.mark.parametrize("backbone", ["llama-grouped", "gpt2", "opt", "encoder"])
def test_recovers_a_known_reward_from_noisy_comparisons(backbone: str) -> None:
    """Held-out accuracy against the best that any model can reach on judgments this noisy."""
    model = (
        encoder_reward()
        if backbone == "encoder"
        else reward_model_of(tiny_policy(), name=backbone, initializer_range=0.05)
    )
    train, _ = comparisons(700, 10)
    test, probabilities = comparisons(600, 20)
    settings = RewardSettings(epochs=4, prompts_per_step=32, learning_rate=5e-3, ties="half")
    fit_reward(model, train, [], settings, 0)
    difference = score_differences(model, test).numpy()
    bayes = probabilities[:, :2].max(1).mean()
    # The accuracy expected over the raters' noise, so that only the model's own mistakes count.
    reached = np.where(difference > 0, probabilities[:, 0], probabilities[:, 1]).mean()
    assert bayes > 0.75
    assert reached > bayes - 0.05
    truth = np.array([true_reward(pair.first) - true_reward(pair.second) for pair in test])
    assert np.corrcoef(difference, truth)[0, 1] > 0.85


@pytest.mark.parametrize(
    ("ties", "closed_form"), [("davidson", math.log(2 * 0.3 / 0.7)), ("rao_kupper", math.log(1.3 / 0.7 - 1))]
)
def test_the_tie_parameter_reaches_its_maximum_likelihood(
    ties: Literal["davidson", "rao_kupper"], closed_form: float
) -> None:
    """Among equals with a share q of ties, nu = 2q / (1 - q) and theta = (1 + q) / (1 - q)."""
    model = reward_model_of(tiny_policy())
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    torch.nn.init.zeros_(model.members[0].head.weight)
    train = [pair._replace(outcome=2 if i < 30 else i % 2) for i, pair in enumerate(pairs_of(100, 3))]
    settings = RewardSettings(epochs=60, prompts_per_step=100, learning_rate=0.1, ties=ties)
    fit_reward(model, train, [], settings, 0)
    assert model.card["tie_parameters"] == pytest.approx([closed_form], abs=0.01)
    assert model.card["ties"] == ties
    shares = preference_probabilities(torch.zeros(1), ties, model.card["tie_parameters"][0])[0].tolist()
    assert shares == pytest.approx([0.35, 0.35, 0.3], abs=0.003)


@pytest.mark.parametrize("ties", ["half", "davidson", "rao_kupper"])
def test_ties_help_to_recover_the_reward_in_every_model(ties: Literal["half", "davidson", "rao_kupper"]) -> None:
    train, probabilities = comparisons(600, 30, log_nu=0.7)
    assert np.mean([pair.outcome == 2 for pair in train]) == pytest.approx(probabilities[:, 2].mean(), abs=0.06)
    model = reward_model_of(tiny_policy(), initializer_range=0.05)
    fit_reward(model, train, [], RewardSettings(epochs=3, learning_rate=5e-3, ties=ties), 0)
    test, _ = comparisons(300, 50)
    truth = [true_reward(pair.first) - true_reward(pair.second) for pair in test]
    assert np.corrcoef(score_differences(model, test).numpy(), truth)[0, 1] > 0.85


def test_the_loss_is_bradley_terry_on_score_differences() -> None:
    model = reward_model_of(tiny_policy())
    pairs = [pair._replace(outcome=i % 2) for i, pair in enumerate(pairs_of(6, 0))]
    task = ComparisonTask(model.members[0], "mean", "half", pairs, pairs, 10_000)
    d = score_differences(model, pairs).double()
    signs = torch.tensor([1.0, -1.0] * 3)
    expected = float(torch.log1p(torch.exp(-signs * d)).mean())
    assert float(task.loss(range(6), 6).detach()) == pytest.approx(expected, abs=1e-5)
    with torch.no_grad():
        assert task.validate() == pytest.approx(expected, abs=1e-5)
        swapped = [Pair(p.second, p.first, 1 - p.outcome) for p in pairs]
        other = ComparisonTask(model.members[0], "mean", "half", swapped, [], 10_000)
        assert float(other.loss(range(6), 6)) == pytest.approx(expected, abs=1e-5)
        assert other.validate() is None


@pytest.mark.parametrize("tokens", [16, 60, 10_000])
def test_neither_validation_nor_differences_depend_on_the_split(tokens: int) -> None:
    model = reward_model_of(tiny_policy())
    pairs = pairs_of(9, 1)
    whole = ComparisonTask(model.members[0], "mean", "davidson", pairs, pairs, 10_000)
    split = ComparisonTask(model.members[0], "mean", "davidson", pairs, pairs, tokens)
    with torch.no_grad():
        assert split.validate() == pytest.approx(whole.validate(), abs=1e-6)
    assert score_differences(model, pairs, tokens).tolist() == pytest.approx(
        score_differences(model, pairs).tolist(), abs=1e-5
    )


def test_a_weight_of_two_is_the_comparison_twice() -> None:
    model = reward_model_of(tiny_policy())
    one, *rest = pairs_of(4, 2)
    doubled = ComparisonTask(model.members[0], "mean", "davidson", [one._replace(weight=2.0), *rest], [], 10_000)
    twice = ComparisonTask(model.members[0], "mean", "davidson", [one, one, *rest], [], 10_000)
    assert float(doubled.loss(range(4), 5).detach()) == pytest.approx(float(twice.loss(range(5), 5).detach()), abs=1e-6)


def test_members_are_fitted_from_seeds_of_their_own() -> None:
    model = reward_model_of(tiny_policy(), members=2)
    fits = fit_reward(model, pairs_of(40, 3), [], RewardSettings(epochs=1, prompts_per_step=8), 0)
    assert len(fits) == 2
    assert len(model.card["tie_parameters"]) == 2
    assert fits[0].history != fits[1].history
    heads = [member.head.weight for member in model.members]
    assert not torch.equal(*heads)


def test_same_seed_same_model() -> None:
    def fitted(seed: int) -> torch.Tensor:
        model = reward_model_of(tiny_policy())
        fit_reward(model, pairs_of(30, 4), pairs_of(10, 5), RewardSettings(prompts_per_step=8), seed)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(fitted(0), fitted(0))
    assert not torch.equal(fitted(0), fitted(1))


def test_early_stopping_ends_with_the_weights_of_the_best_validation() -> None:
    """Judgments that are noise are learned by heart: the held-out loss rises and training must turn back."""
    generator = torch.Generator().manual_seed(0)

    def noise(count: int, seed: int) -> list[Pair]:
        return [p._replace(outcome=int(torch.randint(2, (), generator=generator))) for p in pairs_of(count, seed)]

    model, validation = reward_model_of(tiny_policy()), noise(40, 7)
    settings = RewardSettings(epochs=20, prompts_per_step=8, learning_rate=1e-2, patience=3)
    (fit,) = fit_reward(model, noise(32, 6), validation, settings, 0)
    losses = {int(row["step"]): row["validation_loss"] for row in fit.history if "validation_loss" in row}
    assert fit.best_step == min(losses, key=lambda step: losses[step])
    assert len(fit.history) < 80
    assert len([step for step in losses if step > fit.best_step]) == 3
    task = ComparisonTask(model.members[0], "mean", "graded", validation, validation, 10_000)
    with torch.no_grad():
        task.parameters.values.copy_(torch.tensor(model.card["tie_parameters"][0]))
        assert task.validate() == pytest.approx(losses[fit.best_step], abs=1e-5)


def test_scaling_to_the_reference_samples_leaves_probabilities_recoverable() -> None:
    """Scores are in standard deviations; times std they are the fitted logits again."""
    model = reward_model_of(tiny_policy())
    pairs = pairs_of(20, 8)
    raw = score_differences(model, pairs)
    model.calibrate_scale(texts_of(30, 40))
    assert model.std != 1.0
    torch.testing.assert_close(score_differences(model, pairs) * model.std, raw, atol=1e-5, rtol=1e-4)


def test_ties_alone_and_nothing_are_refused() -> None:
    ties = [pair._replace(outcome=2) for pair in pairs_of(5, 9)]
    model = reward_model_of(tiny_policy())
    with pytest.raises(DataError, match="all 5 comparisons are ties"):
        fit_reward(model, ties, [], RewardSettings(), 0)
    with pytest.raises(DataError, match="no comparison to learn from"):
        fit_reward(model, [], [], RewardSettings(), 0)
    check_pairs([*ties, ties[0]._replace(outcome=1)])
