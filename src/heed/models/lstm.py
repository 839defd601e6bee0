"""heed's own small language model: an LSTM that transformers loads and saves like any other model.

Embedding, LSTM layers, a linear head (Zaremba et al. 2014, "Recurrent Neural Network Regularization", section 3, without its
dropout, which heed never uses). All that it remembers of a text is one state of fixed size, so a token costs the same wherever in
the text it stands. The sequences of a batch run by their lengths: there is no place at which padding could reach a state.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput

from heed.models.batch import TokenBatch, take_rows


@strict
class HeedLstmConfig(PreTrainedConfig):
    """Shape of the model.

    Attributes:
        vocab_size: tokens (count).
        hidden_size: width of embeddings and states.
        num_hidden_layers: LSTM layers (count).
        max_position_embeddings: longest text (tokens). The model has no positions and would read on; this is what it is
            trained and used for, and what heed checks prompts against.
        initializer_range: standard deviation of the weights at the start.
        tie_word_embeddings: whether the head is the embedding (Press and Wolf 2017).
    """

    model_type = "heed_lstm"

    vocab_size: int = 1024
    hidden_size: int = 128
    num_hidden_layers: int = 1
    max_position_embeddings: int = 256
    initializer_range: float = 0.1
    tie_word_embeddings: bool = True
    use_cache: bool = False
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None


class HeedLstmPreTrainedModel(PreTrainedModel):
    """What the model has in common with and without its head."""

    config_class = HeedLstmConfig
    base_model_prefix = "model"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Normal weights; no bias but 1 at the forget gates, so that states last from the start (Jozefowicz et al. 2015,
        "An Empirical Exploration of Recurrent Network Architectures", section 2.2)."""
        if isinstance(module, nn.LSTM):
            for name, parameter in module.named_parameters():
                if name.startswith("weight"):
                    init.normal_(parameter, std=self.config.initializer_range)
                else:
                    init.zeros_(parameter)
                    if name.startswith("bias_ih"):
                        # torch lays the gates out as input, forget, cell, output.
                        init.ones_(parameter[module.hidden_size : 2 * module.hidden_size])
        elif isinstance(module, nn.Embedding | nn.Linear):
            init.normal_(module.weight, std=self.config.initializer_range)


class HeedLstmModel(HeedLstmPreTrainedModel):
    """The model without its head."""

    def __init__(self, config: HeedLstmConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.lstm = nn.LSTM(config.hidden_size, config.hidden_size, config.num_hidden_layers)
        self.post_init()

    def train(self, mode: bool = True) -> HeedLstmModel:
        """As of any module, but the LSTM keeps the mode of training, which cuDNN asks for where there are gradients; without
        dropout both modes compute the same."""
        super().train(mode)
        self.lstm.train()
        return self

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embed_tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.embed_tokens = value

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **unused: Any) -> BaseModelOutput:
        """Hidden states [B, T, D] of ids [B, T]. Where the mask is 0 nothing is read and the state is 0, on either side."""
        real = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        lengths = real.sum(1)
        lengths = lengths[lengths > 0]  # a row of padding alone is no sequence
        out = self.embed_tokens.weight.new_zeros(*input_ids.shape, self.config.hidden_size)
        if len(lengths):
            states, _ = run(self, TokenBatch(input_ids[real], tuple(lengths.tolist())))
            out = out.masked_scatter(real[..., None], states)
        return BaseModelOutput(last_hidden_state=out)


class HeedLstmForCausalLM(HeedLstmPreTrainedModel, GenerationMixin):
    """The model with its head.

    ``generate`` reads the whole text for each token, which is right and slow; heed's own sampling carries the state.
    """

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012 (as transformers reads it)

    def __init__(self, config: HeedLstmConfig) -> None:
        super().__init__(config)
        self.model = HeedLstmModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        return self.lm_head

    def set_output_embeddings(self, value: nn.Linear) -> None:
        self.lm_head = value

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **unused: Any
    ) -> dict[str, Tensor | None]:
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **unused: Any) -> CausalLMOutput:
        """Next-token logits [B, T, V] of ids [B, T]."""
        return CausalLMOutput(logits=self.lm_head(self.model(input_ids, attention_mask).last_hidden_state))


State = tuple[Tensor, Tensor]
"""Hidden and cell states [layers, R, D]."""


def run(model: HeedLstmModel, batch: TokenBatch) -> tuple[Tensor, State]:
    """Hidden states [N, D] of the tokens of a packed batch, and the state of each sequence at its end."""
    device, count = batch.ids.device, len(batch.lengths)
    lengths = torch.tensor(batch.lengths)
    order = lengths.argsort(descending=True, stable=True)
    # torch wants the first tokens of all sequences, then the second ones, and so on, the longest sequence first.
    rank = torch.empty_like(order)
    rank[order] = torch.arange(count)
    positions = batch.positions.cpu()
    places = (positions * count + rank.repeat_interleave(lengths)).argsort()
    back = torch.empty_like(places)
    back[places] = torch.arange(len(places))
    embedded = take_rows(F.embedding(batch.ids, model.embed_tokens.weight), places.to(device))
    packed, (hidden, cell) = model.lstm(PackedSequence(embedded, positions.bincount()))
    restored = rank.to(device)
    return take_rows(packed.data, back.to(device)), (hidden[:, restored], cell[:, restored])


class RecurrentCache:
    """The states [layers, R, D] of the rows still being written."""

    def __init__(self, state: State) -> None:
        self.state = state

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but ``rows``, in ascending order."""
        self.state = (self.state[0][:, rows], self.state[1][:, rows])


class RecurrentTrunk:
    """The LSTM as heed trains it and samples from it: the counterpart of :class:`heed.models.trunk.Trunk`."""

    def __init__(self, model: HeedLstmModel) -> None:
        self.model = model

    def fuse(self) -> None:
        """Nothing to prepare."""

    def release(self) -> None:
        """Nothing to forget."""

    def hidden(self, batch: TokenBatch, keep: Tensor | None = None, recompute: bool = False) -> Tensor:
        """Final hidden states [N, D] of a packed batch, or [M, D] at the flat positions ``keep`` [M]; with ``recompute`` all is
        computed again in the backward pass."""
        if recompute and torch.is_grad_enabled():
            states = checkpoint(lambda: run(self.model, batch)[0], use_reentrant=False)
        else:
            states, _ = run(self.model, batch)
        return states if keep is None else take_rows(states, keep)

    def prefill(self, batch: TokenBatch, samples: int, new_tokens: int) -> tuple[RecurrentCache, Tensor]:
        """Run prompts once; the state of their samples, and the hidden states [R, D] that predict the first tokens."""
        _, (hidden, cell) = run(self.model, batch)
        hidden, cell = (part.repeat_interleave(samples, dim=1) for part in (hidden, cell))
        return RecurrentCache((hidden, cell)), hidden[-1]

    def step(self, cache: RecurrentCache, tokens: Tensor) -> Tensor:
        """Append one token [R] to each row; the hidden states [R, D] that predict the next."""
        out, cache.state = self.model.lstm(F.embedding(tokens, self.model.embed_tokens.weight)[None], cache.state)
        return out[0]


def recurrent_trunk_of(body: nn.Module) -> RecurrentTrunk | None:
    """The LSTM behind a Hugging Face base model; None where an adapter has replaced a part of it."""
    if isinstance(body, HeedLstmModel) and (type(body.lstm), type(body.embed_tokens)) == (nn.LSTM, nn.Embedding):
        return RecurrentTrunk(body)
    return None


AutoConfig.register(HeedLstmConfig.model_type, HeedLstmConfig)
AutoModel.register(HeedLstmConfig, HeedLstmModel)
AutoModelForCausalLM.register(HeedLstmConfig, HeedLstmForCausalLM)
