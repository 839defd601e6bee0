"""TRPO: the Fisher product against the matrix itself, conjugate gradients against a solver, the bound; and PPO-ptx."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from heed.config import PolicySettings
from heed.train import trust_region
from heed.train.online import OnlineTrainer
from heed.train.supervised import CompletionTask
from heed.train.trust_region import DAMPING, Tokens, conjugate_gradients
from tiny_models import ragged
from tiny_training import trainer_of


def of(**changes: Any) -> OnlineTrainer:
    return trainer_of(False, algorithm="trpo", **{"epochs": None, "samples_per_prompt": 4, **changes})


def tokens_of(trainer: OnlineTrainer) -> Tokens:
    rollout = trainer.roll_out(trainer.prompts[:3], 1)
    return Tokens(trainer.policy, rollout, trainer.settings.temperature, 64)


def jacobian(tokens: Tokens) -> Tensor:
    """Gradient of each token's log-probability [N, P], by transformers and autograd, one token at a time."""
    rows = []
    for prompt, written in zip(tokens.prompt_ids, tokens.written, strict=True):
        logits = tokens.policy.model(input_ids=torch.tensor([prompt + written])).logits[0].log_softmax(-1)
        for place, token in enumerate(written):
            parts = torch.autograd.grad(
                logits[len(prompt) - 1 + place, token], tokens.weights, retain_graph=True, allow_unused=True
            )
            flat = [torch.zeros_like(w) if p is None else p for w, p in zip(tokens.weights, parts, strict=True)]
            rows.append(torch.cat([part.flatten() for part in flat]))
    return torch.stack(rows)


def test_the_fisher_product_is_that_of_the_matrix() -> None:
    tokens = tokens_of(of())
    before = [w.detach().clone() for w in tokens.weights]
    rows = jacobian(tokens)
    generator = torch.Generator().manual_seed(0)
    for direction in (torch.randn(rows.shape[1], generator=generator), rows.mean(0)):
        expected = rows.T @ (rows @ direction) / len(rows) + DAMPING * direction
        found = tokens.fisher(direction)
        assert float((found - expected).norm() / expected.norm()) < 0.01
    assert all(torch.allclose(w, old, atol=1e-7) for w, old in zip(tokens.weights, before, strict=True))


def test_the_gradient_is_a_mean_over_tokens_in_any_split() -> None:
    trainer = of()
    tokens = tokens_of(trainer)
    rows = jacobian(tokens)
    lengths = torch.tensor([len(written) for written in tokens.written])
    mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    factors = torch.randn(mask.shape, generator=torch.Generator().manual_seed(2)) * mask
    flat = factors[mask]
    for size in (8, 64, 10_000):
        tokens.tokens_per_microbatch = size
        torch.testing.assert_close(tokens.gradient(factors), flat @ rows / len(rows), atol=1e-6, rtol=1e-3)


def test_along_a_steep_direction_it_is_still_a_derivative() -> None:
    tokens = tokens_of(of())
    with torch.no_grad():
        for weight in tokens.weights:
            weight.mul_(6)
    rows = jacobian(tokens)
    steep = torch.linalg.svd(rows, full_matrices=False).Vh[0]
    expected = rows @ steep
    found = tokens.along(steep)
    written = torch.cat([row[: len(tokens.written[n])] for n, row in enumerate(found)])
    assert float((written - expected).norm() / expected.norm()) < 0.01
    bent = float(expected.square().mean() + DAMPING)
    assert tokens.curvature(steep) == pytest.approx(bent, rel=0.02)


def test_noise_in_the_products_ends_the_search_for_a_direction() -> None:
    matrix = torch.diag(torch.tensor([1.0, -1.0, 2.0]))
    found = conjugate_gradients(lambda v: matrix @ v, torch.tensor([0.0, 1.0, 0.0]))
    assert found.tolist() == [0, 0, 0]


def test_the_fisher_matrix_of_some_completions_is_a_mean_over_their_tokens() -> None:
    trainer = of()
    rollout = trainer.roll_out(trainer.prompts[:3], 1)
    shared = (trainer.policy, rollout, trainer.settings.temperature, 64)
    some = Tokens(*shared, each=3)
    assert some.written == [rollout.samples.tokens[row] for row in (0, 3, 6, 9)]
    rows = jacobian(some)
    direction = torch.randn(rows.shape[1], generator=torch.Generator().manual_seed(0))
    expected = rows.T @ (rows @ direction) / len(rows) + DAMPING * direction
    assert float((some.fisher(direction) - expected).norm() / expected.norm()) < 0.01


@pytest.mark.parametrize("fewest", [4, 40])
def test_a_step_by_the_fisher_matrix_of_some_completions_keeps_its_bound_on_all(
    fewest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust_region, "_FEWEST", fewest)
    trainer = of(steps=6, trust_region=1e-3, prompts_per_step=6, samples_per_prompt=8, epochs=1)
    rollout = trainer.roll_out([trainer.prompts[n] for n in range(6)], 0)
    before = exact(trainer, rollout)
    figures = trainer.learn(rollout, 0)
    kl = float(
        np.mean([float((p.exp() * (p - q)).sum()) for p, q in zip(before, exact(trainer, rollout), strict=True)])
    )
    assert figures["update_kl"] <= 1e-3
    assert 0 < kl < 2e-3
    assert figures["policy_loss"] < 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_conjugate_gradients_solve_as_numpy_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(8, 8))
    matrix, right = root @ root.T + np.eye(8), rng.normal(size=8)
    product = torch.tensor(matrix)
    found = conjugate_gradients(lambda v: product @ v, torch.tensor(right), 30)
    np.testing.assert_allclose(found.numpy(), np.linalg.solve(matrix, right), rtol=1e-6, atol=1e-8)
    assert not conjugate_gradients(lambda v: product @ v, torch.zeros(8, dtype=torch.float64)).any()


