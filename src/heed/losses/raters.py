"""Who said it: each rater answers in one of four ways, in shares of their own, learned together with the reward.

    P(answer | rater) = heeds P(answer | reward) + inverts P(answer | -reward) + left P(answer | unread, left) + right ...

With two ways this is Crowd-BT of Chen, Bennett, Collins-Thompson and Horvitz 2013, "Pairwise Ranking Aggregation in a
Crowdsourced Setting", WSDM, section 3.2, whose eta below a half is somebody who inverts; the other two do not read. The
reliability of a rater is heeds - inverts, -1 to 1. Shapes: N judgments, K raters, 4 ways in the order below.
"""

from __future__ import annotations

import torch
from torch import Tensor

HEEDS, INVERTS, LEFT, RIGHT = range(4)
WAYS = ("heeds", "inverts", "left", "right")

_SMALLEST = 1e-6
"""Of a share: one of nothing at all has no logarithm, and could never grow again."""


def mixture_logprobs(by_way: Tensor, log_ways: Tensor) -> Tensor:
    """Log-probability of what was said, whichever way it came about.

    Its gradient weighs each way by the probability that the judgment came about so, as EM does.

    Args:
        by_way: [N, 4], nats; of each judgment under each way.
        log_ways: [N, 4], nats; the shares of the rater of each.

    Returns:
        [N], nats.
    """
    return torch.logsumexp(by_way + log_ways, -1)


def responsibilities(by_way: Tensor, log_ways: Tensor) -> Tensor:
    """The probability that each judgment came about in each way: the E step.

    Args:
        by_way, log_ways: as in :func:`mixture_logprobs`.

    Returns:
        [N, 4], rows sum to 1.
    """
    return torch.softmax(by_way + log_ways, -1)


def fitted_ways(
    by_way: Tensor, rater: Tensor, ways: Tensor, prior: Tensor, weights: Tensor | None = None, turns: int = 20
) -> Tensor:
    """Shares of each rater by EM: Dempster, Laird and Rubin 1977, "Maximum Likelihood from Incomplete Data via the EM
    Algorithm", JRSS B 39, section 4.3, with a Dirichlet prior: the largest of the posterior.

    Args:
        by_way: [N, 4], nats.
        rater: [N], integers below K.
        ways: [K, 4], where to start; all above 0.
        prior: [4], of the Dirichlet distribution, all at least 1.
        weights: [N], at least 0; 1 each when left out.
        turns: E and M steps (count); none lowers the posterior.

    Returns:
        [K, 4], rows sum to 1.
    """
    for _ in range(turns):
        mine = responsibilities(by_way, ways[rater].log())
        mine = mine if weights is None else mine * weights.unsqueeze(1)
        counts = torch.zeros_like(ways).index_add(0, rater, mine) + (prior - 1)
        ways = (counts / counts.sum(1, keepdim=True)).clamp_min(_SMALLEST)
        ways = ways / ways.sum(1, keepdim=True)
    return ways


def reliability(ways: Tensor) -> Tensor:
    """How much a rater's answers tell, and in which direction: heeds - inverts [K], -1 to 1, of shares [K, 4]."""
    return ways[..., HEEDS] - ways[..., INVERTS]


def reliability_errors(
    by_way: Tensor, rater: Tensor, ways: Tensor, prior: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Standard errors [K] of the reliability, the reward held fixed.

    From the inverse of each rater's observed information: minus the second derivative of the log-posterior by three free
    shares, the fourth being what is left of 1.

    Args:
        by_way, rater, ways, prior, weights: as in :func:`fitted_ways`.

    Returns:
        [K], no unit.
    """
    raters = ways.shape[0]
    logs = by_way - torch.logsumexp(by_way + ways[rater].log(), -1, keepdim=True)
    steps = logs.exp()[:, :RIGHT] - logs.exp()[:, RIGHT:]
    squares = steps.unsqueeze(2) * steps.unsqueeze(1)
    squares = squares if weights is None else squares * weights[:, None, None]
    information = by_way.new_zeros(raters, RIGHT, RIGHT).index_add(0, rater, squares)
    concentration = (prior - 1) / ways.square()
    information = information + concentration[:, RIGHT, None, None] + torch.diag_embed(concentration[:, :RIGHT])
    contrast = by_way.new_tensor([1.0, -1.0, 0.0])
    return (torch.linalg.inv(information) @ contrast @ contrast).clamp_min(0.0).sqrt()
