"""A rollout: completions of the policy with all that an update needs to know of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from heed.config import PolicySettings, SamplingSettings
from heed.feedback.kinds import PromptContent
from heed.models.batch import microbatches
from heed.models.decode import Samples, sample
from heed.models.policy import Continuations, Policy, token_scores
from heed.models.reward import Encoded, RewardModel
from heed.models.rewards import Reward, pessimistic
from heed.train.constraints import Stated
from heed.train.text_rewards import TextReward


@dataclass
class Rollout:
    """Completions [B rows] of some prompts, and token grids [B, T] that are 0 beyond each completion's end.

    Attributes:
        prompts, prompt_ids: of each row.
        samples: the completions.
        mask: 1 at completion tokens.
        logprobs: of each token when it was drawn (nats); reference_logprobs: under the reference policy.
        scores: the reward of each completion [B], without what constraints add to it; constraints: that, by name.
        values, advantages, returns: of each token.
    """

    prompts: list[PromptContent]
    prompt_ids: list[list[int]]
    samples: Samples
    mask: Tensor
    logprobs: Tensor
    reference_logprobs: Tensor
    scores: Tensor
    constraints: Stated
    values: Tensor
    advantages: Tensor
    returns: Tensor

    @property
    def lengths(self) -> list[int]:
        return [len(tokens) for tokens in self.samples.tokens]


class Scorer(Protocol):
    """A reward: any callable that scores completions. Higher is better; finite."""

    def __call__(self, prompts: list[PromptContent], prompt_ids: list[list[int]], samples: Samples) -> Tensor:
        """Scores [B] of the rows of ``samples``."""


class ModelScorer:
    """A reward as a scorer: its members' mean less ``pessimism`` of their deviations.

    Where a network shares the policy's tokenizer, token ids are scored as they were drawn.

    Attributes:
        outside: share of the texts scored last that are unlike what the reward was trained on; None where it does not know.
    """

    def __init__(self, model: Reward, policy: Policy, pessimism: float = 0.0) -> None:
        self.model, self.policy, self.pessimism = model, policy, pessimism
        self.outside: float | None = None
        self.unit = "standard deviations of the texts that the reward was fitted on"
        decoder = isinstance(model, RewardModel) and not model.reader.encoder and not policy.encoder_decoder
        self.network = model if isinstance(model, RewardModel) and decoder else None
        if self.network is not None and self.network.reader.tokenizer.get_vocab() != policy.tokenizer.get_vocab():
            self.network = None

    @property
    def by_ids(self) -> bool:
        return self.network is not None

    def __call__(self, prompts: list[PromptContent], prompt_ids: list[list[int]], samples: Samples) -> Tensor:
        if self.network is None:
            members = self.model.member_scores(prompts, samples.texts)
            outside = self.model.outside(prompts, samples.texts)
        else:
            encoded = self._encoded(self.network, prompt_ids, samples)
            members = self.network.member_scores_encoded(encoded)
            outside = self.network.outside_encoded(encoded)
        self.outside = None if outside is None else float(outside.mean())
        return pessimistic(members, self.pessimism)

    def _encoded(self, network: RewardModel, prompt_ids: list[list[int]], samples: Samples) -> list[Encoded]:
        end = self.policy.end_id
        encoded = []
        for ids, tokens in zip(prompt_ids, samples.tokens, strict=True):
            # Every text it was fitted on ends; whether this one did is the missing-end penalty's business. Where its
            # context is full, there is no place for an end.
            body = tokens[:-1] if tokens and tokens[-1] in self.policy.end_ids else tokens
            ending = [end] if len(ids) + len(body) < network.reader.context else []
            encoded.append(network.reader.join(ids, [*body, *ending]))
        return encoded


_SCALED_BY = 64
"""Samples that a scale rests on, at least (count)."""
_ROUNDING = 1e-13
"""Of the largest score: what scores in double precision may differ by where they are equal."""


class TextScorer:
    """A reward of texts as a scorer, less ``mean`` and divided by ``std``."""

    def __init__(self, reward: TextReward) -> None:
        self.reward, self.mean, self.std, self.unit = reward, 0.0, 1.0, ""
        self.asks = reward.asks

    def __call__(self, prompts: list[PromptContent], prompt_ids: list[list[int]], samples: Samples) -> Tensor:
        return ((self._exact(prompts, samples) - self.mean) / self.std).float()

    def _exact(self, prompts: Sequence[PromptContent], samples: Samples) -> Tensor:
        """In double precision, until the mean is off: scores may differ little beside their size."""
        return torch.tensor(list(self.reward.scores(prompts, samples.texts)), dtype=torch.float64)

    def standardise(
        self,
        reference: Policy,
        prompts: Sequence[tuple[PromptContent, list[int]]],
        settings: PolicySettings,
        seed: int,
    ) -> None:
        """Centre and scale to samples of the reference for each prompt (with its token ids), as a reward model is.

        Where all of them score the same, or one is not a number, they stay as they are.
        """
        sampling = SamplingSettings(
            samples_per_prompt=-(-_SCALED_BY // len(prompts)),
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
        )
        contents, ids = [content for content, _ in prompts], [own for _, own in prompts]
        repeated = [content for content in contents for _ in range(sampling.samples_per_prompt)]
        scores = self._exact(repeated, sample(reference, ids, sampling, seed))
        largest = float(scores.abs().max())
        if not math.isfinite(largest) or largest == 0.0:
            return
        # By the largest first: of the squares of very large or small numbers nothing would be left.
        part = scores / largest
        mean, std = float(part.mean()), float(part.std(correction=0))
        if std > _ROUNDING:
            self.mean, self.std = mean * largest, std * largest
            self.unit = "standard deviations of the reference's samples"


@torch.no_grad()
def completion_logprobs(
    policy: Policy,
    prompt_ids: Sequence[Sequence[int]],
    tokens: Sequence[Sequence[int]],
    temperature: float,
    tokens_per_microbatch: int,
) -> Tensor:
    """Log-probability of each completion token [B, T], 0 beyond each completion's end."""
    width = max(map(len, tokens))
    out = torch.zeros(len(tokens), width, device=policy.device)
    lengths = [len(p) + len(c) for p, c in zip(prompt_ids, tokens, strict=True)]
    for rows in microbatches(lengths, tokens_per_microbatch):
        laid = Continuations.of([prompt_ids[r] for r in rows], [tokens[r] for r in rows], policy.device)
        hidden = policy.body.hidden(laid.batch, laid.predictors)
        grid = laid.grid(token_scores(policy, hidden, laid.targets, temperature).logprobs)
        out[torch.tensor(rows), : laid.width] = grid
    return out


def grid_of(rows: Sequence[Sequence[float]], device: torch.device) -> Tensor:
    """Ragged rows as [B, T], 0 beyond each row's end."""
    out = torch.zeros(len(rows), max(map(len, rows)))
    for number, row in enumerate(rows):
        out[number, : len(row)] = torch.tensor(row)
    return out.to(device)
