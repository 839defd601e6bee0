"""Losses that bring together what belongs together and part the rest, and figures of how well that went.

Shapes: N texts with two views each, D dimensions; embeddings are taken to length 1 before anything is compared, so that a product
of two is their cosine. Two of the losses are pytorch-metric-learning's (extra ``contrastive``).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy of each view among all others, a mean over both views of each text.

    Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", section 2.1, eq. 1.

    Args:
        first, second: views [N, D].
        temperature: divides cosines.
    """
    from pytorch_metric_learning.losses import NTXentLoss

    own = torch.arange(len(first), device=first.device)
    found: Tensor = NTXentLoss(temperature)(torch.cat([first, second]), torch.cat([own, own]))
    return found


def supervised_contrastive(first: Tensor, second: Tensor, alike: Tensor, apart: Tensor, temperature: float) -> Tensor:
    """The same with several that belong together: the mean log-probability of each of them, a mean over views.

    Khosla et al. 2020, "Supervised Contrastive Learning", section 3.2.2, eq. 2. Pairs that are neither alike nor apart have no
    part in it.

    Args:
        first, second: views [N, D].
        alike, apart: [N, N], whether two texts belong together, or do not; the two views of a text always do.
        temperature: divides cosines.
    """
    from pytorch_metric_learning.losses import SupConLoss

    count = len(first)
    own = torch.eye(count, dtype=torch.bool, device=first.device)
    together, parted = (alike | own).repeat(2, 2), (apart & ~alike & ~own).repeat(2, 2)
    together &= ~torch.eye(2 * count, dtype=torch.bool, device=first.device)
    pairs = (*together.nonzero(as_tuple=True), *parted.nonzero(as_tuple=True))
    found: Tensor = SupConLoss(temperature)(torch.cat([first, second]), indices_tuple=pairs)
    return found


def info_nce(query: Tensor, key: Tensor, queue: Tensor, temperature: float, left_out: Tensor | None = None) -> Tensor:
    """Cross entropy of each query's own key among those of a queue, a mean over queries.

    He et al. 2020, "Momentum Contrast for Unsupervised Visual Representation Learning", section 3.1, eq. 1.

    Args:
        query, key: [N, D]; no gradient goes to the keys.
        queue: [K, D], keys of earlier steps.
        temperature: divides cosines.
        left_out: [N, K], keys of the queue that are nothing to be parted from.
    """
    query, key, queue = F.normalize(query, dim=1), F.normalize(key.detach(), dim=1), F.normalize(queue, dim=1)
    others = query @ queue.T
    if left_out is not None:
        others = others.masked_fill(left_out, -torch.inf)
    logits = torch.cat([(query * key).sum(1, keepdim=True), others], 1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.long, device=query.device))


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, iterations: int = 3) -> Tensor:
    """Codes [N, K] of texts: each row a distribution over prototypes, each prototype used about as much as any other.

    Sinkhorn-Knopp on exp(scores / epsilon), after Cuturi 2013, as in Caron et al. 2020, "Unsupervised Learning of Visual Features
    by Contrasting Cluster Assignments", section 3.1, eq. 3 to 5.

    Args:
        scores: cosines of texts and prototypes [N, K].
        epsilon: how soft the codes are; small is sharp.
    """
    count, prototypes = scores.shape
    codes = ((scores - scores.max()) / epsilon).exp()
    codes = codes / codes.sum()
    for _ in range(iterations):
        codes = codes / codes.sum(0, keepdim=True).clamp_min(1e-30) / prototypes
        codes = codes / codes.sum(1, keepdim=True).clamp_min(1e-30) / count
    return codes * count


def swapped_prediction(first: Tensor, second: Tensor, temperature: float, epsilon: float) -> Tensor:
    """Cross entropy of the code of each view by the scores of the other, a mean over both views of each text.

    Caron et al. 2020 (SwAV), section 3.1, eq. 1 and 2.

    Args:
        first, second: cosines of each view and the prototypes [N, K].
        temperature: divides scores.
        epsilon: see :func:`sinkhorn`.
    """
    total = first.new_zeros(())
    for scores, other in ((first, second), (second, first)):
        total = total - (sinkhorn(other, epsilon) * F.log_softmax(scores / temperature, 1)).sum(1).mean()
    return total / 2


@torch.no_grad()
def alignment(first: Tensor, second: Tensor) -> float:
    """Mean squared distance of the two views of a text on the sphere, 0 where they are one.

    Wang and Isola 2020, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere",
    section 4.1.
    """
    return float((F.normalize(first, dim=1) - F.normalize(second, dim=1)).square().sum(1).mean())


@torch.no_grad()
def uniformity(texts: Tensor, sharpness: float = 2.0) -> float:
    """Log of the mean Gaussian potential of pairs of different texts on the sphere: 0 where all are in one place, the lower the
    evener they are spread.

    Wang and Isola 2020, section 4.1, with t = 2.
    """
    distances = torch.pdist(F.normalize(texts, dim=1)).square()
    return float((-sharpness * distances).exp().mean().log())
