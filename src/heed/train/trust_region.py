"""The natural policy gradient with a bound on the KL divergence: trust region policy optimisation.

Schulman et al. 2015, "Trust Region Policy Optimization", section 6 and appendix C: the step along F^-1 g whose second-order KL is the
bound, shortened until the surrogate objective has risen and the KL measured on the rollout keeps the bound. F is the Fisher matrix of
the rollout's tokens, which are samples of the policy; it is never built. Its product with a vector v is the mean over tokens of
(v . grad log p) grad log p, where the directional derivative is a central difference: two forward passes and one backward, by
whatever path the model runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from heed.losses.policy import clipped_ratio_loss
from heed.models.batch import microbatches
from heed.models.policy import Continuations, Policy, token_scores
from heed.train.optimise import backward
from heed.train.rollout import Rollout, completion_logprobs

if TYPE_CHECKING:
    from heed.train.learner import Learner

ITERATIONS = 10
"""Of conjugate gradients (appendix C.1)."""
DAMPING = 0.1
"""Share of the identity in the Fisher matrix, as in the paper's code: keeps flat directions from taking all of the step."""
BACKTRACKS = 10
_DIFFERENCE = 1e-3
"""Length of the finite difference beside that of the weights: small for the curvature, large for rounding in float32."""
_FAR = 0.1
"""Nats that log-probabilities may move by, root mean square, within the finite difference: further, they bend."""
_SHORTENINGS = 5
_NOTHING = 1e-10
_EACH, _FEWEST = 10, 2_000
"""The Fisher matrix is taken from a tenth of the rollout, which makes its products as cheap as a gradient (appendix C), but from no
fewer tokens than about these. The surrogate and the KL that the step is held to are those of the whole."""


class Tokens:
    """The completion tokens of a rollout under one policy, a function of its weights; of every ``each``-th completion."""

    def __init__(
        self, policy: Policy, rollout: Rollout, temperature: float, tokens_per_microbatch: int, each: int = 1
    ) -> None:
        self.policy = policy
        self.prompt_ids, self.written = rollout.prompt_ids[::each], rollout.samples.tokens[::each]
        self.temperature, self.tokens_per_microbatch = temperature, tokens_per_microbatch
        self.weights: Sequence[nn.Parameter] = [p for p in policy.parameters() if p.requires_grad]
        self.count = float(sum(map(len, self.written)))

    def logprobs(self) -> Tensor:
        """[B, T], nats; 0 beyond each completion's end."""
        return completion_logprobs(
            self.policy, self.prompt_ids, self.written, self.temperature, self.tokens_per_microbatch
        )

    def gradient(self, factors: Tensor) -> Tensor:
        """Gradient [P] of the mean over tokens of ``factors`` [B, T] times their log-probabilities."""
        for weight in self.weights:
            weight.grad = None
        ids, written = self.prompt_ids, self.written
        lengths = [len(p) + len(c) for p, c in zip(ids, written, strict=True)]
        for rows in microbatches(lengths, self.tokens_per_microbatch):
            laid = Continuations.of([ids[r] for r in rows], [written[r] for r in rows], self.policy.device)
            part = factors[torch.tensor(rows), : laid.width]

            def loss(laid: Continuations = laid, part: Tensor = part) -> Tensor:
                hidden = self.policy.body.hidden(laid.batch, laid.predictors)
                grid = laid.grid(token_scores(self.policy, hidden, laid.targets, self.temperature).logprobs)
                return (part * grid).sum() / self.count

            backward(loss)
        found = [torch.zeros_like(w) if w.grad is None else w.grad for w in self.weights]
        flat = torch.cat([part.flatten() for part in found])
        for weight in self.weights:
            weight.grad = None
        return flat

    def along(self, direction: Tensor) -> Tensor:
        """How fast each token's log-probability rises along a vector [P]: [B, T], nats a unit of it."""
        start = parameters_to_vector(self.weights).detach()
        size = _DIFFERENCE * float(start.norm()) / max(float(direction.norm()), _NOTHING)
        difference = self._difference(start, size * direction)
        for _ in range(_SHORTENINGS):
            moved = float(difference.square().sum() / self.count) ** 0.5
            if moved <= _FAR:
                break
            # So far the log-probabilities are no straight line, and what is no derivative is no Fisher matrix's either.
            size *= min(0.5, 0.1 * _FAR / moved) if math.isfinite(moved) else 0.1
            difference = self._difference(start, size * direction)
        return difference / size

    def _difference(self, start: Tensor, step: Tensor) -> Tensor:
        """Half of what log-probabilities differ by between one step before and one behind the weights ``start``, where they stay."""
        ends = []
        for sign in (1.0, -1.0):
            vector_to_parameters(start + sign * step, self.weights)
            ends.append(self.logprobs())
        vector_to_parameters(start, self.weights)
        return (ends[0] - ends[1]) / 2

    def fisher(self, direction: Tensor) -> Tensor:
        """The Fisher matrix, damped, times a vector [P]."""
        return self.gradient(self.along(direction)) + DAMPING * direction

    def curvature(self, direction: Tensor) -> float:
        """A vector [P] times the damped Fisher matrix times the vector: a mean of squares, and so never below 0."""
        along = self.along(direction)
        return float(along.square().sum() / self.count + DAMPING * (direction @ direction))


