"""From scores and values of a rollout to advantages and returns.

Shapes: B completions, T token positions. A mask is bool or float [B, T]; a position is real where it is not zero. Where a
completion stands in its row does not matter: padding may be left, right or in between (a tool's output, say), and what it
holds, NaN included, reaches neither a value nor a gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ALIKE = 1e-6
"""Deviation, beside the scores' size, below which a group's scores differ by rounding alone."""


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


def next_real(values: Tensor, real: Tensor) -> Tensor:
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
    deltas = (rewards + gamma * next_real(values, real) - values).masked_fill(~real, 0.0)
    advantages = _discounted_sums(deltas, torch.full_like(deltas, gamma * lam), real)
    return advantages, advantages + values


def _discounted_sums(terms: Tensor, decays: Tensor, real: Tensor) -> Tensor:
    """[B, T]: at each real position its term plus its decay times the sum at the next real one; 0 elsewhere."""
    decays = decays.masked_fill(~real, 1.0)  # padding carries the sum on unchanged
    # Time goes first so that each step of the recurrence reads contiguous memory.
    terms, decays = terms.masked_fill(~real, 0.0).T.contiguous(), decays.T.contiguous()
    sums = torch.empty_like(terms)
    carried = terms.new_zeros(terms.shape[1])
    for t in reversed(range(terms.shape[0])):
        carried = torch.addcmul(terms[t], decays[t], carried)
        sums[t] = carried
    return sums.T.contiguous().masked_fill(~real, 0.0)


def vtrace_advantages(
    rewards: Tensor,
    values: Tensor,
    log_ratio: Tensor,
    mask: Tensor,
    gamma: float,
    lam: float,
    most: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """V-trace: advantages of the present policy from what an earlier one has sampled.

    Espeholt et al. 2018, "IMPALA: Scalable Distributed Deep-RL with Importance Weighted Actor-Learner Architectures", section 4.1,
    eq. 1, and remark 2 for lambda: v_t = V_t + rho_t delta_t + gamma c_t (v_{t+1} - V_{t+1}), rho_t = min(most, ratio_t), c_t = lam
    rho_t, and the advantage of section 4.2, rho_t (r_t + gamma v_{t+1} - V_t), with lambda on its longer part as in
    :func:`generalized_advantages`, which this is where all ratios are 1.

    Args:
        rewards: [B, T], reward units.
        values: [B, T], reward units; of the present value model.
        log_ratio: [B, T], nats; of each token under the present policy less under the one that sampled.
        mask: [B, T].
        gamma: discount a token, 0 to 1.
        lam: weight of longer estimates, 0 to 1.
        most: where ratios are cut (the paper's rho bar and c bar), positive.

    Returns:
        advantages and targets of the values, both [B, T], reward units, 0 at padded positions. No gradient goes through them.
    """
    real = mask.bool()
    rewards, values = rewards.detach(), values.detach().masked_fill(~real, 0.0)
    ratio = log_ratio.detach().masked_fill(~real, 0.0).exp().clamp(max=most)
    deltas = (rewards + gamma * next_real(values, real) - values).masked_fill(~real, 0.0)
    corrections = _discounted_sums(ratio * deltas, gamma * lam * ratio, real)
    longer = (deltas + gamma * lam * next_real(corrections, real)).masked_fill(~real, 0.0)
    return ratio * longer, corrections + values


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


def leave_one_out(scores: Tensor, each: int) -> Tensor:
    """Each score less the mean of the others of its group: a baseline that knows nothing of the sample itself.

    Kool, van Hoof and Welling 2019, "Buy 4 REINFORCE Samples, Get a Baseline for Free!", eq. 7; for language models Ahmadian et
    al. 2024, "Back to Basics", section 2.4. Of two it is the difference of the pair and its negative.

    Args:
        scores: [G * each], reward units; groups of ``each`` that stand together.
        each: samples a group (count), at least 2.

    Returns:
        [G * each], reward units; 0 on average in each group.

    Raises:
        ValueError: a group of one has no others.
    """
    if each < 2:
        raise ValueError("a group of one sample has no others to be compared with")
    grouped = scores.view(-1, each)
    return ((grouped - grouped.mean(1, keepdim=True)) * (each / (each - 1))).flatten()


def group_relative(scores: Tensor, each: int, scaled: bool) -> Tensor:
    """Each score less the mean of its group, with ``scaled`` over the group's standard deviation.

    Shao et al. 2024, "DeepSeekMath", section 4.1.2 (GRPO; divisor n - 1, as in the code that implements it); unscaled Liu et al.
    2025, "Understanding R1-Zero-Like Training", section 3.1 (Dr. GRPO), for the deviation gives easy and hard prompts more weight.

    Args:
        scores: [G * each], reward units; groups of ``each`` that stand together.
        each: samples a group (count), at least 2.
        scaled: whether to divide by the deviation.

    Returns:
        [G * each], no unit where scaled, else reward units; 0 throughout a group whose scores are all alike.

    Raises:
        ValueError: a group of one is always its own mean.
    """
    if each < 2:
        raise ValueError("a group of one sample is its own mean: every advantage would be 0")
    grouped = scores.view(-1, each)
    centred = grouped - grouped.mean(1, keepdim=True)
    if scaled:
        spread = grouped.std(1, keepdim=True)
        centred = torch.where(spread > _ALIKE * grouped.abs().amax(1, keepdim=True), centred / (spread + _ALIKE), 0.0)
    return centred.flatten()


def best_of_group(scores: Tensor, each: int) -> Tensor:
    """1 for the best of each group, the first of those alike, and 0 for the others: best-of-n as an advantage.

    Alike are scores that differ by no more than rounding: which of them is a hair above is a matter of the processor.

    Dong et al. 2023, "RAFT: Reward rAnked FineTuning for Generative Foundation Model Alignment", section 3.

    Args:
        scores: [G * each], reward units; groups of ``each`` that stand together.
        each: samples a group (count).

    Returns:
        [G * each].
    """
    grouped = scores.view(-1, each)
    return torch.zeros_like(grouped).scatter(1, _first_of_best(grouped), 1.0).flatten()


def _first_of_best(grouped: Tensor) -> Tensor:
    """[G, 1] of [G, each]: where the best of each group stands, the first of those that are alike but for rounding."""
    best = grouped.amax(1, keepdim=True)
    alike = grouped >= best - _ALIKE * best.abs().clamp_min(_ALIKE)
    return alike.int().argmax(1, keepdim=True)


def preferred_pair(scores: Tensor, log_ratios: Tensor, each: int, beta: float) -> Tensor:
    """What DPO's gradient weighs log-probabilities by, where the best and the worst of each group are its pair.

    Guo et al. 2024, "Direct Language Model Alignment from Online AI Feedback", section 3; Rafailov et al. 2023, "Direct Preference
    Optimization", section 4: beta sigmoid(-beta (log-ratio of the better - of the worse)), for the better with a plus, for the
    worse with a minus. That is the gradient of -log sigmoid(...) exactly, for the policy that the log-ratios are of.

    Args:
        scores: [G * each], reward units; groups of ``each`` that stand together.
        log_ratios: [G * each], nats; of the completions under the policy less under the reference.
        each: samples a group (count), at least 2.
        beta: reward units a nat.

    Returns:
        [G * each], reward units a nat; 0 for the others, and for a group whose scores are all alike.

    Raises:
        ValueError: a group of one is no pair.
    """
    if each < 2:
        raise ValueError("a group of one sample is no pair")
    grouped, ratios = scores.view(-1, each), log_ratios.view(-1, each)
    best, worst = _first_of_best(grouped), _first_of_best(-grouped)
    weight = beta * torch.sigmoid(beta * (ratios.gather(1, worst) - ratios.gather(1, best)))
    weight = weight * (best != worst)
    return torch.zeros_like(grouped).scatter_add(1, best, weight).scatter_add(1, worst, -weight).flatten()


def returns_to_go(rewards: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """Discounted sum of the rewards from each real position on: what REINFORCE weighs a token's log-probability by.

    Williams 1992, "Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning", section 4, with what
    came before a token left out, which it cannot have caused.

    Args:
        rewards: [B, T], reward units.
        mask: [B, T].
        gamma: discount a token, 0 to 1.

    Returns:
        [B, T], reward units; 0 at padded positions.
    """
    return generalized_advantages(rewards, torch.zeros_like(rewards), mask, gamma, 1.0)[0]
