"""What tells online algorithms apart: how scores become advantages, which loss they weigh, and how tokens count.

One loop (``online``) carries all of them; an algorithm is one :class:`Recipe`, of pure functions of ``heed.losses``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from heed.algorithms import ALGORITHMS
from heed.config import PolicySettings
from heed.losses.advantages import (
    best_of_group,
    generalized_advantages,
    group_relative,
    leave_one_out,
    masked_sum,
    preferred_pair,
    returns_to_go,
    rewards_with_kl,
    vtrace_advantages,
    whiten,
)
from heed.losses.policy import PolicyLoss, clipped_ratio_loss, score_function_loss, sequence_logprobs


@dataclass(frozen=True)
class Scored:
    """A rollout as its advantages are estimated from it.

    Attributes:
        scores: [B], reward units, what constraints add put in.
        kl: [B, T], nats; log-ratio to the reference of each token.
        values: [B, T], reward units; 0 where there is no value model.
        mask: [B, T].
        each: samples a prompt (count), which stand together.
        kl_coefficient: reward units a nat, as it is now.
        log_ratio: [B, T], nats; of each token under the policy as it is now less under the one that sampled; None where both
            are one.
    """

    scores: Tensor
    kl: Tensor
    values: Tensor
    mask: Tensor
    each: int
    kl_coefficient: float
    settings: PolicySettings
    log_ratio: Tensor | None = None

    @property
    def rewards(self) -> Tensor:
        """Of each token [B, T], with the KL penalty."""
        found = rewards_with_kl(self.scores, self.kl, self.mask, self.kl_coefficient)
        return whiten(found, self.mask, shift_mean=False) if self.settings.whiten_rewards else found

    @property
    def totals(self) -> Tensor:
        """Of each completion [B], with the KL penalty."""
        return self.scores - self.kl_coefficient * (self.kl * self.mask).sum(1)

    def spread(self, advantages: Tensor) -> tuple[Tensor, Tensor]:
        """Advantages of completions [B] at each of their tokens [B, T], and returns of 0."""
        grid = advantages.unsqueeze(1) * self.mask
        return grid, torch.zeros_like(grid)

    def whitened(self, advantages: Tensor) -> Tensor:
        return whiten(advantages, self.mask) if self.settings.whiten_advantages else advantages


Estimate = Callable[[Scored], tuple[Tensor, Tensor]]


def _generalized(scored: Scored) -> tuple[Tensor, Tensor]:
    settings = scored.settings
    advantages, returns = generalized_advantages(
        scored.rewards, scored.values, scored.mask, settings.gamma, settings.gae_lambda
    )
    return scored.whitened(advantages), returns


def _vtrace(scored: Scored) -> tuple[Tensor, Tensor]:
    if scored.log_ratio is None:
        return _generalized(scored)
    settings = scored.settings
    advantages, returns = vtrace_advantages(
        scored.rewards, scored.values, scored.log_ratio, scored.mask, settings.gamma, settings.gae_lambda
    )
    return scored.whitened(advantages), returns


def _less_batch_mean(scored: Scored) -> tuple[Tensor, Tensor]:
    """The return of each token less the mean return of the other completions."""
    to_go = returns_to_go(scored.rewards, scored.mask, scored.settings.gamma)
    starts = to_go.gather(1, scored.mask.int().argmax(1, keepdim=True))[:, 0]
    baseline = starts - leave_one_out(starts, len(starts))
    advantages = (to_go - baseline.unsqueeze(1)) * scored.mask
    return scored.whitened(advantages), torch.zeros_like(advantages)


def _leave_one_out(scored: Scored) -> tuple[Tensor, Tensor]:
    return scored.spread(leave_one_out(scored.totals, scored.each))


def _group_scaled(scored: Scored) -> tuple[Tensor, Tensor]:
    return scored.spread(group_relative(scored.scores, scored.each, scaled=True))


def _group_centred(scored: Scored) -> tuple[Tensor, Tensor]:
    return scored.spread(group_relative(scored.scores, scored.each, scaled=False))


def _best(scored: Scored) -> tuple[Tensor, Tensor]:
    return scored.spread(best_of_group(scored.totals, scored.each))


def _preferred(scored: Scored) -> tuple[Tensor, Tensor]:
    log_ratios = (scored.kl * scored.mask).sum(1)
    # A mean over pairs, of which there is one for every ``each`` completions.
    return scored.spread(scored.each * preferred_pair(scored.scores, log_ratios, scored.each, scored.kl_coefficient))


@dataclass(frozen=True)
class Recipe:
    """An online algorithm.

    Attributes:
        estimate: scores to advantages and returns.
        critic: whether it learns values.
        ratio: whether its loss weighs by the importance ratio of a token, of a whole completion, or not at all: then each
            rollout serves for one update.
        weighing: what counts alike: every token; every completion, however long ("completion"); every token, divided by
            what a completion may have at most ("constant"); every token of completions that are told apart ("telling"); or
            nothing is divided by length ("sum").
        kl_in_loss: whether the KL penalty is a term of the loss (k3), and not of the reward.
        corrected: whether what an earlier policy has sampled is set right by importance ratios when advantages are estimated.
        trust_region: whether the policy takes one natural step within a bound on its KL, in place of steps of the optimiser.
    """

    estimate: Estimate
    critic: bool = False
    ratio: Literal["none", "token", "completion"] = "none"
    weighing: Literal["token", "completion", "constant", "telling", "sum"] = "token"
    kl_in_loss: bool = False
    corrected: bool = False
    trust_region: bool = False

    def policy_loss(
        self, logprobs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, count: float, clip: tuple[float, float]
    ) -> PolicyLoss:
        """The loss of a part of a minibatch; ``count`` tokens are in the whole, ``clip`` is the ratio's room below and above."""
        if self.ratio == "none":
            return score_function_loss(logprobs, old, advantages, mask, count)
        if self.ratio == "completion":
            logprobs = sequence_logprobs(logprobs, old, mask)
        return clipped_ratio_loss(logprobs, old, advantages, mask, clip[0], count, clip[1])

    def weights(self, mask: Tensor, advantages: Tensor, longest: int) -> Tensor:
        """How much each token of a minibatch counts [B, T], on the scale on which all are divided by the number of tokens.

        Args:
            mask, advantages: [B, T], of the whole minibatch.
            longest: tokens that a completion may have (count).
        """
        tokens = float(mask.sum())
        if self.weighing == "completion":
            return mask * tokens / (len(mask) * mask.sum(1, keepdim=True))
        if self.weighing == "constant":
            return mask * tokens / (len(mask) * longest)
        if self.weighing == "sum":
            return mask * tokens / len(mask)
        if self.weighing == "telling":
            telling = (advantages != 0).any(1, keepdim=True) * mask
            return telling * tokens / masked_sum(telling, mask).clamp_min(1.0)
        return mask


RECIPES: dict[str, Recipe] = {
    "ppo": Recipe(_generalized, critic=True, ratio="token"),
    "trpo": Recipe(_generalized, critic=True, trust_region=True),
    "a2c": Recipe(_generalized, critic=True),
    "a3c": Recipe(_vtrace, critic=True, corrected=True),
    "reinforce": Recipe(_less_batch_mean),
    "rloo": Recipe(_leave_one_out, weighing="sum"),
    "grpo": Recipe(_group_scaled, ratio="token", weighing="completion", kl_in_loss=True),
    "dr_grpo": Recipe(_group_centred, ratio="token", weighing="constant", kl_in_loss=True),
    "dapo": Recipe(_group_scaled, ratio="token", weighing="telling", kl_in_loss=True),
    "gspo": Recipe(_group_scaled, ratio="completion", weighing="completion", kl_in_loss=True),
    "best_of_n": Recipe(_best, weighing="telling"),
    "online_dpo": Recipe(_preferred, weighing="sum"),
}


def setting_of(
    settings: PolicySettings, name: Literal["epochs", "clip_ratio", "clip_ratio_high", "staleness"]
) -> float:
    """A setting, or where it is empty what is the algorithm's own."""
    value = getattr(settings, name)
    if value is None and name == "clip_ratio_high" and settings.clip_ratio is not None:
        return settings.clip_ratio
    return float(ALGORITHMS[settings.algorithm].own.get(name, 0.0) if value is None else value)
