"""Losses and targets of learning by values: what taking a token is worth, Q(s, a), where a state is a text so far.

Shapes: B completions, T token positions, V tokens of the vocabulary. Positions where the mask is zero reach neither value nor
gradient, wherever in a row they stand.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from heed.losses.advantages import masked_mean, next_real


def q_of_logprobs(values: Tensor, logprobs: Tensor, temperature: float) -> Tensor:
    """Q values as a state's value and a policy's log-probability: Q(s, a) = V(s) + temperature log pi(a | s).

    Haarnoja et al. 2017, "Reinforcement Learning with Deep Energy-Based Policies", eq. 5 and 6, read from right to left: every Q
    has such a form, with V(s) = temperature log sum over a of exp(Q(s, a) / temperature), and pi is its Boltzmann policy. That the
    value of a state has parameters of its own, which all of its tokens share, is the dueling network of Wang et al. 2016, "Dueling
    Network Architectures for Deep Reinforcement Learning", section 3.

    Args:
        values: [...], reward units.
        logprobs: [...], nats.
        temperature: reward units a nat, above 0.

    Returns:
        [...], reward units.
    """
    return values + temperature * logprobs


def double_q(next_online: Tensor, next_target: Tensor) -> Tensor:
    """The value of a state by double Q-learning: one network chooses the token, the other says what it is worth.

    Van Hasselt, Guez and Silver 2016, "Deep Reinforcement Learning with Double Q-learning", eq. 4: a maximum over one network's
    values is too high on average, as it takes errors for merit. With ``next_online`` for both it is the plain maximum of Mnih et
    al. 2015, "Human-level control through deep reinforcement learning", eq. 1 of the methods.

    Args:
        next_online: [..., V], reward units; of the network that is trained.
        next_target: [..., V], reward units; of the target network.

    Returns:
        [...], reward units; a target, through which no gradient goes.
    """
    return next_target.detach().gather(-1, next_online.detach().argmax(-1, keepdim=True)).squeeze(-1)


def n_step_targets(
    rewards: Tensor, state_values: Tensor, mask: Tensor, gamma: float, steps: int, costs: Tensor | None = None
) -> Tensor:
    """What Q of each taken token is fitted to: the rewards of ``steps`` tokens, and the value of the state behind them.

    Sutton and Barto 2018, "Reinforcement Learning: An Introduction", eq. 7.1 and section 7.2, with the value of a state in
    place of that of a pair: r_t + gamma r_{t+1} + ... + gamma^n V(s_{t+n}); what would lie beyond the end is 0. One step is the
    target of Q-learning; as many as the text is long make the return itself. Tokens between the first and the last are those that
    were sampled, with no correction for it, as in Hessel et al. 2018, "Rainbow", section "Multi-step learning".

    With ``costs`` of temperature log(pi / pi of the reference) they are the n-step targets of soft Q-learning with a reference
    (Schulman, Chen and Abbeel 2017, "Equivalence Between Policy Gradients and Soft Q-Learning"): Q of a token is before its own
    cost, and behind those of the tokens that follow. At the optimum they hold along any tokens, whoever sampled them (Nachum et al.
    2017, "Bridging the Gap Between Value and Policy Based Reinforcement Learning", path consistency).

    Args:
        rewards: [B, T], reward units; of taking each token.
        state_values: [B, T], reward units; of the state before each token.
        mask: [B, T].
        gamma: discount a token, 0 to 1.
        steps: tokens to look ahead (count), at least 1.
        costs: [B, T], reward units; what a target that looks past a token pays for it. None when left out.

    Returns:
        [B, T], reward units, 0 at padded positions; no gradient goes through them.

    Raises:
        ValueError: ``steps`` is below 1.
    """
    if steps < 1:
        raise ValueError(f"a target of {steps} steps would be the value that is to be learned")
    real = mask.bool()
    rewards = rewards.detach().masked_fill(~real, 0.0)
    found = state_values.detach().masked_fill(~real, 0.0)
    paid = torch.zeros_like(rewards) if costs is None else costs.detach().masked_fill(~real, 0.0)
    for _ in range(min(steps, real.shape[1])):
        found = (rewards - paid + gamma * next_real(found, real)).masked_fill(~real, 0.0)
    return found + paid


def td_loss(
    q: Tensor,
    targets: Tensor,
    mask: Tensor,
    count: float | Tensor,
    delta: float = math.inf,
    weights: Tensor | None = None,
) -> Tensor:
    """Huber's loss of the difference between Q and its target: half its square up to ``delta``, then a straight line.

    Huber 1964, "Robust Estimation of a Location Parameter", eq. 3; Mnih et al. 2015, methods, where the gradient is held between
    -1 and 1 (delta 1).

    Args:
        q: [B, T], reward units; of the tokens that were taken.
        targets: [B, T], reward units.
        mask: [B, T].
        count: real tokens in the whole batch, so that micro-batches add up to it; positive.
        delta: reward units; infinity makes it half the squared error.
        weights: [B, T], how much each token counts; 1 when left out.

    Returns:
        Scalar, squared reward units.
    """
    real = mask.bool()
    error = (q - targets.detach()).masked_fill(~real, 0.0)
    size = error.abs()
    # Within delta the line has no part in the gradient, and an infinite delta none in the value.
    line = delta * (size - 0.5 * delta) if math.isfinite(delta) else size
    return masked_mean(_weighed(torch.where(size <= delta, 0.5 * error.square(), line), weights), real, count)


def expectile_loss(
    values: Tensor, q: Tensor, mask: Tensor, count: float | Tensor, expectile: float, weights: Tensor | None = None
) -> Tensor:
    """Squares that count ``expectile`` where the value is below Q and 1 - ``expectile`` where it is above.

    Kostrikov, Nair and Levine 2021, "Offline Reinforcement Learning with Implicit Q-Learning", eq. 5: |tau - 1(u < 0)| u^2 with u =
    Q - V. At 0.5 the value of a state is the mean over the tokens that were taken there; towards 1 it is that of the best of them,
    and no token is ever asked about that nobody took.

    Args:
        values: [B, T], reward units; of the state before each token.
        q: [B, T], reward units; of the token taken, by the target network.
        mask: [B, T].
        count: real tokens in the whole batch.
        expectile: tau, between 0 and 1.
        weights: [B, T], how much each token counts; 1 when left out.

    Returns:
        Scalar, squared reward units.
    """
    real = mask.bool()
    over = (q.detach() - values).masked_fill(~real, 0.0)
    share = torch.where(over < 0, 1 - expectile, expectile)
    return masked_mean(_weighed(share * over.square(), weights), real, count)


def conservative_loss(q_logprobs: Tensor, mask: Tensor, count: float | Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of the tokens taken under softmax(Q): it keeps down the values of tokens that nobody took.

    Kumar et al. 2020, "Conservative Q-Learning for Offline Reinforcement Learning", eq. 4 (log-sum-exp of Q less the Q taken), as
    Snell et al. 2022, "Offline RL for Natural Language Generation with Implicit Language Q Learning", section 4.2, use it.

    Args:
        q_logprobs: [B, T], nats; log softmax(Q) of the tokens taken.
        mask: [B, T].
        count: real tokens in the whole batch.
        weights: [B, T], how much each token counts; 1 when left out.

    Returns:
        Scalar, nats a token.
    """
    return masked_mean(_weighed(-q_logprobs, weights), mask, count)


