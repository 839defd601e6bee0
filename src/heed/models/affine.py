"""Projections as a trunk multiplies by them: weight, bias, and what a low-rank adapter adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from heed.models.linear import linear, linear_added, linear_gelu


class LowRank(NamedTuple):
    """What an adapter adds to a product: ``x @ down.T @ up.T``, down [R, I] and up [O, R], its scale in ``up``."""

    down: Tensor
    up: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return linear(linear(x.to(self.down.dtype), self.down), self.up).to(x.dtype)


class Affine(NamedTuple):
    """Weight and bias of a projection [O, I] and [O], or of a norm [D] and [D]; of an adapted projection also the adapter."""

    weight: Tensor
    bias: Tensor | None
    low: LowRank | None = None

    def to(self, dtype: torch.dtype) -> Affine:
        """The same in other numbers."""
        low = None if self.low is None else LowRank(self.low.down.to(dtype), self.low.up.to(dtype))
        return Affine(self.weight.to(dtype), None if self.bias is None else self.bias.to(dtype), low)

    def __call__(self, x: Tensor) -> Tensor:
        """[N, I] -> [N, O]."""
        out = linear(x, self.weight, self.bias)
        return out if self.low is None else out + self.low(x)

    def added(self, x: Tensor, residual: Tensor) -> Tensor:
        """The same added to ``residual`` [N, O]."""
        out = linear_added(x, self.weight, self.bias, residual)
        return out if self.low is None else out + self.low(x)

    def gelu(self, x: Tensor) -> Tensor:
        """The tanh-approximated GELU of the same."""
        if self.low is None:
            return linear_gelu(x, self.weight, self.bias)
        return nn.functional.gelu(self(x), approximate="tanh")


def read(adapted: bool, *projections: Any) -> Affine:
    """Projections of the same input as one, with their adapters where they are ``adapted``."""
    layers = [_base(projection) for projection in projections]
    # Conv1D, GPT-2's own, keeps its weight as [I, O].
    weights = [layer.weight.t() if isinstance(layer, Conv1D) else layer.weight for layer in layers]
    low = _low_rank(projections, weights) if adapted else None
    if len(layers) == 1:
        return Affine(weights[0], layers[0].bias, low)
    bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
    return Affine(torch.cat(weights), bias, low)


def readable(projection: Any) -> bool:
    """Whether ``read`` sees all that a projection does: a plain one, or one with a single adapter as LoRA was published."""
    if type(projection) in (nn.Linear, Conv1D):
        return True
    if type(_base(projection)) not in (nn.Linear, Conv1D) or not hasattr(projection, "lora_A"):
        return False
    names = list(projection.active_adapters)
    plain = not projection.merged_adapters and not projection.lora_variant and not any(projection.lora_bias.values())
    still = all(not isinstance(dropout, nn.Dropout) or dropout.p == 0 for dropout in projection.lora_dropout.values())
    return len(names) == 1 and list(projection.lora_A) == names and plain and still


def _base(projection: Any) -> Any:
    return getattr(projection, "base_layer", projection)


def _low_rank(projections: Sequence[Any], weights: Sequence[Tensor]) -> LowRank | None:
    """The adapters of some projections as one: those without have no rank."""
    if not any(hasattr(projection, "lora_A") for projection in projections):
        return None
    downs, ups = [], []
    for projection, weight in zip(projections, weights, strict=True):
        if hasattr(projection, "lora_A"):
            (name,) = projection.active_adapters
            downs.append(projection.lora_A[name].weight)
            ups.append(projection.lora_B[name].weight * projection.scaling[name])
        else:
            ups.append(weight.new_empty(weight.shape[0], 0))
    if len(ups) == 1:
        return LowRank(downs[0], ups[0])
    return LowRank(torch.cat(downs), torch.block_diag(*ups))
