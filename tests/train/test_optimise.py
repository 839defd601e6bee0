"""The fitting loop: which rows when, how fast, and what a batch split, a NaN or a lack of memory does."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from heed.errors import TrainingError
from heed.train.checkpoint import Checkpoints
from heed.train.optimise import FitSettings, fit, rate_at, rows_of_step, steps_for
from heed.train.progress import Watcher


class Regression:
    """Least squares with a known solution; each row is as long as its number says."""

    def __init__(self, rows: int = 12, width: int = 4) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(rows, width, generator=generator)
        self.y = self.x @ torch.arange(1.0, width + 1) + 0.1 * torch.randn(rows, generator=generator)
        self.net = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.net.weight)
        self.networks: dict[str, nn.Module] = {"net": self.net}
        self.lengths = [1 + row % 5 for row in range(rows)]
        self.losses: list[float] = []

    def count(self, rows: Sequence[int]) -> int:
        return len(rows)

    def loss(self, rows: Sequence[int], count: int) -> Tensor:
        index = torch.tensor(rows)
        return (self.net(self.x[index])[:, 0] - self.y[index]).square().sum() / count

    def validate(self) -> float | None:
        return self.losses.pop(0) if self.losses else None


def settings_for(**changes: Any) -> FitSettings:
    return FitSettings(
        **({"steps": 20, "prompts_per_step": 6, "tokens_per_microbatch": 1000, "learning_rate": 0.05} | changes)
    )


@given(st.integers(1, 40), st.integers(1, 50), st.integers(1, 4), st.integers(0, 5))
def test_every_epoch_takes_every_row_once(examples: int, per_step: int, epochs: int, seed: int) -> None:
    steps = math.ceil(examples * epochs / per_step)
    stream = [row for step in range(steps) for row in rows_of_step(step, examples, per_step, seed)]
    assert len(stream) == steps * per_step
    for epoch in range(epochs):
        assert Counter(stream[epoch * examples : (epoch + 1) * examples]) == Counter(range(examples))


def test_epochs_are_shuffled_differently_and_by_the_seed() -> None:
    first, second = rows_of_step(0, 30, 30, 0), rows_of_step(1, 30, 30, 0)
    assert first != second
    assert first != sorted(first)
    assert first != rows_of_step(0, 30, 30, 1)
    assert first == rows_of_step(0, 30, 30, 0)


@given(st.integers(1, 300), st.integers(1, 64), st.floats(0.1, 5))
def test_steps_cover_the_epochs(examples: int, per_step: int, epochs: float) -> None:
    steps, taken = steps_for(examples, per_step, epochs), min(per_step, examples)
    assert steps * taken >= examples * epochs - 1e-6
    assert steps == 1 or (steps - 1) * taken < examples * epochs


def test_learning_rate_closed_form() -> None:
    rates = [rate_at(step, 110, 10) for step in range(110)]
    assert rates[:10] == pytest.approx(np.linspace(0.1, 1, 10))
    done = np.arange(100) / 100
    assert rates[10:] == pytest.approx(0.1 + 0.9 * np.cos(np.pi * done / 2) ** 2)
    assert max(rates) == 1.0
    assert min(rates[10:]) >= 0.1


def test_the_loop_is_adamw_on_the_scheduled_rows() -> None:
    """Against torch's AdamW driven by hand, with the same rows, clipping and rates."""
    task, by_hand = Regression(), Regression()
    wanted = settings_for(weight_decay=0.1, max_grad_norm=2.0)
    fit(task, wanted, seed=3)
    optimizer = torch.optim.AdamW(by_hand.net.parameters(), betas=(0.9, 0.95), eps=1e-5, weight_decay=0.1)
    for step in range(20):
        rows = rows_of_step(step, 12, 6, 3)
        by_hand.loss(rows, 6).backward()
        gradient = by_hand.net.weight.grad
        assert gradient is not None
        gradient.mul_(min(1.0, 2.0 / (float(gradient.norm()) + 1e-6)))
        optimizer.param_groups[0]["lr"] = 0.05 * rate_at(step, 20, 1)
        optimizer.step()
        optimizer.zero_grad()
    torch.testing.assert_close(task.net.weight, by_hand.net.weight, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("tokens", [1, 7, 11])
def test_microbatches_change_nothing(tokens: int) -> None:
    whole, split = Regression(), Regression()
    one, two = fit(whole, settings_for(), 0), fit(split, settings_for(tokens_per_microbatch=tokens), 0)
    torch.testing.assert_close(split.net.weight, whole.net.weight, atol=1e-6, rtol=1e-6)
    for mine, other in zip(one.history, two.history, strict=True):
        assert mine == pytest.approx(other, rel=1e-4)
    assert one.tokens == two.tokens == sum(Regression().lengths) * 10


def test_it_reaches_the_least_squares_solution() -> None:
    task = Regression()
    fit(task, settings_for(steps=600, prompts_per_step=12, learning_rate=0.1, max_grad_norm=1e9), 0)
    exact = np.linalg.lstsq(task.x.numpy(), task.y.numpy(), rcond=None)[0]
    assert task.net.weight[0].tolist() == pytest.approx(exact.tolist(), abs=1e-2)


def test_learning_rate_zero_leaves_the_weights() -> None:
    task = Regression()
    nn.init.ones_(task.net.weight)
    history = fit(task, settings_for(learning_rate=0.0, weight_decay=0.5), 0).history
    assert torch.equal(task.net.weight, torch.ones(1, 4))
    assert len(history) == 20


class At(Watcher):
    """Does something once ``step`` steps are done."""

    def __init__(self, step: int, action: Callable[[], None]) -> None:
        self.step, self.action = step, action

    def advance(self, done: int, total: int, line: str) -> None:
        if done == self.step:
            self.action()


def test_early_stopping_keeps_the_best_weights() -> None:
    """Validation after steps 2, 4, ...: best at step 6, two that are no better, stop at step 10."""
    task, whole = Regression(), Regression()
    task.losses = [3.0, 2.0, 1.0, 1.5, 1.0, 0.1]
    done = fit(task, settings_for(validate_every=2, patience=2), 0)
    assert len(done.history) == 10
    assert done.best_step == 6
    assert [row["validation_loss"] for row in done.history if "validation_loss" in row] == [3.0, 2.0, 1.0, 1.5, 1.0]
    after_six: list[Tensor] = []
    fit(whole, settings_for(), 0, watcher=At(6, lambda: after_six.append(whole.net.weight.detach().clone())))
    assert torch.equal(task.net.weight, after_six[0])
    assert not torch.equal(whole.net.weight, after_six[0])


@pytest.mark.parametrize("stop", range(2, 10))
def test_early_stopping_goes_on_after_a_stop_at_any_step(stop: int, tmp_path: Path) -> None:
    """Best at step 4, after a first best at 1; the fourth validation that is no better, at step 8, ends the run."""
    losses, wanted = [2.0, 2.5, 2.5, 1.0, 1.5, 1.4, 1.3, 1.2, 0.1, 0.1], settings_for(validate_every=1, patience=4)
    wanted.checkpoint_every = 1
    whole, first, second = Regression(), Regression(), Regression()
    whole.losses, first.losses = list(losses), list(losses)
    uninterrupted = fit(whole, wanted, 0)
    assert (len(uninterrupted.history), uninterrupted.best_step) == (8, 4)

    def leave() -> None:
        raise InterruptedError

    checkpoints = Checkpoints(tmp_path, "print")
    if stop <= 8:
        with pytest.raises(InterruptedError):
            fit(first, wanted, 0, checkpoints, At(stop, leave))
    else:
        fit(first, wanted, 0, checkpoints)
    saved = checkpoints.latest()
    assert saved is not None
    assert saved.step == min(stop - 1, 7)
    second.losses = losses[saved.step :]
    assert fit(second, wanted, 0, checkpoints) == uninterrupted
    assert torch.equal(second.net.weight, whole.net.weight)


def test_the_last_step_is_validated_whatever_the_rhythm() -> None:
    task = Regression()
    task.losses = [3.0, 2.0, 1.0]
    done = fit(task, settings_for(steps=20, validate_every=8, patience=9), 0)
    assert [int(row["step"]) for row in done.history if "validation_loss" in row] == [8, 16, 20]
    assert done.best_step == 20


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_loss_that_is_no_number_names_step_and_rows_and_spares_the_checkpoint(poison: float, tmp_path: Path) -> None:
    """Row 7 is spoilt after the third step; with the row mended the run goes on as if nothing had been."""
    task, straight = Regression(), Regression()
    original, wanted = task.y[7].clone(), settings_for(prompts_per_step=3, checkpoint_every=1)
    checkpoints = Checkpoints(tmp_path, "print")
    bad = next(step for step in range(3, 20) if 7 in rows_of_step(step, 12, 3, 0))
    rows = ", ".join(map(str, sorted(rows_of_step(bad, 12, 3, 0))))
    with pytest.raises(TrainingError, match=rf"step {bad + 1}: loss (nan|inf).*rows {rows} \(counted from 0\)"):
        fit(task, wanted, 0, checkpoints, At(3, lambda: task.y.__setitem__(7, poison)))
    saved = checkpoints.latest()
    assert saved is not None
    assert saved.step == bad
    assert torch.isfinite(task.net.weight).all()
    assert torch.equal(saved.tensors["weight/net.weight"], task.net.weight)
    task.y[7] = original
    assert fit(task, wanted, 0, checkpoints).history == fit(straight, wanted, 0).history
    assert torch.equal(task.net.weight, straight.net.weight)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_running_out_of_memory_says_which_number_to_lower(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Regression()

    def loss(rows: Sequence[int], count: int) -> Tensor:
        raise error

    monkeypatch.setattr(task, "loss", loss)
    with pytest.raises(TrainingError, match="Lower tokens_per_microbatch"):
        fit(task, settings_for(), 0)


def test_other_runtime_errors_are_not_called_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Regression()

    def loss(rows: Sequence[int], count: int) -> Tensor:
        return torch.ones(2, 3) @ torch.ones(2, 3)

    monkeypatch.setattr(task, "loss", loss)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        fit(task, settings_for(), 0)
