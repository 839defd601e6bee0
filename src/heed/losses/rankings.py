"""Likelihoods of orders: rankings with ties and gaps, and what is put above others without being ranked among them.

Shapes: N rankings of at most R completions each. Scores are rewards, the log-odds between equals in all else. All
log-probabilities are finite, gradients included, for scores of either sign up to 1e4 in float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

UNRANKED = -1
"""Place of a completion that was not ranked, and of padding."""


def plackett_luce_logprobs(scores: Tensor, places: Tensor) -> Tensor:
    """Log-probability of rankings: the best is chosen of all, the next of those left.

    Luce 1959, "Individual Choice Behavior", and Plackett 1975, "The Analysis of Permutations", JRSS C 24, section 2: each
    choice in proportion to exp(score). What was not ranked takes no part. Equals were chosen in an order that nobody told:
    as in Efron 1977, "The Efficiency of Cox's Likelihood Function for Censored Data", JASA 72, section 6, each of their
    choices is made of those below and the average of what is left of the equals. A ranking of two is Bradley-Terry, a tie
    of two a win of each.

    Args:
        scores: [N, R], reward units.
        places: [N, R], integers: 0 is best, the same number for equals, ``UNRANKED`` for what takes no part.

    Returns:
        [N], nats; 0 where at most one completion is ranked.
    """
    ranked = places != UNRANKED
    scores = scores.masked_fill(~ranked, 0.0)
    below = (places.unsqueeze(2) < places.unsqueeze(1)) & ranked.unsqueeze(2) & ranked.unsqueeze(1)
    equal = (places.unsqueeze(2) == places.unsqueeze(1)) & ranked.unsqueeze(2) & ranked.unsqueeze(1)
    # Of the equals, so many were chosen before: in the order in which they stand, which does not change the product.
    gone = equal.tril(-1).sum(2, keepdim=True).to(scores.dtype)
    share = 1 - gone / equal.sum(2, keepdim=True).clamp_min(1)
    weight = below.to(scores.dtype) + equal * share
    # A row that is not ranked chooses of itself, so that its logarithm stays one.
    weight = torch.where(
        ranked.unsqueeze(2), weight, torch.eye(scores.shape[1], dtype=scores.dtype, device=scores.device)
    )
    left = torch.logsumexp(scores.unsqueeze(1) + weight.log(), 2)
    return (scores - left).masked_fill(~ranked, 0.0).sum(1)


def first_choice_logprobs(scores: Tensor, present: Tensor) -> Tensor:
    """Log-probability that the first completion is chosen of those that are there: a demonstration among samples.

    Luce 1959, section 1.C; of two it is Bradley-Terry, an edited text against its original.

    Args:
        scores: [N, R], reward units; the first column is what was put above the others.
        present: [N, R], bool; False at padding. The first is always there.

    Returns:
        [N], nats.
    """
    lead = (scores - scores[:, :1]).masked_fill(~present.bool(), float("-inf"))
    return -torch.logsumexp(lead, 1)


def edit_logprobs(edited: Tensor, original: Tensor) -> Tensor:
    """Log-probability that an edited text is better than its original: Bradley-Terry.

    Args:
        edited, original: [N], reward units.

    Returns:
        [N], nats.
    """
    return F.logsigmoid(edited - original)
