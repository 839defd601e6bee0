"""Losses that teach a policy from preferences alone, without a reward model and without sampling.

Shapes: N pairs, lists or single texts, one row each. A text's log-probability is the sum over its tokens, in nats; its length is
the number of those tokens. Every loss gives one value a row, which the caller weighs and divides by a count over the whole batch.
The implicit reward of a text is ``beta`` times its log-probability under the policy less that under the reference (Rafailov et
al. 2023, "Direct Preference Optimization", eq. 5, without the partition function, which cancels).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from heed.losses.rankings import plackett_luce_logprobs


class Side(NamedTuple):
    """Texts on one side of pairs: ``logprobs``, ``reference`` [N] under the policy and the reference, ``lengths`` [N]."""

    logprobs: Tensor
    reference: Tensor
    lengths: Tensor

    @property
    def gain(self) -> Tensor:
        """Log-ratio of the policy to the reference [N], nats."""
        return self.logprobs - self.reference

    @property
    def mean(self) -> Tensor:
        """Log-probability a token [N], nats."""
        return self.logprobs / self.lengths


@dataclass(frozen=True)
class Coefficients:
    """What preference losses are tuned by; each uses those that it names.

    Attributes:
        beta: weight of the log-ratio (reward a nat).
        label_smoothing: probability that a preference is told the wrong way round (0 to below 0.5).
        margin: by how much a pair is to be parted (SimPO: reward units; SLiC: nats).
        supervised: weight of the log-likelihood of the preferred text (ORPO's own term is weighed by ``beta``).
        desirable, undesirable: weights of texts that were liked and disliked (KTO).
    """

    beta: float = 0.1
    label_smoothing: float = 0.0
    margin: float = 0.0
    supervised: float = 0.0
    desirable: float = 1.0
    undesirable: float = 1.0


def _smoothed(lead: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy [N] of "the preferred is better" with probability 1 - ``smoothing``, at log-odds ``lead``."""
    loss = -F.logsigmoid(lead)
    return loss if smoothing == 0 else (1 - smoothing) * loss - smoothing * F.logsigmoid(-lead)


def dpo(better: Side, worse: Side, by: Coefficients) -> Tensor:
    """Direct preference optimisation.

    Rafailov et al. 2023, eq. 7. With ``label_smoothing`` it is conservative DPO: Mitchell 2023, "A note on DPO with noisy
    preferences & relationship to IPO", eq. 3.

    Returns:
        [N], nats; log 2 where policy and reference agree.
    """
    return _smoothed(by.beta * (better.gain - worse.gain), by.label_smoothing)


def ipo(better: Side, worse: Side, by: Coefficients) -> Tensor:
    """Identity preference optimisation: the log-ratios are to lie 1 / (2 beta) apart, and no further.

    Azar et al. 2024, "A General Theoretical Paradigm to Understand Learning from Human Preferences", eq. 17.

    Returns:
        [N], nats squared.
    """
    return (better.gain - worse.gain - 1 / (2 * by.beta)).square()


def simpo(better: Side, worse: Side, by: Coefficients) -> Tensor:
    """Simple preference optimisation: log-probabilities a token, a margin, and no reference.

    Meng, Xia and Chen 2024, "SimPO: Simple Preference Optimization with a Reference-Free Reward", eq. 6.

    Returns:
        [N], nats.
    """
    return _smoothed(by.beta * (better.mean - worse.mean) - by.margin, by.label_smoothing)


def slic(better: Side, worse: Side, by: Coefficients) -> Tensor:
    """Sequence likelihood calibration: a hinge on the log-probabilities, and the preferred text's likelihood.

    Zhao et al. 2023, "SLiC-HF: Sequence Likelihood Calibration with Human Feedback", eq. 1, with the preferred text as the
    target of the regularisation.

    Returns:
        [N], nats.
    """
    hinge = (by.margin - better.logprobs + worse.logprobs).clamp_min(0.0)
    return hinge - by.supervised * better.logprobs


def orpo(better: Side, worse: Side, by: Coefficients) -> Tensor:
    """Odds-ratio preference optimisation: supervised tuning on the preferred text, and the odds ratio of the two.

    Hong, Lee and Thorne 2024, "ORPO: Monolithic Preference Optimization without Reference Model", eq. 3 to 7: the odds of a
    text are p / (1 - p), with p the geometric mean of its tokens' probabilities; ``beta`` is the paper's lambda.

    Returns:
        [N], nats.
    """
    return -better.mean - by.beta * F.logsigmoid(log_odds(better.mean) - log_odds(worse.mean))


def log_odds(logprob: Tensor) -> Tensor:
    """log(p / (1 - p)) of probabilities below 1 given by their logarithm [N]; finite to within float32 of 1.

    ``log1p(-exp)`` and ``log(-expm1)`` each lose all digits on one side of log 1/2 (Maechler 2012, "Accurately Computing
    log(1 - exp(-|a|))").
    """
    below = logprob.clamp_max(-torch.finfo(logprob.dtype).tiny)
    near_one = below > -0.6931472
    away = torch.log1p(-below.masked_fill(near_one, -1.0).exp())
    near = torch.log(-torch.expm1(below.masked_fill(~near_one, -0.5)))
    return logprob - torch.where(near_one, near, away)


def kto(texts: Side, liked: Tensor, baseline: Tensor, by: Coefficients) -> Tensor:
    """Kahneman-Tversky optimisation of single texts that were liked or disliked.

    Ethayarajh et al. 2024, "KTO: Model Alignment as Prospect Theoretic Optimization", eq. 8: the value of a text is a sigmoid of
    its implicit reward above a reference point, and losses are what is missing of it.

    Args:
        texts: [N].
        liked: [N], bool.
        baseline: scalar, nats; KL(policy || reference) as :func:`kto_baseline` estimates it. No gradient goes through it.
        by: beta, desirable, undesirable.

    Returns:
        [N], 0 to the weight.
    """
    above = by.beta * (texts.gain - baseline.detach())
    liked = liked.bool()
    weight = torch.where(liked, above.new_tensor(by.desirable), above.new_tensor(by.undesirable))
    return weight * torch.sigmoid(torch.where(liked, -above, above))


def kto_baseline(mismatched: Tensor, reference: Tensor) -> Tensor:
    """The reference point of :func:`kto`: the mean log-ratio of completions to prompts of others, at least 0.

    Ethayarajh et al. 2024, section 4.1: shared by all texts of a batch.

    Args:
        mismatched, reference: [N], nats; log-probabilities of mismatched completions under the policy and the reference.

    Returns:
        Scalar, nats.
    """
    return (mismatched - reference).mean().clamp_min(0.0).detach()


def listwise_dpo(logprobs: Tensor, reference: Tensor, places: Tensor, by: Coefficients) -> Tensor:
    """DPO on rankings: Plackett-Luce of the implicit rewards.

    Rafailov et al. 2023, appendix A.3, eq. 20; equals and what was not ranked as in
    :func:`heed.losses.rankings.plackett_luce_logprobs`. Of two texts it is DPO.

    Args:
        logprobs, reference: [N, R], nats; of the texts under the policy and the reference.
        places: [N, R], 0 is best, the same number for equals, -1 for what was not ranked and for padding.
        by: beta.

    Returns:
        [N], nats.
    """
    return -plackett_luce_logprobs(by.beta * (logprobs - reference), places)