def conjugate_gradients(product: Callable[[Tensor], Tensor], right: Tensor, iterations: int = ITERATIONS) -> Tensor:
    """x [P] with A x = ``right`` for a symmetric positive definite A known by its products; as near as ``iterations`` get.

    Hestenes and Stiefel 1952, "Methods of Conjugate Gradients for Solving Linear Systems".
    """
    x, left, direction = torch.zeros_like(right), right.clone(), right.clone()
    size = left @ left
    for _ in range(iterations):
        if float(size) <= _NOTHING * float(right @ right):
            break
        turned = product(direction)
        bent = direction @ turned
        if float(bent) <= 0:  # of no positive definite matrix: rounding is all that is left of this direction
            break
        step = size / bent
        x, left = x + step * direction, left - step * turned
        size, before = left @ left, size
        direction = left + size / before * direction
    return x


def natural_step(learner: Learner, rollout: Rollout) -> dict[str, float]:
    """One step of the policy within its trust region; the figures of it.

    Returns:
        ``policy_loss`` (negated surrogate), ``update_kl`` (k3, nats a token), ``ratio_max``, ``first_ratio_max``, and how often
        the step was halved (``backtracks``; one more than the most where nothing was better and the policy stays).
    """
    settings = learner.settings
    shared = (learner.policy, rollout, settings.temperature, settings.tokens_per_microbatch)
    tokens = Tokens(*shared)
    some = Tokens(*shared, each=max(1, min(_EACH, int(tokens.count) // _FEWEST)))

    def measured() -> tuple[float, float, float]:
        got = clipped_ratio_loss(
            tokens.logprobs(), rollout.logprobs, rollout.advantages, rollout.mask, float("inf"), tokens.count
        )
        return float(got.loss), float(got.approximate_kl), float(got.ratio_max)

    start = parameters_to_vector(tokens.weights).detach().clone()
    before, _, first = measured()
    gradient = tokens.gradient(rollout.advantages * rollout.mask)
    loss, kl, ratio, halved = before, 0.0, first, BACKTRACKS + 1
    if float(gradient.norm()) > _NOTHING:
        direction = conjugate_gradients(some.fisher, gradient)
        if not float(direction.norm()):
            direction = gradient
        longest = (2 * settings.trust_region / some.curvature(direction)) ** 0.5
        for attempt in range(BACKTRACKS + 1):
            vector_to_parameters(start + longest * 0.5**attempt * direction, tokens.weights)
            found = measured()
            if found[0] < before and found[1] <= settings.trust_region:
                (loss, kl, ratio), halved = found, attempt
                break
        else:
            vector_to_parameters(start, tokens.weights)
    return {
        "policy_loss": loss,
        "update_kl": kl,
        "ratio_max": ratio,
        "first_ratio_max": first,
        "backtracks": float(halved),
    }
