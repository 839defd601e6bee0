"""Forward passes over packed tokens: our own for Llama-like and GPT-2-like shapes, Hugging Face's for all others.

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
from torch import Tensor, nn
from transformers.activations import ACT2FN

from heed.models.affine import Affine, read, readable
from heed.models.batch import TokenBatch, pad_rows, rounded_rows, take_rows

_LLAMA_LIKE = {"llama", "mistral", "qwen2", "qwen3"}
# Rotary kinds whose frequencies depend on how long the batch is; those run through Hugging Face's own forward.
_STATIC_ROTARY = {"default", "linear", "llama3"}


class LayerWeights(NamedTuple):
    """The weights of one layer. ``up`` is the gate and the up projection joined where the feed-forward has a gate."""

    first_norm: Affine
    qkv: Affine
    out: Affine
    second_norm: Affine
    up: Affine
    down: Affine
    head_norms: tuple[Tensor, Tensor] | None = None


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
        self.fused = [self.read_weights(layer) for layer in range(self.layers)]

    def release(self) -> None:
        """Forget what ``fuse`` prepared, because training changes the weights."""
        self.fused = None

    def hidden(self, batch: TokenBatch, keep: Tensor | None = None) -> Tensor:
        """Final hidden states of a packed batch.

        Args:
            batch: N tokens.
            keep: flat positions [M] whose states are wanted; the last layer leaves out the rest after its attention.

        Returns:
            [N, D], or [M, D] with ``keep``.
        """
        unused = (0, batch.rows - batch.ids.numel())
        ids, positions = F.pad(batch.ids, unused), F.pad(batch.positions, unused)
        hidden = self.embed(ids, positions)
        rotary = self.rotary(positions)
        kept = None if keep is None else rounded_rows(keep.numel(), hidden.device)
        every = self.fused or [self.read_weights(layer) for layer in range(self.layers)]
        with self.using(every):
            for layer in range(self.layers):
                attended = self.attend(batch, *self.qkv(layer, hidden, rotary))
                if keep is not None and layer == self.layers - 1:
                    hidden, attended = take_rows(hidden, keep, kept), take_rows(attended, keep, kept)
                hidden = self.after_attention(layer, hidden, attended)
        hidden = self.final(hidden)
        wanted = batch.ids.numel() if keep is None else keep.numel()
        return hidden if hidden.shape[0] == wanted else hidden[:wanted]

    @contextmanager
    def using(self, weights: list[LayerWeights]) -> Iterator[None]:
        """Run with weights that have been read already, so that each is joined once a pass."""
        before, self.fused = self.fused, weights
        try:
            yield
        finally:
            self.fused = before

    def attend(self, batch: TokenBatch, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out: Tensor | None = None
        for group in batch.groups:
            parts = []
            for tensor in (q, k, v):
                rows = tensor
                if group.tokens is not None and group.places is not None:
                    rows = pad_rows(take_rows(tensor, group.tokens), group.places, group.rows * group.width)
                parts.append(rows.view(group.rows, group.width, *rows.shape[1:]).transpose(1, 2))
            # Padding is on the right and attention is causal, so no real token ever sees a padded one.
            grouped = self.heads != self.kv_heads
            mixed = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True, enable_gqa=grouped)
            flat = mixed.transpose(1, 2).reshape(group.rows * group.width, self.heads * self.head_dim)
            if group.tokens is None or group.places is None:
                return flat
            piece = pad_rows(take_rows(flat, group.places), group.tokens, q.shape[0])
            out = piece if out is None else out + piece
        assert out is not None
        return out


class LlamaTrunk(Trunk):
    """Llama, Mistral, Qwen2 and Qwen3: RMS norms, rotary positions, gated feed-forward, grouped queries."""

    def __init__(self, model: nn.Module) -> None:
        config: Any = model.config
        self.body: Any = model
        self.layers = config.num_hidden_layers
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.eps = config.rms_norm_eps
        self.act = ACT2FN[config.hidden_act]

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        return F.embedding(ids, self.body.embed_tokens.weight)

    def rotary(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = self.body.rotary_emb(self.body.embed_tokens.weight, positions[None])
        return cos[0, :, None, :], sin[0, :, None, :]

    def read_weights(self, layer: int) -> LayerWeights:
        block = self.body.layers[layer]
        attention, mlp = block.self_attn, block.mlp
        head_norms = (attention.q_norm.weight, attention.k_norm.weight) if hasattr(attention, "q_norm") else None
        return LayerWeights(
            Affine(block.input_layernorm.weight, None),
            read(self.adapted, attention.q_proj, attention.k_proj, attention.v_proj),
            read(self.adapted, attention.o_proj),
            Affine(block.post_attention_layernorm.weight, None),
            read(self.adapted, mlp.gate_proj, mlp.up_proj),
            read(self.adapted, mlp.down_proj),
            head_norms,
        )

    def qkv(self, layer: int, hidden: Tensor, rotary: Any) -> tuple[Tensor, Tensor, Tensor]:
        weights = self.weights(layer)
        normed = F.rms_norm(hidden, hidden.shape[-1:], weights.first_norm.weight, self.eps)
        joined = weights.qkv(normed).view(hidden.shape[0], -1, self.head_dim)
        cos, sin = rotary
        if weights.head_norms is not None:
            q, k, v = joined.split((self.heads, self.kv_heads, self.kv_heads), dim=1)
            q = F.rms_norm(q, (self.head_dim,), weights.head_norms[0], self.eps)
            k = F.rms_norm(k, (self.head_dim,), weights.head_norms[1], self.eps)
            return _rotate(q, cos, sin), _rotate(k, cos, sin), v
        turning, v = joined.split((self.heads + self.kv_heads, self.kv_heads), dim=1)
        q, k = _rotate(turning, cos, sin).split((self.heads, self.kv_heads), dim=1)
        return q, k, v

    def after_attention(self, layer: int, hidden: Tensor, attended: Tensor) -> Tensor:
        weights = self.weights(layer)
        hidden = weights.out.added(attended, hidden)
        normed = F.rms_norm(hidden, hidden.shape[-1:], weights.second_norm.weight, self.eps)
        gate, up = weights.up(normed).chunk(2, dim=-1)
        return weights.down.added(self.act(gate) * up, hidden)

    def final(self, hidden: Tensor) -> Tensor:
        return F.rms_norm(hidden, hidden.shape[-1:], self.body.norm.weight, self.eps)


class GPT2Trunk(Trunk):
    """GPT-2: layer norms, learned positions, Conv1D projections."""

    def __init__(self, model: nn.Module) -> None:
        config: Any = model.config
        self.body: Any = model
        self.layers, self.heads, self.kv_heads = config.n_layer, config.n_head, config.n_head
        self.head_dim = config.n_embd // config.n_head
        self.eps = config.layer_norm_epsilon
        # Hugging Face spells this activation out in eight elementwise passes; it is torch's tanh-approximated GELU.
        self.gelu = config.activation_function == "gelu_new"
        self.act = ACT2FN[config.activation_function]

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        return F.embedding(ids, self.body.wte.weight) + F.embedding(positions, self.body.wpe.weight)

    def rotary(self, positions: Tensor) -> None:
        return None

    def read_weights(self, layer: int) -> LayerWeights:
        block = self.body.h[layer]
        return LayerWeights(
            Affine(block.ln_1.weight, block.ln_1.bias),
            read(self.adapted, block.attn.c_attn),
            read(self.adapted, block.attn.c_proj),
            Affine(block.ln_2.weight, block.ln_2.bias),
            read(self.adapted, block.mlp.c_fc),
            read(self.adapted, block.mlp.c_proj),
        )

    def qkv(self, layer: int, hidden: Tensor, rotary: Any) -> tuple[Tensor, Tensor, Tensor]:
        weights = self.weights(layer)
        joined = weights.qkv(self._norm(hidden, weights.first_norm))
        q, k, v = joined.view(hidden.shape[0], 3, self.heads, self.head_dim).unbind(1)
        return q, k, v

    def after_attention(self, layer: int, hidden: Tensor, attended: Tensor) -> Tensor:
        weights = self.weights(layer)
        hidden = weights.out.added(attended, hidden)
        normed = self._norm(hidden, weights.second_norm)
        wide = weights.up.gelu(normed) if self.gelu else self.act(weights.up(normed))
        return weights.down.added(wide, hidden)

    def final(self, hidden: Tensor) -> Tensor:
        return self._norm(hidden, Affine(self.body.ln_f.weight, self.body.ln_f.bias))

    def _norm(self, hidden: Tensor, norm: Affine) -> Tensor:
        return F.layer_norm(hidden, hidden.shape[-1:], norm.weight, norm.bias, self.eps)


def trunk_of(body: nn.Module, adapted: bool = True) -> Trunk | None:
    """Our own forward pass for a Hugging Face base model (without head), or None where its shape is not one of ours.

    Args:
        adapted: whether adapters in it count; without them it is the model that they were added to.
    """
    names = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "c_attn", "c_fc", "c_proj")
    projections = [m for name, m in body.named_modules() if name.rsplit(".", 1)[-1] in names]
    # Modules of another kind stand in for a projection: their weights must not be read past them.
    if not all(map(readable, projections)):
        return None
    trunk = _trunk_of_shape(body)
    if trunk is not None:
        trunk.adapted = adapted
    return trunk


def _trunk_of_shape(body: nn.Module) -> Trunk | None:
    config: Any = body.config
    if config.model_type == "gpt2":
        plain = (
            config.scale_attn_weights and not config.scale_attn_by_inverse_layer_idx and not config.add_cross_attention
        )
        return GPT2Trunk(body) if plain else None
    if config.model_type in _LLAMA_LIKE:
        rotary = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
        window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
        fits = window is None or window >= config.max_position_embeddings
        return LlamaTrunk(body) if rotary in _STATIC_ROTARY and fits else None
    return None


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding (Su et al. 2021, section 3.2.2), halves layout: x [N, H, d], cos and sin [N, 1, d]."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin
