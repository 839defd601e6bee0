"""Implicit language Q-learning: what each token of judged texts was worth, learned without asking about any that nobody wrote.

Snell, Kostrikov, Su, Yang and Levine 2022, "Offline RL for Natural Language Generation with Implicit Language Q Learning", section 4.
A state is a text so far, an action the next token, the reward comes with the last token. The heads of values are linear maps of the
model's own hidden states, so that the policy which leans towards what is worth more, log pi + beta (Q - V), is one language model
again: its head is the sum of both (V does not tell tokens apart).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from heed.config import ILQLSettings
from heed.losses.advantages import masked_mean
from heed.losses.q_learning import conservative_loss, expectile_loss, n_step_targets, td_loss
from heed.models.heads import check_foldable, fold_head
from heed.models.linear import linear
from heed.models.policy import Continuations, Policy, token_scores
from heed.train.checkpoint import Checkpoints
from heed.train.optimise import Fit, FitSettings, fit
from heed.train.preferences import Text, alone_and_among_others, text_logprobs
from heed.train.progress import Watcher


class Rewarded(NamedTuple):
    """A judged text by its number, how good it was said to be (-1 to 1), and what the judgment counts (1 is usual)."""

    text: int
    reward: float
    weight: float = 1.0


class ValueHeads(nn.Module):
    """The value of a state, and Q(s, a) = level(s) + advantage(s, a) with a slower twin that the value is fitted to. All start at 0.

    That Q has a level of its own is the dueling network of Wang et al. 2016, section 3: of a token that nobody wrote it says what the
    others are worth on average, and the policy leans neither to it nor away. The level is not the value: a value that moved Q with it
    would chase itself. Without a bias ``advantage`` is part of a language model's head. There is one Q and not the lower of two:
    linear heads of one trunk, from zeros and on the same texts, would never differ.
    """

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.value, self.level, self.slow_level = (nn.Linear(width, 1) for _ in range(3))
        self.advantage, self.slow_advantage = (nn.Linear(width, vocabulary, bias=False) for _ in range(2))
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        for slow in (self.slow_level, self.slow_advantage):
            slow.requires_grad_(False)

    @torch.no_grad()
    def follow(self, rate: float) -> None:
        """Move the slow heads to the others by ``rate`` of the way."""
        for slow, fast in ((self.slow_level, self.level), (self.slow_advantage, self.advantage)):
            for theirs, mine in zip(slow.parameters(), fast.parameters(), strict=True):
                theirs.lerp_(mine, rate)


@dataclass
class ILQLTask:
    """The loss of implicit language Q-learning over judged texts, a mean over their tokens.

    Attributes:
        texts: that the examples are about; reference: their log-probabilities as the model came (nats).
        examples: what is learned from.
    """

    policy: Policy
    texts: Sequence[Text]
    examples: Sequence[Rewarded]
    settings: ILQLSettings
    heads: ValueHeads = field(init=False)
    networks: dict[str, nn.Module] = field(init=False)
    lengths: list[int] = field(init=False)
    reference: Tensor = field(init=False)

    def __post_init__(self) -> None:
        check_foldable(self.policy)
        head = self.policy.model.get_output_embeddings().weight
        self.heads = ValueHeads(head.shape[1], head.shape[0]).to(self.policy.device)
        self.networks = {"policy": self.policy.model, "heads": self.heads}
        chosen = [self.texts[one.text] for one in self.examples]
        self.lengths = [len(text.prompt) + len(text.completion) for text in chosen]
        self.reference = text_logprobs(self.policy, self.texts, self.settings.tokens_per_microbatch)

    def check_start(self) -> str:
        """Check that texts are as probable alone as among others.

        Raises:
            TrainingError: they are not.
        """
        drift = alone_and_among_others(self.policy, self.texts, self.reference, self.settings.tokens_per_microbatch)
        return f"self-check passed: texts as probable alone as among others within {drift:.0e} nats"

    def count(self, rows: Sequence[int]) -> int:
        return sum(len(self.texts[self.examples[row].text].completion) for row in rows)

    def loss(self, rows: Sequence[int], count: int) -> Tensor:
        settings, some = self.settings, [self.examples[row] for row in rows]
        texts = [self.texts[one.text] for one in some]
        laid = Continuations.of([t.prompt for t in texts], [t.completion for t in texts], self.policy.device)
        hidden = self.policy.body.hidden(laid.batch, laid.predictors)
        mask = laid.grid(torch.ones_like(laid.targets, dtype=torch.float))
        weights = torch.tensor([one.weight for one in some], device=mask.device).unsqueeze(1) * mask
        rewards = torch.tensor([one.reward for one in some], device=mask.device)
        last = mask.sum(1).long() - 1
        at_end = torch.zeros_like(mask).scatter(1, last.unsqueeze(1), rewards.unsqueeze(1))
        heads = self.heads
        values = laid.grid(_of_states(heads.value, hidden))
        q = laid.grid(_of_states(heads.level, hidden) + _taken(heads.advantage, hidden, laid.targets))
        slow = laid.grid(_of_states(heads.slow_level, hidden) + _taken(heads.slow_advantage, hidden, laid.targets))
        targets = n_step_targets(at_end, values, mask, settings.gamma, 1)
        loss = td_loss(q, targets, mask, count, weights=weights)
        loss = loss + expectile_loss(values, slow, mask, count, settings.expectile, weights)
        if settings.conservative:
            logprobs = laid.grid(token_scores(self.policy, hidden, laid.targets, head=heads.advantage).logprobs)
            loss = loss + settings.conservative * conservative_loss(logprobs, mask, count, weights)
        if settings.imitation:
            logprobs = laid.grid(token_scores(self.policy, hidden, laid.targets).logprobs)
            loss = loss - settings.imitation * masked_mean(weights * logprobs, mask, count)
        return loss

    def stepped(self, done: int) -> None:
        """Let the target heads follow, after each step."""
        self.heads.follow(self.settings.target_rate)

    def validate(self) -> float | None:
        return None


def _of_states(head: nn.Linear, hidden: Tensor) -> Tensor:
    """A number of each state [M]."""
    return linear(hidden, head.weight, head.bias)[:, 0].float()


def _taken(head: nn.Linear, hidden: Tensor, tokens: Tensor) -> Tensor:
    """What a head says of the tokens that were written [M], without the others."""
    return (hidden * head.weight[tokens]).sum(-1).float()


def learn_values(
    task: ILQLTask,
    seed: int,
    checkpoints: Checkpoints | None = None,
    watcher: Watcher | None = None,
) -> Fit:
    """Train the task's networks in place; resume from ``checkpoints`` where there are any.

    Raises:
        Stopped, TrainingError: see ``optimise.fit``.
    """
    plan = FitSettings.of(task.settings, len(task.examples))
    rates = {"heads": task.settings.head_rate}
    return fit(task, plan, seed, checkpoints, watcher, rates=rates, stepped=task.stepped)


def lean(task: ILQLTask) -> None:
    """Turn the task's policy into log pi + beta (Q - V), in place: a language model like any other. Q is that of the slow heads."""
    fold_head(task.policy, added=task.settings.beta * task.heads.slow_advantage.weight)