@pytest.mark.parametrize("bound", [1e-4, 1e-2])
def test_every_update_keeps_its_bound_and_uses_it(bound: float) -> None:
    """The KL over the whole vocabulary, exactly, at every token; the rollout's own estimate decided."""
    trainer = of(steps=6, trust_region=bound, prompts_per_step=6, samples_per_prompt=8, epochs=1)
    for step in range(2):
        rollout = trainer.roll_out([trainer.prompts[n] for n in range(6)], step)
        before = exact(trainer, rollout)
        figures = trainer.learn(rollout, step)
        assert figures["update_kl"] <= bound
        assert figures["first_ratio_max"] == pytest.approx(1, abs=1e-3)
        after = exact(trainer, rollout)
        kl = float(np.mean([float((p.exp() * (p - q)).sum()) for p, q in zip(before, after, strict=True)]))
        assert 0.1 * bound < kl < 2 * bound
        assert figures["policy_loss"] < 1e-6, "the surrogate has risen"


def exact(trainer: OnlineTrainer, rollout: Any) -> list[Tensor]:
    found = []
    with torch.no_grad():
        for prompt, written in zip(rollout.prompt_ids, rollout.samples.tokens, strict=True):
            logits = trainer.policy.model(input_ids=torch.tensor([prompt + written])).logits[0].double()
            found += list(logits.log_softmax(-1)[len(prompt) - 1 : len(prompt) - 1 + len(written)])
    return found


def test_reward_rises_and_a_reward_without_differences_moves_nothing() -> None:
    trainer = of(steps=8, epochs=2, prompts_per_step=6, samples_per_prompt=8, trust_region=0.1, kl_coefficient=0.01)
    history = trainer.run().history
    assert np.mean([row["reward"] for row in history[-3:]]) > history[0]["reward"] + 0.15
    flat = of(scorer=lambda prompts, ids, samples: torch.zeros(len(samples.tokens)), kl_coefficient=0.0)
    assert flat.value_model is not None
    torch.nn.init.zeros_(flat.value_model.head.weight)  # or its errors would look like advantages
    before = [p.detach().clone() for p in flat.policy.parameters()]
    flat.step(0)
    assert all(torch.equal(p, old) for p, old in zip(flat.policy.parameters(), before, strict=True))


def test_what_trpo_cannot_do_is_refused() -> None:
    with pytest.raises(ValueError, match="set value_model to separate"):
        PolicySettings(algorithm="trpo", value_model="shared")
    with pytest.raises(ValueError, match="or take ppo"):
        PolicySettings(algorithm="trpo", pretraining_coefficient=1.0)


# PPO-ptx


def with_texts(coefficient: float, **changes: Any) -> OnlineTrainer:
    trainer = trainer_of(True, pretraining_coefficient=coefficient, epochs=1, max_grad_norm=1e9, **changes)
    trainer.pretraining = list(zip(ragged([2, 4, 3], 7, 5), ragged([5, 3, 4], 7, 6), strict=True))
    return trainer


def test_other_texts_add_their_likelihood_to_each_update() -> None:
    """The gradient of an update is PPO's, and the coefficient times that of supervised tuning on the texts."""
    gradients = []
    for coefficient in (0.0, 2.5):
        trainer = with_texts(coefficient)
        rollout = trainer.roll_out(trainer.prompts[:4], 1)
        kept: list[Tensor] = []
        trainer.optimizer.step = lambda trainer=trainer, kept=kept: kept.append(  # type: ignore[method-assign]
            torch.cat([p.grad.flatten().clone() for p in trainer.policy.parameters()])
        )
        figures = trainer.learn(rollout, 0)
        gradients.append(kept[0])
    task = CompletionTask(trainer.policy, trainer.pretraining)
    loss = task.loss(range(3), task.count(range(3)))
    trainer.policy.model.zero_grad()
    loss.backward()
    own = torch.cat([p.grad.flatten() for p in trainer.policy.parameters()])
    torch.testing.assert_close(gradients[1] - gradients[0], 2.5 * own, atol=1e-5, rtol=1e-3)
    assert figures["pretraining_loss"] == pytest.approx(float(loss.detach()), rel=1e-4)


def test_texts_keep_their_likelihood_while_the_reward_pulls_away() -> None:
    losses = {}
    for coefficient in (0.0, 1.0):
        trainer = with_texts(coefficient, steps=12, prompts_per_step=6, kl_coefficient=0.0)
        trainer.run()
        task = CompletionTask(trainer.policy, trainer.pretraining)
        losses[coefficient] = float(task.loss(range(3), task.count(range(3))).detach())
    assert losses[1.0] < losses[0.0] - 0.3


def test_each_update_takes_the_next_texts() -> None:
    trainer = with_texts(1.0, minibatches=2)
    taken: list[tuple[int, ...]] = []
    pretrain = trainer._pretrain

    def noted(turn: int, count: int, totals: Any) -> float:
        taken.append((turn, count))
        return pretrain(turn, count, totals)

    trainer._pretrain = noted  # type: ignore[method-assign]
    for step in range(3):
        trainer.step(step)
    assert [turn for turn, _ in taken] == list(range(6))


def test_the_shape_of_the_model_does_not_matter() -> None:
    """Any path of the forward pass, heed's own or transformers'."""
    for name in ("gpt2", "opt"):
        trainer = trainer_of(False, name=name, algorithm="trpo", epochs=1, samples_per_prompt=4)
        assert trainer.step(0)["update_kl"] <= trainer.settings.trust_region
