"""Forward passes over packed tokens: our own for Llama-like and GPT-2-like shapes, Hugging Face's for all others.

The weights stay in the Hugging Face model, which loads, saves and owns them; a trunk only reads them, so gradients and
optimiser steps land where ``save_pretrained`` finds them. Dropout is always off: a policy's log-probabilities must not
depend on a coin.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.pytorch_utils import Conv1D

from heed.models.batch import TokenBatch, pad_rows, take_rows
from heed.models.linear import linear

_LLAMA_LIKE = {"llama", "mistral", "qwen2", "qwen3"}
# Rotary kinds whose frequencies depend on how long the batch is; those run through Hugging Face's own forward.
_STATIC_ROTARY = {"default", "linear", "llama3"}


class Trunk(ABC):
    """A stack of causal transformer layers, opened up so that training and decoding share the same arithmetic."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    fused: Any = None

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
    def joined_weights(self) -> Any:
        """Weights that decoding reads joined, made once for many steps; None where there is nothing to join."""

    def fuse(self) -> None:
        """Prepare for decoding with the weights as they are now."""
        self.fused = self.joined_weights()

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
        hidden = self.embed(batch.ids, batch.positions)
        rotary = self.rotary(batch.positions)
        for layer in range(self.layers):
            attended = self.attend(batch, *self.qkv(layer, hidden, rotary))
            if keep is not None and layer == self.layers - 1:
                hidden, attended = take_rows(hidden, keep), take_rows(attended, keep)
            hidden = self.after_attention(layer, hidden, attended)
        return self.final(hidden)

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
            piece = pad_rows(take_rows(flat, group.places), group.tokens, batch.ids.numel())
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

    def _weights(self, layer: int) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
        if self.fused is not None:
            fused: tuple[Tensor, Tensor | None, Tensor, Tensor | None] = self.fused[layer]
            return fused
        block = self.body.layers[layer]
        attention, mlp = block.self_attn, block.mlp
        return *_joined(attention.q_proj, attention.k_proj, attention.v_proj), *_joined(mlp.gate_proj, mlp.up_proj)

    def joined_weights(self) -> list[tuple[Tensor, Tensor | None, Tensor, Tensor | None]]:
        self.fused = None
        return [self._weights(layer) for layer in range(self.layers)]

    def qkv(self, layer: int, hidden: Tensor, rotary: Any) -> tuple[Tensor, Tensor, Tensor]:
        block = self.body.layers[layer]
        attention = block.self_attn
        normed = F.rms_norm(hidden, hidden.shape[-1:], block.input_layernorm.weight, self.eps)
        weight, bias, _, _ = self._weights(layer)
        joined = linear(normed, weight, bias).view(hidden.shape[0], -1, self.head_dim)
        cos, sin = rotary
        if hasattr(attention, "q_norm"):
            q, k, v = joined.split((self.heads, self.kv_heads, self.kv_heads), dim=1)
            q = F.rms_norm(q, (self.head_dim,), attention.q_norm.weight, self.eps)
            k = F.rms_norm(k, (self.head_dim,), attention.k_norm.weight, self.eps)
            return _rotate(q, cos, sin), _rotate(k, cos, sin), v
        turning, v = joined.split((self.heads + self.kv_heads, self.kv_heads), dim=1)
        q, k = _rotate(turning, cos, sin).split((self.heads, self.kv_heads), dim=1)
        return q, k, v

    def after_attention(self, layer: int, hidden: Tensor, attended: Tensor) -> Tensor:
        block = self.body.layers[layer]
        out = block.self_attn.o_proj
        hidden = hidden + linear(attended, out.weight, out.bias)
        normed = F.rms_norm(hidden, hidden.shape[-1:], block.post_attention_layernorm.weight, self.eps)
        _, _, weight, bias = self._weights(layer)
        gate, up = linear(normed, weight, bias).chunk(2, dim=-1)
        down = block.mlp.down_proj
        return hidden + linear(self.act(gate) * up, down.weight, down.bias)

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
        name = config.activation_function
        self.act = (lambda x: F.gelu(x, approximate="tanh")) if name == "gelu_new" else ACT2FN[name]

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        return F.embedding(ids, self.body.wte.weight) + F.embedding(positions, self.body.wpe.weight)

    def rotary(self, positions: Tensor) -> None:
        return None

    def joined_weights(self) -> None:
        return None

    def qkv(self, layer: int, hidden: Tensor, rotary: Any) -> tuple[Tensor, Tensor, Tensor]:
        block = self.body.h[layer]
        normed = self._norm(hidden, block.ln_1)
        joined = linear(normed, block.attn.c_attn.weight.t(), block.attn.c_attn.bias)
        q, k, v = joined.view(hidden.shape[0], 3, self.heads, self.head_dim).unbind(1)
        return q, k, v

    def after_attention(self, layer: int, hidden: Tensor, attended: Tensor) -> Tensor:
        block = self.body.h[layer]
        hidden = hidden + linear(attended, block.attn.c_proj.weight.t(), block.attn.c_proj.bias)
        wide = linear(self._norm(hidden, block.ln_2), block.mlp.c_fc.weight.t(), block.mlp.c_fc.bias)
        return hidden + linear(self.act(wide), block.mlp.c_proj.weight.t(), block.mlp.c_proj.bias)

    def final(self, hidden: Tensor) -> Tensor:
        return self._norm(hidden, self.body.ln_f)

    def _norm(self, hidden: Tensor, norm: Any) -> Tensor:
        return F.layer_norm(hidden, hidden.shape[-1:], norm.weight, norm.bias, self.eps)


def trunk_of(body: nn.Module) -> Trunk | None:
    """Our own forward pass for a Hugging Face base model (without head), or None where its shape is not one of ours."""
    config: Any = body.config
    kind = config.model_type
    linear = (nn.Linear, Conv1D)
    names = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "c_attn", "c_fc", "c_proj")
    projections = [m for name, m in body.named_modules() if name.rsplit(".", 1)[-1] in names]
    # An adapter (LoRA) replaces the projections by modules of its own, whose weights we must not read past.
    if not all(type(module) in linear for module in projections):
        return None
    if kind == "gpt2":
        plain = (
            config.scale_attn_weights and not config.scale_attn_by_inverse_layer_idx and not config.add_cross_attention
        )
        return GPT2Trunk(body) if plain else None
    if kind in _LLAMA_LIKE:
        rotary = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
        window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
        fits = window is None or window >= config.max_position_embeddings
        return LlamaTrunk(body) if rotary in _STATIC_ROTARY and fits else None
    return None


def _joined(*projections: Any) -> tuple[Tensor, Tensor | None]:
    weight = torch.cat([p.weight for p in projections])
    bias = None if projections[0].bias is None else torch.cat([p.bias for p in projections])
    return weight, bias


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding (Su et al. 2021, section 3.2.2), halves layout: x [N, H, d], cos and sin [N, 1, d]."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin
