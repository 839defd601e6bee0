"""Tiny random models and tokenizers, made in memory in milliseconds.

Weights are drawn wide, and biases and norm weights are moved off their initial zeros and ones: a forgotten bias, a
skipped norm or a shifted position then changes the logits by far more than any tolerance.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE, WordPiece
from transformers import PreTrainedTokenizerFast

from heed.models import lstm, small
from heed.models.policy import Policy

END = "<end>"
LETTERS = "abcdefghijklmnop"

_LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 96,
    "initializer_range": 0.25,
    "tie_word_embeddings": False,
}
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 96, "initializer_range": 0.25}
_LSTM = {"hidden_size": 32, "num_hidden_layers": 2, "max_position_embeddings": 96, "initializer_range": 0.5}
_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}

# name -> (transformers' class prefix, settings); these run through heed's own forward pass.
FAST: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", _GPT2),
    "gpt2-relu-inner": ("GPT2", _GPT2 | {"activation_function": "relu", "n_inner": 40}),
    "gpt2-untied": ("GPT2", _GPT2 | {"tie_word_embeddings": False}),
    "llama": ("Llama", _LLAMA),
    "llama-tied": ("Llama", _LLAMA | {"tie_word_embeddings": True}),
    "llama-grouped": ("Llama", _LLAMA | {"num_key_value_heads": 2}),
    "llama-one-key": ("Llama", _LLAMA | {"num_key_value_heads": 1}),
    "llama-biases": ("Llama", _LLAMA | {"attention_bias": True, "mlp_bias": True}),
    "llama-head-dim": ("Llama", _LLAMA | {"head_dim": 12}),
    "llama3-rope": ("Llama", _LLAMA | {"rope_parameters": _LLAMA3_ROPE}),
    "llama-linear-rope": (
        "Llama",
        _LLAMA | {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}},
    ),
    "mistral": ("Mistral", _LLAMA | {"sliding_window": None, "num_key_value_heads": 2}),
    "qwen2": ("Qwen2", _LLAMA | {"num_key_value_heads": 2}),
    "qwen3": ("Qwen3", _LLAMA | {"num_key_value_heads": 2, "head_dim": 8}),
    "lstm": ("HeedLstm", _LSTM),
    "lstm-untied": ("HeedLstm", _LSTM | {"tie_word_embeddings": False, "num_hidden_layers": 1}),
}

_NEOX = {k: v for k, v in _LLAMA.items() if k != "num_key_value_heads"}
FAST |= {
    "gemma": ("Gemma", _LLAMA | {"num_key_value_heads": 1, "head_dim": 12, "tie_word_embeddings": True}),
    "gpt_neox": ("GPTNeoX", _NEOX),
    "gpt_neox-after": ("GPTNeoX", _NEOX | {"use_parallel_residual": False, "hidden_act": "relu"}),
    "gpt_neox-whole-rotary": (
        "GPTNeoX",
        _NEOX | {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0}},
    ),
}

# These have no fast path and go through transformers' own forward pass.
GENERIC: dict[str, tuple[str, dict[str, Any]]] = {
    "opt": (
        "OPT",
        {
            "hidden_size": 32,
            "ffn_dim": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 96,
            "word_embed_proj_dim": 32,
            "init_std": 0.25,
        },
    ),
    "bloom": ("Bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.25}),
    "gemma2": (
        "Gemma2",
        _LLAMA
        | {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 4, "query_pre_attn_scalar": 8}
        | {"final_logit_softcapping": 3.0, "attn_logit_softcapping": 2.0, "tie_word_embeddings": True},
    ),
    "gemma3": (
        "Gemma3",
        _LLAMA
        | {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 4, "query_pre_attn_scalar": 8}
        | {"tie_word_embeddings": True, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "cohere": ("Cohere", _LLAMA | {"logit_scale": 0.5, "tie_word_embeddings": True}),
    "granite": ("Granite", _LLAMA | {"logits_scaling": 2.0}),
    "mistral-window": ("Mistral", _LLAMA | {"sliding_window": 4}),
    "gpt2-inverse-layer": ("GPT2", _GPT2 | {"scale_attn_by_inverse_layer_idx": True}),
    "gpt2-unscaled": ("GPT2", _GPT2 | {"scale_attn_weights": False}),
    "llama-dynamic-rope": (
        "Llama",
        _LLAMA | {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}},
    ),
}


# An encoder for the prompt and a decoder for the completion.
ENCODER_DECODER: dict[str, tuple[str, dict[str, Any]]] = {
    "t5": (
        "T5",
        {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "initializer_factor": 2.0}
        | {"decoder_start_token_id": 0},
    ),
    "bart": (
        "Bart",
        {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4}
        | {"decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "init_std": 0.25}
        | {"max_position_embeddings": 96, "decoder_start_token_id": 0, "forced_eos_token_id": None},
    ),
}


def letter_tokenizer(letters: str = LETTERS) -> PreTrainedTokenizerFast:
    """One token a letter, the end token last; no token but those."""
    return small.letter_tokenizer(letters, END)


def byte_tokenizer(begin: bool = False, merges: tuple[tuple[str, str], ...] = ()) -> PreTrainedTokenizerFast:
    """One token a byte and one for each of ``merges``, the end token and with ``begin`` a start token before each text."""
    symbols = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(BPE(vocab={s: n for n, s in enumerate(symbols)}, merges=list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    extra = {"bos_token": "<begin>"} if begin else {}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, **extra)
    if begin:
        fast.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<begin> $A", special_tokens=[("<begin>", fast.bos_token_id)]
        )
    return fast


def wordpiece_tokenizer() -> PreTrainedTokenizerFast:
    """BERT's frame around single letters: [CLS] text [SEP] or [CLS] first [SEP] second [SEP]."""
    symbols = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    tokenizer = Tokenizer(WordPiece({s: n for n, s in enumerate(symbols)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def causal_model(name: str, vocabulary: int, seed: int = 0, **changes: Any) -> Any:
    """A language model of one of the shapes above, with a head of ``vocabulary`` tokens."""
    kind, settings = (FAST | GENERIC | ENCODER_DECODER)[name]
    special = {"eos_token_id": None, "bos_token_id": None, "pad_token_id": None}
    home = lstm if kind == "HeedLstm" else transformers
    made_by = f"{kind}TextConfig" if kind == "Gemma3" else f"{kind}Config"
    config = getattr(home, made_by)(vocab_size=vocabulary, **(special | settings | changes))
    suffix = "LMHeadModel" if kind == "GPT2" else "ForCausalLM"
    suffix = "ForConditionalGeneration" if name in ENCODER_DECODER else suffix
    return _randomised(getattr(home, f"{kind}{suffix}"), config, seed)


def encoder_model(vocabulary: int, seed: int = 0, initializer_range: float = 0.25) -> Any:
    """A small BERT without a head."""
    config = transformers.BertConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
        initializer_range=initializer_range,
    )
    return _randomised(transformers.BertModel, config, seed)


def _randomised(made_by: Any, config: Any, seed: int) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = made_by(config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def tiny_policy(name: str = "llama", seed: int = 0, letters: str = LETTERS, **changes: Any) -> Policy:
    """A policy over single letters and the end token."""
    tokenizer = letter_tokenizer(letters)
    return Policy.of(causal_model(name, len(tokenizer), seed, **changes), tokenizer, name)


def byte_policy(name: str = "llama", seed: int = 0, begin: bool = False, **changes: Any) -> Policy:
    """A policy over bytes and the end token."""
    tokenizer = byte_tokenizer(begin)
    return Policy.of(causal_model(name, len(tokenizer), seed, **changes), tokenizer, name)


def ragged(lengths: list[int], vocabulary: int, seed: int = 0) -> list[list[int]]:
    """Random token ids of the given lengths, without the last id of the vocabulary, which ends texts."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(vocabulary - 1, (n,), generator=generator).tolist() for n in lengths]
