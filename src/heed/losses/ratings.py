"""Likelihoods of what is said of one completion: scores on a scale, a thumb, defects; and the quality score of several.

Shapes: N judgments, L levels of a scale, D defects, A attributes. ``place`` is where a rater sees a completion, on the
reward's own scale: the reward itself, or scale x reward + shift of the rater who judged; a negative scale rates upside
down. All log-probabilities are natural and finite, gradients included, for places of either sign up to 1e4 in float32.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

NARROWEST = 1e-3
"""Least distance of two thresholds: what lies between them must keep a probability."""


def regression_logprobs(place: Tensor, observed: Tensor, log_deviation: float | Tensor) -> Tensor:
    """Log-density of scores around the place where they are expected, normal as in least squares.

    Args:
        place: [N], units of the score; the score that is expected.
        observed: [N], units of the score.
        log_deviation: scalar or [N], learned; log of the standard deviation.

    Returns:
        [N], nats.
    """
    deviation = torch.as_tensor(log_deviation, dtype=place.dtype, device=place.device)
    distance = (observed - place) * (-deviation).exp()
    return -0.5 * distance.square() - deviation - 0.5 * math.log(2 * math.pi)


def ordered_thresholds(first: Tensor, log_gaps: Tensor) -> Tensor:
    """Thresholds in ascending order, of any real parameters.

    Args:
        first: [...], the lowest threshold.
        log_gaps: [..., L - 2], logs of the distances between neighbours, each taken for at least ``NARROWEST``.

    Returns:
        [..., L - 1].
    """
    gaps = log_gaps.exp().clamp_min(NARROWEST)
    return torch.cat([first.unsqueeze(-1), first.unsqueeze(-1) + gaps.cumsum(-1)], -1)


def ordinal_logprobs(place: Tensor, levels: Tensor, thresholds: Tensor) -> Tensor:
    """Log-probability of levels of a scale: the place, with logistic noise, falls between two thresholds.

    The cumulative logit of McCullagh 1980, "Regression Models for Ordinal Data", JRSS B 42, section 2.1:
    P(level <= l) = sigmoid(threshold_l - place). Where each rater has a shift, a scale and thresholds of their own it is
    the model of Johnson 1996, "On Bayesian Analysis of Multirater Ordinal Data", JASA 91, section 2.

    Args:
        place: [N], log-odds.
        levels: [N], integers from 0 (worst) to L - 1.
        thresholds: [L - 1] of everybody, or [N, L - 1] of the rater of each; ascending.

    Returns:
        [N], nats.
    """
    ends = thresholds.expand(place.shape[0], -1)
    beyond = ends.new_full((ends.shape[0], 1), math.inf)
    lower = torch.cat([-beyond, ends], 1).gather(1, levels.unsqueeze(1)).squeeze(1)
    upper = torch.cat([ends, beyond], 1).gather(1, levels.unsqueeze(1)).squeeze(1)
    # sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u)): no difference of two numbers close to 1.
    return F.logsigmoid(upper - place) + F.logsigmoid(place - lower) + torch.log(-torch.expm1(lower - upper))


def level_logprobs(logits: Tensor, levels: Tensor) -> Tensor:
    """Log-probability of levels as classes without an order: softmax.

    Args:
        logits: [N, L], log-odds.
        levels: [N], integers from 0 to L - 1.

    Returns:
        [N], nats.
    """
    return torch.log_softmax(logits, -1).gather(1, levels.unsqueeze(1)).squeeze(1)


def expected_share(logits: Tensor) -> Tensor:
    """Expected level of a classifier, as a share of its scale: 0 the lowest level, 1 the highest.

    Args:
        logits: [N, L], log-odds.

    Returns:
        [N], 0 to 1.
    """
    shares = torch.linspace(0, 1, logits.shape[-1], dtype=logits.dtype, device=logits.device)
    return torch.softmax(logits, -1) @ shares


def expected_ordinal_share(place: Tensor, thresholds: Tensor) -> Tensor:
    """Expected level under :func:`ordinal_logprobs`, as a share of its scale: the mean of P(above) over the thresholds.

    Args:
        place: [N], log-odds.
        thresholds: [L - 1] or [N, L - 1].

    Returns:
        [N], 0 to 1.
    """
    return (place.unsqueeze(-1) - thresholds).sigmoid().mean(-1)


def thumb_logprobs(place: Tensor, up: Tensor, bias: float | Tensor = 0.0) -> Tensor:
    """Log-probability of thumbs: P(up) = sigmoid(place + bias).

    Args:
        place: [N], log-odds.
        up: [N], bool.
        bias: scalar or [N], log-odds; how readily the rater says up.

    Returns:
        [N], nats.
    """
    return F.logsigmoid(torch.where(up.bool(), place + bias, -place - bias))


def defect_logprobs(logits: Tensor, ticked: Tensor, asked: Tensor | None = None) -> Tensor:
    """Log-probability of the defects that a critique ticks, each by itself given the completion.

    Args:
        logits: [N, D], log-odds of each being ticked, the rater's readiness to tick included.
        ticked: [N, D], bool.
        asked: [N, D], bool; False where a defect was not there to tick. All when left out.

    Returns:
        [N], nats.
    """
    each = F.logsigmoid(torch.where(ticked.bool(), logits, -logits))
    return (each if asked is None else each.masked_fill(~asked.bool(), 0.0)).sum(-1)


def severity_levels(ticked: Tensor, severities: Tensor) -> Tensor:
    """How bad a completion is by its worst defect.

    Args:
        ticked: [N, D], bool.
        severities: [D], integers from 1: how bad each defect is.

    Returns:
        [N], integers: 0 where nothing is ticked.
    """
    return (ticked.long() * severities).amax(-1)


def quality_score(values: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of attributes and defects. The weights are no part of what is learned: they may change afterwards.

    Args:
        values: [N, A], such as shares of scales, or probabilities of defects.
        weights: [A], reward units for the whole of each; negative for defects.

    Returns:
        [N], reward units.
    """
    return values @ weights
