"""What every likelihood must hold: the gradient of finite differences, and of any split into micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from heed.losses.reward import likelihood_loss

PARTS = ([slice(None)], [slice(0, 4), slice(4, 5), slice(5, None)])


def gradients_of_splits(
    logprobs: Callable[[slice, Sequence[Tensor]], Tensor], values: Sequence[Tensor], count: int
) -> list[tuple[float, list[Tensor]]]:
    """Loss and gradients of the whole batch, and summed over three micro-batches."""
    found = []
    for parts in PARTS:
        leaves = [value.clone().requires_grad_() for value in values]
        total = 0.0
        for part in parts:
            loss = likelihood_loss(logprobs(part, leaves), count)
            loss.backward()
            total += float(loss.detach())
        found.append((total, [leaf.grad if leaf.grad is not None else torch.zeros(()) for leaf in leaves]))
    return found