def advantage_shaped(logits: Tensor, q: Tensor, values: Tensor, beta: float) -> Tensor:
    """Log-probabilities of the policy that ILQL samples: log pi + beta (Q - V), brought to sum to 1.

    Snell et al. 2022, section 4.3. The value of the state is the same for all tokens and does not matter to what is drawn.

    Args:
        logits: [..., V], nats; of the policy that wrote, or imitates, what was logged.
        q: [..., V], reward units.
        values: [...], reward units.
        beta: nats a reward unit, at least 0.

    Returns:
        [..., V], nats.
    """
    advantages = q - values.unsqueeze(-1)
    return torch.log_softmax(torch.log_softmax(logits, -1) + beta * advantages, -1)


def epsilon_greedy(logits: Tensor, epsilon: float, tokens: int) -> Tensor:
    """Log-probabilities of taking the best token, or with probability ``epsilon`` any at all.

    Sutton and Barto 2018, section 2.2.

    Args:
        logits: [..., V]; the largest is the best token, the first of equals.
        epsilon: 0 to 1.
        tokens: how many of the vocabulary chance may take, from the first (count); a model may have room for more than it has.

    Returns:
        [..., V], nats; minus infinity where a token is never taken.
    """
    share = torch.zeros_like(logits)
    share[..., :tokens] = epsilon / tokens
    best = logits.argmax(-1, keepdim=True)
    return share.scatter_add(-1, best, torch.full_like(best, 1 - epsilon, dtype=share.dtype)).log()


def annealed(start: float, end: float, done: float) -> float:
    """A value on its way from ``start`` to ``end`` in a straight line; ``done`` of the way (0 to 1, more counts as 1).

    As epsilon in Mnih et al. 2015, extended data table 1.
    """
    return start + (end - start) * min(1.0, done)


def _weighed(x: Tensor, weights: Tensor | None) -> Tensor:
    return x if weights is None else x * weights
