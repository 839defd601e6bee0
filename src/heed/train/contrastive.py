"""Contrastive pretraining of a backbone: views of texts that belong together come together, others part.

A view is the text without some of the tokens of its completion. The second view of a text is one of itself, or where judgments
say how good texts are, of a text of like quality for the same kind of prompt. What the backbone makes of a view goes through a
projection that is thrown away afterwards (Chen et al. 2020, section 4.2).

A text's loss depends on all texts of its step. So the step's embeddings are computed first, without gradients; the gradient of
the loss by them is kept, and each micro-batch is then computed again and multiplied with its part of it (Gao et al. 2021,
"Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", section 3.2). How a step is split changes nothing.
"""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heed.losses.contrastive import (
    alignment,
    info_nce,
    nt_xent,
    supervised_contrastive,
    swapped_prediction,
    uniformity,
)
from heed.models.batch import microbatches
from heed.models.reward import Encoded, ScalarModel
from heed.train.checkpoint import Checkpoints
from heed.train.optimise import Fit, FitSettings, fit
from heed.train.progress import Watcher
from heed.training_settings import ContrastiveSettings

Method = Literal["simclr", "moco", "swav"]
UNKNOWN = -1
"""The class of a text of which nothing says how good it is."""
COLLAPSED = -0.5
"""Uniformity above which nearly all texts stand in one place."""
_PROBED = 256
_SETTLED = 0.2  # share of the steps after which a collapse is told


class Text(NamedTuple):
    """A text; the kind of its prompt, from 0; and how good it is, from 0, or ``UNKNOWN``."""

    encoded: Encoded
    kind: int = 0
    quality: int = UNKNOWN


class Spread(NamedTuple):
    """Figures of an embedding: how far views of a text stand apart, and how evenly texts are spread; see ``losses``."""

    alignment: float
    uniformity: float


