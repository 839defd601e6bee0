"""The loop of all that learn from samples of the policy itself: steps with their figures, guards, checkpoints and the way back.

What a step does is the algorithm's own: ``online`` for policy gradients, ``q_learning`` for values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from heed.config import PolicySettings
from heed.errors import TrainingError
from heed.feedback.kinds import PromptContent
from heed.models.decode import Samples
from heed.models.policy import Policy
from heed.train.alarms import reasons
from heed.train.checkpoint import Checkpoints, Saved
from heed.train.constraints import Constraints, Stated, constraints_told
from heed.train.progress import Stopped, Watcher, stop_on_interrupt
from heed.train.rollout import Scorer

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


class OnlineLoop(ABC):
    """A policy that is sampled from and changed step by step.

    Args:
        policy: is changed in place.
        reference: stays as it is.
        scorer: the reward.
        prompts: what is rolled out, in shuffled epochs.
        audit: held-out truth of the policy as it is now, where there is one; figures by name.
    """

    def __init__(
        self,
        policy: Policy,
        reference: Policy,
        scorer: Scorer,
        prompts: Sequence[Prompt],
        settings: PolicySettings,
        seed: int,
        audit: Callable[[Policy], dict[str, float]] | None = None,
    ) -> None:
        # With an adapter the reference is the policy's own weights, and those are frozen already.
        if reference.model is not policy.model:
            for parameter in reference.parameters():
                parameter.requires_grad_(False)
        self.policy, self.reference, self.scorer, self.prompts = policy, reference, scorer, prompts
        self.settings, self.seed, self.audit = settings, seed, audit
        self.constraints = Constraints(settings)
        self.result = OnlineResult()
        self.excerpt = ""

    @abstractmethod
    def step(self, step: int) -> dict[str, float]:
        """One rollout and its updates; the figures of the step, which also join the history."""

    @abstractmethod
    def check(self, at_start: bool) -> str:
        """Check what must hold before the first update is worth making; a line that says what.

        Raises:
            TrainingError: it does not hold.
        """

    @abstractmethod
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that decides how the run goes on: tensors by name, and JSON-able numbers."""

    @abstractmethod
    def load_state(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Put back what ``state`` took."""

    def run(self, checkpoints: Checkpoints | None = None, watcher: Watcher | None = None) -> OnlineResult:
        """Train; resume from ``checkpoints`` where there are any.

        Raises:
            Stopped: on Ctrl-C, after a checkpoint. TrainingError: a self-check failed, or a loss is not a number.
        """
        watcher, settings = watcher or Watcher(), self.settings
        saved = checkpoints.latest() if checkpoints else None
        if saved is not None:
            self.load_state(saved.tensors, saved.numbers)
            watcher.say(f"going on after step {saved.step} of {settings.steps}")
        start = saved.step if saved else 0
        watcher.say(self.check(at_start=start == 0))
        with self.acting(watcher, saved), stop_on_interrupt() as flag:
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

    def acting(self, watcher: Watcher, saved: Saved | None) -> AbstractContextManager[None]:
        """What is to run beside the steps, from where ``saved`` left it."""
        return nullcontext()

    def written(self) -> Policy:
        """The policy that the run is for, at its end: that which was trained, or what is made of it in place."""
        return self.policy

    def scored(
        self, contents: list[PromptContent], prompt_ids: list[list[int]], samples: Samples
    ) -> tuple[Tensor, Stated]:
        """The reward of each completion [B], clipped, and what constraints make of it.

        Raises:
            TrainingError: a score is not a finite number.
        """
        scores = self.scorer(contents, prompt_ids, samples).to(self.policy.device).float()
        _refuse_no_numbers(scores, contents, samples, len(self.result.history) + 1)
        limit = self.settings.reward_clip
        return scores.clamp(-limit, limit), self.constraints(contents, samples)

    def reward_figures(self, scores: Tensor, stated: Stated) -> dict[str, float]:
        """Figures of the scores of a rollout [B]."""
        outside = getattr(self.scorer, "outside", None)
        clipped = float((scores.abs() >= self.settings.reward_clip).float().mean())
        return {
            "reward": float(scores.mean()),
            "constraint": float(stated.total(scores).mean()),
            **stated.figures(),
            **({} if outside is None else {"outside": outside}),
            **({"clipped": clipped} if clipped else {}),
        }

    def audited(self, step: int) -> dict[str, float]:
        """Held-out truth, in the steps in which it is looked at: before the update it belongs to the very policy whose reward and
        KL stand beside it."""
        settings = self.settings
        if self.audit is None or not (step % settings.audit_every == 0 or step == settings.steps - 1):
            return {}
        return self.audit(self.policy)

    def noted(self, figures: dict[str, float], samples: Samples) -> dict[str, float]:
        """Let the figures of a step join the history, and count what it sampled."""
        self.excerpt = f"step {int(figures['step'])} writes: {_excerpt(samples.texts[0])}"
        self.result.tokens += samples.token_count
        self.result.history.append(figures)
        return figures

    def result_numbers(self) -> dict[str, Any]:
        """What has come of the run so far, as a checkpoint keeps it."""
        return {"history": self.result.history, "alarms": self.result.alarms, "tokens": self.result.tokens}

    def restore_result(self, numbers: dict[str, Any]) -> None:
        """Put back what ``result_numbers`` took."""
        self.result = OnlineResult(list(numbers["history"]), list(numbers["alarms"]), numbers["tokens"])

    def _judge(self, figures: dict[str, float], watcher: Watcher) -> None:
        """Raise the alarms that this step gives reason for; each kind once."""
        for kind, text in reasons(self.result.history, figures, self.settings):
            if not any(alarm.startswith(f"{kind} alarm") for alarm in self.result.alarms):
                self.result.alarms.append(f"{kind} alarm at step {int(figures['step'])}: {text}")
                watcher.alarm(self.result.alarms[-1])


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


def verdict(result: OnlineResult, unit: str = "") -> str:
    """What happened, in words a person can read. ``unit``: of the reward, where it has one."""
    first, last = result.history[0], result.history[-1]
    reward = f"Reward {first['reward']:+.2f} to {last['reward']:+.2f}{unit and ' ' + unit}"
    text = (
        f"{len(result.history)} steps, {result.ended}. {reward}, KL {max(0.0, last['kl']):.1f} nats a completion, "
        f"entropy {first['entropy']:.2f} to {last['entropy']:.2f} nats a token, length {first['length']:.0f} to "
        f"{last['length']:.0f} tokens."
    )
    alarms = f"Alarms: {'; '.join(result.alarms)}." if result.alarms else "No alarms."
    return " ".join(filter(None, (text, constraints_told(first, last), alarms)))
