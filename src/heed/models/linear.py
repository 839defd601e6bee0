"""Matrix products on the processor, through oneDNN where that is faster.

``torch.nn.functional.linear`` sends float32 products to MKL. On AMD processors with AVX-512 MKL keeps to AVX2 and reaches less than
half of what oneDNN reaches on the same cores (``make bench-speed`` prints both). Torch carries oneDNN and exposes its linear as an
operator; this file gives it a gradient. Everywhere else (Intel's processors, for which MKL is made, those without AVX-512, small
products, other devices, other types, builds without oneDNN) the product is torch's own.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

# Multiply-adds below which oneDNN's own preparations, some 30 microseconds a product, outweigh what it is faster by. A token a row
# of a small model is decoded by such products alone.
_SMALL = 2**20


def onednn_available() -> bool:
    """Whether this torch can run float32 products on the processor through oneDNN."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def made_for_mkl() -> bool:
    """Whether MKL is no slower than oneDNN on this processor: on Intel's it is the faster of the two (supervised steps of a small GPT-2
    shape by a fifth), and of the x86 processors without AVX-512 both use the same instructions (online steps of a small Llama shape by
    a quarter, on an AMD Milan). The kind of processor decides, and not a measurement, which could fall out otherwise the next time and
    change what a run computes."""
    if torch.backends.mkl.is_available() and "AVX512" not in torch.backends.cpu.get_cpu_capability():
        return True
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


_ONEDNN = onednn_available() and not made_for_mkl()


def by_onednn() -> bool:
    """Whether float32 products on this processor go through oneDNN."""
    return _ONEDNN


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias`` for x [N, I], weight [O, I] in any strides."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        to_x = _product(gradient, weight.t()) if ctx.needs_input_grad[0] else None
        to_weight = None
        if ctx.needs_input_grad[1]:
            # oneDNN copies its first operand when that is transposed, so the narrower of the two goes first.
            if gradient.shape[1] >= x.shape[1]:
                to_weight = _product(x.t(), gradient.t()).t()
            else:
                to_weight = _product(gradient.t(), x.t())
        to_bias = gradient.sum(0) if ctx.has_bias and ctx.needs_input_grad[2] else None
        return to_x, to_weight, to_bias


def _serves(x: Tensor, weight: Tensor) -> bool:
    # oneDNN refuses a product of no rows, which torch's own makes; and autocast knows only torch's own.
    worth = x.shape[0] * weight.numel() > _SMALL and x.dtype == weight.dtype == torch.float32
    return _ONEDNN and worth and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias`` with gradients: x [N, I], weight [O, I] (any strides), bias [O] -> [N, O]."""
    if not _serves(x, weight):
        return F.linear(x, weight, bias)
    if not torch.is_grad_enabled():
        return _product(x, weight, bias)
    out: Tensor = _Linear.apply(x, weight, bias)
    return out


def linear_added(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor) -> Tensor:
    """``residual + linear(x, weight, bias)``, residual [N, O]; one pass over the memory where no gradient is wanted."""
    if torch.is_grad_enabled() or not _serves(x, weight):
        return residual + linear(x, weight, bias)
    out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, residual, weight, bias, "add")
    return out


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The tanh-approximated GELU of ``linear(x, weight, bias)``; one pass over the memory where no gradient is wanted."""
    if torch.is_grad_enabled() or not _serves(x, weight):
        return F.gelu(linear(x, weight, bias), approximate="tanh")
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "gelu", [], "tanh")
    return out
