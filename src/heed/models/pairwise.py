"""Preferences that see both texts: how far the first of two completions leads, and rewards made from that.

A lead f(prompt, a, b) is a log-odds made as g(prompt, a, b) - g(prompt, b, a), so that f(a, b) = -f(b, a) whatever was
learned. Unlike a difference of two scores it can hold what no score can: that a is better than b only where both are short,
or that preferences go round in a circle (Zhang et al. 2024, "Beyond Bradley-Terry Models: A General Preference Model for
Language Model Alignment", section 3).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from heed.errors import DataError
from heed.feedback.kinds import PromptContent, prompt_id
from heed.losses.reward import preference_probabilities
from heed.models.batch import microbatches
from heed.models.cards import CARD, damaged, read_card
from heed.models.features import FeatureCache, FrozenFeatures
from heed.models.reward import Encoded, Reader, ScalarModel, load_backbone
from heed.models.surroundings import Surroundings
from heed.models.text_features import surface

KIND = "pairwise"
Ties = Literal["half", "davidson", "rao_kupper"]
_HEADS, _BACKBONE, _REFERENCES = "heads.safetensors", "backbone", "references.json"
_PAIRS_AT_ONCE = 8192


class Comparer(Protocol):
    """What tells how far the first of two completions leads."""

    def leads(self, prompts: Sequence[PromptContent], first: Sequence[str], second: Sequence[str]) -> Tensor:
        """Log-odds [M, N] of the first completions against the second by each member, without a gradient."""

    def around(self, prompts: Sequence[PromptContent], completions: Sequence[str]) -> NDArray[np.floating]:
        """What surroundings are measured in [N, D]."""

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the weights; what ``load`` must know beside them is returned."""


# A head on features of a frozen backbone


class PairHead(nn.Module):
    """The lead from features [N, D] of the prompt and both texts: a linear score of each, and one hidden layer of all three.

    Starts at 0 everywhere. Features are brought to mean 0 and deviation 1 of the training texts first.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, width: int, hidden: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        scale = (3 * width) ** -0.5
        self.score = nn.Parameter(torch.zeros(width))
        self.inner = nn.Parameter(scale * torch.randn(3 * width, hidden, generator=generator))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.outer = nn.Parameter(torch.zeros(hidden))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))

    def standardise(self, features: Tensor) -> None:
        """Take mean and deviation from these features [N, D]."""
        self.mean.copy_(features.mean(0))
        spread = features.std(0, correction=0)
        self.spread.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))

    def forward(self, prompt: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Leads [N]."""
        prompt, first, second = ((x - self.mean) / self.spread for x in (prompt, first, second))
        both = self._one_way(prompt, first, second) - self._one_way(prompt, second, first)
        return (first - second) @ self.score + both

    def _one_way(self, prompt: Tensor, first: Tensor, second: Tensor) -> Tensor:
        return F.gelu(torch.cat([prompt, first, second], 1) @ self.inner + self.bias) @ self.outer


@dataclass
class FeaturePairs:
    """Heads on frozen features, of length beside the backbone's; the backbone reads each text once."""

    frozen: FrozenFeatures
    heads: list[PairHead]

    def features(
        self, prompts: Sequence[PromptContent], completions: Sequence[str], cache: FeatureCache | None = None
    ) -> Tensor:
        """Features [N, D] of completions, of the backbone and then of their length."""
        vectors = self.frozen.of(prompts, completions, cache).vectors
        made = np.concatenate([vectors, surface("length", completions).astype(np.float32)], axis=1)
        return torch.from_numpy(made).to(self.frozen.device)

    def of_prompts(self, prompts: Sequence[PromptContent], cache: FeatureCache | None = None) -> Tensor:
        """The same of prompts by themselves."""
        alone = FeaturePairs(replace(self.frozen, reads="alone"), [])
        return alone.features([""] * len(prompts), [plain(prompt) for prompt in prompts], cache)

    @torch.no_grad()
    def leads(self, prompts: Sequence[PromptContent], first: Sequence[str], second: Sequence[str]) -> Tensor:
        asked = self.of_prompts(prompts)
        sides = self.features([*prompts, *prompts], [*first, *second])
        return torch.stack([head(asked, sides[: len(first)], sides[len(first) :]) for head in self.heads])

    def around(self, prompts: Sequence[PromptContent], completions: Sequence[str]) -> NDArray[np.floating]:
        found: NDArray[np.floating] = self.features(prompts, completions).cpu().numpy()
        return found

    def save(self, folder: Path) -> dict[str, Any]:
        self.frozen.save(folder / _BACKBONE)
        tensors = {
            f"{n}.{name}": value for n, head in enumerate(self.heads) for name, value in head.state_dict().items()
        }
        save_file({name: value.contiguous() for name, value in tensors.items()}, folder / _HEADS)
        return {"comparer": "features", "reads": self.frozen.reads, "members": len(self.heads)}

    @classmethod
    def load(cls, folder: Path, card: Mapping[str, Any], device: str) -> FeaturePairs:
        tensors = load_file(folder / _HEADS)
        heads = []
        for number in range(card["members"]):
            own = {n.removeprefix(f"{number}."): t for n, t in tensors.items() if n.startswith(f"{number}.")}
            head = PairHead(len(own["score"]), len(own["bias"]), 0)
            head.load_state_dict(own)
            heads.append(head.to(device))
        return cls(FrozenFeatures.load(folder / _BACKBONE, device, card["reads"]), heads)


