"""One offline loop for the family that learns a policy from judgments as they are: each member is a loss on log-probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from heed.algorithms import Algorithm
from heed.config import PreferenceSettings
from heed.errors import DataError, TrainingError
from heed.losses import preference as losses
from heed.losses.preference import Coefficients, Side
from heed.losses.rankings import UNRANKED
from heed.models.adapters import trained_part
from heed.models.batch import microbatches
from heed.models.policy import Continuations, Policy, token_scores
from heed.train.checkpoint import Checkpoints
from heed.train.checks import tolerance_of
from heed.train.optimise import Fit, FitSettings, fit
from heed.train.progress import Watcher

PairLoss = Callable[[Side, Side, Coefficients], Tensor]

PAIR_LOSSES: dict[str, PairLoss] = {
    "dpo": losses.dpo,
    "cdpo": losses.dpo,
    "ipo": losses.ipo,
    "simpo": losses.simpo,
    "slic": losses.slic,
    "orpo": losses.orpo,
}

_CHECKED = 4


class Text(NamedTuple):
    """Token ids of a prompt and of a completion, both not empty."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]


class Example(NamedTuple):
    """What one judgment says of texts, which go by their numbers.

    Attributes:
        texts: two, the better first; one; or several.
        places: of each text, 0 is best, the same number for equals, -1 for none. Of one text 0 says that it was liked, 1 that
            it was not.
        weight: what it counts (1 is usual).
    """

    texts: tuple[int, ...]
    places: tuple[int, ...]
    weight: float = 1.0


def coefficients(algorithm: Algorithm, settings: PreferenceSettings) -> Coefficients:
    """The algorithm's own coefficients, with what the settings name in their place."""
    names = ("beta", "label_smoothing", "margin", "supervised")
    named = {name: value for name in names if (value := getattr(settings, name)) is not None}
    weights = {"desirable": settings.desirable, "undesirable": settings.undesirable}
    return Coefficients(**{**algorithm.own, **named, **weights})


@torch.no_grad()
def text_logprobs(policy: Policy, texts: Sequence[Text], tokens_per_microbatch: int) -> Tensor:
    """Log-probability of each completion [N], nats."""
    found = torch.zeros(len(texts), device=policy.device)
    for rows in microbatches([len(t.prompt) + len(t.completion) for t in texts], tokens_per_microbatch):
        found[torch.tensor(rows)] = _summed(policy, [texts[row] for row in rows])
    return found


def _summed(policy: Policy, texts: Sequence[Text]) -> Tensor:
    laid = Continuations.of([t.prompt for t in texts], [t.completion for t in texts], policy.device)
    hidden = policy.body.hidden(laid.batch, laid.predictors)
    return laid.grid(token_scores(policy, hidden, laid.targets).logprobs).sum(1)


@dataclass
class PreferenceTask:
    """The mean of an algorithm's loss over examples, each counting its weight.

    The reference is the policy as it is when the task is made.

    Attributes:
        examples: what is learned from; ``held_out`` is only measured on.
        texts: that they are about.
    """

    policy: Policy
    algorithm: Algorithm
    texts: Sequence[Text]
    examples: Sequence[Example]
    held_out: Sequence[Example]
    by: Coefficients
    tokens_per_microbatch: int
    networks: dict[str, nn.Module] = field(init=False)
    lengths: list[int] = field(init=False)
    reference: Tensor = field(init=False)
    _others: list[Text] = field(init=False)
    _others_reference: Tensor = field(init=False)
    _baseline: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.networks = {"policy": trained_part(self.policy.model)}
        self.lengths = [sum(self._size(number) for number in example.texts) for example in self.examples]
        self.reference = text_logprobs(self.policy, self.texts, self.tokens_per_microbatch)
        self._baseline = self.reference.new_zeros(())
        self._others, self._others_reference = [], self.reference.new_zeros(0)
        if self.algorithm.learns_from == "singles":
            own = [self.texts[example.texts[0]] for example in self.examples]
            self._others = mismatched(own, self.policy.context)
            self._others_reference = text_logprobs(self.policy, self._others, self.tokens_per_microbatch)

    def _size(self, number: int) -> int:
        return len(self.texts[number].prompt) + len(self.texts[number].completion)

    def begin(self, rows: Sequence[int]) -> None:
        """Take the reference point of a step (KTO), which all its micro-batches share."""
        if self._others:
            now = text_logprobs(self.policy, [self._others[row] for row in rows], self.tokens_per_microbatch)
            self._baseline = losses.kto_baseline(now, self._others_reference[torch.tensor(rows)])

    def count(self, rows: Sequence[int]) -> int:
        return len(rows)

    def loss(self, rows: Sequence[int], count: int) -> Tensor:
        examples = [self.examples[row] for row in rows]
        numbers = list(dict.fromkeys(number for example in examples for number in example.texts))
        logprobs = _summed(self.policy, [self.texts[number] for number in numbers])
        weights = logprobs.new_tensor([example.weight for example in examples])
        return (weights * self._losses(examples, numbers, logprobs)).sum() / count

    def _losses(self, examples: Sequence[Example], numbers: Sequence[int], logprobs: Tensor) -> Tensor:
        """The loss of each example [N]; ``logprobs`` are those of the texts ``numbers``."""
        reference = self.reference[torch.tensor(numbers)]
        place = {number: row for row, number in enumerate(numbers)}
        lengths = logprobs.new_tensor([len(self.texts[number].completion) for number in numbers])

        def side(column: int) -> Side:
            rows = torch.tensor([place[example.texts[column]] for example in examples], device=logprobs.device)
            return Side(logprobs[rows], reference[rows], lengths[rows])

        if self.algorithm.learns_from == "pairs":
            return PAIR_LOSSES[self.algorithm.name](side(0), side(1), self.by)
        if self.algorithm.learns_from == "singles":
            liked = torch.tensor([example.places[0] == 0 for example in examples], device=logprobs.device)
            return losses.kto(side(0), liked, self._baseline, self.by)
        width = max(len(example.texts) for example in examples)
        rows = [[place[number] for number in e.texts] + [0] * (width - len(e.texts)) for e in examples]
        places = [[*e.places, *[UNRANKED] * (width - len(e.places))] for e in examples]
        index, order = (torch.tensor(grid, device=logprobs.device) for grid in (rows, places))
        return losses.listwise_dpo(logprobs[index], reference[index], order, self.by)

    def validate(self) -> float | None:
        return None

    def check_start(self) -> str:
        """Check that every log-ratio to the reference is 0 at the start; see ``alone_and_among_others``."""
        drift = alone_and_among_others(self.policy, self.texts, self.reference, self.tokens_per_microbatch)
        return f"self-check passed: log-ratio to the reference within {drift:.0e} of 0"


