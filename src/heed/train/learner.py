"""What an online algorithm learns by: the networks that are trained, and the updates that one rollout serves for."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from heed.config import PolicySettings
from heed.errors import ModelError
from heed.losses.advantages import masked_sum
from heed.losses.policy import AdaptiveKL, FixedKL, KLControl, kl_k3
from heed.losses.value import clipped_value_loss
from heed.models.adapters import adapt_backbone, trained_part
from heed.models.batch import microbatches
from heed.models.conversations import Masked
from heed.models.policy import Continuations, Policy, token_scores
from heed.models.reward import ScalarModel, scalar_head
from heed.models.tuning import set_up
from heed.train.checkpoint import adamw, named_parameters
from heed.train.optimise import backward, rows_of_step, update
from heed.train.recipes import RECIPES, setting_of
from heed.train.rollout import ModelScorer, Rollout, Scorer
from heed.train.supervised import CompletionTask, TokenPair
from heed.train.trust_region import natural_step


class _Totals(dict[str, float]):
    """Sums of named figures."""

    def add(self, **figures: float) -> None:
        for name, value in figures.items():
            self[name] = self.get(name, 0.0) + value


class Learner:
    """The networks of an online algorithm and its updates.

    Args:
        policy: is changed in place.
        value_model: network of the values, or None to put a value head on the policy's own trunk; of no use to algorithms
            without values.

    Attributes:
        pretraining: texts whose likelihood is part of each update, where
            ``pretraining_coefficient`` is above 0.

    Raises:
        ModelError: the policy cannot share its trunk with the values.
    """

    def __init__(self, policy: Policy, settings: PolicySettings, seed: int, value_model: ScalarModel | None) -> None:
        self.recipe = RECIPES[settings.algorithm]
        self.epochs = int(setting_of(settings, "epochs"))
        if self.recipe.ratio == "none":
            self.clip = (math.inf, math.inf)
        else:
            self.clip = (setting_of(settings, "clip_ratio"), setting_of(settings, "clip_ratio_high"))
        value_model = value_model if self.recipe.critic else None
        sharing = self.recipe.critic and value_model is None
        if sharing and not policy.body.fast:
            raise ModelError(
                f"{policy.source} cannot share its trunk with the values",
                "its shape has no fast path, which takes the values on the way.",
                "Set policy.value_model to 'separate'.",
            )
        self.policy, self.settings, self.seed, self.value_model = policy, settings, seed, value_model
        shared = scalar_head(policy.model.config.hidden_size, seed).to(policy.device) if sharing else None
        self.value_head: nn.Module | None = shared
        if shared is not None:
            # A head of zeros starts from "no expectation" and sends no noise into the trunk.
            nn.init.zeros_(shared.weight)
        networks: dict[str, nn.Module] = {"policy": trained_part(policy.model)}
        networks |= {} if value_model is None else {"value": trained_part(value_model)}
        networks |= {} if shared is None else {"head": shared}
        self.parameters = named_parameters(networks)
        own = [p for name, p in self.parameters.items() if name.startswith(("policy.", "head."))]
        self.groups = {"policy": own}
        rates = [{"params": own, "peak": settings.learning_rate}]
        if value_model is not None:
            self.groups["value"] = [p for name, p in self.parameters.items() if name.startswith("value.")]
            rates.append({"params": self.groups["value"], "peak": settings.value_learning_rate})
        self.optimizer = adamw(rates)
        self.control: KLControl = (
            FixedKL(settings.kl_coefficient)
            if settings.kl_control == "fixed"
            else AdaptiveKL(settings.kl_coefficient, settings.kl_target, settings.kl_horizon)
        )
        self.pretraining: Sequence[Masked | TokenPair] = ()
        self._layouts: dict[tuple[int, ...], Continuations] = {}

    def learn(self, rollout: Rollout, step: int) -> dict[str, float]:
        """Update on one rollout for ``epochs`` passes of ``minibatches`` optimiser steps; the figures of the updates."""
        settings = self.settings
        totals, updates, first_ratio = _Totals(), 0, 1.0
        natural = natural_step(self, rollout) if self.recipe.trust_region else {}
        self._layouts.clear()
        for epoch in range(self.epochs):
            epoch_kl = 0.0
            parts = self._minibatches(len(rollout.lengths), step, epoch)
            for part, rows in enumerate(parts):
                done = self._update(rollout, rows, step, (step * self.epochs + epoch) * settings.minibatches + part)
                if epoch == part == 0:
                    first_ratio = done["ratio_max"]
                epoch_kl += done.pop("rollout_kl", 0.0) / len(parts)
                totals.add(**done)
                updates += 1
            totals["update_kl"] = epoch_kl
            if epoch_kl > settings.update_kl_limit:
                break
        figures = {name: value if name == "update_kl" else value / updates for name, value in totals.items()}
        return {**figures, "first_ratio_max": first_ratio, "epochs_done": epoch + 1.0, **natural}

    def _minibatches(self, rows: int, step: int, epoch: int) -> list[list[int]]:
        if self.settings.minibatches == 1:
            return [list(range(rows))]
        generator = torch.Generator().manual_seed((self.seed * 100_003 + step) * 1_009 + epoch)
        order = torch.randperm(rows, generator=generator).tolist()
        size = math.ceil(rows / self.settings.minibatches)
        return [sorted(order[start : start + size]) for start in range(0, rows, size)]

    def _update(self, rollout: Rollout, rows: list[int], step: int, turn: int) -> dict[str, float]:
        """One optimiser step on some rows of the rollout, the ``turn``-th of the run."""
        lengths = rollout.lengths
        tokens = float(sum(lengths[row] for row in rows))
        ordered = sorted(rows, key=lambda row: (len(rollout.prompt_ids[row]) + lengths[row], row))
        sizes = [len(rollout.prompt_ids[row]) + lengths[row] for row in ordered]
        totals, loss = _Totals(), 0.0
        totals["ratio_max"] = 0.0
        chosen = torch.tensor(rows, device=self.policy.device)
        weights = torch.zeros_like(rollout.mask)
        weights[chosen] = self.recipe.weights(
            rollout.mask[chosen], rollout.advantages[chosen], self.settings.max_new_tokens
        )
        for group in microbatches(sizes, self.settings.tokens_per_microbatch):
            batch = [ordered[i] for i in group]
            for part in self._losses(rollout, batch, weights, tokens, totals):
                loss += backward(part)
        if self.pretraining and self.settings.pretraining_coefficient:
            loss += self._pretrain(turn, len(rows), totals)
        norms = {
            f"{name}_gradient_norm": float(torch.nn.utils.clip_grad_norm_(group, self.settings.max_grad_norm))
            for name, group in self.groups.items()
        }
        everything = [p for group in self.groups.values() for p in group]
        # Each network has been clipped by itself; this only checks that all is finite, steps and clears.
        update(self.optimizer, everything, math.inf, loss, step, rows)
        return {**totals, **norms}

    def _pretrain(self, turn: int, count: int, totals: _Totals) -> float:
        """Add the gradient of the likelihood of ``count`` other texts: PPO-ptx (Ouyang et al. 2022, "Training Language Models to
        Follow Instructions with Human Feedback", section 3.5, eq. 2), a mean over their tokens."""
        count = min(count, len(self.pretraining))
        rows = rows_of_step(turn, len(self.pretraining), count, self.seed + 1)
        task = CompletionTask(self.policy, [self.pretraining[row] for row in rows])
        tokens, weight = task.count(range(count)), self.settings.pretraining_coefficient
        loss = 0.0
        for batch in microbatches(task.lengths, self.settings.tokens_per_microbatch):
            loss += backward(lambda batch=batch: weight * task.loss(batch, tokens))  # type: ignore[misc]
        totals.add(pretraining_loss=loss / weight)
        return loss

    def _losses(
        self, rollout: Rollout, rows: list[int], weights: Tensor, tokens: float, totals: _Totals
    ) -> list[Callable[[], Tensor]]:
        """The losses of one micro-batch, each to be computed and differentiated before the next; ``weights`` [B, T] say how much
        each token counts."""
        settings, key = self.settings, tuple(rows)
        if key not in self._layouts:
            ids, written = [rollout.prompt_ids[r] for r in rows], [rollout.samples.tokens[r] for r in rows]
            self._layouts[key] = Continuations.of(ids, written, self.policy.device)
        laid = self._layouts[key]
        index = torch.tensor(rows, device=self.policy.device)

        def cut(grid: Tensor) -> Tensor:
            return grid[index, : laid.width]

        mask = cut(rollout.mask)

        def policy_part(hidden: Tensor) -> Tensor:
            entropic = settings.entropy_coefficient > 0
            scored = token_scores(self.policy, hidden, laid.targets, settings.temperature, with_entropy=entropic)
            logprobs, weight = laid.grid(scored.logprobs), cut(weights)
            # Both losses are linear in the advantages, clipped or not: a weight above 0 may go with them.
            weighed = cut(rollout.advantages) * weight
            got = self.recipe.policy_loss(logprobs, cut(rollout.logprobs), weighed, mask, tokens, self.clip)
            totals.add(
                policy_loss=float(got.loss.detach()),
                clip_fraction=float(got.clip_fraction),
                rollout_kl=float(got.approximate_kl),
            )
            totals["ratio_max"] = max(totals["ratio_max"], float(got.ratio_max))
            loss = got.loss
            if self.recipe.kl_in_loss and self.control.coefficient:
                penalty = masked_sum(weight * kl_k3(logprobs, cut(rollout.reference_logprobs)), mask) / tokens
                loss = loss + self.control.coefficient * penalty
            if scored.entropy is None:
                return loss
            # Tokens count in the bonus as they do in the loss: its coefficient is reward a nat by any algorithm.
            bonus = masked_sum(weight * laid.grid(scored.entropy), mask) / tokens
            return loss - settings.entropy_coefficient * bonus

        def value_part(head: nn.Module, hidden: Tensor) -> Tensor:
            values = laid.grid(head(hidden)[:, 0].float())
            got = clipped_value_loss(
                values, cut(rollout.values), cut(rollout.returns), mask, settings.clip_value, tokens
            )
            totals.add(value_loss=float(got.loss.detach()), value_clip_fraction=float(got.clip_fraction))
            return got.loss

        def together() -> Tensor:
            hidden = self.policy.body.hidden(laid.batch, laid.predictors)
            assert self.value_head is not None
            return policy_part(hidden) + settings.value_coefficient * value_part(self.value_head, hidden)

        if self.value_head is not None:
            return [together]

        def alone() -> Tensor:
            return policy_part(self.policy.body.hidden(laid.batch, laid.predictors))

        if self.value_model is None:
            return [alone]
        value_model = self.value_model

        def apart() -> Tensor:
            return value_part(value_model.head, value_model.body.hidden(laid.batch, laid.predictors))

        return [apart] if self.recipe.trust_region else [alone, apart]


def value_model_for(policy: Policy, scorer: Scorer, settings: PolicySettings, seed: int) -> ScalarModel | None:
    """A network of values of its own, where the algorithm needs one and ``settings`` do not put it on the policy's trunk.

    It starts from the reward model's trunk where that reads the same tokens, else the policy's, as in Stiennon et al. 2020,
    appendix B.1, and Huang et al. 2024.
    """
    if settings.value_model == "shared" or not RECIPES[settings.algorithm].critic:
        return None
    network = scorer.network if isinstance(scorer, ModelScorer) else None
    backbone = policy.model.base_model if network is None else network.members[0].backbone
    own = copy.deepcopy(backbone)
    adapt_backbone(own, settings.lora, seed)
    value_model = ScalarModel(own, seed)
    set_up(value_model.body, settings)
    # A head of zeros starts from "no expectation"; a random one adds noise of its own to the first advantages.
    nn.init.zeros_(value_model.head.weight)
    return value_model
