"""The key-value cache of the fast decoder, and the attention of one new token a row to it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class Cache:
    """Keys and values of the rows still being written, prompts padded on the left.

    Args:
        store: [2, layers, R, kv_heads, T, head_dim]; one piece of memory, which the allocator can give again as a whole.
        padding: padded places before each row's prompt [R].
        length: places filled so far (tokens).
    """

    def __init__(self, store: Tensor, padding: Tensor, length: int) -> None:
        self.store, self.padding, self.length = store, padding, length
        self.layers = _layer_views(store)
        self.mask = self._mask() if bool(padding.any()) else None

    def _mask(self) -> Tensor:
        """What is added to the scores [R, 1, 1, T]: minus infinity at padded places."""
        columns = torch.arange(self.store.shape[4], device=self.padding.device)
        hidden = (columns[None, :] < self.padding[:, None])[:, None, None, :]
        return torch.zeros_like(hidden, dtype=self.store.dtype).masked_fill_(hidden, -torch.inf)

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but ``rows``, in ascending order."""
        for views in self.layers:
            for grid in views[:2]:
                # Moved up within the store: a second one would double the memory at its peak.
                grid[: len(rows)] = grid.index_select(0, rows)
        self.store = self.store[:, :, : len(rows)]
        self.layers = _layer_views(self.store)
        self.padding = self.padding[rows]
        self.mask = None if self.mask is None else self.mask[rows]

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Add this step's keys and values [R, kv_heads, head_dim]; what its queries [R, heads, head_dim] gather [R, D]."""
        rows, kv_heads, _, width = self.store.shape[2:]
        end = self.length + 1
        key_grid, value_grid, key_rows, value_rows = self.layers[layer]
        key_grid[:, :, end - 1], value_grid[:, :, end - 1] = keys, values
        mask = None if self.mask is None else self.mask[..., :end]
        # The queries that share a key stand in the place of a sequence, so grouped keys need no copying.
        if queries.device.type != "cpu" or queries.dtype != torch.float32:
            grouped = queries.reshape(rows, kv_heads, -1, width)
            mixed = F.scaled_dot_product_attention(
                grouped, key_grid[:, :, :end], value_grid[:, :, :end], attn_mask=mask
            )
            return mixed.reshape(rows, -1)
        # On the processor the fused kernel is made for long sequences of queries; for one query two batched products
        # read the cache about twice as fast.
        grouped = queries.reshape(rows * kv_heads, -1, width)
        scores = torch.baddbmm(
            grouped.new_empty(1), grouped, key_rows[:, :end].transpose(1, 2), beta=0, alpha=width**-0.5
        )
        if mask is not None:
            scores = (scores.view(rows, kv_heads, -1, end) + mask).flatten(0, 1)
        return torch.bmm(scores.softmax(-1), value_rows[:, :end]).view(rows, -1)


def _layer_views(store: Tensor) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Of each layer: keys and values as [R, kv_heads, T, head_dim], then both as [R * kv_heads, T, head_dim]."""
    return [(k, v, k.flatten(0, 1), v.flatten(0, 1)) for k, v in zip(store[0], store[1], strict=True)]
