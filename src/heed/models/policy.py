"""A policy: a causal language model with its tokenizer, and the log-probabilities of what it writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from heed.errors import DataError, ModelError
from heed.feedback.kinds import Message, PromptContent
from heed.models.adapters import save_adapter
from heed.models.batch import TokenBatch, rounded_rows, take_rows
from heed.models.encoder_decoder import decoder_states, is_encoder_decoder, start_id
from heed.models.linear import linear
from heed.models.loading import (
    check_tokenizer,
    context_length,
    hub_in_reach,
    language_model,
    load_model,
    load_pretrained,
    load_quantized,
    root_of,
)
from heed.models.recomputing import layers_that_recompute
from heed.models.shapes import trunk_of
from heed.texts import cut, shown

# Logits of more than this many numbers are computed in pieces and again in the backward pass, instead of being kept.
_LOGITS_AT_ONCE = 32 * 1024 * 1024
_DECODE_CONTEXT = 8
_REASON_SHOWN, _TURNS_SHOWN = 400, 6


class Body:
    """A transformer without its head: packed tokens in, hidden states out. ``fast`` says which forward pass runs.

    Args:
        switched_off: PEFT's handle on an adapter inside the module that does not count here.

    Attributes:
        dtype: in which products are computed, where it is not that of the weights.
        recompute: compute activations again in the backward pass instead of keeping them (gradient checkpointing).
    """

    dtype: torch.dtype | None = None
    recompute: bool = False

    def __init__(self, module: nn.Module, switched_off: Any = None) -> None:
        self.module = module.eval()
        self.switched_off = switched_off
        self.trunk = trunk_of(module, adapted=switched_off is None)
        self.fast = self.trunk is not None

    def hidden(self, batch: TokenBatch, keep: Tensor | None = None) -> Tensor:
        """Final hidden states [N, D] of a batch of N tokens, or [M, D] at the flat positions ``keep`` [M]."""
        if self.trunk is not None:
            with self.computing():
                return self.trunk.hidden(batch, keep, self.recompute)
        layers = layers_that_recompute(self.module) if self.recompute and torch.is_grad_enabled() else nullcontext()
        if is_encoder_decoder(self.module.config):
            with self.as_meant(), layers:
                return decoder_states(self.module, batch, keep)
        ids, mask = batch.padded("right")
        with self.as_meant(), layers:
            states = self.module(input_ids=ids, attention_mask=mask).last_hidden_state.flatten(0, 1)
        real = mask.flatten().nonzero()[:, 0]
        return take_rows(states, real if keep is None else real[keep])

    def computing(self) -> AbstractContextManager[Any]:
        """Products in the numbers that they are to be computed in."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(next(self.module.parameters()).device.type, dtype=self.dtype)

    @contextmanager
    def as_meant(self) -> Iterator[None]:
        """For passes of the Hugging Face model itself: that, and the adapter that does not count here is off."""
        off = nullcontext() if self.switched_off is None else self.switched_off.disable_adapter()
        with self.computing(), off:
            yield


