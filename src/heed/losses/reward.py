"""Likelihoods of comparisons: Bradley-Terry, and with ties Davidson and Rao-Kupper, and with strengths beside.

Shapes: N comparisons. ``difference`` is r(a) - r(b) in the reward's own unit, the log-odds of an answer a over b between
equals in all else. All are finite, gradients included, for differences of either sign up to 1e4 in float32.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

A_PREFERRED, B_PREFERRED, TIE = 0, 1, 2
"""Outcomes of a comparison, and the columns of :func:`preference_probabilities`."""

TieModel = Literal["half", "davidson", "rao_kupper"]
"""How ties are modelled: half a win to each side, Davidson 1970, or Rao and Kupper 1967."""


def bradley_terry_loss(
    difference: Tensor,
    outcomes: Tensor,
    count: float | Tensor,
    weights: Tensor | None = None,
    margin: Tensor | None = None,
) -> Tensor:
    """Negative log-likelihood of Bradley and Terry 1952, P(a) = sigmoid(difference); a tie is half a win of each side.

    Bradley and Terry 1952, "Rank Analysis of Incomplete Block Designs: I", Biometrika 39, section 3; as the loss of a
    reward model: Ouyang et al. 2022, "Training language models to follow instructions with human feedback", eq. 1.

    Args:
        difference: [N], reward units.
        outcomes: [N], integers: 0 = a preferred, 1 = b preferred, 2 = tie.
        count: comparisons (or sum of weights) in the whole batch, so that micro-batches add up to it; positive.
        weights: [N], at least 0; 1 each when left out.
        margin: [N], reward units, at least 0: how far apart the two should be, as :func:`strength_margin` gives. It is
            taken off the preferred side's lead and unused at ties. Touvron et al. 2023, "Llama 2", section 3.2.2, eq. 2.

    Returns:
        Scalar, nats a comparison.
    """
    return _weighted_loss(_half_losses(_less_margin(difference, outcomes, margin)), outcomes, count, weights)


def davidson_loss(
    difference: Tensor,
    outcomes: Tensor,
    log_nu: float | Tensor,
    count: float | Tensor,
    weights: Tensor | None = None,
    margin: Tensor | None = None,
) -> Tensor:
    """Negative log-likelihood of Davidson's model of ties.

    Davidson 1970, "On Extending the Bradley-Terry Model to Accommodate Ties in Paired Comparison Experiments", JASA 65,
    section 2: with worths p = exp(r), P(a) : P(b) : P(tie) = p_a : p_b : nu sqrt(p_a p_b).

    Args:
        difference, outcomes, count, weights, margin: as in :func:`bradley_terry_loss`.
        log_nu: scalar, learned; log of nu. Between equals a tie has odds of nu to either win.

    Returns:
        Scalar, nats a comparison.
    """
    losses = -_davidson_logprobs(_less_margin(difference, outcomes, margin), log_nu)
    return _weighted_loss(losses, outcomes, count, weights)


def rao_kupper_loss(
    difference: Tensor,
    outcomes: Tensor,
    log_theta_minus_one: float | Tensor,
    count: float | Tensor,
    weights: Tensor | None = None,
    margin: Tensor | None = None,
) -> Tensor:
    """Negative log-likelihood of Rao and Kupper's model of ties: differences under a threshold are not noticed.

    Rao and Kupper 1967, "Ties in Paired-Comparison Experiments: A Generalization of the Bradley-Terry Model", JASA 62,
    section 2: with worths p = exp(r), P(a) = p_a / (p_a + theta p_b), P(b) = p_b / (theta p_a + p_b), theta >= 1, and the
    rest ties. log theta is the threshold, here softplus(log_theta_minus_one), so that every real number is allowed.

    Args:
        difference, outcomes, count, weights, margin: as in :func:`bradley_terry_loss`.
        log_theta_minus_one: scalar, learned; log of theta - 1.

    Returns:
        Scalar, nats a comparison.
    """
    losses = -_rao_kupper_logprobs(_less_margin(difference, outcomes, margin), log_theta_minus_one)
    return _weighted_loss(losses, outcomes, count, weights)


def graded_loss(
    difference: Tensor,
    outcomes: Tensor,
    strengths: Tensor,
    log_gaps: Tensor,
    count: float | Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """Negative log-likelihood of comparisons that say how much better: Rao and Kupper's model with further thresholds.

    The cumulative logit model of McCullagh 1980, "Regression Models for Ordinal Data", JRSS B 42, section 2.1, with
    thresholds symmetric about 0, as a swap of a and b asks for: a perceived difference (the true one plus logistic
    noise) is a tie within +-c_0, strength 1 up to c_1, 2 up to c_2, and 3 beyond. A preference without a strength is
    any difference beyond c_0, which is Rao and Kupper's own likelihood.

    Args:
        difference, outcomes, count, weights: as in :func:`bradley_terry_loss`.
        strengths: [N], integers 0 to 3; 0 = not said. Not read at ties.
        log_gaps: [3], learned; logs of c_0, c_1 - c_0 and c_2 - c_1.

    Returns:
        Scalar, nats a comparison.
    """
    return likelihood_loss(_graded_logprobs(difference, outcomes, strengths, log_gaps), count, weights)


def comparison_logprobs(
    difference: Tensor,
    outcomes: Tensor,
    strengths: Tensor,
    ties: TieModel | Literal["graded"],
    parameter: float | Tensor,
) -> Tensor:
    """Log-probability of what was said of each comparison, under any of the models above.

    Args:
        difference, outcomes: as in :func:`bradley_terry_loss`.
        strengths: [N], as in :func:`graded_loss`; read by "graded" alone.
        ties: the model.
        parameter: as in :func:`preference_probabilities`; for "graded" the ``log_gaps`` of :func:`graded_loss`.

    Returns:
        [N], nats. A tie under "half" is the mean of both wins, as it has no probability of its own there.

    Raises:
        ValueError: there is no such model.
    """
    if ties == "graded":
        return _graded_logprobs(difference, outcomes, strengths, torch.as_tensor(parameter))
    if ties == "half":
        by_outcome = -_half_losses(difference)
    elif ties == "davidson":
        by_outcome = _davidson_logprobs(difference, parameter)
    elif ties == "rao_kupper":
        by_outcome = _rao_kupper_logprobs(difference, parameter)
    else:
        raise _unknown(ties)
    return by_outcome.gather(1, outcomes.long().unsqueeze(1)).squeeze(1)


def likelihood_loss(logprobs: Tensor, count: float | Tensor, weights: Tensor | None = None) -> Tensor:
    """Negative log-likelihood of judgments of any kind.

    Args:
        logprobs: [N], nats; what each judgment's own model gives to what was said.
        count: judgments (or sum of weights) in the whole batch, so that micro-batches add up to it; positive.
        weights: [N], at least 0; 1 each when left out.

    Returns:
        Scalar, nats a judgment.
    """
    return -(logprobs if weights is None else logprobs * weights).sum() / count


def preference_loss(
    difference: Tensor,
    outcomes: Tensor,
    model: TieModel,
    parameter: float | Tensor,
    count: float | Tensor,
    weights: Tensor | None = None,
    margin: Tensor | None = None,
) -> Tensor:
    """The loss of the tie model named ``model``; ``parameter`` as in :func:`preference_probabilities`.

    Other arguments, result: as in :func:`bradley_terry_loss`.

    Raises:
        ValueError: there is no such model.
    """
    if model == "half":
        return bradley_terry_loss(difference, outcomes, count, weights, margin)
    if model == "davidson":
        return davidson_loss(difference, outcomes, parameter, count, weights, margin)
    if model == "rao_kupper":
        return rao_kupper_loss(difference, outcomes, parameter, count, weights, margin)
    raise _unknown(model)


def preference_probabilities(difference: Tensor, model: TieModel, parameter: float | Tensor = 0.0) -> Tensor:
    """Probabilities of the three outcomes.

    Args:
        difference: [N], reward units.
        model: how ties are modelled.
        parameter: scalar; log nu for "davidson", log(theta - 1) for "rao_kupper", unused for "half".

    Returns:
        [N, 3]: a preferred, b preferred, tie; rows sum to 1. "half" has no probability of its own for a tie: 0.

    Raises:
        ValueError: there is no such model.
    """
    if model == "half":
        return torch.stack([difference.sigmoid(), (-difference).sigmoid(), torch.zeros_like(difference)], -1)
    if model == "davidson":
        return _davidson_logprobs(difference, parameter).exp()
    if model == "rao_kupper":
        return _rao_kupper_logprobs(difference, parameter).exp()
    raise _unknown(model)


def strength_margin(strengths: Tensor, largest: float) -> Tensor:
    """Margin of a comparison from how much better the preferred side was said to be.

    Touvron et al. 2023, "Llama 2", section 3.2.2 and appendix A.3.3: in proportion to the strength. ``largest`` 1 is
    their small margin (1/3, 2/3, 1), 3 their large one (1, 2, 3).

    Args:
        strengths: [N], integers 0 to 3: 1 = slightly better, 2 = better, 3 = much better, 0 = not said.
        largest: margin of strength 3, reward units.

    Returns:
        [N], reward units; 0 where no strength was said.
    """
    return strengths * (largest / 3)


def _unknown(model: str) -> ValueError:
    return ValueError(f"there is no tie model '{model}': it is one of half, davidson, rao_kupper")


def _less_margin(difference: Tensor, outcomes: Tensor, margin: Tensor | None) -> Tensor:
    """[N]: the difference with the margin taken off the preferred side's lead."""
    if margin is None:
        return difference
    return difference + difference.new_tensor([-1.0, 1.0, 0.0])[outcomes.long()] * margin