# A backbone that reads both texts together


class BothWays(NamedTuple):
    """Token ids of two texts in one sequence, the first before the second and the other way round."""

    forth: Encoded
    back: Encoded


@dataclass
class CrossPairs:
    """A backbone that reads the prompt and both texts in one sequence; each of its members is fitted whole.

    Attributes:
        members: networks of the same shape. reader: makes token ids of texts.
    """

    members: list[ScalarModel]
    reader: Reader

    @classmethod
    def new(cls, source: str | Path, members: int, seed: int, device: str = "cpu") -> CrossPairs:
        """Untrained heads on the backbone of a model folder or hub id; decoders and encoders both serve.

        Raises:
            ModelError: it cannot be loaded, or its tokenizer does not fit.
        """
        networks = [ScalarModel(load_backbone(source).to(device), seed * 1_000 + number) for number in range(members)]
        return cls(networks, Reader.load(source, networks[0].backbone))

    def encode(self, prompt: PromptContent, first: str, second: str) -> BothWays:
        """Token ids in both orders; what is pooled begins with the text that stands first.

        Raises:
            DataError: together they are longer than the context.
        """
        a, b = self.reader.encode(prompt, first), self.reader.encode(prompt, second)
        return BothWays(self._joined(a, b), self._joined(b, a))

    def _joined(self, first: Encoded, second: Encoded) -> Encoded:
        # What follows a text in its own frame (an encoder's separator) stays behind it.
        ids = (*first.ids, *second.ids[second.start :])
        return self.reader.checked(Encoded(ids, first.start, len(first.ids) + second.end - second.start))

    def lead(self, member: ScalarModel, pairs: Sequence[BothWays]) -> Tensor:
        """Leads [B] by one member, with a gradient."""
        both = member.pooled([way for pair in pairs for way in pair], "mean").view(-1, 2)
        return both[:, 0] - both[:, 1]

    @torch.no_grad()
    def leads(self, prompts: Sequence[PromptContent], first: Sequence[str], second: Sequence[str]) -> Tensor:
        pairs = [self.encode(*texts) for texts in zip(prompts, first, second, strict=True)]
        pieces = list(microbatches([length_of(pair) for pair in pairs], _PAIRS_AT_ONCE))
        nothing = self.members[0].head.weight.new_zeros(0)
        return torch.stack(
            [
                torch.cat([nothing, *(self.lead(member, [pairs[row] for row in rows]) for rows in pieces)])
                for member in self.members
            ]
        )

    @torch.no_grad()
    def around(self, prompts: Sequence[PromptContent], completions: Sequence[str]) -> NDArray[np.floating]:
        encoded = [self.reader.encode(p, c) for p, c in zip(prompts, completions, strict=True)]
        pieces = microbatches([len(e.ids) for e in encoded], _PAIRS_AT_ONCE)
        made = [self.members[0].states([encoded[row] for row in rows], "mean") for rows in pieces]
        found: NDArray[np.floating] = torch.cat(made).cpu().numpy()
        return found

    def save(self, folder: Path) -> dict[str, Any]:
        for number, member in enumerate(self.members):
            place = folder / f"member-{number}"
            member.backbone.save_pretrained(place)
            self.reader.tokenizer.save_pretrained(place)
            save_file({k: v.contiguous() for k, v in member.head.state_dict().items()}, place / "head.safetensors")
        return {"comparer": "cross", "members": len(self.members)}

    @classmethod
    def load(cls, folder: Path, card: Mapping[str, Any], device: str) -> CrossPairs:
        networks = []
        for number in range(card["members"]):
            place = folder / f"member-{number}"
            head = load_file(place / "head.safetensors")  # first: a folder that is missing would be taken for a hub id
            member = ScalarModel(load_backbone(place).to(device), 0)
            member.head.load_state_dict(head)
            networks.append(member)
        return cls(networks, Reader.load(folder / "member-0", networks[0].backbone))


def length_of(pair: BothWays) -> int:
    """Tokens that a pair costs (count)."""
    return len(pair.forth.ids) + len(pair.back.ids)


# A reward made of leads


