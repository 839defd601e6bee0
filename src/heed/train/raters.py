"""Raters inside the likelihood: in which ways each answers, how sharply each sees, and which way the reward points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from heed.losses.raters import (
    HEEDS,
    INVERTS,
    LEFT,
    RIGHT,
    WAYS,
    fitted_ways,
    mixture_logprobs,
    reliability,
    reliability_errors,
)
from heed.raters.crowd_answers import WAYS_PRIOR
from heed.raters.direction import DECISIVE, gold_contradicts, gold_decides, gold_leaves_open

SCALE_SPREAD, PULL_SPREAD, SHIFT_SPREAD = 0.7, 1.0, 1.0
"""Standard deviations of the normal priors: of the log of a scale, of the pull of a standard deviation of length, and of a
shift, both in reward units."""

CLEAR_MAJORITY = 2 / 3
"""Least share of what surely reliable answers tell that must point one way for it to be taken as up, where there is no gold."""

Direction = Literal["gold", "majority", "prior", "unidentifiable"]


class Gold(NamedTuple):
    """Answers to gold items: who gave each [G], and its log-probability in each way [G, 4]."""

    rater: Tensor
    by_way: Tensor

    @classmethod
    def of(cls, answers: Sequence[tuple[int, Sequence[float]]], device: torch.device | str = "cpu") -> Gold:
        """From (rater, log-probability in each way)."""
        by_way = torch.tensor([list(ways) for _, ways in answers], device=device).reshape(-1, len(WAYS))
        return cls(torch.tensor([rater for rater, _ in answers], dtype=torch.long, device=device), by_way)


class Raters(nn.Module):
    """What is learned of each rater beside the reward. Of none, everybody is taken to heed and to see alike.

    A rater sees a text at scale x reward + pull x length + shift, and answers that, or the opposite, or unread.

    Args:
        count: raters (count); 0 tells nobody apart.
        pulled: whether the pull of length is learned.
        gold: their answers to gold items.
        start: [K, 4], the shares of their ways to begin with; None begins with what gold and the prior say.
    """

    def __init__(self, count: int, pulled: bool, gold: Gold, start: Tensor | None = None) -> None:
        super().__init__()
        self.count, self.pulled = count, pulled
        self.log_scale, self.shift = nn.Parameter(torch.zeros(count)), nn.Parameter(torch.zeros(count))
        self.pull = nn.Parameter(torch.zeros(count), requires_grad=pulled)
        self.prior: Tensor
        self.register_buffer("prior", torch.tensor(WAYS_PRIOR), persistent=False)
        # No gradient reaches the shares: EM sets them, and they are parameters so that checkpoints hold them.
        self.ways = nn.Parameter((self.prior / self.prior.sum()).repeat(count, 1), requires_grad=False)
        self.gold = gold
        if start is not None:
            self.ways.copy_(start)
        elif count:
            self.refit(gold.by_way.new_zeros(0, len(WAYS)), gold.rater.new_zeros(0))

    def sharpened(self, values: Tensor, rater: Tensor) -> Tensor:
        """``values`` [M] or [M, R] as sharply as the raters [M] see them."""
        return self._each(self.log_scale.exp(), rater, values) * values if self.count else values

    def pulled_by(self, length: Tensor, seen: Tensor, rater: Tensor) -> Tensor:
        """``seen`` [M] or [M, R] with the pull of the texts' length (standard deviations, same shape)."""
        return seen + self._each(self.pull, rater, seen) * length if self.pulled and self.count else seen

    def shifted(self, seen: Tensor, rater: Tensor) -> Tensor:
        """``seen`` [M] or [M, R] with how lenient the raters are."""
        return seen + self._each(self.shift, rater, seen) if self.count else seen

    @staticmethod
    def _each(values: Tensor, rater: Tensor, like: Tensor) -> Tensor:
        """Values [K] of the raters [M], to be joined with ``like`` [M] or [M, R]."""
        return values[rater].reshape(-1, *[1] * (like.dim() - 1))

    def logprobs(self, by_way: Tensor, rater: Tensor) -> Tensor:
        """Log-probability [N] of judgments, from that under each way [N, 4]."""
        if not self.count:
            return by_way[:, HEEDS]
        return mixture_logprobs(by_way, self.ways[rater].log())

    def penalty(self) -> Tensor:
        """Negative log-prior of what is learned by gradient, less its constant (nats)."""
        squares = ((self.log_scale, SCALE_SPREAD), (self.pull, PULL_SPREAD), (self.shift, SHIFT_SPREAD))
        return sum(((values / spread).square().sum() / 2 for values, spread in squares), torch.zeros(()))

    @torch.no_grad()
    def refit(self, by_way: Tensor, rater: Tensor, weights: Tensor | None = None) -> None:
        """Set the shares to the likeliest ones given judgments [N, 4], and the answers to gold beside them."""
        everything, who, weights = self._with_gold(by_way, rater, weights)
        self.ways.copy_(fitted_ways(everything, who, self.ways.detach(), self.prior, weights))

    @torch.no_grad()
    def table(self, by_way: Tensor, rater: Tensor, weights: Tensor | None = None) -> RaterTable:
        """What was learned of each, with standard errors, given the judgments [N, 4] that it was learned from."""
        everything, who, all_weights = self._with_gold(by_way, rater, weights)
        errors = reliability_errors(everything, who, self.ways, self.prior, all_weights)
        judged = torch.bincount(rater, minlength=self.count)
        known = torch.bincount(self.gold.rater, minlength=self.count)
        return RaterTable(
            ways=self.ways.tolist(),
            reliability=reliability(self.ways).tolist(),
            errors=errors.tolist(),
            scale=self.log_scale.exp().tolist(),
            pull=self.pull.tolist(),
            shift=self.shift.tolist(),
            judgments=judged.tolist(),
            gold=known.tolist(),
            gold_favour=self._gold_favour(),
        )

    def _gold_favour(self) -> float:
        """By how much (nats) gold favours the ways as they are over their mirror image, in which whoever heeds inverts."""
        gold, logs = self.gold.by_way.to(self.ways), self.ways.log()[self.gold.rater.to(self.ways.device)]
        mirrored = logs[:, [INVERTS, HEEDS, LEFT, RIGHT]]
        return float((mixture_logprobs(gold, logs) - mixture_logprobs(gold, mirrored)).sum())

    def _with_gold(self, by_way: Tensor, rater: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        joined = torch.cat([by_way, self.gold.by_way.to(by_way)]), torch.cat([rater, self.gold.rater.to(rater)])
        if weights is not None:
            weights = torch.cat([weights, weights.new_ones(len(self.gold.rater))])
        return *joined, weights


@dataclass(frozen=True)
class RaterTable:
    """What was learned of each rater [K]: shares of the four ways, reliability (-1 to 1) with its standard error, how sharply
    each sees (1 is usual), what a standard deviation of length is worth and how lenient each is (reward units); from how
    many judgments and answers to gold items; and by how much (nats) gold favours this over its mirror image, in which whoever
    heeds inverts."""

    ways: list[list[float]]
    reliability: list[float]
    errors: list[float]
    scale: list[float]
    pull: list[float]
    shift: list[float]
    judgments: list[int]
    gold: list[int]
    gold_favour: float

    @classmethod
    def mean(cls, tables: Sequence[RaterTable]) -> RaterTable:
        """The mean of what members learned; of judgments the most that one of them saw."""

        def mean(values: list[Any]) -> Any:
            return torch.tensor(values, dtype=torch.float64).mean(0).tolist()

        parts = [asdict(table) for table in tables]
        counts = {name: torch.tensor([part[name] for part in parts]).amax(0).tolist() for name in ("judgments", "gold")}
        return cls(**({name: mean([part[name] for part in parts]) for name in parts[0]} | counts))

    def rows(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The same by the raters' names, JSON-able."""
        return {
            name: {
                "reliability": self.reliability[k],
                "error": self.errors[k],
                **dict(zip(WAYS, self.ways[k], strict=True)),
                "scale": self.scale[k],
                "length_pull": self.pull[k],
                "shift": self.shift[k],
                "judgments": self.judgments[k],
                "gold": self.gold[k],
            }
            for k, name in enumerate(names)
        }

    def direction(self) -> tuple[Direction, str]:
        """What decides which way is up, and a sentence about it.

        Turning the reward around and swapping those who heed with those who invert explains judgments just as well. So gold
        items decide, or a clear majority. Where raters surely fall into two camps of which the larger holds less than two
        thirds of what their answers tell, it cannot be known.
        """
        known = sum(self.gold)
        if self.gold_favour >= DECISIVE:
            return "gold", gold_decides(known)
        if self.gold_favour <= -DECISIVE:
            return "unidentifiable", gold_contradicts(known)
        lack = gold_leaves_open(known)
        tells = [
            count * value if abs(value) > 2 * error else 0.0
            for count, value, error in zip(self.judgments, self.reliability, self.errors, strict=True)
        ]
        up, down = sum(t for t in tells if t > 0), -sum(t for t in tells if t < 0)
        if up + down == 0:
            return "prior", f"Too little was said to tell the raters apart; they are taken to heed.{lack}"
        camps = sum(t > 0 for t in tells), sum(t < 0 for t in tells)
        share = max(up, down) / (up + down)
        if share < CLEAR_MAJORITY:
            return "unidentifiable", (
                f"The raters fall into two camps that answer against each other, {camps[0]} and {camps[1]} of them, and "
                f"the larger holds {share:.0%} of what their answers tell, less than {CLEAR_MAJORITY:.0%}: which camp is "
                f"right cannot be known from the answers alone.{lack}"
            )
        if not camps[1]:
            return "majority", f"All raters whose answers tell anything point the same way.{lack}"
        against = "1 of the raters answers" if camps[1] == 1 else f"{camps[1]:,} of the raters answer"
        return "majority", f"The clear majority decides which way is up; {against} against it.{lack}"
