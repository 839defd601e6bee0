"""Our own forward pass over packed tokens; ``shapes.py`` has the shapes that it is made for.

The weights stay in the Hugging Face model, which loads, saves and owns them; a trunk only reads them, so gradients and
optimiser steps land where ``save_pretrained`` finds them. Dropout is always off: a policy's log-probabilities must not
depend on a coin.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from heed.models.affine import Affine
from heed.models.batch import Group, TokenBatch, pad_rows, rounded_rows, spread_rows, take_rows
from heed.models.cache import Cache


class LayerWeights(NamedTuple):
    """The weights of one layer. ``up`` is the gate and the up projection joined where the feed-forward has a gate."""

    first_norm: Affine
    qkv: Affine
    out: Affine
    second_norm: Affine
    up: Affine
    down: Affine
    head_norms: tuple[Tensor, Tensor] | None = None

    def cast(self) -> LayerWeights:
        """The same with projections in the numbers of autocast, which else would turn them into those at every product."""
        device = self.qkv.weight.device.type
        if not torch.is_autocast_enabled(device):
            return self
        dtype = torch.get_autocast_dtype(device)
        qkv, out, up, down = (one.to(dtype) for one in (self.qkv, self.out, self.up, self.down))
        return self._replace(qkv=qkv, out=out, up=up, down=down)


class Trunk(ABC):
    """A stack of causal transformer layers, opened up so that training and decoding share the same arithmetic.

    Attributes:
        adapted: whether the adapters of its projections count.
    """

    adapted: bool = True
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    fused: list[LayerWeights] | None = None

    @abstractmethod
    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Hidden states [N, D] that enter the first layer, of ids [N] at positions [N]."""

    @abstractmethod
    def rotary(self, positions: Tensor) -> Any:
        """What ``qkv`` needs to rotate queries and keys at positions [N]; None where positions are embedded."""

    @abstractmethod
    def qkv(self, layer: int, hidden: Tensor, rotary: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [N, heads, head_dim], keys and values [N, kv_heads, head_dim] of hidden [N, D]."""

    @abstractmethod
    def after_attention(self, layer: int, hidden: Tensor, attended: Tensor) -> Tensor:
        """Hidden states [N, D] after the layer, of those before it and the attended values [N, heads * head_dim]."""

    @abstractmethod
    def final(self, hidden: Tensor) -> Tensor:
        """The last norm, [N, D] -> [N, D]."""

    @abstractmethod
    def read_weights(self, layer: int) -> LayerWeights:
        """The weights of a layer as they are now, joined where one product does the work of several."""

    def weights(self, layer: int) -> LayerWeights:
        return self.read_weights(layer) if self.fused is None else self.fused[layer]

    def fuse(self) -> None:
        """Prepare for decoding with the weights as they are now: looking them up costs as much as a small product."""
        self.fused = [self.read_weights(layer).cast() for layer in range(self.layers)]

    def release(self) -> None:
        """Forget what ``fuse`` prepared, because training changes the weights."""
        self.fused = None

    def hidden(self, batch: TokenBatch, keep: Tensor | None = None, recompute: bool = False) -> Tensor:
        """Final hidden states of a packed batch.

        Args:
            batch: N tokens.
            keep: flat positions [M] whose states are wanted; the last layer leaves out the rest after its attention.
            recompute: keep only what enters each layer for the backward pass, and compute the rest again there.

        Returns:
            [N, D], or [M, D] with ``keep``.
        """
        ids, positions = batch.computed
        again: Tensor | None = None
        if batch.once is not None:
            # A prompt's last token predicts the first of several completions.
            of = batch.once.of
            keep, again = torch.unique(of if keep is None else of[keep], return_inverse=True)
        wanted = ids.numel() if keep is None else keep.numel()
        unused = (0, batch.rows - ids.numel())
        ids, positions = F.pad(ids, unused), F.pad(positions, unused)
        hidden = self.embed(ids, positions)
        rotary = self.rotary(positions)
        kept = None if keep is None else rounded_rows(keep.numel(), hidden.device)
        every = self.fused or [self.read_weights(layer) for layer in range(self.layers)]

        def through(layer: int, hidden: Tensor) -> Tensor:
            # Here, and not around the loop: computed again, a layer finds the weights that it had the first time.
            with self.using(every):
                attended = self.attend(batch, *self.qkv(layer, hidden, rotary))
                if keep is not None and layer == self.layers - 1:
                    hidden, attended = take_rows(hidden, keep, kept), take_rows(attended, keep, kept)
                return self.after_attention(layer, hidden, attended)

        for layer in range(self.layers):
            if recompute and torch.is_grad_enabled():
                hidden = checkpoint(through, layer, hidden, use_reentrant=False)
            else:
                hidden = through(layer, hidden)
        hidden = self.final(hidden)
        hidden = hidden if hidden.shape[0] == wanted else hidden[:wanted]
        return hidden if again is None else hidden.index_select(0, again)

    @contextmanager
    def using(self, weights: list[LayerWeights]) -> Iterator[None]:
        """Run with weights that have been read already, so that each is joined once a pass."""
        before, self.fused = self.fused, weights
        try:
            yield
        finally:
            self.fused = before

    def prefill(self, batch: TokenBatch, samples: int, new_tokens: int) -> tuple[Cache, Tensor]:
        """Run prompts once; the cache of their samples, and the hidden states [R, D] that predict the first tokens."""
        device, width, count = batch.ids.device, max(batch.lengths), len(batch.lengths)
        padding = torch.tensor([width - n for n in batch.lengths], device=device)
        ends = torch.tensor([row * width + width for row in range(count)], device=device)
        hidden = self.embed(batch.ids, batch.positions)
        rotary = self.rotary(batch.positions)
        lengths = torch.tensor(batch.lengths, device=device)
        # Places of the tokens in a grid of rows padded on the left.
        places = (ends - lengths).repeat_interleave(lengths) + batch.positions
        last = lengths.cumsum(0) - 1
        shape = (2, self.layers, count, samples, self.kv_heads, width + new_tokens, self.head_dim)
        store: Tensor | None = None
        for layer in range(self.layers):
            q, k, v = self.qkv(layer, hidden, rotary)
            store = k.new_empty(shape) if store is None else store
            for room, flat in zip(store[:, layer], (k, v), strict=True):
                grid = flat if len(flat) == count * width else pad_rows(flat, places, count * width)
                room[:, :, :, :width] = grid.unflatten(0, (count, 1, width)).transpose(2, 3)
            attended = self.attend(batch, q, k, v)
            if layer == self.layers - 1:
                hidden, attended = hidden[last], attended[last]
            hidden = self.after_attention(layer, hidden, attended)
        assert store is not None
        cache = Cache(store.flatten(2, 3), padding.repeat_interleave(samples), width)
        return cache, self.final(hidden).repeat_interleave(samples, dim=0)

    def step(self, cache: Cache, tokens: Tensor) -> Tensor:
        """Append one token [R] to each row; the hidden states [R, D] that predict the next."""
        positions = cache.length - cache.padding
        hidden = self.embed(tokens, positions)
        rotary = self.rotary(positions)
        for layer in range(self.layers):
            attended = cache.attend(layer, *self.qkv(layer, hidden, rotary))
            hidden = self.after_attention(layer, hidden, attended)
        cache.length += 1
        return self.final(hidden)

    def attend(self, batch: TokenBatch, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out: Tensor | None = None
        for group in batch.groups:
            parts = [self._laid_out(tensor, group, tensor is q) for tensor in (q, k, v)]
            # Padding is on the right and attention is causal, so no real token ever sees a padded one.
            grouped = self.heads != self.kv_heads
            mixed = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True, enable_gqa=grouped)
            flat = mixed.transpose(1, 2).reshape(group.rows * group.width, self.heads * self.head_dim)
            if group.places is None:
                return flat
            if group.tokens is None:
                return take_rows(flat, group.places, q.shape[0])
            piece = pad_rows(take_rows(flat, group.places), group.tokens, q.shape[0])
            out = piece if out is None else out + piece
        assert out is not None
        return out

    def _laid_out(self, tensor: Tensor, group: Group, asking: bool) -> Tensor:
        """Queries (``asking``), keys or values [N, heads, head_dim] of a group of sequences [rows, heads, width, head_dim]."""
        rows = tensor
        if group.seen is not None:
            rows = spread_rows(tensor, group) if asking else tensor.index_select(0, group.seen)
        elif group.tokens is not None and group.places is not None:
            rows = pad_rows(take_rows(tensor, group.tokens), group.places, group.rows * group.width)
        return rows.view(group.rows, group.width, *rows.shape[1:]).transpose(1, 2)