def alone_and_among_others(
    policy: Policy, texts: Sequence[Text], together: Tensor, tokens_per_microbatch: int
) -> float:
    """By how much the log-probabilities of some texts differ from those that they have in a batch, ``together`` [N] (nats).

    Raises:
        TrainingError: by more than rounding.
    """
    some = list(range(0, len(texts), max(1, len(texts) // _CHECKED)))[:_CHECKED]
    alone = torch.cat([text_logprobs(policy, [texts[row]], tokens_per_microbatch) for row in some])
    drift = float((alone - together[torch.tensor(some)]).abs().max())
    longest = max(len(texts[row].completion) for row in some)
    if not drift < tolerance_of(policy) * longest:
        raise TrainingError(
            "self-check failed: a text is not as probable alone as among others",
            f"log-probabilities differ by up to {drift:.2g} nats.",
            "This is a fault of heed or of the model's shape, not of your data: please report the model's config.json.",
        )
    return drift


def mismatched(texts: Sequence[Text], context: int) -> list[Text]:
    """Each prompt with the completion of the next text of another prompt; with the next one's where all have one prompt. Cut where
    the two together are longer than ``context`` (tokens).

    Ethayarajh et al. 2024, section 4.1, pair them so within a batch. Which it is does not change while training, so that the
    reference looks at each once.
    """
    if len({text.prompt for text in texts}) == 1:
        turned = [*texts[1:], texts[0]]
        return [_cut(text.prompt, other.completion, context) for text, other in zip(texts, turned, strict=True)]
    found = []
    for row, text in enumerate(texts):
        after = (texts[(row + step) % len(texts)] for step in range(1, len(texts)))
        other = next(one for one in after if one.prompt != text.prompt)
        found.append(_cut(text.prompt, other.completion, context))
    return found


def _cut(prompt: tuple[int, ...], completion: tuple[int, ...], context: int) -> Text:
    """At least one token of the completion stays: a prompt has room for its own."""
    return Text(prompt, completion[: context - len(prompt)])


def learn_preferences(
    task: PreferenceTask,
    settings: PreferenceSettings,
    seed: int,
    checkpoints: Checkpoints | None = None,
    watcher: Watcher | None = None,
) -> Fit:
    """Train the task's policy in place; resume from ``checkpoints`` where there are any.

    Raises:
        DataError: there is nothing to learn from. Stopped, TrainingError: see ``optimise.fit``.
    """
    if not task.examples:
        raise DataError(
            f"no judgment that {task.algorithm.name} could learn from",
            f"it learns from {task.algorithm.needs}.",
            "Collect some with 'heed ask' or import them; heed explain lists algorithms for other kinds.",
        )
    plan = FitSettings.of(settings, len(task.examples))
    return fit(task, plan, seed, checkpoints, watcher, beginning=task.begin)
