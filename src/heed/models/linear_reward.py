"""A reward that is linear in what can be seen of a text: words, characters, length, style, or a frozen backbone's features.

It is fitted in a second and stands beside every neural reward as the baseline to beat. Where several weightings were
fitted to resamplings of the data, their mean is the score and their spread says how sure it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from heed.errors import ModelError, TrainingError
from heed.feedback.kinds import PromptContent
from heed.models.cards import CARD, damaged, read_card
from heed.models.features import FeatureCache, FrozenFeatures
from heed.models.surroundings import Surroundings
from heed.models.text_features import SURFACE, TfIdf, surface

KIND = "linear"
GRAMS, FROZEN = ("words", "characters"), "frozen"
_WEIGHTS, _VOCABULARY, _BACKBONE = "linear.safetensors", "vocabulary.json", "backbone"

Array: TypeAlias = NDArray[np.float64]
Blocks: TypeAlias = Mapping[str, Any]
"""Features of the same N texts by block: each [N, F], sparse for words and characters."""


@dataclass
class TextBlocks:
    """Makes blocks of features.

    Attributes:
        names: the blocks in their order: of words, characters, length, style, frozen.
        grams: the terms of words and characters.
        frozen: the backbone of the block "frozen".
    """

    names: tuple[str, ...]
    grams: dict[str, TfIdf]
    frozen: FrozenFeatures | None = None
    cut: int = 0

    @classmethod
    def fit(cls, names: Iterable[str], completions: Sequence[str], frozen: FrozenFeatures | None = None) -> TextBlocks:
        """Learn the terms of these texts.

        Raises:
            ModelError: the block "frozen" is asked for without a backbone.
        """
        names = tuple(dict.fromkeys(names))
        if FROZEN in names and frozen is None:
            raise ModelError(
                "no backbone for frozen features",
                "the features are to come from one, and none is named.",
                "Name a model folder or hub id with --model, or leave 'frozen' out of the features.",
            )
        texts = list(dict.fromkeys(completions))
        grams = {name: TfIdf.fit(name, texts) for name in GRAMS if name in names}  # type: ignore[arg-type]
        return cls(names, grams, frozen if FROZEN in names else None)

    def of(
        self,
        prompts: Sequence[PromptContent],
        completions: Sequence[str],
        cache: FeatureCache | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        """The blocks of completions; only "frozen", and only where it reads in context, sees the prompt.

        Raises:
            DataError: a text is too long for a backbone that reads in context.
        """
        made: dict[str, Any] = {}
        for name in self.names:
            if name in self.grams:
                made[name] = self.grams[name].transform(completions)
            elif name in SURFACE:
                made[name] = surface(name, completions)
            else:
                assert self.frozen is not None
                found = self.frozen.of(prompts, completions, cache, progress)
                self.cut += int(found.cut.sum())
                made[name] = found.vectors
        return made

    def around(self, blocks: Blocks, completions: Sequence[str]) -> Array:
        """What surroundings are measured in [N, D]: the frozen features, else length, style and the share of new words."""
        if FROZEN in blocks:
            return np.asarray(blocks[FROZEN], dtype=np.float64)
        parts = [blocks[name] if name in blocks else surface(name, completions) for name in SURFACE]
        parts += [self.grams[name].unknown(completions)[:, None] for name in GRAMS[:1] if name in self.grams]
        return np.concatenate(parts, axis=1)

    def save(self, folder: Path) -> dict[str, Array]:
        """Write terms and backbone; the rest, for the file of weights, is returned."""
        terms = {name: grams.vocabulary for name, grams in self.grams.items()}
        (folder / _VOCABULARY).write_text(json.dumps(terms, ensure_ascii=False) + "\n", encoding="utf-8")
        if self.frozen is not None:
            self.frozen.save(folder / _BACKBONE)
        return {f"idf.{name}": grams.idf for name, grams in self.grams.items()}

    @classmethod
    def load(cls, folder: Path, card: Mapping[str, Any], tensors: Mapping[str, Array], device: str) -> TextBlocks:
        """Read what ``save`` wrote.

        Raises:
            ValueError, OSError, LookupError: something is missing or does not fit together.
        """
        names = tuple(map(str, card["blocks"]))
        terms = json.loads((folder / _VOCABULARY).read_text(encoding="utf-8"))
        grams = {name: TfIdf(name, tuple(terms[name]), tensors[f"idf.{name}"]) for name in GRAMS if name in names}  # type: ignore[arg-type]
        for name, found in grams.items():
            if len(found.vocabulary) != len(found.idf):
                raise ValueError(f"{len(found.vocabulary)} {name}, {len(found.idf)} idf")
        if unknown := set(names) - {*GRAMS, *SURFACE, FROZEN}:
            raise ValueError(f"blocks {sorted(unknown)}")
        frozen = FrozenFeatures.load(folder / _BACKBONE, device, card["reads"]) if FROZEN in names else None
        return cls(names, grams, frozen)


@dataclass
class LinearReward:
    """Weights on blocks of features, one column a member; scores are centred and scaled to the reference's samples.

    Attributes:
        blocks: makes the features.
        weights: by block, [F, M].
        centres: [M], each member's mean over the reference's samples; std: the deviation of their mean there.
        temperature: divides differences of ``score`` to make calibrated probabilities.
        surroundings: of the training texts.
        card: what else belongs to the model, JSON-able.
    """

    blocks: TextBlocks
    weights: dict[str, Array]
    centres: Array
    std: float = 1.0
    temperature: float = 1.0
    surroundings: Surroundings | None = None
    card: dict[str, Any] = field(default_factory=dict)

    def raw(self, blocks: Blocks) -> Array:
        """Scores [N, M] by each member, before centring and scaling."""
        found: Array = sum(np.asarray(blocks[name] @ weights) for name, weights in self.weights.items())  # type: ignore[assignment]
        return found

    def calibrate_scale(self, blocks: Blocks) -> None:
        """Centre and scale so that these texts score mean 0 and deviation 1, each member centred by itself.

        Raises:
            TrainingError: all texts score the same.
        """
        raw = self.raw(blocks)
        self.centres, self.std = raw.mean(0), float(raw.mean(1).std())
        if not self.std > 1e-9:
            raise TrainingError(
                "the linear reward gives every completion the same score",
                f"the spread over {len(raw)} texts is {self.std:.1g}.",
                "Collect more comparisons, of completions that differ in what the features see.",
            )

    def scores_of(self, blocks: Blocks) -> Array:
        """Scores [M, N] by each member, centred and scaled."""
        found: Array = ((self.raw(blocks) - self.centres) / self.std).T
        return found

    def member_scores(self, prompts: Sequence[PromptContent], completions: Sequence[str]) -> Tensor:
        """Scores [M, N] by each member; their mean is ``score``."""
        if not completions:
            return torch.zeros(len(self.centres), 0)
        return torch.from_numpy(np.ascontiguousarray(self.scores_of(self.blocks.of(prompts, completions)))).float()

    def score(self, prompts: Sequence[PromptContent], completions: Sequence[str]) -> Tensor:
        """Scores [N] of completions, in standard deviations of the reference policy's samples."""
        return self.member_scores(prompts, completions).mean(0)

    def outside(self, prompts: Sequence[PromptContent], completions: Sequence[str]) -> NDArray[np.bool_] | None:
        """Which completions [N] are unlike what it was trained on; None where it does not know."""
        if self.surroundings is None or not completions:
            return None
        return self.surroundings.outside(self.blocks.around(self.blocks.of(prompts, completions), completions))

    def telling(self, count: int) -> dict[str, list[tuple[str, float]]]:
        """By block with named features, those of the largest weights (mean of the members), raising ones first."""
        named = {name: grams.vocabulary for name, grams in self.blocks.grams.items()}
        named |= {name: SURFACE[name][1] for name in SURFACE if name in self.weights}
        told = {}
        for name, features in named.items():
            weights = self.weights[name].mean(1)
            order = sorted(np.argsort(-np.abs(weights))[:count].tolist(), key=lambda i: -weights[i])
            told[name] = [(features[i], float(weights[i])) for i in order if weights[i]]
        return told

    def save(self, folder: Path) -> None:
        """Write the weights (safetensors), the terms (JSON), the backbone if there is one, and ``reward.json``."""
        tensors = self.blocks.save(folder)
        tensors |= {f"weights.{name}": np.ascontiguousarray(weights) for name, weights in self.weights.items()}
        save_file({**tensors, "centres": self.centres}, folder / _WEIGHTS)
        if self.surroundings is not None:
            self.surroundings.save(folder)
        reads = None if self.blocks.frozen is None else self.blocks.frozen.reads
        card: dict[str, Any] = {"kind": KIND, "blocks": self.blocks.names, "reads": reads, "std": self.std}
        card |= {"temperature": self.temperature, "card": self.card}
        (folder / CARD).write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> LinearReward:
        """Read what ``save`` wrote.

        Raises:
            ModelError: the folder is no linear reward, or a damaged one.
        """
        folder = Path(folder)
        card = read_card(folder, KIND)
        try:
            tensors = load_file(folder / _WEIGHTS)
            blocks = TextBlocks.load(folder, card, tensors, device)
            weights = {name: tensors[f"weights.{name}"] for name in blocks.names}
            made = cls(blocks, weights, tensors["centres"], float(card["std"]), float(card["temperature"]))
            made.surroundings, made.card = Surroundings.load(folder), dict(card["card"])
            made._check()
        except (OSError, SafetensorError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise damaged(folder, error) from error
        return made

    def _check(self) -> None:
        if not (math.isfinite(self.std) and math.isfinite(self.temperature) and min(self.std, self.temperature) > 0):
            raise ValueError(f"std {self.std} and temperature {self.temperature} cannot be worked with")
        for name, weights in self.weights.items():
            width = len(self.blocks.grams[name].idf) if name in self.blocks.grams else len(weights)
            if weights.shape != (width, len(self.centres)) or not np.isfinite(weights).all():
                raise ValueError(f"weights of {name} are {weights.shape}, with {len(self.centres)} members")