@dataclass
class PairwiseReward:
    """Scores a completion by its mean lead over the reference policy's samples of the same prompt.

    Attributes:
        comparer: tells how far one text leads another.
        ties, tie_parameters: the model of ties, and what each member learned of it.
        references: texts of the reference policy by prompt id, at least one a prompt.
        std: leads are divided by this: the deviation of a lead between two samples of the reference, over the root of 2.
        temperature: divides differences of ``score`` to make calibrated probabilities.
        surroundings: of the training texts.
        card: what else belongs to the model, JSON-able.
    """

    comparer: Comparer
    ties: Ties
    tie_parameters: list[float]
    references: dict[str, tuple[str, ...]] = field(default_factory=dict)
    std: float = 1.0
    temperature: float = 1.0
    surroundings: Surroundings | None = None
    card: dict[str, Any] = field(default_factory=dict)

    def leads(self, prompts: Sequence[PromptContent], first: Sequence[str], second: Sequence[str]) -> Tensor:
        """Mean lead [N] of the first completions over the second, in the unit of ``score``; antisymmetric."""
        return self.comparer.leads(prompts, first, second).mean(0) / self.std

    def compare(self, prompts: Sequence[PromptContent], first: Sequence[str], second: Sequence[str]) -> Tensor:
        """Calibrated probabilities [N, 3] that the first is preferred, the second, or neither."""
        each = self.comparer.leads(prompts, first, second) / (self.std * self.temperature)
        told = [preference_probabilities(x, self.ties, p) for x, p in zip(each, self.tie_parameters, strict=True)]
        return torch.stack(told).mean(0)

    def against(self, prompts: Sequence[PromptContent], texts: Sequence[Sequence[str]]) -> None:
        """Take these texts of each prompt as the reference's, in the place of those known of it so far."""
        self.references |= {prompt_id(p): tuple(own) for p, own in zip(prompts, texts, strict=True)}

    def check_prompts(self, prompts: Sequence[PromptContent]) -> None:
        """Raise DataError where no sample of the reference is known for one of them."""
        for prompt in prompts:
            self._of_reference(prompt)

    def member_scores(self, prompts: Sequence[PromptContent], completions: Sequence[str]) -> Tensor:
        """Scores [M, N] by each member; their mean is ``score``.

        Raises:
            DataError: no sample of the reference is known for a prompt, or the texts are too long for the backbone.
        """
        others = [self._of_reference(prompt) for prompt in prompts]
        rows = [row for row, own in enumerate(others) for _ in own]
        if not rows:
            return torch.zeros(len(self.tie_parameters), 0)
        repeated = [prompts[row] for row in rows], [completions[row] for row in rows]
        leads = self.comparer.leads(*repeated, [text for own in others for text in own]) / self.std
        counts = leads.new_tensor([len(own) for own in others])
        place = torch.tensor(rows, device=leads.device)
        return leads.new_zeros(len(leads), len(others)).index_add(1, place, leads) / counts

    def _of_reference(self, prompt: PromptContent) -> tuple[str, ...]:
        found = self.references.get(prompt_id(prompt))
        if not found:
            text = plain(prompt)
            raise DataError(
                f"no sample of the reference for the prompt '{text[:80]}'",
                "this reward tells how much better a text is than the reference's, and needs one to compare with.",
                "Score completions of the prompts it was trained on, or use 'heed train policy', which samples them.",
            )
        return found

    def score(self, prompts: Sequence[PromptContent], completions: Sequence[str]) -> Tensor:
        """Mean leads [N] over the reference's samples, in standard deviations of these. Raises: as ``member_scores``."""
        return self.member_scores(prompts, completions).mean(0)

    def outside(self, prompts: Sequence[PromptContent], completions: Sequence[str]) -> NDArray[np.bool_] | None:
        """Which completions [N] are unlike what it was trained on; None where it does not know."""
        if self.surroundings is None or not completions:
            return None
        return self.surroundings.outside(self.comparer.around(prompts, completions))

    def save(self, folder: Path) -> None:
        """Write the comparer (safetensors), the reference's texts and ``reward.json``."""
        parts = self.comparer.save(folder)
        if self.surroundings is not None:
            self.surroundings.save(folder)
        kept = json.dumps(self.references, ensure_ascii=False, sort_keys=True)
        (folder / _REFERENCES).write_text(kept + "\n", encoding="utf-8")
        card = {"kind": KIND, **parts, "ties": self.ties, "tie_parameters": self.tie_parameters}
        card |= {"std": self.std, "temperature": self.temperature, "card": self.card}
        (folder / CARD).write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> PairwiseReward:
        """Read what ``save`` wrote.

        Raises:
            ModelError: the folder is no pairwise reward, or a damaged one.
        """
        folder = Path(folder)
        card = read_card(folder, KIND)
        try:
            kinds: dict[str, Any] = {"features": FeaturePairs, "cross": CrossPairs}
            comparer = kinds[card["comparer"]].load(folder, card, device)
            known = json.loads((folder / _REFERENCES).read_text(encoding="utf-8"))
            references = {key: tuple(map(str, texts)) for key, texts in known.items()}
            parameters = [float(value) for value in card["tie_parameters"]]
            numbers = float(card["std"]), float(card["temperature"])
            if not (all(map(math.isfinite, numbers)) and min(numbers) > 0 and len(parameters) == card["members"] > 0):
                raise ValueError(f"std and temperature {numbers}, {len(parameters)} tie parameters")
            around = Surroundings.load(folder)
            return cls(comparer, card["ties"], parameters, references, *numbers, around, dict(card["card"]))
        except (OSError, SafetensorError, RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise damaged(folder, error) from error


def plain(prompt: PromptContent) -> str:
    """A prompt as one text, a line for each message."""
    return prompt if isinstance(prompt, str) else "\n".join(f"{m.role}: {m.content}" for m in prompt)
