"""From scores and values of a rollout to advantages and returns.

Shapes: B completions, T token positions. A mask is bool or float [B, T]; a position is real where it is not zero. Where a
completion stands in its row does not matter: padding may be left, right or in between (a tool's output, say), and what it
holds, NaN included, reaches neither a value nor a gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor


def masked_sum(x: Tensor, mask: Tensor) -> Tensor:
    """Sum of ``x`` over the real positions.

    Args:
        x: [B, T], any unit.
        mask: [B, T].

    Returns:
        Scalar in the unit of ``x``; 0 where nothing is real.
    """
    return x.masked_fill(~mask.bool(), 0.0).sum()


def masked_mean(x: Tensor, mask: Tensor, count: float | Tensor | None = None) -> Tensor:
    """Mean of ``x`` over the real positions.

    Args:
        x: [B, T], any unit.
        mask: [B, T].
        count: divisor. The number of real positions of ``mask`` when left out; the number in the whole batch where
            ``x`` is one micro-batch of it, so that the micro-batches' results add up to the batch's mean.

    Returns:
        Scalar in the unit of ``x``. NaN where nothing is real and no count is given: such a mean is undefined.
    """
    return masked_sum(x, mask) / (mask.bool().sum() if count is None else count)


def whiten(x: Tensor, mask: Tensor, shift_mean: bool = True) -> Tensor:
    """Scale ``x`` to variance 1, and shift it to mean 0, over all real positions of a whole rollout at once.

    (x - mean) / sqrt(variance + 1e-8) with the population variance (divisor n, not n - 1), which is what the published
    runs used: Huang et al. 2024, "The N+ Implementation Details of RLHF with PPO", section 7, after ``tf.nn.moments`` in
    the code of Ziegler et al. 2019. Whitening a part of a rollout gives another result than the whole.

    Args:
        x: [B, T], reward units.
        mask: [B, T].
        shift_mean: False puts the mean back after scaling: used for rewards, whose sign and level carry meaning.

    Returns:
        [B, T], no unit; 0 at padded positions.
    """
    padded = ~mask.bool()
    mean = masked_mean(x, mask)
    centred = (x - mean).masked_fill(padded, 0.0)
    whitened = centred * torch.rsqrt(masked_mean(centred.square(), mask) + 1e-8)
    return whitened if shift_mean else (whitened + mean).masked_fill(padded, 0.0)


def _next_real(values: Tensor, real: Tensor) -> Tensor:
    """[B, T]: at each position the value of the next real position to its right, 0 where there is none."""
    B, T = values.shape
    positions = torch.arange(T, device=values.device).expand(B, T).masked_fill(~real, T)
    nearest = positions.flip(1).cummin(1).values.flip(1)  # the first real position at or after each
    following = torch.cat([nearest[:, 1:], nearest.new_full((B, 1), T)], 1)
    return torch.cat([values, values.new_zeros(B, 1)], 1).gather(1, following)


def generalized_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalized advantage estimation.

    Schulman et al. 2016, "High-Dimensional Continuous Control Using Generalized Advantage Estimation", eq. 16:
    A_t = sum over k of (gamma lam)^k delta_{t+k}, delta_t = r_t + gamma V_{t+1} - V_t, over the real positions only; the
    value after the last real one is 0, as the episode ends there. lam 0 is the one-step TD error, lam 1 the reward to go
    less the value.

    Args:
        rewards: [B, T], reward units.
        values: [B, T], reward units; the value model's prediction before the token is chosen.
        mask: [B, T].
        gamma: discount a token, 0 to 1.
        lam: weight of longer estimates, 0 to 1.

    Returns:
        advantages and returns (advantages + values), both [B, T], reward units, 0 at padded positions. Both are targets:
        no gradient goes through them.
    """
    real = mask.bool()
    rewards, values = rewards.detach(), values.detach().masked_fill(~real, 0.0)
    deltas = (rewards + gamma * _next_real(values, real) - values).masked_fill(~real, 0.0)
    decays = torch.full_like(deltas, gamma * lam).masked_fill(~real, 1.0)  # padding carries the estimate on unchanged
    # Time goes first so that each step of the recurrence reads contiguous memory.
    deltas, decays = deltas.T.contiguous(), decays.T.contiguous()
    advantages = torch.empty_like(deltas)
    carried = deltas.new_zeros(deltas.shape[1])
    for t in reversed(range(deltas.shape[0])):
        carried = torch.addcmul(deltas[t], decays[t], carried)
        advantages[t] = carried
    advantages = advantages.T.contiguous().masked_fill(~real, 0.0)
    return advantages, advantages + values


def rewards_with_kl(scores: Tensor, kl: Tensor, mask: Tensor, kl_coefficient: float) -> Tensor:
    """Reward of each token: the KL penalty at every token, the completion's score at its last.

    Ziegler et al. 2019, "Fine-Tuning Language Models from Human Preferences", section 2.2, eq. 2, with the penalty spread
    over the tokens as in Huang et al. 2024, section 7.

    Args:
        scores: [B], reward units; the reward model's score of each completion, constraints taken off.
        kl: [B, T], nats; an estimate for each token, as :func:`heed.losses.kl_k1` gives.
        mask: [B, T].
        kl_coefficient: reward units per nat.

    Returns:
        [B, T], reward units; 0 at padded positions.

    Raises:
        ValueError: a completion has no real token, so its score would be lost.
    """
    real = mask.bool()
    empty = (~real.any(1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"completions {empty} have no real token: there is none to carry their score")
    last = real.shape[1] - 1 - real.flip(1).int().argmax(1)
    rewards = (-kl_coefficient * kl).masked_fill(~real, 0.0)
    return rewards.scatter_add(1, last.unsqueeze(1), scores.unsqueeze(1).to(rewards.dtype))
