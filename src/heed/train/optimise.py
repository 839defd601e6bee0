"""One loop for everything that is fitted to a fixed set of examples: supervised tuning, pretraining, reward models."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from heed.errors import TrainingError
from heed.models.batch import microbatches
from heed.train.checkpoint import Checkpoints, adamw, named_parameters, restore_training_state, training_state
from heed.train.progress import Stopped, Watcher, stop_on_interrupt
from heed.training_settings import TrainSettings

_MEMORY = re.compile("out of memory|not enough memory|allocate|bad_alloc|ALLOC_FAILED|failed to map segment")


class Task(Protocol):
    """What is fitted: some networks, examples by row number, and a loss that sums over rows and divides by ``count``."""

    networks: dict[str, nn.Module]
    lengths: list[int]

    def count(self, rows: Sequence[int]) -> int:
        """How many terms the loss of these rows sums (tokens, comparisons)."""

    def loss(self, rows: Sequence[int], count: int) -> Tensor:
        """Sum of the rows' terms divided by ``count``, which counts the whole step and not this micro-batch."""

    def validate(self) -> float | None:
        """Loss on what is held out, or None where nothing is."""


@dataclass
class FitSettings:
    """How long and how fast; see the fields of the same names in ``heed.yaml``."""

    steps: int
    prompts_per_step: int
    tokens_per_microbatch: int
    learning_rate: float
    warmup_fraction: float = 0.05
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    checkpoint_every: int = 50
    validate_every: int = 0
    patience: int = 0

    @classmethod
    def of(cls, settings: TrainSettings, examples: int) -> FitSettings:
        """The settings of ``heed.yaml`` for this many examples."""
        shared = ("tokens_per_microbatch", "learning_rate", "warmup_fraction", "weight_decay", "max_grad_norm")
        return cls(
            steps=steps_for(examples, settings.prompts_per_step, settings.epochs),
            prompts_per_step=min(settings.prompts_per_step, examples),
            checkpoint_every=settings.checkpoint_every,
            **{name: getattr(settings, name) for name in shared},
        )


@dataclass
class Fit:
    """What came of it: per-step figures, and where it stopped early the step of the best validation loss."""

    history: list[dict[str, float]] = field(default_factory=list)
    best_step: int | None = None
    tokens: int = 0


def steps_for(examples: int, prompts_per_step: int, epochs: float) -> int:
    """Optimiser steps for ``epochs`` passes over ``examples``; at least one. A step takes no example twice."""
    return max(1, math.ceil(examples * epochs / min(prompts_per_step, examples)))


def rate_at(step: int, steps: int, warmup: int) -> float:
    """Share of the peak learning rate: a linear rise over ``warmup`` steps, then a cosine to a tenth.

    The cosine is that of Loshchilov and Hutter 2017, section 3, without restarts.
    """
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))


def rows_of_step(step: int, examples: int, per_step: int, seed: int) -> list[int]:
    """Rows of optimiser step ``step``: each epoch is a fresh permutation; a step may span two epochs."""
    rows: list[int] = []
    position = step * per_step
    while len(rows) < per_step:
        epoch, place = divmod(position + len(rows), examples)
        generator = torch.Generator().manual_seed(seed * 7919 + epoch)
        order = torch.randperm(examples, generator=generator).tolist()
        rows += order[place : place + per_step - len(rows)]
    return rows


def fit(
    task: Task,
    settings: FitSettings,
    seed: int,
    checkpoints: Checkpoints | None = None,
    watcher: Watcher | None = None,
    name: str = "loss",
    rates: Mapping[str, float] | None = None,
    stepped: Callable[[int], None] | None = None,
    beginning: Callable[[Sequence[int]], None] | None = None,
) -> Fit:
    """Run the loop; resume from ``checkpoints`` where there are any. At the end the networks hold the best weights.

    Args:
        task: what is fitted.
        settings: how long and how fast.
        seed: of the order of the examples.
        checkpoints: where states are kept; None keeps none.
        watcher: hears of each step.
        name: of the loss.
        rates: learning rates of single networks beside that of the settings, which is 1.
        stepped: called with the number of steps done after each, before its validation and its checkpoint: what it sets
            without gradients must be parameters of the task's networks, or a resumed run would lose it.
        beginning: called with the rows of each step before their losses are taken, for what must be known of all of them.

    Raises:
        Stopped: on Ctrl-C, after a checkpoint.
        TrainingError: a loss that is not a number, or no memory left; the last good checkpoint stays.
    """
    loop = _Loop(task, settings, seed, checkpoints, watcher or Watcher(), name, rates or {})
    loop.stepped, loop.beginning = stepped, beginning
    return loop.run()