def _graded_logprobs(difference: Tensor, outcomes: Tensor, strengths: Tensor, log_gaps: Tensor) -> Tensor:
    """[N]: log-probability of what was said, its strength included."""
    thresholds = log_gaps.exp().cumsum(0)
    beyond = thresholds.new_tensor([math.inf])
    tie = outcomes == TIE
    lead = torch.where(outcomes == B_PREFERRED, -difference, difference)
    lower = torch.where(tie, -thresholds[0], thresholds[(strengths - 1).clamp_min(0)])
    upper = torch.cat([beyond, thresholds[1:], beyond])[strengths]
    upper = torch.where(tie, thresholds[0], upper)
    # sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u)): no difference of two numbers close to 1.
    return F.logsigmoid(upper - lead) + F.logsigmoid(lead - lower) + torch.log1p(-(lower - upper).exp())


def _weighted_loss(losses: Tensor, outcomes: Tensor, count: float | Tensor, weights: Tensor | None) -> Tensor:
    """From the loss of each possible outcome [N, 3] to the weighted sum over those seen, over ``count``."""
    seen = losses.gather(1, outcomes.long().unsqueeze(1)).squeeze(1)
    return (seen if weights is None else seen * weights).sum() / count


def _half_losses(difference: Tensor) -> Tensor:
    """[N, 3]: loss of each outcome where a tie is half a win to each side."""
    a, b = -F.logsigmoid(difference), -F.logsigmoid(-difference)
    return torch.stack([a, b, 0.5 * (a + b)], -1)


def _davidson_logprobs(difference: Tensor, log_nu: float | Tensor) -> Tensor:
    """[N, 3]: log-probability of each outcome."""
    log_tie = torch.as_tensor(log_nu, dtype=difference.dtype, device=difference.device).expand_as(difference)
    return torch.log_softmax(torch.stack([0.5 * difference, -0.5 * difference, log_tie], -1), -1)


def _rao_kupper_logprobs(difference: Tensor, log_theta_minus_one: float | Tensor) -> Tensor:
    """[N, 3]: log-probability of each outcome.

    The tie is (theta^2 - 1) P(a) P(b), an identity of the model that needs no difference of near-equal numbers; theta^2 - 1
    is (theta - 1) (theta - 1 + 2).
    """
    raw = torch.as_tensor(log_theta_minus_one, dtype=difference.dtype, device=difference.device)
    threshold = torch.logaddexp(
        raw, torch.zeros_like(raw)
    )  # softplus, without F.softplus's cut to the identity above 20
    a, b = F.logsigmoid(difference - threshold), F.logsigmoid(-difference - threshold)
    return torch.stack([a, b, raw + torch.logaddexp(raw, torch.full_like(raw, math.log(2.0))) + (a + b)], -1)
