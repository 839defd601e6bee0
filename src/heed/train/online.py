"""Policy optimisation on samples of the policy itself: one loop for PPO as published for language models and its kin.

One step: roll out, score, subtract the KL to the reference token by token (or leave it to the loss), estimate advantages, update
for some epochs, steer the KL coefficient (Ziegler et al. 2019; Stiennon et al. 2020; Huang et al. 2024 for the details). What tells
algorithms apart stands in ``recipes``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from heed.config import PolicySettings, SamplingSettings
from heed.errors import TrainingError
from heed.feedback.kinds import PromptContent
from heed.losses.advantages import masked_mean
from heed.losses.policy import kl_k1, kl_k2, kl_k3
from heed.losses.value import explained_variance
from heed.models.batch import microbatches
from heed.models.conversations import Masked
from heed.models.decode import Samples, sample
from heed.models.policy import Continuations, Policy
from heed.models.reward import ScalarModel
from heed.train.actors import Actors, Job
from heed.train.alarms import reasons
from heed.train.checkpoint import Checkpoints, restore_training_state, training_state
from heed.train.constraints import Constraints, constraints_told
from heed.train.learner import Learner
from heed.train.optimise import rows_of_step
from heed.train.progress import Stopped, Watcher, stop_on_interrupt
from heed.train.recipes import Scored, setting_of
from heed.train.rollout import Rollout, Scorer, completion_logprobs, grid_of
from heed.train.supervised import TokenPair

# A run of this many rollouts over the KL budget, and not one outlier, ends training.
_OVER_BUDGET = 3
# Characters of a sample text that are shown now and then while training.
_EXCERPT = 160


class Prompt(NamedTuple):
    """A prompt and its token ids."""

    content: PromptContent
    ids: list[int]


@dataclass
class OnlineResult:
    """What came of a run: the figures of each step, alarms in words, tokens sampled, and why it ended."""

    history: list[dict[str, float]] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    tokens: int = 0
    ended: str = "all steps done"


class OnlineTrainer(Learner):
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
        super().__init__(policy, settings, seed, value_model)
        self.pretraining = pretraining
        # With an adapter the reference is the policy's own weights, and those are frozen already.
        if reference.model is not policy.model:
            for parameter in reference.parameters():
                parameter.requires_grad_(False)
        self.reference, self.scorer, self.prompts, self.audit = reference, scorer, prompts, audit
        self.constraints = Constraints(settings)
        self.actors: Actors | None = None
        self.result = OnlineResult()
        self.excerpt = ""

    def run(self, checkpoints: Checkpoints | None = None, watcher: Watcher | None = None) -> OnlineResult:
        """Train; resume from ``checkpoints`` where there are any.

        Raises:
            Stopped: on Ctrl-C, after a checkpoint. TrainingError: a self-check failed, or a loss is not a number.
        """
        from heed.train.checks import self_check

        watcher, settings = watcher or Watcher(), self.settings
        saved = checkpoints.latest() if checkpoints else None
        if saved is not None:
            self.load_state(saved.tensors, saved.numbers)
            watcher.say(f"going on after step {saved.step} of {settings.steps}")
        start = saved.step if saved else 0
        watcher.say(self_check(self, at_start=start == 0))
        with self._acting(watcher), stop_on_interrupt() as flag:
            if saved is not None and self.actors is not None:
                self.actors.load_state(saved.tensors, saved.numbers.get("under_way", {}))
            for step in range(start, settings.steps):
                figures = self.step(step)
                self._judge(figures, watcher)
                watcher.advance(step + 1, settings.steps, live_line(figures))
                if step % settings.audit_every == 0:
                    watcher.say(self.excerpt)
                over = [row["kl"] > settings.kl_budget for row in self.result.history[-_OVER_BUDGET:]]
                if len(over) == _OVER_BUDGET and all(over):
                    self.result.ended = f"stopped early: the KL stayed above its budget of {settings.kl_budget:g} nats"
                    watcher.alarm(self.result.ended)
                    break
                last = step == settings.steps - 1
                # Read once: asked for between two readings, the stop would come without its checkpoint.
                asked = flag.asked
                if checkpoints and not last and (asked or (step + 1) % settings.checkpoint_every == 0):
                    checkpoints.save(step + 1, *self.state())
                if asked and not last:
                    raise Stopped
        return self.result

    @contextmanager
    def _acting(self, watcher: Watcher) -> Iterator[None]:
        """Have actors run, where the policy is to learn while it samples."""
        staleness = int(setting_of(self.settings, "staleness"))
        if not staleness:
            yield
            return
        watcher.say(f"{staleness} of {staleness + 1} processes sample, with the policy of {staleness} updates before")
        with Actors(self.policy, staleness, self.value_head is not None) as self.actors:
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
        # Looked at before the update, the truth belongs to the very policy whose reward and KL stand beside it.
        if self.audit is not None and (step % settings.audit_every == 0 or step == settings.steps - 1):
            figures |= self.audit(self.policy)
        figures |= self.learn(rollout, step)
        self.control.update(max(0.0, figures["kl"]), len(rollout.lengths))
        self.excerpt = f"step {step + 1} writes: {_excerpt(rollout.samples.texts[0])}"
        self.result.tokens += sum(rollout.lengths)
        self.result.history.append(figures)
        return figures

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
        scores = self.scorer(contents, ids, samples).to(device).float()
        _refuse_no_numbers(scores, contents, samples, len(self.result.history) + 1)
        scores = scores.clamp(-settings.reward_clip, settings.reward_clip)
        stated = self.constraints(contents, samples)
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
        outside = getattr(self.scorer, "outside", None)
        pair = (rollout.logprobs, rollout.reference_logprobs)
        kl = {
            name: float((estimator(*pair) * rollout.mask).sum() / rows)
            for name, estimator in (("kl", kl_k1), ("kl_k2", kl_k2), ("kl_k3", kl_k3))
        }
        return {
            "reward": float(rollout.scores.mean()),
            "constraint": float(rollout.constraints.total(rollout.scores).mean()),
            **rollout.constraints.figures(),
            **kl,
            "kl_coefficient": self.control.coefficient,
            # The mean surprise of the policy's own samples is an unbiased estimate of its entropy.
            "entropy": float(-masked_mean(rollout.logprobs, rollout.mask)),
            "length": sum(rollout.lengths) / rows,
            "ended": sum(rollout.samples.finished) / rows,
            **self._of_the_algorithm(rollout),
            **({} if outside is None else {"outside": outside}),
        }

    def _of_the_algorithm(self, rollout: Rollout) -> dict[str, float]:
        """How good the values are; or without any, in how many prompts all samples score alike, where they are compared."""
        if self.recipe.critic:
            return {"explained_variance": float(explained_variance(rollout.values, rollout.returns, rollout.mask))}
        groups = (rollout.advantages == 0).all(1).view(-1, self.settings.samples_per_prompt)
        return {"alike": float(groups.all(1).float().mean())} if groups.shape[1] > 1 else {}

    def _judge(self, figures: dict[str, float], watcher: Watcher) -> None:
        """Raise the alarms that this step gives reason for; each kind once."""
        for kind, text in reasons(self.result.history, figures, self.settings):
            if not any(alarm.startswith(f"{kind} alarm") for alarm in self.result.alarms):
                self.result.alarms.append(f"{kind} alarm at step {int(figures['step'])}: {text}")
                watcher.alarm(self.result.alarms[-1])

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that decides how the run goes on: weights, moments, KL coefficient, history."""
        numbers: dict[str, Any] = {"control": self.control.state_dict(), "history": self.result.history}
        numbers |= {"alarms": self.result.alarms, "tokens": self.result.tokens}
        tensors = training_state(self.parameters, self.optimizer)
        if self.actors is not None:
            under_way, numbers["under_way"] = self.actors.state()
            tensors |= under_way
        return tensors, numbers

    def load_state(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Put back what ``state`` took."""
        restore_training_state(self.parameters, self.optimizer, tensors)
        self.control.load_state_dict(numbers["control"])
        self.result = OnlineResult(list(numbers["history"]), list(numbers["alarms"]), numbers["tokens"])


def _refuse_no_numbers(scores: Tensor, prompts: Sequence[PromptContent], samples: Samples, step: int) -> None:
    """Raise TrainingError where a score is not a finite number: some losses would go on without it."""
    wrong = (~torch.isfinite(scores)).nonzero().flatten().tolist()
    if wrong:
        row = wrong[0]
        asked = prompts[row]
        shown = asked if isinstance(asked, str) else asked[-1].content
        raise TrainingError(
            f"step {step}: the reward of a sample is {float(scores[row])}",
            f"of {len(scores)} samples {len(wrong)} have no finite score; the first answers "
            f"'{_excerpt(shown)}' with '{_excerpt(samples.texts[row])}'.",
            "See what the reward makes of such texts; the last checkpoint is intact.",
        )


def _excerpt(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= _EXCERPT else one_line[: _EXCERPT - 1] + "\N{HORIZONTAL ELLIPSIS}"


def live_line(figures: dict[str, float]) -> str:
    """The figures worth watching, on one line."""
    line = f"reward {figures['reward']:+.2f}  constraint {figures['constraint']:+.2f}  KL {figures['kl']:.1f}"
    line += f"  entropy {figures['entropy']:.2f}  length {figures['length']:.0f}"
    return line + (f"  truth {figures['true']:+.2f}" if "true" in figures else "")


def verdict(result: OnlineResult) -> str:
    """What happened, in words a person can read."""
    first, last = result.history[0], result.history[-1]
    text = (
        f"{len(result.history)} steps, {result.ended}. Reward {first['reward']:+.2f} to {last['reward']:+.2f} standard "
        f"deviations of the reference's samples, KL {last['kl']:.1f} nats a completion, entropy {first['entropy']:.2f} to "
        f"{last['entropy']:.2f} nats a token, length {first['length']:.0f} to {last['length']:.0f} tokens."
    )
    alarms = f"Alarms: {'; '.join(result.alarms)}." if result.alarms else "No alarms."
    return " ".join(filter(None, (text, constraints_told(first, last), alarms)))
