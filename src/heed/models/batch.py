"""Tokens with their lengths. Nothing here or above infers padding or the end of a text from a token id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

# Splitting a ragged batch further costs one more kernel launch and saves padding; past four groups it no longer pays.
_MAX_GROUPS = 4
_PADDING_WORTH_A_SPLIT = 0.15
# oneDNN compiles a product for each number of rows it meets and keeps it: ragged batches, each of its own size, would pay
# for that at every step, in time and in memory. Rounded up, the sizes repeat.
_ROWS_ROUNDED_TO = 256
# Prompts that are computed once have to be handed to each sequence's attention, which costs as much as about this share of all tokens.
_SHARE_WORTH_ONCE = 0.15


class _PadRows(torch.autograd.Function):
    """Scatter rows to unique places of a zero tensor. As the places are unique, the backward pass is a plain gather."""

    @staticmethod
    def forward(ctx, rows: Tensor, places: Tensor, size: int) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(places)
        return rows.new_zeros(size, *rows.shape[1:]).index_copy_(0, places, rows)

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        (places,) = ctx.saved_tensors
        return gradient.index_select(0, places), None, None


class _TakeRows(torch.autograd.Function):
    """Gather unique rows. index_select's own backward accumulates, which is several times slower than a copy."""

    @staticmethod
    def forward(ctx, padded: Tensor, places: Tensor, size: int) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(places)
        ctx.size = padded.shape[0]
        if size == places.numel():
            return padded.index_select(0, places)
        out = padded.new_zeros(size, *padded.shape[1:])
        torch.index_select(padded, 0, places, out=out[: places.numel()])
        return out

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        (places,) = ctx.saved_tensors
        zeros = gradient.new_zeros(ctx.size, *gradient.shape[1:])
        return zeros.index_copy_(0, places, gradient[: places.numel()]), None, None


def take_rows(rows: Tensor, places: Tensor, size: int | None = None) -> Tensor:
    """``rows[places]`` for unique ``places`` [M]; rows [N, ...] -> [M, ...], or [size, ...] with zeros behind."""
    taken: Tensor = _TakeRows.apply(rows, places, places.numel() if size is None else size)
    return taken


