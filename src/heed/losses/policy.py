"""PPO's clipped policy loss, estimators of the KL divergence and the control of its coefficient.

Shapes: B completions, T token positions, V tokens of the vocabulary. Log-probabilities are natural, in float32 or wider:
their differences vanish in half precision.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from heed.losses.advantages import masked_mean


class PolicyLoss(NamedTuple):
    """Result of :func:`clipped_ratio_loss`; scalars. All but ``ratio_max`` add up over micro-batches.

    ``loss`` carries the gradient. ``clip_fraction``: share of the tokens whose gradient the clip removes.
    ``approximate_kl``: KL of the rollout's policy from the present one, k3, nats a token. ``ratio_max``: largest importance
    ratio; 0 where the mask holds no real position.
    """

    loss: Tensor
    clip_fraction: Tensor
    approximate_kl: Tensor
    ratio_max: Tensor


def clipped_ratio_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    clip_ratio: float,
    count: float | Tensor,
    clip_ratio_high: float | None = None,
) -> PolicyLoss:
    """PPO's clipped surrogate objective, negated.

    Schulman et al. 2017, "Proximal Policy Optimization Algorithms", eq. 7: -sum of min(ratio A, clip(ratio, 1 - eps,
    1 + eps) A) / count, ratio = exp(logprobs - old_logprobs).

    Args:
        logprobs: [B, T], nats; of the sampled tokens under the policy being trained.
        old_logprobs: [B, T], nats; under the policy that sampled them.
        advantages: [B, T], any unit (whitened: none).
        mask: [B, T], bool or float; real where not zero. Padded positions reach neither value nor gradient.
        clip_ratio: eps, how far the ratio may move from 1 with profit.
        count: real tokens in the whole minibatch, so that micro-batches add up to it; positive.
        clip_ratio_high: eps on the upper side where it is another (Yu et al. 2025, "DAPO", section 3.1).

    Returns:
        The loss in the unit of the advantages, and what to watch. A ratio that overflows makes the loss infinite only
        where the objective itself is: at negative advantages.
    """
    real, high = mask.bool(), clip_ratio if clip_ratio_high is None else clip_ratio_high
    log_ratio = (logprobs - old_logprobs.detach()).masked_fill(~real, 0.0)
    advantages = advantages.detach().masked_fill(~real, 0.0)
    ratio = log_ratio.detach().exp()
    outside = torch.where(advantages >= 0, ratio > 1 + high, ratio < 1 - clip_ratio)
    # Selecting before exp, not by min after it: a clipped ratio that overflowed would leave 0 * inf in the gradient.
    used = torch.where(outside, ratio.clamp(1 - clip_ratio, 1 + high), log_ratio.masked_fill(outside, 0.0).exp())
    clipped = (outside & (advantages != 0)).to(ratio.dtype)
    return PolicyLoss(
        loss=masked_mean(-advantages * used, real, count),
        clip_fraction=masked_mean(clipped, real, count),
        approximate_kl=masked_mean(_exp_less_tangent(log_ratio.detach()), real, count),
        ratio_max=torch.cat([ratio[real], ratio.new_zeros(1)]).max(),
    )


def score_function_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, count: float | Tensor
) -> PolicyLoss:
    """The plain policy gradient: -sum of advantage times log-probability / count.

    Williams 1992, section 4; Sutton et al. 2000, "Policy Gradient Methods for Reinforcement Learning with Function Approximation",
    theorem 1. Its gradient is that of :func:`clipped_ratio_loss` where the policy is still the one that sampled.

    Args:
        logprobs: [B, T], nats; of the sampled tokens under the policy, which must be the one that sampled them.
        old_logprobs: [B, T], nats; as they were sampled, to be watched alone.
        advantages: [B, T], any unit.
        mask: [B, T].
        count: as for :func:`clipped_ratio_loss`.

    Returns:
        The loss in nats times the unit of the advantages; nothing is clipped.
    """
    real = mask.bool()
    log_ratio = (logprobs.detach() - old_logprobs).masked_fill(~real, 0.0)
    ratio = log_ratio.exp()
    return PolicyLoss(
        loss=masked_mean(-advantages.detach() * logprobs, real, count),
        clip_fraction=ratio.new_zeros(()),
        approximate_kl=masked_mean(_exp_less_tangent(log_ratio), real, count),
        ratio_max=torch.cat([ratio[real], ratio.new_zeros(1)]).max(),
    )


def sequence_logprobs(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor) -> Tensor:
    """Log-probabilities whose ratio to the old ones is, at every token, that of the whole completion a token.

    Zheng et al. 2025, "Group Sequence Policy Optimization", eq. 7: (pi(y) / pi_old(y))^(1 / length). With these in place of a
    token's own, :func:`clipped_ratio_loss` clips completions, not tokens.

    Args:
        logprobs, old_logprobs: [B, T], nats; under the policy and under the one that sampled.
        mask: [B, T]; every row has a real position.

    Returns:
        [B, T], nats.
    """
    real = mask.bool()
    gap = (logprobs - old_logprobs.detach()).masked_fill(~real, 0.0).sum(1) / real.sum(1)
    return old_logprobs.detach() + gap.unsqueeze(1)


def _exp_less_tangent(x: Tensor) -> Tensor:
    """exp(x) - 1 - x, at least 0; expm1 keeps the digits that exp loses near 0."""
    return torch.expm1(x) - x


def kl_k1(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """Estimate k1 of KL(policy || reference) for each token: the log-ratio. Unbiased, of either sign.

    Schulman 2020, "Approximating KL Divergence" (joschu.net/blog/kl-approx.html). The tokens must be samples of the policy.

    Args:
        logprobs: [...], nats; of the sampled tokens under the policy.
        reference_logprobs: [...], nats; under the reference policy.

    Returns:
        [...], nats. Padding is not known here: mask the result, or both inputs where a gradient goes through.
    """
    return logprobs - reference_logprobs


def kl_k2(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """Estimate k2 of KL(policy || reference) for each token: half the squared log-ratio. Biased, never negative.

    Source, arguments and result as in :func:`kl_k1`.
    """
    return 0.5 * (logprobs - reference_logprobs).square()


def kl_k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """Estimate k3 of KL(policy || reference) for each token: (r - 1) - log r, r = reference / policy. Unbiased, never negative.

    Source, arguments and result as in :func:`kl_k1`.
    """
    return _exp_less_tangent(reference_logprobs - logprobs)


def entropy(logits: Tensor) -> Tensor:
    """Entropy of the next-token distribution.

    Args:
        logits: [..., V], divided by the temperature already; minus infinity rules a token out.

    Returns:
        [...], nats, 0 to log V.
    """
    logprobs = torch.log_softmax(logits, -1)
    # 0 log 0 is 0: without the fill, a token that is ruled out gives 0 * -inf.
    return -(logprobs.exp() * logprobs.masked_fill(logprobs == -math.inf, 0.0)).sum(-1)


class KLControl(Protocol):
    """What steers the KL penalty: ``coefficient`` (reward units per nat), told the KL after every rollout."""

    coefficient: float

    def update(self, kl: float, episodes: int) -> None:
        """Take note of a rollout's mean ``kl`` (nats a completion) over ``episodes`` completions (count)."""

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint must keep."""

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from ``state_dict()``."""