class Projection(nn.Module):
    """From what the backbone makes of a text to the space in which texts are compared: two layers."""

    def __init__(self, width: int, dimensions: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.first, self.second = nn.Linear(width, width), nn.Linear(width, dimensions)

    def forward(self, states: Tensor) -> Tensor:
        """[B, width] to [B, dimensions], of length 1."""
        return F.normalize(self.second(F.relu(self.first(states))), dim=1)


class _Memory(nn.Module):
    """What a run knows beside weights, as parameters without gradients, so that checkpoints hold it."""

    def __init__(self, rows: int, dimensions: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.steps = _kept(torch.zeros(()))
        self.queue = _kept(F.normalize(torch.randn(rows, dimensions, generator=generator), dim=1))
        self.classes = _kept(torch.full((rows, 2), float(UNKNOWN)))


def _kept(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)


@dataclass
class ContrastiveTask:
    """The loss of one of the methods on texts; a :class:`heed.train.optimise.Task`.

    Attributes:
        model: its backbone is trained; its head is left alone.
        texts: at least two.
    """

    model: ScalarModel
    texts: Sequence[Text]
    method: Method
    settings: ContrastiveSettings
    seed: int
    watcher: Watcher
    steps: int = 0
    networks: dict[str, nn.Module] = field(init=False)
    lengths: list[int] = field(init=False)

    def __post_init__(self) -> None:
        settings, device = self.settings, self.model.head.weight.device
        width = self.model.head.weight.shape[1]
        self.lengths = [2 * len(text.encoded.ids) for text in self.texts]
        self.projection = Projection(width, settings.dimensions, self.seed).to(device)
        rows = settings.queue if self.method == "moco" else 0
        self.memory = _Memory(rows, settings.dimensions, self.seed).to(device)
        self.networks = {"backbone": self.model.backbone, "projection": self.projection, "memory": self.memory}
        if self.method == "moco":
            self.slow, self.slow_projection = copy.deepcopy(self.model), copy.deepcopy(self.projection)
            for parameter in (*self.slow.parameters(), *self.slow_projection.parameters()):
                parameter.requires_grad_(False)
            self.networks |= {"slow": self.slow.backbone, "slow_projection": self.slow_projection}
        if self.method == "swav":
            self.prototypes = nn.Linear(settings.dimensions, settings.prototypes, bias=False)
            generator = torch.Generator().manual_seed(self.seed + 1)
            with torch.no_grad():
                drawn = torch.randn(self.prototypes.weight.shape, generator=generator)
                self.prototypes.weight.copy_(F.normalize(drawn, dim=1))
            self.networks["prototypes"] = self.prototypes.to(device)
        self.mates: dict[tuple[int, int], list[int]] = {}
        for row, text in enumerate(self.texts):
            if text.quality != UNKNOWN:
                self.mates.setdefault((text.kind, text.quality), []).append(row)
        self.classes = torch.tensor([[text.kind, text.quality] for text in self.texts], device=device)
        self.gradients: dict[int, tuple[Tensor, Tensor]] = {}
        self.share, self.warned = 0.0, False

    def count(self, rows: Sequence[int]) -> int:
        return len(rows)

    def validate(self) -> float | None:
        return None

    def begin(self, rows: Sequence[int]) -> None:
        """Compute what each text's part of the loss needs to know of the step's other texts."""
        with torch.no_grad():
            first, second = self._both(rows)
        first.requires_grad_()
        second.requires_grad_()
        loss = self._loss(rows, first, second)
        loss.backward()
        # SwAV's second views and MoCo's keys may get no gradient.
        one, other = (each.grad if each.grad is not None else torch.zeros_like(each) for each in (first, second))
        self.share = float(loss.detach()) / len(rows)
        self.gradients = {row: (one[place], other[place]) for place, row in enumerate(rows)}
        self.found = (list(rows), second.detach())
        steps = int(self.memory.steps)
        if not self.warned and steps >= _SETTLED * self.steps and uniformity(first.detach()) > COLLAPSED:
            self.warned = True
            self.watcher.alarm(
                f"step {steps + 1}: the projection puts nearly all texts in one place, which teaches the backbone little; raise "
                "prompts_per_step or lower the learning rate"
            )

    def loss(self, rows: Sequence[int], count: int) -> Tensor:
        total: Tensor = self.projection.first.weight.new_tensor(self.share * len(rows))
        # No gradient goes to MoCo's keys.
        for side, views in enumerate((self._first,) if self.method == "moco" else (self._first, self._second)):
            gradients = torch.stack([self.gradients[row][side] for row in rows])
            product = (views(rows) * gradients).sum()
            total = total + product - product.detach()  # its gradient is the loss's; its value comes from the share
        return total

    @torch.no_grad()
    def stepped(self, step: int) -> None:
        """After an optimiser step: the slow encoder follows, the queue takes the step's keys, prototypes get length 1."""
        self.memory.steps.fill_(step)
        if self.method == "moco":
            rate = self.settings.momentum
            for slow, fast in ((self.slow.backbone, self.model.backbone), (self.slow_projection, self.projection)):
                for old, new in zip(slow.parameters(), fast.parameters(), strict=True):
                    old.mul_(rate).add_(new, alpha=1 - rate)
            rows, keys = self.found
            size = len(self.memory.queue)
            taken = torch.tensor([((step - 1) * len(rows) + place) % size for place in range(len(rows))])
            taken, some = taken[-size:].to(keys.device), slice(max(0, len(rows) - size), None)
            self.memory.queue[taken] = keys[some]
            self.memory.classes[taken] = self.classes[rows][some].float()
        if self.method == "swav":
            self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    def _loss(self, rows: Sequence[int], first: Tensor, second: Tensor) -> Tensor:
        settings, classes = self.settings, self.classes[list(rows)]
        if self.method == "simclr":
            if not self.mates:
                return nt_xent(first, second, settings.temperature)
            alike, apart = _alike_and_apart(classes, classes)
            return supervised_contrastive(first, second, alike, apart, settings.temperature)
        if self.method == "moco":
            _, apart = _alike_and_apart(classes, self.memory.classes.long())
            return info_nce(first, second, self.memory.queue, settings.temperature, ~apart)
        weight = self.prototypes.weight.detach().clone().requires_grad_()
        loss = swapped_prediction(first @ weight.T, second @ weight.T, settings.temperature, settings.epsilon)
        (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True)
        self.prototypes.weight.grad = (
            gradient  # the views' gradients go on through each micro-batch; this one ends here
        )
        return loss

    @torch.no_grad()
    def _both(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Both views of a step's texts [N, D], in micro-batches."""
        parts = microbatches([self.lengths[row] for row in rows], self.settings.tokens_per_microbatch)
        pieces = [[rows[place] for place in part] for part in parts]
        return torch.cat([self._first(own) for own in pieces]), torch.cat([self._second(own) for own in pieces])

    def _first(self, rows: Sequence[int]) -> Tensor:
        return self._embedded([self._view(row, row, 0) for row in rows])

    def _second(self, rows: Sequence[int]) -> Tensor:
        views = [self._view(self._mate(row), row, 1) for row in rows]
        if self.method != "moco":
            return self._embedded(views)
        found: Tensor = self.slow_projection(self.slow.states(views, self.settings.pooling))
        return found

    def _embedded(self, views: Sequence[Encoded]) -> Tensor:
        found: Tensor = self.projection(self.model.states(views, self.settings.pooling))
        return found

    def _mate(self, row: int) -> int:
        """A text of like quality for the same kind of prompt, or itself."""
        text = self.texts[row]
        mates = self.mates.get((text.kind, text.quality), []) if text.quality != UNKNOWN else []
        others = [mate for mate in mates if mate != row]
        return self._random(row, 2).choice(others) if others else row

    def _view(self, row: int, drawn_for: int, side: int) -> Encoded:
        return view_of(self.texts[row].encoded, self.settings.dropped, self._random(drawn_for, side))

    def _random(self, row: int, purpose: int) -> random.Random:
        """Numbers that depend on the step and the row alone, so that a view is the same whenever it is computed."""
        named = f"{self.seed}:{int(self.memory.steps)}:{row}:{purpose}"
        return random.Random(hashlib.sha256(named.encode()).digest())

    @torch.no_grad()
    def spread(self) -> Spread:
        """Alignment and uniformity of what the backbone itself makes of some texts."""
        rows = list(range(len(self.texts)))
        random.Random(self.seed).shuffle(rows)
        sides = []
        for side in (0, 1):
            views = [
                view_of(self.texts[row].encoded, self.settings.dropped, random.Random(2 * row + side))
                for row in sorted(rows[:_PROBED])
            ]
            pieces = microbatches([len(view.ids) for view in views], self.settings.tokens_per_microbatch)
            made = [self.model.states([views[place] for place in piece], self.settings.pooling) for piece in pieces]
            sides.append(torch.cat(made))
        # Backbones send all texts into a narrow cone: from its middle one sees how they differ.
        middle = sides[0].mean(0)
        first, second = (side - middle for side in sides)
        return Spread(alignment(first, second), uniformity(first))


def view_of(text: Encoded, dropped: float, rng: random.Random) -> Encoded:
    """A text without some tokens of its completion, drawn each by itself; one at least stays."""
    inside = list(range(text.start, text.end))
    kept = [place for place in inside if rng.random() >= dropped] or [rng.choice(inside)]
    ids = (*text.ids[: text.start], *(text.ids[place] for place in kept), *text.ids[text.end :])
    return Encoded(ids, text.start, text.start + len(kept))


def _alike_and_apart(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Of texts by (kind, quality) [N, 2] and [M, 2]: which belong together [N, M], and which are to be parted.

    Texts of like quality for prompts of different kinds are neither; of a text of unknown quality only itself is alike.
    """
    known = (one[:, 1:] != UNKNOWN) & (other[:, 1:] != UNKNOWN).T
    like = known & (one[:, 1:] == other[:, 1:].T)
    kind = one[:, :1] == other[:, :1].T
    return like & kind, ~like


def pretrain_contrastive(
    task: ContrastiveTask, settings: FitSettings, seed: int, checkpoints: Checkpoints | None, watcher: Watcher
) -> Fit:
    """Pretrain the task's backbone in place.

    Raises:
        Stopped, TrainingError: see ``optimise.fit``.
    """
    task.steps = settings.steps
    return fit(task, settings, seed, checkpoints, watcher, stepped=task.stepped, beginning=task.begin)
