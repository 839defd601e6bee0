"""Our matrix product equals torch's own, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from heed.models import linear as products
from heed.models.linear import linear

SIZES = st.integers(1, 33)


@pytest.fixture(scope="module", autouse=True, params=["as this processor has it", "oneDNN"])
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Products of these sizes go through torch's own on every processor, so oneDNN is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "oneDNN":
            if not products.onednn_available():
                pytest.skip("this torch has no oneDNN")
            patch.setattr(products, "_ONEDNN", True)
            patch.setattr(products, "_SMALL", 0)
        yield


def test_small_products_are_torch_s_own() -> None:
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(products, "_ONEDNN", True)
        patch.setattr(products, "_SMALL", 1_000)
        called = list[int]()
        own = products._product
        patch.setattr(products, "_product", lambda x, *more: called.append(len(x)) or own(x, *more))
        for rows in (10, 11):
            x, weight = torch.randn(rows, 10), torch.randn(10, 10)
            close(linear(x, weight), F.linear(x, weight))
        assert called == [11]


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=2e-5)


@given(st.integers(0, 33), SIZES, SIZES, st.booleans(), st.booleans(), st.booleans(), st.integers(0, 9), st.booleans())
def test_equals_torch(
    rows: int, into: int, out: int, bias: bool, transposed: bool, strided: bool, seed: int, twice: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def leaf(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).requires_grad_()

    x, b = leaf(into, rows) if strided else leaf(rows, into), leaf(out) if bias else None
    weight = leaf(into, out) if transposed else leaf(out, into)
    upstream = torch.randn(rows, out, generator=generator)
    leaves = [t for t in (x, weight, b) if t is not None]
    results = []
    for product in (linear, F.linear):
        y = product(x.t() if strided else x, weight.t() if transposed else weight, b)
        if twice:  # one weight used in two places gathers both gradients
            y = y + product(2 * (x.t() if strided else x), weight.t() if transposed else weight, b)
        results.append((y.detach(), *torch.autograd.grad(y, leaves, upstream)))
    for ours, theirs in zip(*results, strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("frozen", ["x", "weight", "bias"])
def test_frozen_inputs_get_no_gradient_and_the_others_theirs(frozen: str) -> None:
    leaves = {"x": torch.randn(5, 7), "weight": torch.randn(3, 7), "bias": torch.randn(3)}
    for name, tensor in leaves.items():
        tensor.requires_grad_(name != frozen)
    wanted = [tensor for tensor in leaves.values() if tensor.requires_grad]
    ours = torch.autograd.grad(linear(**leaves).square().sum(), wanted)
    theirs = torch.autograd.grad(F.linear(leaves["x"], leaves["weight"], leaves["bias"]).square().sum(), wanted)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)


def test_without_gradients_and_in_other_types() -> None:
    x, weight = torch.randn(4, 6), torch.randn(5, 6)
    with torch.no_grad():
        close(linear(x, weight), F.linear(x, weight))
    for dtype in (torch.float64, torch.bfloat16):
        assert torch.equal(linear(x.to(dtype), weight.to(dtype)), F.linear(x.to(dtype), weight.to(dtype)))