class FixedKL:
    """A KL coefficient that stays as it is.

    Args:
        coefficient: reward units per nat, at least 0.

    Raises:
        ValueError: the coefficient is negative or not finite.
    """

    def __init__(self, coefficient: float) -> None:
        if not 0 <= coefficient < math.inf:
            raise ValueError(f"KL coefficient {coefficient} is not a number of at least 0")
        self.coefficient = coefficient

    def update(self, kl: float, episodes: int) -> None:
        """Changes nothing."""

    def state_dict(self) -> dict[str, float]:
        """The coefficient."""
        return {"coefficient": self.coefficient}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take the coefficient over."""
        self.coefficient = state["coefficient"]


class AdaptiveKL:
    """A KL coefficient steered so that the KL to the reference policy approaches a target.

    Ziegler et al. 2019, "Fine-Tuning Language Models from Human Preferences", section 2.2: a proportional controller in
    log space, error = clip(kl / target - 1, -0.2, 0.2); the gain is episodes / horizon, as in the paper's released code.

    Args:
        coefficient: at the start, reward units per nat, above 0: a controller that multiplies cannot leave 0.
        target: nats a completion, above 0.
        horizon: episodes over which an error is corrected, above 0.

    Raises:
        ValueError: a value is not a positive number.
    """

    _ERROR_LIMIT = 0.2

    def __init__(self, coefficient: float, target: float, horizon: float) -> None:
        for name, value in (("coefficient", coefficient), ("target", target), ("horizon", horizon)):
            if not 0 < value < math.inf:
                raise ValueError(f"adaptive KL control: {name} {value} is not a number above 0")
        self.coefficient, self.target, self.horizon = coefficient, target, horizon

    def update(self, kl: float, episodes: int) -> None:
        """Correct the coefficient after a rollout.

        Args:
            kl: mean over the rollout, nats a completion.
            episodes: completions of the rollout (count).

        Raises:
            ValueError: ``kl`` is not a number, or ``episodes`` is so far above ``horizon`` (five times) that one correction
                could turn the coefficient negative.
        """
        if math.isnan(kl):
            raise ValueError("adaptive KL control: the KL is not a number")
        gain = episodes / self.horizon
        if self._ERROR_LIMIT * gain >= 1:
            raise ValueError(
                f"adaptive KL control: {episodes} episodes at a horizon of {self.horizon} could turn the coefficient "
                f"negative; the horizon must be above {self._ERROR_LIMIT * episodes:g}"
            )
        error = min(max(kl / self.target - 1, -self._ERROR_LIMIT), self._ERROR_LIMIT)
        self.coefficient *= 1 + error * gain

    def state_dict(self) -> dict[str, float]:
        """The coefficient, the only thing that changes."""
        return {"coefficient": self.coefficient}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from a coefficient; target and horizon are settings and stay."""
        self.coefficient = state["coefficient"]