class _SpreadRows(torch.autograd.Function):
    """Gather rows, some of them several times, where only the gradient at some ``places`` of the result is not zero."""

    @staticmethod
    def forward(ctx, rows: Tensor, seen: Tensor, tokens: Tensor | None, places: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(places, tokens)
        ctx.size = rows.shape[0]
        return rows.index_select(0, seen)

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        places, tokens = ctx.saved_tensors
        taken = gradient.index_select(0, places)
        if tokens is None and ctx.size == len(places):
            return taken, None, None, None
        zeros = gradient.new_zeros(ctx.size, *gradient.shape[1:])
        if tokens is None:
            zeros[: len(places)] = taken
        else:
            zeros.index_copy_(0, tokens, taken)
        return zeros, None, None, None


def spread_rows(rows: Tensor, group: Group) -> Tensor:
    """What stands at each place of a group [rows * width, ...], of the computed tokens [U, ...], where only the attention of its
    ``places`` is taken up."""
    spread: Tensor = _SpreadRows.apply(rows, group.seen, group.tokens, group.places)
    return spread


def rounded_rows(rows: int, device: torch.device) -> int:
    """Rows that a product over ``rows`` rows is given on this device (count)."""
    if device.type != "cpu" or rows < _ROWS_ROUNDED_TO:
        return rows
    return -(-rows // _ROWS_ROUNDED_TO) * _ROWS_ROUNDED_TO


def pad_rows(rows: Tensor, places: Tensor, size: int) -> Tensor:
    """A zero tensor [size, ...] with ``rows`` [N, ...] at the unique ``places`` [N]."""
    padded: Tensor = _PadRows.apply(rows, places, size)
    return padded


class Once(NamedTuple):
    """Which tokens of a batch are computed: those of a prompt that several sequences begin with once for all of them.

    Attributes:
        tokens: their flat positions in the batch [U], ascending.
        of: which of those each token of the batch is [N].
        first: of the tokens of the batch [N], whether it is the one that is computed.
    """

    tokens: Tensor
    of: Tensor
    first: Tensor


@dataclass(frozen=True)
class Group:
    """Sequences of a batch that attend together, padded on the right to the longest of them.

    ``places`` are flat positions in the padded [rows * width] grid and ``tokens`` the flat positions among those that are computed;
    both are None where the group is the whole batch and all its sequences are equally long. Where prompts are computed once, ``seen``
    says which token stands at each place [rows * width], any at a padded one, and ``places`` those of whose attention is wanted;
    ``tokens`` is None where that is all of them, in order.
    """

    rows: int
    width: int
    tokens: Tensor | None
    places: Tensor | None
    seen: Tensor | None = None


@dataclass(frozen=True)
class TokenBatch:
    """Sequences laid end to end.

    Attributes:
        ids: token ids [N], N = the sum of the lengths.
        lengths: number of tokens of each sequence (count), all at least 1.
        prompt_lengths: how many of them at its beginning are a prompt (count), where they are told apart.
        alike: of each sequence, the first one that begins with the same prompt; None where each has its own.
    """

    ids: Tensor
    lengths: tuple[int, ...]
    prompt_lengths: tuple[int, ...] | None = None
    alike: tuple[int, ...] | None = None

    @classmethod
    def of(
        cls,
        sequences: Sequence[Sequence[int]],
        device: torch.device | str = "cpu",
        prompt_lengths: Sequence[int] | None = None,
    ) -> TokenBatch:
        """Pack ``sequences``; where it is told how long their prompts are, equal ones are found.

        Raises:
            ValueError: a sequence is empty.
        """
        lengths = tuple(len(s) for s in sequences)
        if not lengths or min(lengths) == 0:
            raise ValueError("a batch needs at least one sequence, and every sequence at least one token")
        flat = [token for sequence in sequences for token in sequence]
        ids = torch.tensor(flat, dtype=torch.long, device=device)
        if prompt_lengths is None:
            return cls(ids, lengths)
        first: dict[tuple[int, ...], int] = {}
        prompts = [tuple(s[:length]) for s, length in zip(sequences, prompt_lengths, strict=True)]
        alike = tuple(first.setdefault(prompt, row) for row, prompt in enumerate(prompts))
        return cls(ids, lengths, tuple(prompt_lengths), alike if len(first) < len(lengths) else None)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Flat position of each sequence's first token."""
        starts, total = [], 0
        for length in self.lengths:
            starts.append(total)
            total += length
        return tuple(starts)

    @cached_property
    def positions(self) -> Tensor:
        """Position of each token in its own sequence [N]."""
        return _columns(torch.tensor(self.lengths)).to(self.ids.device)

    @cached_property
    def once(self) -> Once | None:
        """Which tokens are computed, where several sequences begin with the same prompt and it is worth it."""
        if self.alike is None or self.prompt_lengths is None:
            return None
        lengths = torch.tensor(self.lengths)
        alike = torch.tensor(self.alike)
        shared = torch.where(alike == torch.arange(len(alike)), 0, torch.tensor(self.prompt_lengths))
        own = lengths - shared
        starts = own.cumsum(0) - own
        column = _columns(lengths)
        first = column >= shared.repeat_interleave(lengths)
        of = (
            torch.where(first, (starts - shared).repeat_interleave(lengths), starts[alike].repeat_interleave(lengths))
            + column
        )
        tokens = first.nonzero()[:, 0]
        if len(tokens) > (1 - _SHARE_WORTH_ONCE) * len(of):
            return None
        return Once(*(one.to(self.ids.device) for one in (tokens, of, first)))

    @cached_property
    def computed(self) -> tuple[Tensor, Tensor]:
        """Ids and positions of the tokens that are computed [U], or [N] where all are."""
        if self.once is None:
            return self.ids, self.positions
        return self.ids[self.once.tokens], self.positions[self.once.tokens]

    @cached_property
    def rows(self) -> int:
        """Rows that its tokens take up in a forward pass (count): as many as are computed, or more where lengths differ, the rest
        unused."""
        total = self.computed[0].numel()
        even = self.once is None and len(set(self.lengths)) == 1
        return total if even else rounded_rows(total, self.ids.device)

    def span(self, row: int, start: int, end: int) -> range:
        """Flat positions of tokens ``start`` to ``end`` (exclusive) of sequence ``row``."""
        return range(self.starts[row] + start, self.starts[row] + end)

    @cached_property
    def groups(self) -> list[Group]:
        """How the sequences are grouped for attention, so that little of it is spent on padding."""
        if len(set(self.lengths)) == 1 and self.once is None:
            return [Group(len(self.lengths), self.lengths[0], None, None)]
        order = sorted(range(len(self.lengths)), key=lambda row: self.lengths[row])
        split = _split(order, self.lengths)
        return [self._group(rows, whole=len(split) == 1) for rows in split]

    def _group(self, rows: list[int], whole: bool) -> Group:
        chosen = torch.tensor(sorted(rows))
        lengths, starts = torch.tensor(self.lengths)[chosen], torch.tensor(self.starts)[chosen]
        width, device = int(lengths.max()), self.ids.device
        column = _columns(lengths)
        tokens = (starts.repeat_interleave(lengths) + column).to(device)
        places = ((torch.arange(len(rows)) * width).repeat_interleave(lengths) + column).to(device)
        if self.once is None:
            return Group(len(rows), width, tokens, places)
        seen = tokens.new_zeros(len(rows) * width).index_copy_(0, places, self.once.of[tokens])
        # Of a prompt that others have too, one sequence's queries are enough.
        wanted = self.once.first[tokens]
        return Group(len(rows), width, None if whole else self.once.of[tokens[wanted]], places[wanted], seen)

    def padded(self, side: str = "right", fill: int = 0) -> tuple[Tensor, Tensor]:
        """Token ids [B, T] and attention mask [B, T] (long, 1 = a real token), padded with ``fill`` on ``side``."""
        width = max(self.lengths)
        ids = self.ids.new_full((len(self.lengths), width), fill)
        mask = torch.zeros_like(ids)
        for row, (start, length) in enumerate(zip(self.starts, self.lengths, strict=True)):
            where = slice(0, length) if side == "right" else slice(width - length, width)
            ids[row, where] = self.ids[start : start + length]
            mask[row, where] = 1
        return ids, mask


def _columns(lengths: Tensor) -> Tensor:
    """Of each token of sequences of these lengths [B], its position in its own [N]."""
    return torch.arange(int(lengths.sum())) - (lengths.cumsum(0) - lengths).repeat_interleave(lengths)


def _split(order: list[int], lengths: tuple[int, ...]) -> list[list[int]]:
    """Cut rows, sorted by length, into at most _MAX_GROUPS groups where the padding saved is worth it."""
    groups = [order]
    while len(groups) < _MAX_GROUPS:
        savings = [_best_cut(group, lengths) for group in groups]
        saved, cut = max(savings)
        padded = sum(len(group) * lengths[group[-1]] for group in groups)
        if saved < _PADDING_WORTH_A_SPLIT * padded:
            break
        at = savings.index((saved, cut))
        groups[at : at + 1] = [groups[at][:cut], groups[at][cut:]]
    return groups


def _best_cut(group: list[int], lengths: tuple[int, ...]) -> tuple[int, int]:
    longest = lengths[group[-1]]
    return max(((longest - lengths[group[cut - 1]]) * cut, cut) for cut in range(1, len(group) + 1))


def microbatches(lengths: Sequence[int], tokens_per_microbatch: int) -> Iterator[list[int]]:
    """Split rows into lists of row numbers of at most ``tokens_per_microbatch`` tokens, in their given order.

    A row longer than the limit gets a micro-batch of its own.
    """
    rows: list[int] = []
    tokens = 0
    for row, length in enumerate(lengths):
        if rows and tokens + length > tokens_per_microbatch:
            yield rows
            rows, tokens = [], 0
        rows.append(row)
        tokens += length
    if rows:
        yield rows