@dataclass
class Policy:
    """A language model, its tokenizer, and what ends its texts.

    Attributes:
        model: the Hugging Face model that owns the weights.
        body: its transformer, for packed batches.
        end_ids: token ids that end a completion.
        context: longest sequence the model takes (tokens).
        source: where it was loaded from.
        encoder_decoder: whether an encoder reads the prompt, and the decoder only what it has written itself.
        adapter: PEFT's handle on the adapter that is trained in place of the model's weights, where there is one.
    """

    model: Any
    tokenizer: Any
    body: Body
    end_ids: frozenset[int]
    context: int
    source: str
    encoder_decoder: bool = False
    adapter: Any = None

    @classmethod
    def load(
        cls, source: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32, quantization: str = "none"
    ) -> Policy:
        """Load a model folder or a hub id; an adapter's folder as its base with the adapter merged. Only safetensors are read.

        Raises:
            ModelError: no such model, no tokenizer, a tokenizer that does not fit, no end-of-text token.
        """
        from transformers import AutoTokenizer

        loader = language_model(source)
        if quantization == "none":
            model = load_model(loader, source, dtype).to(device)
        else:
            model = load_quantized(loader, source, quantization, device)
        tokenizer = load_pretrained(AutoTokenizer, source)
        return cls.of(model, tokenizer, str(source))

    @classmethod
    def of(cls, model: Any, tokenizer: Any, source: str = "memory") -> Policy:
        """Wrap a model and a tokenizer that are already in memory, after checking that they fit together.

        Raises:
            ModelError: see ``load``.
        """
        check_tokenizer(model, tokenizer, source)
        ends = _end_ids(model, tokenizer)
        if not ends:
            raise ModelError(
                f"{source} has no end-of-text token",
                "a completion could never end.",
                "Set tokenizer.eos_token (for example with tokenizer.add_special_tokens) and save the folder again.",
            )
        for parameter in model.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        both = is_encoder_decoder(model.config)
        policy = cls(model, tokenizer, Body(model.base_model), ends, context_length(model.config), source, both)
        policy._check_head()
        return policy

    @classmethod
    def without_weights(cls, source: str | Path) -> Policy:
        """Only the side of a policy that reads and writes texts: for prompts to be measured before weights are loaded.

        Raises:
            ModelError: no such model, or no tokenizer.
        """
        from transformers import AutoConfig, AutoTokenizer, GenerationConfig

        tokenizer = load_pretrained(AutoTokenizer, source)
        config = load_pretrained(AutoConfig, root_of(source))
        try:
            with hub_in_reach(root_of(source)):
                listed = GenerationConfig.from_pretrained(str(root_of(source))).eos_token_id
        except (OSError, ValueError):  # most folders have none, and then the tokenizer's own end is all there is
            listed = None
        ends = frozenset({tokenizer.eos_token_id, *(listed if isinstance(listed, list) else [listed])} - {None})
        both = is_encoder_decoder(config)
        return cls(None, tokenizer, None, ends, context_length(config), str(source), both)  # type: ignore[arg-type]

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _check_head(self) -> None:
        """Some architectures change the logits after the head; our log-probabilities would be wrong for those."""
        if self.body.fast:
            return
        batch = TokenBatch.of([sorted(self.end_ids)[:1] * 3], self.device, [1])
        ids = batch.ids[None]
        inputs = {"input_ids": ids}
        if self.encoder_decoder:
            first = ids.new_tensor([[start_id(self.model.config)]])
            inputs = {"input_ids": ids[:, :1], "decoder_input_ids": torch.cat([first, ids[:, 1:]], dim=1)}
        with torch.no_grad():
            theirs = self.model(**inputs).logits[0].float()
            ours = self.logits(self.body.hidden(batch)).float()
        if ours.shape != theirs.shape or not torch.allclose(ours, theirs, atol=1e-2, rtol=1e-2):
            raise ModelError(
                f"{self.source} ({self.model.config.model_type}) is not supported",
                "its logits are not what its head makes of its last hidden states, scaled or capped.",
                "Use an architecture whose head is a linear layer.",
            )

    def logits(self, hidden: Tensor) -> Tensor:
        """Next-token logits [M, V] of final hidden states [M, D]."""
        head, config = self.model.get_output_embeddings(), self.model.config
        with self.body.computing():
            logits = linear(hidden, head.weight, getattr(head, "bias", None))
        if (scale := self.logit_scale) != 1.0:
            logits = logits * scale
        cap = getattr(config, "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)

    @property
    def logit_scale(self) -> float:
        """What the head's outputs are multiplied by: Cohere multiplies, Granite divides, T5 divides where its head is its
        embedding."""
        config = self.model.config
        if getattr(config, "scale_decoder_outputs", False):
            return float(config.d_model**-0.5)
        return float(getattr(config, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0))

    def encode_prompt(self, content: PromptContent) -> list[int]:
        """Token ids of a prompt: a text with the tokenizer's own special tokens, messages by its chat template.

        Raises:
            DataError: the prompt has no tokens. ModelError: messages, but the tokenizer has no chat template.
        """
        if isinstance(content, str):
            ids = self.tokenizer(content)["input_ids"]
        else:
            ids = self.tokenizer(self.render(content), add_special_tokens=False)["input_ids"]
        if not ids:
            raise DataError(
                f"an empty prompt: {shown(self.render(content))}",
                "the tokenizer makes no token of it.",
                "Remove it, or give it a text that the model's tokenizer knows.",
            )
        return [int(i) for i in ids]

    def render(self, content: PromptContent) -> str:
        """A prompt as the one text that the tokenizer reads."""
        return content if isinstance(content, str) else self.written(content, add_generation_prompt=True)

    def written(self, content: Sequence[Message], add_generation_prompt: bool) -> str:
        """A conversation as its chat template writes it, with what asks for an answer behind it or without.

        Raises:
            ModelError: there is no template. DataError: it refuses the conversation.
        """
        if not self.tokenizer.chat_template:
            raise ModelError(
                f"{self.source} has no chat template",
                "the prompts are conversations, and nothing says how to write one as text.",
                "Use prompts that are plain texts, or a model whose tokenizer has a chat template.",
            )
        messages = [{"role": m.role, "content": m.content} for m in content]
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=add_generation_prompt
                )
            )
        except Exception as error:  # a template is a program, and may fail as one
            raise DataError(
                f"a conversation of {', '.join(m.role for m in content[:_TURNS_SHOWN])}",
                f"the chat template of {self.source} refuses it: {cut(str(error), _REASON_SHOWN)}.",
                "Bring the prompts into the form that this model knows, for example without a system message.",
            ) from error

    def encode_completion(self, content: PromptContent, text: str, end: bool = True) -> list[int]:
        """Token ids of a completion as the model would have continued the prompt, with an end token if ``end``.

        Tokenised together with the prompt, because many tokenizers mark the start of a text; where that would change
        the prompt's own tokens, the completion is tokenised by itself; so it is where the prompt has an encoder of its own.
        """
        ids = None if self.encoder_decoder else self._continued(content, text)
        if ids is None:
            ids = [int(i) for i in self.tokenizer(text, add_special_tokens=False)["input_ids"]]
        while ids and ids[-1] in self.end_ids:
            ids.pop()
        return [*ids, self.end_id] if end else ids

    def _continued(self, content: PromptContent, text: str) -> list[int] | None:
        """Token ids of ``text`` tokenised together with the prompt; None where the prompt's own tokens would be others."""
        prompt = self.encode_prompt(content)
        joint = self.tokenizer(self.render(content) + text, add_special_tokens=isinstance(content, str))["input_ids"]
        return [int(i) for i in joint[len(prompt) :]] if list(joint[: len(prompt)]) == prompt else None

    @property
    def end_id(self) -> int:
        """The end token that training teaches."""
        own = self.tokenizer.eos_token_id
        return own if own in self.end_ids else min(self.end_ids)

    def decode(self, prompt_ids: Sequence[int], ids: Sequence[int]) -> str:
        """Text of completion ``ids`` as it continues the prompt: leading spaces stay, special tokens go."""
        if self.encoder_decoder:
            prompt_ids = []
        context = list(prompt_ids[-_DECODE_CONTEXT:])
        before = self.tokenizer.decode(context, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        whole = self.tokenizer.decode([*context, *ids], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        if whole.startswith(before):
            return str(whole[len(before) :])
        # The completion finishes a character that the prompt leaves in the middle.
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def check_prompt(self, ids: Sequence[int], max_new_tokens: int, name: str) -> None:
        """Raise DataError where a prompt and its completion would not fit the model's context."""
        if len(ids) + max_new_tokens > self.context:
            raise DataError(
                f"{name} has {len(ids)} tokens",
                f"with {max_new_tokens} new tokens that is more than the model's context of {self.context}.",
                "Shorten the prompt or lower max_new_tokens.",
            )

    def save(self, folder: Path) -> None:
        """Write model and tokenizer as a Hugging Face folder (safetensors); where there is an adapter, that in the model's place."""
        if self.adapter is None:
            self.model.save_pretrained(folder)
        else:
            save_adapter(self, folder)
        self.tokenizer.save_pretrained(folder)

    def parameters(self) -> list[nn.Parameter]:
        return list(self.model.parameters())


class TokenScores(NamedTuple):
    """Of each completion token [M]: its log-probability, and the entropy (nats) of the distribution it came from."""

    logprobs: Tensor
    entropy: Tensor | None


def token_scores(
    policy: Policy,
    hidden: Tensor,
    targets: Tensor,
    temperature: float = 1.0,
    with_entropy: bool = False,
    head: nn.Linear | None = None,
) -> TokenScores:
    """Log-probabilities of ``targets`` [M] under the final hidden states [M, D] that predict them.

    Large vocabularies are taken in pieces that are computed again in the backward pass, so that the logits [M, V] never
    stand in memory whole. ``head`` maps hidden states to logits in place of the policy's own.
    """

    def piece(rows: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        logits = (policy.logits(rows) if head is None else linear(rows, head.weight, head.bias)).float()
        if temperature != 1.0:
            logits = logits / temperature
        chosen = -F.cross_entropy(logits, tokens, reduction="none")
        if not with_entropy:
            return chosen, chosen.detach()
        log_p = F.log_softmax(logits, dim=-1)
        return chosen, -(log_p.exp() * log_p).sum(-1)

    wanted, extra = targets.numel(), rounded_rows(targets.numel(), hidden.device) - targets.numel()
    if extra:
        hidden, targets = F.pad(hidden, (0, 0, 0, extra)), F.pad(targets, (0, extra))
    at_once = logits_at_once(policy.model.get_output_embeddings().weight.shape[0])
    if targets.numel() <= at_once:
        logprobs, entropy = piece(hidden, targets)
    else:
        pieces = [
            checkpoint(piece, rows, tokens, use_reentrant=False)
            for rows, tokens in zip(hidden.split(at_once), targets.split(at_once), strict=True)
        ]
        logprobs, entropy = (torch.cat(parts) for parts in zip(*pieces, strict=True))
    return TokenScores(logprobs[:wanted], entropy[:wanted] if with_entropy else None)


def logits_at_once(vocabulary: int) -> int:
    """For how many positions logits may stand in memory together (count)."""
    return max(1, _LOGITS_AT_ONCE // vocabulary)


@dataclass(frozen=True)
class Continuations:
    """A packed batch of prompts with their completions, and where the completions are predicted.

    Attributes:
        batch: prompt and completion tokens, one sequence a row.
        predictors: flat positions [M] of the states that predict the completion tokens, row by row.
        targets: the completion tokens [M].
        rows: the row of each completion token [M]; columns: its place in the completion [M].
        width: length of the longest completion (tokens).
    """

    batch: TokenBatch
    predictors: Tensor
    targets: Tensor
    rows: Tensor
    columns: Tensor
    width: int

    @classmethod
    def of(
        cls, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], device: torch.device | str = "cpu"
    ) -> Continuations:
        """Lay out prompts and completions (token ids); every prompt and completion has at least one token."""
        # A completion's last token predicts nothing that is needed, so it is left out of the forward pass.
        joined = [[*p, *c[:-1]] for p, c in zip(prompts, completions, strict=True)]
        batch = TokenBatch.of(joined, device, [len(p) for p in prompts])
        predictors = [
            position
            for row, (p, c) in enumerate(zip(prompts, completions, strict=True))
            for position in batch.span(row, len(p) - 1, len(p) - 1 + len(c))
        ]
        counts = torch.tensor([len(c) for c in completions])
        rows = torch.repeat_interleave(torch.arange(len(completions)), counts)
        columns = torch.cat([torch.arange(int(count)) for count in counts])
        targets = [token for completion in completions for token in completion]
        where, what = (torch.tensor(values, dtype=torch.long, device=device) for values in (predictors, targets))
        return cls(batch, where, what, rows.to(device), columns.to(device), int(counts.max()))

    def grid(self, values: Tensor) -> Tensor:
        """Values of completion tokens [M] as [rows, width], 0 beyond each completion's end."""
        places = self.rows * self.width + self.columns
        padded = values.new_zeros(len(self.batch.lengths) * self.width).index_copy(0, places, values)
        return padded.view(len(self.batch.lengths), self.width)


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    listed = getattr(model.generation_config, "eos_token_id", None)
    ids = {tokenizer.eos_token_id, *(listed if isinstance(listed, list) else [listed])}
    known = model.get_input_embeddings().weight.shape[0]
    return frozenset(i for i in ids if isinstance(i, int) and 0 <= i < known)
