"""Fitting a reward model to judgments of every kind at once, and to who gave them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from heed.config import RewardSettings
from heed.losses.reward import likelihood_loss
from heed.models.adapters import adapted_while_fitted, trained_part
from heed.models.batch import microbatches
from heed.models.components import REWARD, Components, check_weights
from heed.models.reward import Encoded, RewardModel, ScalarModel
from heed.train.agreement import ways_by_agreement
from heed.train.checkpoint import Checkpoints
from heed.train.likelihoods import ComparisonPart, Entries, Judged, Part, Sees
from heed.train.optimise import Fit, FitSettings, fit
from heed.train.parts import Plan, links_of, plan_of
from heed.train.progress import Watcher
from heed.train.raters import Gold, Raters, RaterTable

MOST_TOGETHER = 16
"""Texts of one example (count): judgments that share texts are taken in one step, but not without end."""

REFITS_PER_EPOCH = 2

RATER_RATE = 20.0
"""Learning rate of what is learned of raters and links, beside that of the network: they start near nothing and are few."""


class JudgmentSet(NamedTuple):
    """Judgments, and which of them make up each example, taken in one step as they share texts."""

    rows: Sequence[Judged]
    examples: Sequence[Sequence[int]]


def alone(rows: Sequence[Judged]) -> JudgmentSet:
    """Every judgment is an example of its own."""
    return JudgmentSet(rows, [[number] for number in range(len(rows))])


def together(rows: Sequence[Judged]) -> JudgmentSet:
    """Judgments that share texts make one example, up to ``MOST_TOGETHER`` texts."""
    owner: dict[int, int] = {}  # of each text: the example that holds it
    texts: dict[int, set[int]] = {}
    members: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        near = list(dict.fromkeys(owner[text] for text in row.texts if text in owner))
        joined = set(row.texts).union(*(texts[example] for example in near))
        if len(joined) > MOST_TOGETHER:
            near = [example for example in near if len(texts[example] | set(row.texts)) <= MOST_TOGETHER][:1]
            joined = set(row.texts).union(*(texts[example] for example in near))
        members[number] = sorted([number, *(m for example in near for m in members.pop(example))])
        for example in near:
            del texts[example]
        texts[number] = joined
        owner.update(dict.fromkeys(joined, number))
    return JudgmentSet(rows, sorted(members.values()))


def examples_of(rows: Sequence[Judged], raters: int) -> JudgmentSet:
    """The examples that a step takes: comparisons of nobody in particular one by one, all others together."""
    return together(rows) if raters or any(row.kind != "comparison" for row in rows) else alone(rows)


def by_examples(settings: RewardSettings, judgments: int, examples: int) -> RewardSettings:
    """``settings`` with the examples of a step that hold ``prompts_per_step`` judgments on average."""
    return settings.model_copy(
        update={"prompts_per_step": max(1, round(settings.prompts_per_step * examples / judgments))}
    )


def example_lengths(texts: Sequence[Encoded], rows: Sequence[Judged], raters: int) -> list[int]:
    """Tokens of each example (count), each text once."""
    return _lengths(texts, examples_of(rows, raters))


def _lengths(texts: Sequence[Encoded], judged: JudgmentSet) -> list[int]:
    examples = range(len(judged.examples))
    return [sum(len(texts[text].ids) for text in _texts_of(judged, [example])) for example in examples]


class Laid:
    """A set of judgments in tensors: for each part its entries, and the entry of each judgment or -1."""

    def __init__(self, parts: Sequence[Part], judged: JudgmentSet, device: torch.device) -> None:
        rows = judged.rows
        self.rater = torch.tensor([row.rater for row in rows], dtype=torch.long, device=device)
        self.weights = torch.tensor([row.weight for row in rows], device=device)
        self.unread = torch.zeros(len(rows), 2, device=device)
        self.entries: list[tuple[Part, Entries, Tensor]] = []
        numbered = list(enumerate(rows))
        for part in parts:
            entries = part.lay(numbered)
            if entries is None:
                continue
            entries = entries.to(device)
            place = torch.full((len(rows),), -1, device=device)
            place[entries.judgment] = torch.arange(len(entries.judgment), device=device)
            self.unread[entries.judgment] += entries.unread
            self.entries.append((part, entries, place))


class Likelihood(nn.Module):
    """The parts of all kinds, and the raters."""

    def __init__(self, parts: Sequence[Part], raters: Raters) -> None:
        super().__init__()
        self.parts, self.raters = nn.ModuleList(parts), raters

    def by_way(self, laid: Laid, rows: Tensor, outputs: Tensor, local: Tensor, lengths: Tensor) -> Tensor:
        """Log-probability of judgments in each way.

        Args:
            laid: holds them.
            rows: [J], their numbers.
            outputs: [U, C], of the texts that they are about.
            local: [T], the row of ``outputs`` of each text of the table.
            lengths: [T], standard deviations from the mean length.

        Returns:
            [J, 4]; [J, 1], heeding alone, where raters are not told apart.
        """
        ways = (False, True) if self.raters.count else (False,)
        read = [outputs.new_zeros(len(rows)) for _ in ways]
        for part, entries, place in laid.entries:
            mine = place[rows]
            at = (mine >= 0).nonzero()[:, 0]
            if not len(at):
                continue
            chosen = entries.where(mine[at])
            sees = Sees(outputs, local, lengths, self.raters, chosen.rater)
            for way, opposite in enumerate(ways):
                read[way] = read[way].index_add(0, at, part.logprobs(chosen, sees, opposite))
        heeds = torch.stack(read, 1)
        return torch.cat([heeds, laid.unread[rows]], 1) if self.raters.count else heeds

    def penalty(self) -> Tensor:
        """Negative log-prior of what is learned of raters (nats)."""
        each = [part.penalty() for part in self.parts if isinstance(part, Part)]
        return sum(each, self.raters.penalty())


class _Records(nn.Module):
    """What the network gave for each text when it last met it in training, before it learned from what was said of it."""

    def __init__(self, texts: int, columns: int) -> None:
        super().__init__()
        # Parameters without gradient: checkpoints hold them, so that a resumed run judges its raters by the same records.
        self.outputs = nn.Parameter(torch.zeros(texts, columns), requires_grad=False)


@dataclass
class JudgmentTask:
    """Judgments of every kind, a mean over judgments.

    Every text of a micro-batch goes through the network once, however many judgments name it, and examples hold together
    what shares texts. With raters told apart, their shares are set by EM twice an epoch, from what the network gave for each
    text before it learned from it: judged by what it has learned by heart, everybody would seem to heed.

    Attributes:
        trained: the part of the member that learns.
        texts: the table that judgments point to.
        score: outputs [B, C] of the texts with these numbers.
        refit_every: optimiser steps between EM steps (count); 0 never.
    """

    member: ScalarModel
    trained: nn.Module
    likelihood: Likelihood
    texts: Sequence[Encoded]
    train: JudgmentSet
    held_out: JudgmentSet
    tokens_per_microbatch: int
    score: Callable[[Sequence[int]], Tensor]
    refit_every: int = 0
    networks: dict[str, nn.Module] = field(init=False)
    lengths: list[int] = field(init=False)
    rates: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        device = self.member.head.weight.device
        parts = [part for part in self.likelihood.parts if isinstance(part, Part)]
        self.likelihood.to(device)
        self.records = _Records(len(self.texts), self._columns()).to(device)
        self.networks = {"member": self.trained, "likelihood": self.likelihood}
        if self.likelihood.raters.count:
            self.networks["records"] = self.records
        usual = not self.likelihood.raters.count and all(isinstance(part, ComparisonPart) for part in parts)
        self.rates = {} if usual else {"likelihood": RATER_RATE}
        self.lengths = _lengths(self.texts, self.train)
        self._laid = {id(part): Laid(parts, part, device) for part in (self.train, self.held_out)}
        self._local = torch.zeros(len(self.texts), dtype=torch.long, device=device)
        words = torch.tensor([float(text.end - text.start) for text in self.texts], device=device)
        self._standard = (words - words.mean()) / words.std(correction=0).clamp_min(1.0)

    def _columns(self) -> int:
        more = None if self.member.components is None else self.member.components.linear
        return 1 if more is None else 1 + more.out_features

    def count(self, rows: Sequence[int]) -> int:
        return sum(len(self.train.examples[row]) for row in rows)

    def loss(self, rows: Sequence[int], count: int) -> Tensor:
        judged = [number for row in rows for number in self.train.examples[row]]
        loss = self._loss(self.train, rows, judged, count, keep=True)
        # Each judgment brings its share of the prior, so that an epoch has the whole of it.
        share = len(judged) / count / len(self.train.rows)
        return loss + share * self.likelihood.penalty() if self.likelihood.raters.count else loss

    def _loss(
        self, part: JudgmentSet, examples: Sequence[int], judged: Sequence[int], count: int, keep: bool = False
    ) -> Tensor:
        texts = _texts_of(part, examples)
        outputs = self.score(texts)
        where = torch.tensor(texts, device=self._local.device)
        self._local[where] = torch.arange(len(texts), device=self._local.device)
        if keep:
            with torch.no_grad():
                self.records.outputs[where] = outputs.detach()
        laid, numbers = self._laid[id(part)], torch.tensor(judged, device=self._local.device)
        by_way = self.likelihood.by_way(laid, numbers, outputs, self._local, self._standard)
        said = self.likelihood.raters.logprobs(by_way, laid.rater[numbers])
        return likelihood_loss(said, count, laid.weights[numbers])

    def learn_adapters_alone(self) -> None:
        """Leave out what an adapter has frozen, where the member has one."""
        self.networks["member"] = trained_part(self.trained)

    def validate(self) -> float | None:
        if not self.held_out.rows:
            return None
        pieces = microbatches(_lengths(self.texts, self.held_out), self.tokens_per_microbatch)
        total = len(self.held_out.rows)
        return sum(float(self._loss(self.held_out, rows, _judged(self.held_out, rows), total)) for rows in pieces)

    def stepped(self, done: int) -> None:
        if self.refit_every and done % self.refit_every == 0:
            self.likelihood.raters.refit(*self.recorded())

    @torch.no_grad()
    def recorded(self) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probability of the training judgments in each way by the records [N, 4], who gave them and their weights [N]."""
        laid = self._laid[id(self.train)]
        numbers = torch.arange(len(self.train.rows), device=self._local.device)
        everything = torch.arange(len(self.texts), device=self._local.device)
        by_way = self.likelihood.by_way(laid, numbers, self.records.outputs, everything, self._standard)
        return by_way, laid.rater, laid.weights

    def rater_table(self) -> RaterTable | None:
        """What was learned of the raters; None where they are not told apart."""
        raters = self.likelihood.raters
        return raters.table(*self.recorded()) if raters.count else None


