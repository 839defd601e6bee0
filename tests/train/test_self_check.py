"""The self-check passes on what is sound, on every shape, and fails loudly on each fault that it is there to find."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from heed.errors import TrainingError
from heed.models.decode import Samples, sample
from heed.train import online
from heed.train.checks import self_check
from heed.train.online import OnlineTrainer
from tiny_models import FAST, GENERIC, causal_model
from tiny_training import trainer_of


def snapshot(trainer: OnlineTrainer) -> tuple[dict[str, torch.Tensor], str]:
    tensors, numbers = trainer.state()
    return tensors, str(numbers)


@pytest.mark.parametrize("name", FAST)
def test_passes_on_every_fast_shape_with_a_shared_trunk(name: str) -> None:
    assert self_check(trainer_of(True, name=name), at_start=True).startswith("self-check passed")


@pytest.mark.parametrize("name", ["llama-tied", "gpt2", *(n for n in GENERIC if n != "opt")])
def test_passes_with_a_separate_value_model(name: str) -> None:
    assert "resumed equals uninterrupted" in self_check(trainer_of(False, name=name), at_start=True)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("steps", [0, 2])
def test_leaves_the_trainer_as_it_was(shared: bool, steps: int) -> None:
    trainer, other = trainer_of(shared), trainer_of(shared)
    for step in range(steps):
        trainer.step(step)
        other.step(step)
    before = snapshot(trainer)
    self_check(trainer, at_start=steps == 0)
    after = snapshot(trainer)
    assert after[1] == before[1]
    assert after[0].keys() == before[0].keys()
    for name, tensor in before[0].items():
        assert torch.equal(after[0][name], tensor), name
    assert str(trainer.step(steps)) == str(other.step(steps)), "and the next step is what it would have been"


def test_finds_a_reference_that_is_another_model() -> None:
    trainer = trainer_of(False)
    trainer.reference.model.load_state_dict(causal_model("llama", 7, seed=2, initializer_range=0.08).state_dict())
    with pytest.raises(TrainingError, match="KL to the reference is not 0 at the start"):
        self_check(trainer, at_start=True)
    assert "KL" not in self_check(trainer, at_start=False), "later in a run the policy has left its reference"


def test_finds_a_reference_that_is_a_little_off() -> None:
    trainer = trainer_of(False)
    with torch.no_grad():
        for parameter in trainer.reference.parameters():
            parameter.mul_(1.3)
    with pytest.raises(TrainingError, match="KL to the reference"):
        trainer.run()


@pytest.mark.parametrize("fault", [0.01, -0.5, float("nan")])
def test_finds_logprobs_of_sampling_that_are_not_those_of_training(
    fault: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*args: Any, **named: Any) -> Samples:
        samples = sample(*args, **named)
        samples.logprobs[-1][-1] += fault
        return samples

    monkeypatch.setattr(online, "sample", wrong)
    with pytest.raises(TrainingError, match="importance ratio is not 1"):
        self_check(trainer_of(False), at_start=True)


def test_finds_a_forward_pass_that_decodes_and_trains_differently(monkeypatch: pytest.MonkeyPatch) -> None:
    """A position shifted by one in decoding, where eight rows take a token each: what the check exists for."""
    trainer = trainer_of(False, name="gpt2")
    trunk = trainer.policy.body.trunk
    assert trunk is not None
    embed = trunk.embed

    def shifted(ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return embed(ids, positions + (len(ids) == 8))

    monkeypatch.setattr(trunk, "embed", shifted)
    with pytest.raises(TrainingError, match="importance ratio is not 1"):
        self_check(trainer, at_start=True)


@pytest.mark.parametrize("what", ["weight/", "exp_avg_sq/", "step/"])
def test_finds_a_resume_that_loses_something(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of(True)
    trainer.step(0)
    sound = trainer.load_state

    def lossy(tensors: dict[str, torch.Tensor], numbers: dict[str, Any]) -> None:
        name = next(key for key in tensors if key.startswith(what))
        sound(tensors | {name: tensors[name] * 1.5 + 0.5}, numbers)

    monkeypatch.setattr(trainer, "load_state", lossy)
    with pytest.raises(TrainingError, match="resumed run would differ"):
        self_check(trainer, at_start=False)


def test_every_run_begins_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*args: Any, **named: Any) -> Samples:
        samples = sample(*args, **named)
        samples.logprobs[0][0] -= 0.1
        return samples

    trainer = trainer_of(False)
    before = snapshot(trainer)
    monkeypatch.setattr(online, "sample", wrong)
    with pytest.raises(TrainingError, match="self-check failed"):
        trainer.run()
    assert trainer.result.history == []
    for name, tensor in before[0].items():
        assert torch.equal(trainer.state()[0][name], tensor), "nothing was trained"
