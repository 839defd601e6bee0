"""Small models to learn and to test with: made in memory in milliseconds, nothing downloaded."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from heed.models.lstm import HeedLstmConfig, HeedLstmForCausalLM
from heed.models.policy import Policy


def letter_tokenizer(letters: str, end: str = "<end>") -> PreTrainedTokenizerFast:
    """One token a letter, the end token last; no token but those."""
    tokenizer = Tokenizer(BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end)


def lstm_policy(
    tokenizer: Any, hidden_size: int = 128, layers: int = 1, context: int = 256, tied: bool = True, seed: int = 0
) -> Policy:
    """A new LSTM language model (:mod:`heed.models.lstm`) for a tokenizer, its weights drawn by ``seed``; ``save`` writes it as a
    folder that every command takes as a model.

    Args:
        hidden_size: width of embeddings and states.
        layers: LSTM layers (count).
        context: longest text (tokens).
        tied: whether the head is the embedding.

    Raises:
        ModelError: the tokenizer has no end token.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = HeedLstmConfig(
            vocab_size=max(tokenizer.get_vocab().values()) + 1,
            hidden_size=hidden_size,
            num_hidden_layers=layers,
            max_position_embeddings=context,
            tie_word_embeddings=tied,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        model = HeedLstmForCausalLM(config)
    return Policy.of(model, tokenizer, "a new LSTM")