def _judged(part: JudgmentSet, examples: Sequence[int]) -> list[int]:
    return [number for example in examples for number in part.examples[example]]


def _texts_of(part: JudgmentSet, examples: Sequence[int]) -> list[int]:
    """The texts of some examples, each once, as they first come."""
    return list(dict.fromkeys(text for number in _judged(part, examples) for text in part.rows[number].texts))


class Fitted(NamedTuple):
    """What came of the fit of each member, and what was learned of the raters by all; None where they are not told apart."""

    fits: list[Fit]
    raters: RaterTable | None


def fit_judgments(
    model: RewardModel,
    texts: Sequence[Encoded],
    train: Sequence[Judged],
    validation: Sequence[Judged],
    settings: RewardSettings,
    seed: int,
    raters: int = 0,
    gold: Sequence[tuple[int, Sequence[float]]] = (),
    checkpoints: Sequence[Checkpoints] = (),
    watcher: Watcher | None = None,
    left_out: Sequence[int] = (),
) -> Fitted:
    """Fit every member of ``model`` in place to judgments of any kind; ``validation`` decides when to stop.

    Args:
        texts: the table that judgments point to.
        raters: raters that are told apart (count); 0 takes all for one.
        gold: (rater, log-probability in each way) of answers to gold items, which tell of the raters alone.
        checkpoints: one a member, or none.
        left_out: one number for each of ``train``: the member of that number never sees the judgment.

    Raises:
        Stopped, TrainingError: see ``optimise.fit``. ConfigError: a weight is of nothing that was judged.
    """
    fits, tables = [], []
    states = _states(model, texts, settings.tokens_per_microbatch) if settings.frozen else None
    for number, member in enumerate(model.members):
        seen = [row for row, out in zip(train, left_out, strict=True) if out != number] if left_out else train
        plan = plan_of(train, settings, raters)
        if len(plan.components) > 1:
            width = member.head.weight.shape[1]
            member.components = Components(plan.components, width, seed * 1_000 + number).to(member.head.weight.device)
        start = ways_by_agreement(seen, raters, gold) if raters else None
        people = Raters(raters, settings.length_pull, Gold.of(gold), start)
        task = task_of(member, plan, texts, seen, validation, settings, people, states)
        fitted = FitSettings.of(by_examples(settings, len(seen), len(task.lengths)), len(task.lengths))
        per_epoch = fitted.steps / settings.epochs
        if validation:
            fitted.validate_every = max(1, round(per_epoch / settings.validations_per_epoch))
            fitted.patience = settings.patience
        task.refit_every = max(1, round(per_epoch / REFITS_PER_EPOCH)) if raters else 0
        saved = checkpoints[number] if checkpoints else None
        own = seed * 1_000 + number
        with adapted_while_fitted(member.backbone, settings.lora, own):
            task.learn_adapters_alone()
            fits.append(fit(task, fitted, own, saved, watcher, rates=task.rates, stepped=task.stepped))
        _keep(model, member, plan, settings)
        if (table := task.rater_table()) is not None:
            tables.append(table)
    return Fitted(fits, RaterTable.mean(tables) if tables else None)


