"""Contrastive losses against their formulas written out term by term in double precision, and against what theory says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from heed.losses.contrastive import (
    alignment,
    info_nce,
    nt_xent,
    sinkhorn,
    supervised_contrastive,
    swapped_prediction,
    uniformity,
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(rows: Tensor) -> np.ndarray:
    found = rows.detach().numpy()
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_nt_xent_is_equation_1_of_simclr(temperature: float) -> None:
    first, second = drawn(5, 4, seed=1), drawn(5, 4, seed=2)
    z = unit(torch.cat([first, second]))
    total = 0.0
    for i in range(10):
        j = (i + 5) % 10
        below = sum(math.exp(z[i] @ z[k] / temperature) for k in range(10) if k != i)
        total -= math.log(math.exp(z[i] @ z[j] / temperature) / below)
    assert float(nt_xent(first, second, temperature)) == pytest.approx(total / 10, rel=1e-6)


def test_supervised_contrastive_is_equation_2_and_without_labels_it_is_nt_xent() -> None:
    first, second, temperature = drawn(6, 4, seed=3), drawn(6, 4, seed=4), 0.3
    labels = np.array([0, 0, 1, 1, 2, 0])
    alike = torch.from_numpy(labels[:, None] == labels[None])
    apart = ~alike
    apart[0, 2] = apart[2, 0] = False  # neither the one nor the other
    z, said = unit(torch.cat([first, second])), np.concatenate([labels, labels])
    out = {(0, 2), (2, 0)}
    total = 0.0
    for i in range(12):
        others = [k for k in range(12) if k != i and (i % 6, k % 6) not in out]
        below = sum(math.exp(z[i] @ z[k] / temperature) for k in others)
        mates = [k for k in others if said[k] == said[i]]
        total -= sum(math.log(math.exp(z[i] @ z[k] / temperature) / below) for k in mates) / len(mates)
    found = supervised_contrastive(first, second, alike, apart, temperature)
    assert float(found) == pytest.approx(total / 12, rel=1e-6)
    nobody = torch.zeros(6, 6, dtype=torch.bool)
    alone = supervised_contrastive(first, second, nobody, ~nobody, temperature)
    assert float(alone) == pytest.approx(float(nt_xent(first, second, temperature)), rel=1e-6)


def test_info_nce_is_equation_1_of_moco_and_teaches_the_query_alone() -> None:
    query, key, queue = drawn(4, 3, seed=5).requires_grad_(), drawn(4, 3, seed=6).requires_grad_(), drawn(7, 3, seed=7)
    out = torch.zeros(4, 7, dtype=torch.bool)
    out[1, 2] = out[1, 3] = True
    q, k, others = unit(query), unit(key), unit(queue)
    for mask in (None, out):
        total = 0.0
        for i in range(4):
            terms = [others[j] for j in range(7) if mask is None or not mask[i, j]]
            own = math.exp(q[i] @ k[i] / 0.2)
            total -= math.log(own / (own + sum(math.exp(q[i] @ other / 0.2) for other in terms)))
        loss = info_nce(query, key, queue, 0.2, mask)
        assert float(loss.detach()) == pytest.approx(total / 4, rel=1e-9)
    loss.backward()
    assert key.grad is None
    assert query.grad is not None


def test_codes_are_even_over_prototypes_and_sharp_where_epsilon_is_small() -> None:
    scores = F.normalize(drawn(12, 6, seed=8), dim=1) @ F.normalize(drawn(4, 6, seed=9), dim=1).T
    codes = sinkhorn(scores, 0.3, iterations=200)
    torch.testing.assert_close(codes.sum(1), torch.ones(12, dtype=torch.float64))
    torch.testing.assert_close(codes.sum(0), torch.full((4,), 3.0, dtype=torch.float64), rtol=1e-6, atol=1e-6)
    # The optimum has the form diag(u) exp(scores / epsilon) diag(v): what is left over is a sum of a row's and a column's part.
    rest = codes.log() - scores / 0.3
    rest = rest - rest[:1] - rest[:, :1] + rest[0, 0]
    assert float(rest.abs().max()) < 1e-6
    assert float(sinkhorn(scores, 0.01).max(1).values.mean()) > 0.9 > float(codes.max(1).values.mean())
    assert torch.isfinite(sinkhorn(scores, 1e-3)).all()


def test_swapped_prediction_is_equations_1_and_2_of_swav() -> None:
    first, second = 0.5 * drawn(6, 3, seed=10), 0.5 * drawn(6, 3, seed=11)
    total = 0.0
    for own, other in ((first, second), (second, first)):
        codes = sinkhorn(other, 0.25).numpy()
        for row, code in zip(own.numpy(), codes, strict=True):
            below = sum(math.exp(value / 0.4) for value in row)
            total -= sum(c * math.log(math.exp(value / 0.4) / below) for c, value in zip(code, row, strict=True))
    assert float(swapped_prediction(first, second, 0.4, 0.25)) == pytest.approx(total / 12, rel=1e-9)


def test_alignment_and_uniformity_tell_collapse_from_spread() -> None:
    same = torch.ones(50, 8, dtype=torch.float64)
    assert uniformity(same) == pytest.approx(0)
    assert alignment(same, 3 * same) == pytest.approx(0)
    spread = drawn(400, 64, seed=12)
    # Of two points drawn evenly on a sphere of D dimensions the squared distance has mean 2 and variance 4 / D.
    assert uniformity(spread) == pytest.approx(-2 * 2 + 2**2 * 4 / 64 / 2, abs=0.03)
    assert alignment(spread, drawn(400, 64, seed=13)) == pytest.approx(2, abs=0.1)
    points = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]], dtype=torch.float64)
    expected = math.log((2 * math.exp(-2 * 2) + math.exp(-2 * 4)) / 3)
    assert uniformity(points) == pytest.approx(expected)


def test_each_loss_brings_views_together_and_parts_texts() -> None:
    """From a collapsed start with a little noise, descent on each loss lowers uniformity and keeps views close."""
    losses = {
        "nt_xent": lambda a, b: nt_xent(a, b, 0.2),
        "info_nce": lambda a, b: info_nce(a, b, torch.roll(b.detach(), 1, 0), 0.2),
        "swav": lambda a, b: swapped_prediction(
            *(F.normalize(z, dim=1) @ F.normalize(drawn(6, 8, seed=20), dim=1).T for z in (a, b)), 0.1, 0.05
        ),
    }
    for name, loss in losses.items():
        start = 1 + 0.1 * drawn(12, 8, seed=14)
        texts = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([texts], 0.05)
        for step in range(60):
            optimizer.zero_grad()
            noise = 0.05 * drawn(2, 12, 8, seed=100 + step)
            loss(texts + noise[0], texts + noise[1]).backward()
            optimizer.step()
        assert uniformity(texts.detach()) < uniformity(start) - 0.5, name
        noise = 0.05 * drawn(2, 12, 8, seed=99)
        assert alignment(texts.detach() + noise[0], texts.detach() + noise[1]) < 0.1, name
