"""The self-check that every policy run begins with: what must hold before the first update is worth making."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load, save

from heed.errors import TrainingError
from heed.losses.policy import kl_k3

if TYPE_CHECKING:
    from heed.models.decode import Samples
    from heed.models.policy import Policy
    from heed.train.online import OnlineTrainer
    from heed.train.online_loop import OnlineLoop
    from heed.train.rollout import Rollout

_PROMPTS, _COMPLETIONS = 4, 8
"""Of the rollout that is checked: at most so many prompts, and fewer where each has several samples."""
# Two orders of summation of the same float32 products differ by about 1e-5 nats; a wrong mask or position by over 0.1.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.15, torch.float16: 0.05}


def tolerance_of(policy: Policy) -> float:
    """How far two log-probabilities of the same token may lie apart by rounding (nats)."""
    return _TOLERANCE.get(policy.body.dtype or policy.model.dtype, 1e-3)


def self_check(trainer: OnlineTrainer, at_start: bool) -> str:
    """Check that the importance ratio is 1 before any update, that the KL to the reference is 0 at the start of the run,
    and that a step after saving and loading equals the step without. The trainer is left as it was found.

    Returns:
        A line that says what was checked.

    Raises:
        TrainingError: one of them does not hold.
    """
    settings = trainer.settings
    rollout = _rollout(trainer)
    tolerance = tolerance_of(trainer.policy)
    drift = check_sampling(
        trainer.policy, rollout.prompt_ids, rollout.samples, settings.temperature, settings.tokens_per_microbatch
    )
    kl = float((kl_k3(rollout.logprobs, rollout.reference_logprobs) * rollout.mask).sum() / len(rollout.lengths))
    if at_start and not kl < tolerance * settings.max_new_tokens:
        raise TrainingError(
            "self-check failed: the KL to the reference is not 0 at the start",
            f"it is {kl:.3g} nats a completion.",
            "The reference must be the model that the policy starts from.",
        )
    check_resume(trainer, trainer.optimizer, trainer.parameters, lambda: trainer.learn(rollout, 0))
    shown = f"ratio within {drift:.0e} of 1" + (f", KL {kl:.0e}" if at_start else "")
    return f"self-check passed: {shown}, resumed equals uninterrupted"


def _rollout(trainer: OnlineTrainer) -> Rollout:
    """A small one. Where people are the reward it is scored by chance: their time is for what is learned from."""
    scorer = trainer.scorer
    if getattr(scorer, "asks", False):
        generator = torch.Generator().manual_seed(trainer.seed)
        trainer.scorer = lambda prompts, ids, samples: torch.randn(len(samples.tokens), generator=generator)
    try:
        prompts = max(1, min(_PROMPTS, _COMPLETIONS // trainer.settings.samples_per_prompt))
        return trainer.roll_out(trainer.prompts[:prompts], seed=trainer.seed)
    finally:
        trainer.scorer = scorer


def check_sampling(
    policy: Policy,
    prompt_ids: Sequence[Sequence[int]],
    samples: Samples,
    temperature: float,
    tokens_per_microbatch: int,
) -> float:
    """By how much the log-probabilities of sampling and of training differ (nats).

    Raises:
        TrainingError: by more than rounding, so that the importance ratio would not be 1.
    """
    from heed.train.rollout import completion_logprobs, grid_of

    again = completion_logprobs(policy, prompt_ids, samples.tokens, temperature, tokens_per_microbatch)
    drift = float((again - grid_of(samples.logprobs, policy.device)).abs().max())
    if not drift < tolerance_of(policy):
        raise TrainingError(
            "self-check failed: the importance ratio is not 1 before the first update",
            f"log-probabilities of sampling and of training differ by up to {drift:.2g} nats (tolerance "
            f"{tolerance_of(policy):g}).",
            "This is a fault of heed or of the model's shape, not of your data: please report the model's config.json.",
        )
    return drift


def check_resume(
    trainer: OnlineLoop,
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, torch.nn.Parameter],
    learn: Callable[[], object],
) -> None:
    """One update from the state as it is, and one from the state saved and loaded; the weights must not differ.

    Raises:
        TrainingError: they do.
    """
    tensors, numbers = trainer.state()
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    kept = save({name: value.cpu() for name, value in tensors.items()})
    outcomes = []
    for group in optimizer.param_groups:
        group["lr"] = group["peak"]
    for state in (None, load(kept)):
        if state is not None:
            trainer.load_state(state, numbers)
        learn()
        outcomes.append([p.detach().clone() for p in parameters.values()])
    trainer.load_state(load(kept), numbers)
    exact = trainer.policy.device.type == "cpu"
    same = torch.equal if exact else lambda a, b: torch.allclose(a, b, atol=1e-4, rtol=1e-3)
    if not all(same(a, b) for a, b in zip(*outcomes, strict=True)):
        raise TrainingError(
            "self-check failed: a resumed run would differ from an uninterrupted one",
            "the same update gave other weights after saving and loading.",
            "Set threads to 1; if it still fails, report the model's config.json.",
        )