def task_of(
    member: ScalarModel,
    plan: Plan,
    texts: Sequence[Encoded],
    train: Sequence[Judged],
    validation: Sequence[Judged],
    settings: RewardSettings,
    raters: Raters,
    states: Tensor | None,
) -> JudgmentTask:
    """The task of one member; ``states`` [T, D] of the texts where its backbone is not trained."""
    trained: nn.Module = member
    if states is not None:
        heads = [member.head] if member.components is None else [member.head, member.components]
        trained = nn.ModuleList(heads)

    def score(numbers: Sequence[int]) -> Tensor:
        if states is not None:
            return member.outputs_of(states[list(numbers)])
        return member.outputs([texts[number] for number in numbers], settings.pooling)

    return JudgmentTask(
        member,
        trained,
        Likelihood(plan.parts, raters),
        texts,
        examples_of(train, raters.count),
        examples_of(validation, raters.count),
        settings.tokens_per_microbatch,
        score,
    )


@torch.no_grad()
def _states(model: RewardModel, texts: Sequence[Encoded], tokens_per_microbatch: int) -> Tensor:
    """What the heads see of each text [T, D], of a backbone that is not trained: the same for all members, and for ever."""
    order = sorted(range(len(texts)), key=lambda text: len(texts[text].ids))
    member = model.members[0]
    found = torch.zeros(len(texts), member.head.weight.shape[1], device=member.head.weight.device)
    for piece in microbatches([len(texts[text].ids) for text in order], tokens_per_microbatch):
        numbers = [order[place] for place in piece]
        found[numbers] = member.states([texts[number] for number in numbers], model.pooling)
    return found


def _keep(model: RewardModel, member: ScalarModel, plan: Plan, settings: RewardSettings) -> None:
    """Put what the likelihood learned of all raters together into the member and the card."""
    weights = settings.weights or plan.weights
    if member.components is not None:
        member.components.links = links_of(plan)
        member.components.set_weights(weights)
    else:
        check_weights(weights, [REWARD])
    for part in plan.parts:
        if isinstance(part, ComparisonPart):
            model.card.setdefault("tie_parameters", []).append(part.values.detach().tolist())
            model.card["ties"] = settings.ties
