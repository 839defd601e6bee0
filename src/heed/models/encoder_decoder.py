"""Forward passes of encoder-decoders (T5 and its kin): the encoder reads the prompt, the decoder predicts the completion."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from heed.models.batch import TokenBatch, take_rows


def is_encoder_decoder(config: Any) -> bool:
    """Whether a model has an encoder for the prompt beside the decoder that writes."""
    return bool(getattr(config, "is_encoder_decoder", False))


def start_id(config: Any) -> int:
    """The token that a decoder reads before the first of a completion."""
    for name in ("decoder_start_token_id", "bos_token_id", "pad_token_id"):
        if isinstance(getattr(config, name, None), int):
            return int(getattr(config, name))
    return 0


def decoder_states(module: Any, batch: TokenBatch, keep: Tensor | None = None) -> Tensor:
    """The decoder's states in the places of a packed batch [N, D], or at the flat positions ``keep`` [M].

    The last token of each prompt has the state that predicts the completion's first token, and each token of the completion
    that which predicts the next, as in a decoder that reads both; the rest of the prompt has zeros.

    Raises:
        ValueError: the batch does not tell prompts from completions.
    """
    if batch.prompt_lengths is None:
        raise ValueError("an encoder-decoder needs to know where prompts end and completions begin")
    device, start = batch.ids.device, start_id(module.config)
    prompts: list[list[int]] = []
    written: list[list[int]] = []
    places: list[int] = []
    for row, (length, prompt) in enumerate(zip(batch.lengths, batch.prompt_lengths, strict=True)):
        whole = batch.span(row, 0, length)
        tokens = batch.ids[whole.start : whole.stop].tolist()
        prompts.append(tokens[:prompt])
        written.append([start, *tokens[prompt:]])
        places.extend(whole[prompt - 1 :])
    ids, mask = TokenBatch.of(prompts, device).padded("right")
    encoded = module.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
    own, own_mask = TokenBatch.of(written, device).padded("right")
    states = module.get_decoder()(
        input_ids=own, attention_mask=own_mask, encoder_hidden_states=encoded, encoder_attention_mask=mask
    ).last_hidden_state.flatten(0, 1)
    real = take_rows(states, own_mask.flatten().nonzero()[:, 0])
    found = real.new_zeros(batch.ids.numel(), real.shape[1]).index_copy(0, torch.tensor(places, device=device), real)
    return found if keep is None else take_rows(found, keep)
