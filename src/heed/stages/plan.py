"""What a run is going to cost, before it starts."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

from heed.config import DQNSettings, PolicySettings
from heed.training_settings import TrainSettings

# A forward pass multiplies and adds once a parameter and token; the backward pass does so twice.
_FORWARD, _TRAIN = 2, 6
# What whole steps reach of the speed of a bare matrix product, measured by `make bench-speed` on small models.
_SHARE_REACHED = 0.4


@lru_cache(maxsize=4)
def product_flops(device: str, dtype: str = "float32") -> float:
    """Floating-point operations a second of a matrix product on this device, measured in about 0.1 s; ``dtype``: of its numbers."""
    import torch

    from heed.models.linear import linear

    numbers = getattr(torch, dtype)
    x, w = torch.randn(2048, 512, device=device).to(numbers), torch.randn(512, 512, device=device).to(numbers)
    best = float("inf")
    with torch.no_grad():
        for _ in range(6):
            start = time.perf_counter()
            out = linear(x, w)
            out[0, 0].item()
            best = min(best, time.perf_counter() - start)
    return 2 * 2048 * 512 * 512 / best


def _parameters(model: Any) -> int:
    return sum(p.numel() for p in model.parameters())


def _trained(model: Any) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _size(model: Any) -> str:
    count, trained = _parameters(model), _trained(model)
    return f"{count:,} parameters" + (f", {trained:,} of them trained" if trained < count else "")


def _time(flops: float, device: str) -> str:
    seconds = flops / (product_flops(device) * _SHARE_REACHED)
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"


def _memory(trained: int, frozen: int, tokens: int, width: int, layers: int, vocabulary: int) -> str:
    # Weights, gradients and two moments; activations of one micro-batch: some 16 widths a layer and token, and logits.
    activations = tokens * (16 * width * layers + 2 * min(vocabulary, 32 * 1024 * 1024 // max(1, tokens)))
    mib = 4 * (4 * trained + frozen + activations) / 2**20
    return f"about {mib:,.0f} MiB beside the program"


def training_plan(
    model: Any,
    examples: int,
    tokens_each: float,
    settings: TrainSettings,
    networks: int = 1,
) -> dict[str, str]:
    """Lines of the plan of a run on fixed examples of ``tokens_each`` tokens on average."""
    from heed.train.optimise import steps_for

    steps = steps_for(examples, settings.prompts_per_step, settings.epochs) * networks
    total = examples * settings.epochs * tokens_each * networks
    count, config = _parameters(model), model.config
    device = next(model.parameters()).device.type
    return {
        "data": f"{examples:,} examples of {tokens_each:.0f} tokens, {settings.epochs:g} epochs",
        "model": _size(model) + (f", {networks} members" if networks > 1 else ""),
        "steps": f"{steps:,} of {settings.prompts_per_step} examples",
        "tokens": f"{total:,.0f}",
        "time": _time(_TRAIN * count * total, device),
        "memory": _memory(
            _trained(model),
            count - _trained(model),
            settings.tokens_per_microbatch,
            config.hidden_size,
            config.num_hidden_layers,
            config.vocab_size,
        ),
    }


def policy_plan(
    model: Any, prompt_tokens: float, settings: PolicySettings, dqn: DQNSettings | None = None
) -> dict[str, str]:
    """Lines of the plan of policy optimisation; the same size of value, reference and reward model is assumed."""
    from heed.train.recipes import RECIPES, setting_of

    each = prompt_tokens + settings.max_new_tokens
    rows = settings.prompts_per_step * settings.samples_per_prompt
    count, own = _parameters(model), _trained(model)
    if dqn is not None:
        trained, frozen, networks = 1, 3 * count, "a target network"
        updates = f"dqn, {dqn.updates} of {dqn.completions_per_update} completions a rollout"
        learned = dqn.updates * dqn.completions_per_update * (_TRAIN + _FORWARD)
    else:
        critic, epochs = RECIPES[settings.algorithm].critic, int(setting_of(settings, "epochs"))
        trained = 2 if critic and settings.value_model == "separate" else 1
        # With an adapter the reference is the policy's own weights.
        frozen = 2 * count if own == count else trained * (count - own) + count
        networks = f"{settings.value_model if critic else 'no'} value model"
        updates = f"{settings.algorithm}, {epochs} epochs x {settings.minibatches} minibatches a rollout"
        learned = rows * _TRAIN * epochs * trained
    flops = each * count * (rows * _FORWARD * 4 + learned) * settings.steps
    config = model.config
    device = next(model.parameters()).device.type
    constraints = ", ".join(f"{one.name} ({one.kind}, weight {one.weight:g})" for one in settings.constraints)
    return {
        "rollouts": f"{settings.steps:,} of {settings.prompts_per_step} prompts x {settings.samples_per_prompt} samples",
        "updates": updates,
        **({"constraints": constraints} if constraints else {}),
        "model": f"{_size(model)}, {networks}",
        "tokens": f"up to {settings.steps * rows * settings.max_new_tokens:,} sampled",
        "time": f"up to {_time(flops, device).removeprefix('about ')}",
        "memory": _memory(
            trained * own,
            frozen,
            settings.tokens_per_microbatch,
            config.hidden_size,
            config.num_hidden_layers,
            config.vocab_size,
        ),
    }
