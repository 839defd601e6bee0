"""Loss and quality of the value model. Shapes: B completions, T token positions."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from heed.losses.advantages import masked_mean


class ValueLoss(NamedTuple):
    """Result of :func:`clipped_value_loss`; scalars that add up over micro-batches.

    ``loss`` carries the gradient. ``clip_fraction``: share of the tokens whose clipped error is the larger one and counts.
    """

    loss: Tensor
    clip_fraction: Tensor


def clipped_value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip_value: float, count: float | Tensor
) -> ValueLoss:
    """Squared error of the values, without profit from moving further than ``clip_value`` in one rollout.

    sum of max((V - R)^2, (V_old + clip(V - V_old, -c, c) - R)^2) / 2 / count. Engstrom et al. 2020, "Implementation Matters
    in Deep Policy Gradients", section 3, item 1; used for language models in Huang et al. 2024, section 7.

    Args:
        values: [B, T], reward units; of the value model being trained.
        old_values: [B, T], reward units; predicted at the rollout.
        returns: [B, T], reward units; the targets.
        mask: [B, T], bool or float; real where not zero. Padded positions reach neither value nor gradient.
        clip_value: c, reward units; infinity turns the clip off.
        count: real tokens in the whole minibatch, so that micro-batches add up to it; positive.

    Returns:
        The loss in squared reward units, and the share clipped.
    """
    padded = ~mask.bool()
    values = values.masked_fill(padded, 0.0)
    old_values = old_values.detach().masked_fill(padded, 0.0)
    returns = returns.detach().masked_fill(padded, 0.0)
    clipped = old_values + (values - old_values).clamp(-clip_value, clip_value)
    # Within the clip both errors are one in theory, yet the sum above rounds: take the plain one there, exactly.
    inside = (values - old_values).abs() <= clip_value
    error = (values - returns).square()
    clipped_error = torch.where(inside, error, (clipped - returns).square())
    return ValueLoss(
        loss=masked_mean(0.5 * torch.maximum(error, clipped_error), mask, count),
        clip_fraction=masked_mean((clipped_error > error).to(error.dtype), mask, count),
    )


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """Share of the variance of the returns that the values explain: 1 - Var(returns - values) / Var(returns).

    1 is perfect, 0 no better than a constant, below 0 worse than one. A constant offset is forgiven.

    Args:
        values, returns: [B, T], reward units.
        mask: [B, T], bool or float; real where not zero.

    Returns:
        Scalar float64, no unit. NaN where the real returns are all equal (or there are none): they have no variance to
        explain.
    """
    real = mask.bool()
    values, returns = values.detach()[real].double(), returns.detach()[real].double()
    if returns.numel() == 0 or bool((returns == returns[0]).all()):
        return returns.new_tensor(math.nan)
    return 1 - (returns - values).var(correction=0) / returns.var(correction=0)
