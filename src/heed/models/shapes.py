"""The shapes that have a forward pass of our own: Llama and its kin, Gemma, GPT-2 and GPT-NeoX. All others take Hugging Face's."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import ACT2FN

from heed.models.affine import Affine, read, readable
from heed.models.lstm import HeedLstmConfig, RecurrentTrunk, recurrent_trunk_of
from heed.models.trunk import LayerWeights, Trunk

_LLAMA_LIKE = {"llama", "mistral", "qwen2", "qwen3"}
# Rotary kinds whose frequencies depend on how long the batch is; those run through Hugging Face's own forward.
_STATIC_ROTARY = {"default", "linear", "llama3"}
_PROJECTIONS = {
    *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    *("c_attn", "c_fc", "c_proj"),
    *("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
}


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


class GemmaTrunk(LlamaTrunk):
    """Gemma: Llama with scaled embeddings, and norms whose weights are what they differ from 1 by."""

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        embedding = self.body.embed_tokens
        return super().embed(ids, positions) * embedding.embed_scale.to(embedding.weight.dtype)

    def read_weights(self, layer: int) -> LayerWeights:
        weights = super().read_weights(layer)
        first, second = (Affine(1 + norm.weight, None) for norm in (weights.first_norm, weights.second_norm))
        return weights._replace(first_norm=first, second_norm=second)

    def final(self, hidden: Tensor) -> Tensor:
        return F.rms_norm(hidden, hidden.shape[-1:], 1 + self.body.norm.weight, self.eps)


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


class NeoXTrunk(Trunk):
    """GPT-NeoX and Pythia: layer norms, positions rotated in a part of each head, feed-forward beside the attention or after it."""

    def __init__(self, model: nn.Module) -> None:
        config: Any = model.config
        self.body: Any = model
        self.layers, self.heads = config.num_hidden_layers, config.num_attention_heads
        self.kv_heads, self.head_dim = self.heads, config.hidden_size // self.heads
        self.eps = config.layer_norm_eps
        self.act = ACT2FN[config.hidden_act]
        self.beside = config.use_parallel_residual

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        return F.embedding(ids, self.body.embed_in.weight)

    def rotary(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = self.body.rotary_emb(self.body.embed_in.weight, positions[None])
        return cos[0, :, None, :], sin[0, :, None, :]

    def read_weights(self, layer: int) -> LayerWeights:
        block = self.body.layers[layer]
        return LayerWeights(
            Affine(block.input_layernorm.weight, block.input_layernorm.bias),
            read(self.adapted, block.attention.query_key_value),
            read(self.adapted, block.attention.dense),
            Affine(block.post_attention_layernorm.weight, block.post_attention_layernorm.bias),
            read(self.adapted, block.mlp.dense_h_to_4h),
            read(self.adapted, block.mlp.dense_4h_to_h),
        )

    def qkv(self, layer: int, hidden: Tensor, rotary: Any) -> tuple[Tensor, Tensor, Tensor]:
        weights = self.weights(layer)
        joined = weights.qkv(self._norm(hidden, weights.first_norm))
        q, k, v = joined.view(hidden.shape[0], self.heads, 3 * self.head_dim).chunk(3, dim=-1)
        return _rotate(q, *rotary), _rotate(k, *rotary), v

    def after_attention(self, layer: int, hidden: Tensor, attended: Tensor) -> Tensor:
        weights = self.weights(layer)
        after = weights.out.added(attended, hidden)
        normed = self._norm(hidden if self.beside else after, weights.second_norm)
        return weights.down.added(self.act(weights.up(normed)), after)

    def final(self, hidden: Tensor) -> Tensor:
        return self._norm(hidden, Affine(self.body.final_layer_norm.weight, self.body.final_layer_norm.bias))

    def _norm(self, hidden: Tensor, norm: Affine) -> Tensor:
        return F.layer_norm(hidden, hidden.shape[-1:], norm.weight, norm.bias, self.eps)


def trunk_of(body: nn.Module, adapted: bool = True) -> Trunk | RecurrentTrunk | None:
    """Our own forward pass for a Hugging Face base model (without head), or None where its shape is not one of ours.

    Args:
        adapted: whether adapters in it count; without them it is the model that they were added to.
    """
    config: Any = body.config
    if config.model_type == HeedLstmConfig.model_type:
        return recurrent_trunk_of(body)
    projections = [m for name, m in body.named_modules() if name.rsplit(".", 1)[-1] in _PROJECTIONS]
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
    rotary = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if rotary not in _STATIC_ROTARY:
        return None
    if config.model_type == "gpt_neox":
        return NeoXTrunk(body)
    if config.model_type == "gemma":
        return None if getattr(config, "use_bidirectional_attention", None) else GemmaTrunk(body)
    if config.model_type in _LLAMA_LIKE:
        window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
        fits = window is None or window >= config.max_position_embeddings
        return LlamaTrunk(body) if fits else None
    return None


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding (Su et al. 2021, section 3.2.2), halves layout: x [N, H, d], cos and sin [N, 1, r]. Where r < d,
    the rest of the d numbers stays as it is."""
    if (turned := cos.shape[-1]) < x.shape[-1]:
        return torch.cat((_rotate(x[..., :turned], cos, sin), x[..., turned:]), dim=-1)
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin
