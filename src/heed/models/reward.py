"""Reward and value models: a backbone, a pooling of its hidden states, and a scalar head."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from heed.errors import DataError, ModelError, TrainingError
from heed.feedback.kinds import PromptContent
from heed.models.adapters import base_of
from heed.models.batch import TokenBatch, microbatches
from heed.models.cards import CARD, NETWORK, damaged, read_card
from heed.models.components import Components
from heed.models.encoder_decoder import is_encoder_decoder
from heed.models.loading import check_tokenizer, context_length, load_model, load_pretrained
from heed.models.policy import Body, Policy
from heed.models.surroundings import Surroundings
from heed.models.words import WordScorer


class Encoded(NamedTuple):
    """Token ids of one text to score, and the half-open span of its completion in them."""

    ids: tuple[int, ...]
    start: int
    end: int


class ScalarModel(nn.Module):
    """A backbone with a head of one number for each of its hidden states. Used for rewards (pooled) and values (not)."""

    def __init__(self, backbone: Any, seed: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.body = Body(backbone)
        width = backbone.config.hidden_size
        self.head = scalar_head(width, seed).to(next(backbone.parameters()).device)
        self.components: Components | None = None

    def pooled(self, encoded: Sequence[Encoded], pooling: str) -> Tensor:
        """Scores [B] of encoded texts: the head on the mean, or the last, hidden state of each completion.

        Where there are components, the score is their weighted sum.
        """
        if self.components is not None:
            return self.components.reward(self.outputs(encoded, pooling))
        hidden, rows, counts = self._hidden(encoded, pooling)
        # The head is linear, so its mean over tokens is the head of the mean; one number a token is cheaper to sum.
        scores = self.head(hidden)[:, 0].float()
        return scores.new_zeros(len(encoded)).index_add(0, rows, scores) / counts

    def outputs(self, encoded: Sequence[Encoded], pooling: str) -> Tensor:
        """The reward and the outputs of components [B, C] of encoded texts."""
        if self.components is None:
            return self.pooled(encoded, pooling).unsqueeze(1)
        return self.outputs_of(self.states(encoded, pooling))

    def outputs_of(self, states: Tensor) -> Tensor:
        """The same [B, C] from what the heads see of each text [B, D]."""
        own = self.head(states).float()
        more = None if self.components is None else self.components.linear
        return own if more is None else torch.cat([own, more(states).float()], 1)

    def states(self, encoded: Sequence[Encoded], pooling: str) -> Tensor:
        """What the head sees of each text [B, D]."""
        hidden, rows, counts = self._hidden(encoded, pooling)
        return hidden.new_zeros(len(encoded), hidden.shape[1]).index_add(0, rows, hidden).float() / counts[:, None]

    def _hidden(self, encoded: Sequence[Encoded], pooling: str) -> tuple[Tensor, Tensor, Tensor]:
        """The hidden states [K, D] that are pooled, the text of each [K], and how many each text has [B]."""
        device = self.head.weight.device
        batch = TokenBatch.of([e.ids for e in encoded], device)
        spans = [(e.end - 1, e.end) if pooling == "last" else (e.start, e.end) for e in encoded]
        keep = [p for row, (start, end) in enumerate(spans) for p in batch.span(row, start, end)]
        hidden = self.body.hidden(batch, torch.tensor(keep, device=device))
        counts = torch.tensor([end - start for start, end in spans], device=device)
        rows = torch.repeat_interleave(torch.arange(len(spans), device=device), counts)
        return hidden, rows, counts


def scalar_head(width: int, seed: int) -> nn.Linear:
    """A new head [width -> 1], weights of standard deviation 1 / sqrt(width + 1) (Stiennon et al. 2020, appendix B.1)."""
    head = nn.Linear(width, 1)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.weight.copy_(torch.randn(1, width, generator=generator) / (width + 1) ** 0.5)
        head.bias.zero_()
    return head


@dataclass
class RewardModel:
    """Scores completions; the mean of its members, centred and scaled to the reference policy's samples.

    With a word scorer, that has as much to say as all members together: both are brought to the same spread.

    Attributes:
        members: networks of the same shape, fitted from different seeds.
        reader: makes token ids of texts.
        pooling: 'mean' or 'last' of the completion's hidden states.
        mean, std: of the reference policy's raw scores; ``score`` subtracts and divides.
        temperature: divides differences of ``score`` to make calibrated probabilities.
        words: scores the completion's words, beside the members.
        word_scale: multiplies ``words``' scores, so that they spread as the members' mean does.
        card: what else belongs to the model (tie model, accuracy, where it comes from), JSON-able.
        centres: of each member's scores with the words, as ``mean`` is of their mean; empty where it was never measured.
        surroundings: of the training texts.
    """

    members: list[ScalarModel]
    reader: Reader
    pooling: Literal["mean", "last"]
    mean: float = 0.0
    std: float = 1.0
    temperature: float = 1.0
    words: WordScorer | None = None
    word_scale: float = 0.0
    card: dict[str, Any] = field(default_factory=dict)
    centres: list[float] = field(default_factory=list)
    surroundings: Surroundings | None = None

    @classmethod
    def new(
        cls, source: str | Path, pooling: Literal["mean", "last"], members: int, seed: int, device: str = "cpu"
    ) -> RewardModel:
        """Untrained heads on the backbone of a model folder or hub id; decoders and encoders both serve.

        Raises:
            ModelError: it cannot be loaded, or its tokenizer does not fit.
        """
        networks = [ScalarModel(load_backbone(source).to(device), seed * 1_000 + number) for number in range(members)]
        return cls(networks, Reader.load(source, networks[0].backbone), pooling)

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> RewardModel:
        """Load what ``save`` wrote.

        Raises:
            ModelError: the folder is no reward model, or a damaged one.
        """
        folder = Path(folder)
        card = read_card(folder, NETWORK)
        try:
            return cls._of_card(card, folder, device)
        except (OSError, SafetensorError, RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise damaged(folder, error) from error

    @classmethod
    def _of_card(cls, card: dict[str, Any], folder: Path, device: str) -> RewardModel:
        networks = []
        for number in range(card["members"]):
            place = folder / f"member-{number}"
            head = load_file(place / "head.safetensors")  # first: a folder that is missing would be taken for a hub id
            member = ScalarModel(load_backbone(place).to(device), 0)
            member.head.load_state_dict(head)
            if card.get("components"):
                width = member.head.weight.shape[1]
                member.components = Components.load(place, card["components"], width).to(device)
            networks.append(member)
        reader = Reader.load(folder / "member-0", networks[0].backbone)
        words = WordScorer.load(folder) if card.get("words") else None
        numbers = (card["mean"], card["std"], card["temperature"])
        if not (all(map(math.isfinite, numbers)) and min(numbers[1:]) > 0 and card["pooling"] in ("mean", "last")):
            raise ValueError(f"pooling {card['pooling']!r}, mean, std and temperature {numbers} cannot be worked with")
        scale, more = card.get("word_scale", 0.0), card.get("card", {})
        around = Surroundings.load(folder)
        return cls(networks, reader, card["pooling"], *numbers, words, scale, more, card.get("centres", []), around)

    def save(self, folder: Path) -> None:
        """Write the members (Hugging Face folders with a head beside them), the words and ``reward.json``."""
        for number, member in enumerate(self.members):
            place = folder / f"member-{number}"
            member.backbone.save_pretrained(place)
            self.reader.tokenizer.save_pretrained(place)
            save_file({k: v.contiguous() for k, v in member.head.state_dict().items()}, place / "head.safetensors")
            if member.components is not None:
                member.components.save(place)
        if self.words is not None:
            self.words.save(folder)
        numbers = {"mean": self.mean, "std": self.std, "temperature": self.temperature, "word_scale": self.word_scale}
        parts: dict[str, Any] = {"pooling": self.pooling, "members": len(self.members), "words": self.words is not None}
        if (known := self.members[0].components) is not None:
            parts["components"] = [list(part) for part in known.parts]
        if self.surroundings is not None:
            self.surroundings.save(folder)
        card = {**parts, **numbers, "centres": self.centres, "card": self.card}
        (folder / CARD).write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def raw(self, encoded: Sequence[Encoded]) -> Tensor:
        """Scores [B] by the members alone, before centring and scaling: their mean."""
        return torch.stack([member.pooled(encoded, self.pooling) for member in self.members]).mean(0)

    @torch.no_grad()
    def score_encoded(self, encoded: Sequence[Encoded], tokens_per_microbatch: int = 16384) -> Tensor:
        """Centred and scaled scores [N], in standard deviations of the reference policy's samples."""
        raw = self._each(encoded, tokens_per_microbatch).mean(0)
        if self.words is not None and self.word_scale:
            raw = (raw + self.word_scale * self._by_words(encoded)) / 2
        return (raw - self.mean) / self.std

    @torch.no_grad()
    def member_scores_encoded(self, encoded: Sequence[Encoded], tokens_per_microbatch: int = 16384) -> Tensor:
        """Scores [M, N] by each member, with the words; their mean is ``score_encoded``.

        Each is centred by itself: comparisons say nothing about a constant that a member adds to all its scores.
        """
        each = self._each(encoded, tokens_per_microbatch)
        if self.words is not None and self.word_scale:
            each = (each + self.word_scale * self._by_words(encoded)) / 2
        centres = each.new_tensor(self.centres or [self.mean] * len(self.members))
        return (each - centres[:, None]) / self.std

    @torch.no_grad()
    def outside_encoded(
        self, encoded: Sequence[Encoded], tokens_per_microbatch: int = 16384
    ) -> NDArray[np.bool_] | None:
        """Which texts [N] are unlike what it was trained on, by the first member's states; None where it does not know."""
        if self.surroundings is None or not encoded:
            return None
        return self.surroundings.outside(self.states(encoded, tokens_per_microbatch))

    @torch.no_grad()
    def states(self, encoded: Sequence[Encoded], tokens_per_microbatch: int = 16384) -> NDArray[np.float32]:
        """What the first member's head sees of each text [N, D]."""
        pieces = microbatches([len(e.ids) for e in encoded], tokens_per_microbatch)
        made = [self.members[0].states([encoded[row] for row in rows], self.pooling) for rows in pieces]
        found: NDArray[np.float32] = torch.cat(made).cpu().numpy()
        return found

    @torch.no_grad()
    def calibrate_scale(self, encoded: Sequence[Encoded], tokens_per_microbatch: int = 16384) -> None:
        """Centre and scale so that these texts (samples of the reference policy) score mean 0 and deviation 1.

        As in Ziegler et al. 2019, section 2.1 and Stiennon et al. 2020, section 3.4.

        Raises:
            TrainingError: all texts score the same.
        """
        self.mean, self.std = 0.0, 1.0
        each = self._each(encoded, tokens_per_microbatch)
        raw = each.mean(0)
        if self.words is not None:
            told = self._by_words(encoded)
            spread = float(told.std(correction=0))
            self.word_scale = float(raw.std(correction=0)) / spread if spread > 0 else 0.0
            if self.word_scale:
                each, raw = (each + self.word_scale * told) / 2, (raw + self.word_scale * told) / 2
        self.centres = each.mean(1).tolist()
        self.mean, self.std = float(raw.mean()), float(raw.std(correction=0))
        if not self.std > 1e-6:
            raise TrainingError(
                "the reward model gives every completion the same score",
                f"the spread over {len(encoded)} samples of the reference is {self.std:.1g}.",
                "Train it longer or with a higher learning rate, on comparisons that differ.",
            )

    def _each(self, encoded: Sequence[Encoded], tokens_per_microbatch: int) -> Tensor:
        """Scores [M, N] by each member alone."""
        pieces = microbatches([len(e.ids) for e in encoded], tokens_per_microbatch)
        nothing = self.members[0].head.weight.new_zeros(len(self.members), 0)
        made = [
            torch.stack([member.pooled([encoded[row] for row in rows], self.pooling) for member in self.members])
            for rows in pieces
        ]
        return torch.cat([nothing, *made], dim=1)

    def _by_words(self, encoded: Sequence[Encoded]) -> Tensor:
        assert self.words is not None
        texts = [self.reader.tokenizer.decode(e.ids[e.start : e.end], skip_special_tokens=True) for e in encoded]
        weight = self.members[0].head.weight
        return torch.from_numpy(self.words.score(texts)).to(weight.device, torch.float32)

    def score(self, prompts: Sequence[PromptContent], completions: Sequence[str]) -> Tensor:
        """Scores [N] of completions, in standard deviations of the reference policy's samples.

        Raises:
            DataError: a prompt with its completion is longer than the backbone's context.
        """
        return self.score_encoded(self._encode(prompts, completions))

    def member_scores(self, prompts: Sequence[PromptContent], completions: Sequence[str]) -> Tensor:
        """Scores [M, N] by each member; their mean is ``score``."""
        return self.member_scores_encoded(self._encode(prompts, completions))

    def outside(self, prompts: Sequence[PromptContent], completions: Sequence[str]) -> NDArray[np.bool_] | None:
        """Which completions [N] are unlike what it was trained on; None where it does not know."""
        return self.outside_encoded(self._encode(prompts, completions))

    def _encode(self, prompts: Sequence[PromptContent], completions: Sequence[str]) -> list[Encoded]:
        return [self.reader.encode(p, c) for p, c in zip(prompts, completions, strict=True)]

    def parameters(self) -> list[nn.Parameter]:
        return [p for member in self.members for p in member.parameters()]


@dataclass
class Reader:
    """Makes token ids of a prompt and its completion, for decoders and for encoders."""

    tokenizer: Any
    encoder: bool
    context: int
    policy: Policy | None

    @classmethod
    def load(cls, source: str | Path, backbone: Any) -> Reader:
        from transformers import AutoTokenizer

        tokenizer = load_pretrained(AutoTokenizer, source)
        check_tokenizer(backbone, tokenizer, str(source))
        encoder = is_encoder(backbone.config)
        ends = frozenset({tokenizer.eos_token_id} - {None})
        # A policy without a head: only its way of writing prompts and completions as tokens is used.
        context = context_length(backbone.config)
        policy = None if encoder else Policy(backbone, tokenizer, None, ends, context, str(source))  # type: ignore[arg-type]
        if not encoder and not ends:
            raise ModelError(f"{source} has no end-of-text token", "a score would miss the end.", "Set eos_token.")
        return cls(tokenizer, encoder, context, policy)

    def encode(self, prompt: PromptContent, completion: str) -> Encoded:
        """Token ids of a text to score and the span of its completion.

        Raises:
            DataError: it is longer than the context.
        """
        if self.policy is not None:
            return self.join(self.policy.encode_prompt(prompt), self.policy.encode_completion(prompt, completion))
        text = prompt if isinstance(prompt, str) else "\n".join(f"{m.role}: {m.content}" for m in prompt)
        pair = self.tokenizer(text, completion)
        ids, owner = pair["input_ids"], pair.sequence_ids(0)
        mine = [place for place, sequence in enumerate(owner) if sequence == 1]
        return self.checked(Encoded(tuple(ids), min(mine, default=0), max(mine, default=0) + 1))

    def join(self, prompt_ids: Sequence[int], completion_ids: Sequence[int]) -> Encoded:
        """The same from token ids, for a decoder that shares the policy's tokenizer."""
        ids = (*prompt_ids, *completion_ids)
        return self.checked(Encoded(ids, len(prompt_ids), len(ids)))

    def checked(self, encoded: Encoded) -> Encoded:
        if len(encoded.ids) > self.context:
            raise DataError(
                f"a text of {len(encoded.ids)} tokens cannot be scored",
                f"the reward model reads at most {self.context}.",
                "Shorten it, or use a backbone with a longer context.",
            )
        return encoded


def is_encoder(config: Any) -> bool:
    """Whether a backbone reads in both directions (BERT and its kin)."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    if getattr(config, "is_decoder", False) or config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return False
    architectures = getattr(config, "architectures", None) or []
    causal = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
    return causal not in architectures


def load_backbone(source: str | Path) -> Any:
    """A backbone without its head, of a model folder or hub id.

    Raises:
        ModelError: it cannot be loaded.
    """
    from transformers import AutoModel, AutoModelForCausalLM

    # An adapter belongs to a model with its head.
    whole = base_of(source) is not None
    backbone = load_model(AutoModelForCausalLM if whole else AutoModel, source, torch.float32)
    if is_encoder_decoder(backbone.config):
        raise ModelError(
            f"{source} as a reward model",
            "it is an encoder-decoder, whose states belong to what it writes itself.",
            "Take a decoder such as Llama, or an encoder such as BERT.",
        )
    return backbone.base_model if whole else backbone