class _Loop:
    def __init__(
        self,
        task: Task,
        settings: FitSettings,
        seed: int,
        checkpoints: Checkpoints | None,
        watcher: Watcher,
        name: str,
        rates: Mapping[str, float],
    ) -> None:
        self.task, self.settings, self.seed = task, settings, seed
        self.checkpoints, self.watcher, self.name = checkpoints, watcher, name
        self.parameters = named_parameters(task.networks)
        self.optimizer = adamw(_groups(self.parameters, rates), settings.weight_decay)
        self.stepped: Callable[[int], None] | None = None
        self.beginning: Callable[[Sequence[int]], None] | None = None
        self.warmup = max(1, round(settings.warmup_fraction * settings.steps))
        self.done = Fit()
        self.best: dict[str, Tensor] | None = None
        self.best_loss, self.waited = math.inf, 0

    def run(self) -> Fit:
        start = self._resume()
        with stop_on_interrupt() as flag:
            for step in range(start, self.settings.steps):
                self._step(step)
                if self.stepped is not None:
                    self.stepped(step + 1)
                finished = self._validated_enough(step)
                last = finished or step == self.settings.steps - 1
                # Read once: asked for between two readings, the stop would come without its checkpoint.
                asked = flag.asked
                if self.checkpoints and not last and (asked or (step + 1) % self.settings.checkpoint_every == 0):
                    self._save(step + 1)
                if asked and not last:
                    raise Stopped
                if finished:
                    break
        if self.best is not None:
            with torch.no_grad():
                for name, p in self.parameters.items():
                    p.copy_(self.best[name])
        return self.done

    def _step(self, step: int) -> None:
        settings = self.settings
        rows = rows_of_step(step, len(self.task.lengths), settings.prompts_per_step, self.seed)
        # Rows of like length share a micro-batch; the order has no influence on a sum over the whole step.
        rows.sort(key=lambda row: (self.task.lengths[row], row))
        if self.beginning is not None:
            self.beginning(rows)
        count, total = self.task.count(rows), 0.0
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * group["rate"] * rate_at(step, settings.steps, self.warmup)
        for batch in microbatches([self.task.lengths[row] for row in rows], settings.tokens_per_microbatch):
            total += backward(partial(self.task.loss, [rows[i] for i in batch], count))
        norm = update(self.optimizer, list(self.parameters.values()), settings.max_grad_norm, total, step, rows)
        self.done.tokens += sum(self.task.lengths[row] for row in rows)
        self.done.history.append({"step": step + 1, self.name: total, "gradient_norm": norm})
        self.watcher.advance(step + 1, settings.steps, f"{self.name} {total:.3f}")

    def _validated_enough(self, step: int) -> bool:
        every = self.settings.validate_every
        if not every or ((step + 1) % every and step != self.settings.steps - 1):
            return False
        with torch.no_grad():
            loss = self.task.validate()
        if loss is None:
            return False
        self.done.history[-1]["validation_loss"] = loss
        if loss < self.best_loss:
            self.best_loss, self.waited, self.done.best_step = loss, 0, step + 1
            self.best = {name: p.detach().clone() for name, p in self.parameters.items()}
        else:
            self.waited += 1
        return self.waited >= self.settings.patience

    def _save(self, step: int) -> None:
        assert self.checkpoints is not None
        tensors = training_state(self.parameters, self.optimizer)
        tensors |= {f"best/{name}": value for name, value in (self.best or {}).items()}
        best = None if self.best is None else self.best_loss
        numbers = {"history": self.done.history, "best_step": self.done.best_step, "best": best}
        self.checkpoints.save(step, tensors, {**numbers, "waited": self.waited, "tokens": self.done.tokens})

    def _resume(self) -> int:
        saved = self.checkpoints.latest() if self.checkpoints else None
        if saved is None:
            return 0
        restore_training_state(self.parameters, self.optimizer, saved.tensors)
        numbers: dict[str, Any] = saved.numbers
        self.done = Fit(numbers["history"], numbers["best_step"], numbers["tokens"])
        self.waited = numbers["waited"]
        if numbers["best"] is not None:
            self.best_loss = numbers["best"]
            device = next(iter(self.parameters.values())).device
            self.best = {name: saved.tensors[f"best/{name}"].to(device) for name in self.parameters}
        self.watcher.say(f"going on after step {saved.step} of {self.settings.steps}")
        return saved.step


def _groups(parameters: Mapping[str, nn.Parameter], rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """Parameters by their learning rate beside that of the settings, those of the network that has none named first."""
    by_rate: dict[float, list[nn.Parameter]] = {1.0: []}
    for name, parameter in parameters.items():
        by_rate.setdefault(rates.get(name.partition(".")[0], 1.0), []).append(parameter)
    return [{"params": group, "rate": rate} for rate, group in by_rate.items() if group]


def backward(loss: Callable[[], Tensor]) -> float:
    """Compute a loss, add its gradients, return its value; running out of memory says which number to lower."""
    with memory_errors():
        value = loss()
        value.backward()
        return float(value.detach())


@contextmanager
def memory_errors(
    fix: str = "Lower tokens_per_microbatch (results stay the same), then prompts_per_step or max_new_tokens.",
) -> Iterator[None]:
    """Turn running out of memory, which torch tells in several ways, into an error that names the number to lower.

    A library that is first needed at the end of a stage finds no room for itself: an ``ImportError``.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError, ImportError) as error:
        text = str(error).strip()
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not _MEMORY.search(text):
            raise
        first = text.splitlines()[0].rstrip(".") if text else type(error).__name__
        raise TrainingError("no memory left", f"{first}.", fix) from error


def update(
    optimizer: torch.optim.Optimizer,
    parameters: list[nn.Parameter],
    max_grad_norm: float,
    loss: float,
    step: int,
    rows: Sequence[int],
) -> float:
    """Clip, step and clear; the gradient's L2 norm before clipping.

    Raises:
        TrainingError: loss or gradient is not a number. Nothing has been changed by this step.
    """
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        optimizer.zero_grad()
        shown = ", ".join(map(str, sorted(rows)[:8])) + (", ..." if len(rows) > 8 else "")
        raise TrainingError(
            f"step {step + 1}: loss {loss}, gradient norm {norm}",
            f"they must be finite; the batch held rows {shown} (counted from 0).",
            "Look at those rows, or lower the learning rate; the last checkpoint is intact.",
        )
    optimizer.step()
    optimizer.zero_grad()
    return norm
