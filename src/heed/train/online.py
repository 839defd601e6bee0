"""Policy optimisation on samples of the policy itself: one loop for PPO as published for language models and its kin.

One step: roll out, score, subtract the KL to the reference token by token (or leave it to the loss), estimate advantages, update
for some epochs, steer the KL coefficient (Ziegler et al. 2019; Stiennon et al. 2020; Huang et al. 2024 for the details). What tells
algorithms apart stands in ``recipes``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from heed.config import PolicySettings, SamplingSettings
from heed.losses.advantages import masked_mean
from heed.losses.policy import kl_k1, kl_k2, kl_k3
from heed.losses.value import explained_variance
from heed.models.batch import microbatches
from heed.models.conversations import Masked
from heed.models.decode import Samples, sample
from heed.models.policy import Continuations, Policy
from heed.models.reward import ScalarModel
from heed.train.actors import Actors, Job
from heed.train.checkpoint import Saved, restore_training_state, training_state
from heed.train.learner import Learner
from heed.train.online_loop import OnlineLoop, Prompt
from heed.train.optimise import rows_of_step
from heed.train.progress import Watcher
from heed.train.recipes import Scored, setting_of
from heed.train.rollout import Rollout, Scorer, completion_logprobs, grid_of
from heed.train.supervised import TokenPair


class OnlineTrainer(OnlineLoop, Learner):
    """An online algorithm on one policy.

    Args:
        policy: is changed in place.
        reference: stays as it is; the policy's weights at the start of the run that defined them.
        scorer: the reward.
        prompts: what is rolled out, in shuffled epochs.
        value_model: network of the values, or None to put a value head on the policy's own trunk; of no use to algorithms
            without values.
        audit: held-out truth of the policy as it is now, where there is one; figures by name.
        pretraining: see :class:`Learner`.
    """

    def __init__(
        self,
        policy: Policy,
        reference: Policy,
        scorer: Scorer,
        prompts: Sequence[Prompt],
        settings: PolicySettings,
        seed: int,
        value_model: ScalarModel | None = None,
        audit: Callable[[Policy], dict[str, float]] | None = None,
        pretraining: Sequence[Masked | TokenPair] = (),
    ) -> None:
        Learner.__init__(self, policy, settings, seed, value_model)
        OnlineLoop.__init__(self, policy, reference, scorer, prompts, settings, seed, audit)
        self.pretraining = pretraining
        self.actors: Actors | None = None

    def check(self, at_start: bool) -> str:
        from heed.train.checks import self_check

        return self_check(self, at_start)

    @contextmanager
    def acting(self, watcher: Watcher, saved: Saved | None) -> Iterator[None]:
        """Have actors run, where the policy is to learn while it samples."""
        staleness = int(setting_of(self.settings, "staleness"))
        if not staleness:
            yield
            return
        watcher.say(f"{staleness} of {staleness + 1} processes sample, with the policy of {staleness} updates before")
        with Actors(self.policy, staleness, self.value_head is not None) as self.actors:
            if saved is not None:
                self.actors.load_state(saved.tensors, saved.numbers.get("under_way", {}))
            try:
                yield
            finally:
                self.actors = None

    def step(self, step: int) -> dict[str, float]:
        """One rollout and its updates; the figures of the step, which also join the history."""
        settings = self.settings
        rising = min(1.0, (step + 1) / (settings.warmup_steps + 1))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rising
        if self.actors is None:
            rollout, age = self.roll_out(self._asked_at(step), self._seed_of(step)), 0
        else:
            samples, age = self._from_actors(step, self.actors)
            rollout = self.estimated(self._asked_at(step), samples, age > 0)
        figures = {"step": float(step + 1), **self._rollout_figures(rollout)}
        if self.actors is not None:
            figures["staleness"] = float(age)
        figures |= self.audited(step)
        figures |= self.learn(rollout, step)
        self.control.update(max(0.0, figures["kl"]), len(rollout.lengths))
        return self.noted(figures, rollout.samples)

    def _asked_at(self, step: int) -> list[Prompt]:
        chosen = rows_of_step(step, len(self.prompts), self.settings.prompts_per_step, self.seed)
        return [self.prompts[row] for row in chosen]

    def _seed_of(self, step: int) -> int:
        return self.seed * 100_003 + step

    def _from_actors(self, step: int, actors: Actors) -> tuple[Samples, int]:
        """What was sampled for a step, and the updates that the policy has made since; later steps are asked for."""

        def ask(later: int) -> None:
            if later < self.settings.steps:
                job = Job(later, [p.ids for p in self._asked_at(later)], self._sampling, self._seed_of(later))
                actors.ask(job, step, {name: p for name, p in self.parameters.items() if not name.startswith("value.")})

        if actors.empty:
            for later in range(step, step + actors.staleness):
                ask(later)
        if not actors.staleness:
            ask(step)
        samples, version = actors.take(step)
        if actors.staleness:
            ask(step + actors.staleness)
        return samples, step - version

    @property
    def _sampling(self) -> SamplingSettings:
        """Pure samples of the policy."""
        settings = self.settings
        return SamplingSettings(
            samples_per_prompt=settings.samples_per_prompt,
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            rows_per_batch=max(1, settings.tokens_per_microbatch // settings.max_new_tokens),
        )

    @torch.no_grad()
    def roll_out(self, prompts: Sequence[Prompt], seed: int) -> Rollout:
        """Sample completions of ``prompts`` and estimate their tokens' advantages."""
        samples = sample(self.policy, [p.ids for p in prompts], self._sampling, seed, value_head=self.value_head)
        return self.estimated(prompts, samples)

    @torch.no_grad()
    def estimated(self, prompts: Sequence[Prompt], samples: Samples, stale: bool = False) -> Rollout:
        """Completions of ``prompts`` with their tokens' advantages; ``stale`` are samples of an earlier policy."""
        settings = self.settings
        each = settings.samples_per_prompt
        contents = [p.content for p in prompts for _ in range(each)]
        ids = [p.ids for p in prompts for _ in range(each)]
        device = self.policy.device
        logprobs = grid_of(samples.logprobs, device)
        lengths = torch.tensor([len(tokens) for tokens in samples.tokens], device=device)
        mask = (torch.arange(logprobs.shape[1], device=device)[None] < lengths[:, None]).float()
        reference = self._logprobs(self.reference, ids, samples)
        scores, stated = self.scored(contents, ids, samples)
        if samples.values is not None and not stale:
            values = grid_of(samples.values, device)
        else:
            values = self._values(ids, samples.tokens)
        both, kl = scores + stated.total(scores), kl_k1(logprobs, reference)
        log_ratio = self._logprobs(self.policy, ids, samples) - logprobs if stale and self.recipe.corrected else None
        scored = Scored(both, kl, values, mask, each, self.control.coefficient, settings, log_ratio)
        advantages, returns = self.recipe.estimate(scored)
        return Rollout(contents, ids, samples, mask, logprobs, reference, scores, stated, values, advantages, returns)

    def _logprobs(self, policy: Policy, ids: Sequence[Sequence[int]], samples: Samples) -> Tensor:
        settings = self.settings
        return completion_logprobs(policy, ids, samples.tokens, settings.temperature, settings.tokens_per_microbatch)

    def _values(self, prompt_ids: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]]) -> Tensor:
        """Of each token [B, T], by the value model or the head as it is now; 0 where there is neither."""
        out = torch.zeros(len(tokens), max(map(len, tokens)), device=self.policy.device)
        head: nn.Module
        if self.value_model is not None:
            body, head = self.value_model.body, self.value_model.head
        elif self.value_head is not None:
            body, head = self.policy.body, self.value_head
        else:
            return out
        lengths = [len(p) + len(c) for p, c in zip(prompt_ids, tokens, strict=True)]
        for rows in microbatches(lengths, self.settings.tokens_per_microbatch):
            laid = Continuations.of([prompt_ids[r] for r in rows], [tokens[r] for r in rows], self.policy.device)
            hidden = body.hidden(laid.batch, laid.predictors)
            out[torch.tensor(rows), : laid.width] = laid.grid(head(hidden)[:, 0].float())
        return out

    def _rollout_figures(self, rollout: Rollout) -> dict[str, float]:
        """Figures of the policy as it was when it wrote the rollout. KL in nats a completion, entropy in nats a token."""
        rows = len(rollout.lengths)
        pair = (rollout.logprobs, rollout.reference_logprobs)
        kl = {
            name: float((estimator(*pair) * rollout.mask).sum() / rows)
            for name, estimator in (("kl", kl_k1), ("kl_k2", kl_k2), ("kl_k3", kl_k3))
        }
        return {
            **self.reward_figures(rollout.scores, rollout.constraints),
            **kl,
            "kl_coefficient": self.control.coefficient,
            # The mean surprise of the policy's own samples is an unbiased estimate of its entropy.
            "entropy": float(-masked_mean(rollout.logprobs, rollout.mask)),
            "length": sum(rollout.lengths) / rows,
            "ended": sum(rollout.samples.finished) / rows,
            **self._of_the_algorithm(rollout),
        }

    def _of_the_algorithm(self, rollout: Rollout) -> dict[str, float]:
        """How good the values are; or without any, in how many prompts all samples score alike, where they are compared."""
        if self.recipe.critic:
            return {"explained_variance": float(explained_variance(rollout.values, rollout.returns, rollout.mask))}
        groups = (rollout.advantages == 0).all(1).view(-1, self.settings.samples_per_prompt)
        return {"alike": float(groups.all(1).float().mean())} if groups.shape[1] > 1 else {}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that decides how the run goes on: weights, moments, KL coefficient, history."""
        numbers = {"control": self.control.state_dict(), **self.result_numbers()}
        tensors = training_state(self.parameters, self.optimizer)
        if self.actors is not None:
            under_way, numbers["under_way"] = self.actors.state()
            tensors |= under_way
        return tensors, numbers

    def load_state(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Put back what ``state`` took."""
        restore_training_state(self.parameters, self.optimizer, tensors)
        self.control.load_state_dict(numbers["control"])
        self.restore_result(numbers)
