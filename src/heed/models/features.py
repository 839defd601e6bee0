"""Features of texts by a backbone that is never trained: one vector a text, kept on disk by what it was made from.

The backbone runs once over every text, however many comparisons name it and however many heads are fitted to it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from heed.errors import DataError
from heed.feedback.kinds import PromptContent
from heed.files import file_errors, write_bytes
from heed.models.batch import TokenBatch, microbatches
from heed.models.policy import Body
from heed.models.reward import Encoded, Reader, load_backbone

Reads = Literal["alone", "context"]
Vectors: TypeAlias = NDArray[np.float32]

# Texts between two writes (count): what a stop may cost, and over how many texts lengths are sorted.
_TEXTS_AT_ONCE = 512
_TOKENS_PER_MICROBATCH = 8192
# Part of a cache folder's name: another number where the same text would get other features.
_VERSION = 1


class Features(NamedTuple):
    """Feature vectors [N, D] of texts, and which of these were longer than the backbone reads and were cut [N]."""

    vectors: Vectors
    cut: NDArray[np.bool_]


class FeatureCache:
    """Features on disk, by the hash of the text that each was made from.

    Every ``add`` writes one file of safetensors, which is there whole or not at all: after a stop, whatever was added is
    found again. Files that cannot be read are passed over, and their texts computed anew.

    Args:
        root: folder of all caches.
        made_by: what else the features depend on; each combination has a folder of its own.
    """

    def __init__(self, root: Path, made_by: Sequence[str]) -> None:
        name = hashlib.sha256(json.dumps([_VERSION, *made_by]).encode()).hexdigest()[:32]
        self.folder = root / name
        self._place: dict[bytes, tuple[Path, int]] = {}
        for file in sorted(self.folder.glob("*.safetensors")):
            try:
                with safe_open(file, "np") as opened:
                    keys = opened.get_tensor("keys")
            except (SafetensorError, OSError):
                continue
            self._enter(keys, file)

    def _enter(self, keys: NDArray[np.uint8], file: Path) -> None:
        self._place.update((key.tobytes(), (file, row)) for row, key in enumerate(keys))

    def __contains__(self, key: bytes) -> bool:
        return key in self._place

    def read(self, keys: Sequence[bytes]) -> Features:
        """Features of keys that are all there.

        Raises:
            KeyError: one is not.
        """
        by_file: dict[Path, list[int]] = {}
        for number, key in enumerate(keys):
            by_file.setdefault(self._place[key][0], []).append(number)
        parts = [(numbers, load_file(file)) for file, numbers in by_file.items()]
        width = parts[0][1]["vectors"].shape[1] if parts else 0
        vectors, cut = np.zeros((len(keys), width), np.float32), np.zeros(len(keys), bool)
        for numbers, found in parts:
            rows = [self._place[keys[number]][1] for number in numbers]
            vectors[numbers], cut[numbers] = found["vectors"][rows], found["cut"][rows] > 0
        return Features(vectors, cut)

    def add(self, keys: Sequence[bytes], features: Features) -> None:
        """Put features on the disk.

        Raises:
            ProjectError: the disk is full, or the folder cannot be written to.
        """
        laid = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), -1)
        content: dict[str, NDArray[Any]] = {
            "keys": laid,
            "vectors": features.vectors,
            "cut": features.cut.astype(np.uint8),
        }
        # Named by its keys: two processes at the same work write the same file.
        file = self.folder / f"{hashlib.sha256(laid.tobytes()).hexdigest()[:32]}.safetensors"
        with file_errors(f"cache of features {self.folder}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_bytes(file, save(content))
        self._enter(laid, file)


@dataclass
class FrozenFeatures:
    """A frozen backbone: a text's features are the mean of the last hidden states of its tokens.

    Attributes:
        body: the backbone, an encoder or a decoder.
        reader: makes token ids of texts.
        reads: "alone", a completion without its prompt, special tokens counted in the mean, as sentence-transformers does
            for sentence encoders (Reimers and Gurevych 2019, "Sentence-BERT", section 3); "context", prompt and completion
            together and the mean over the completion's own tokens.
    """

    body: Body
    reader: Reader
    reads: Reads

    @classmethod
    def load(cls, source: str | Path, device: str = "cpu", reads: Reads | None = None) -> FrozenFeatures:
        """The backbone of a model folder or hub id. Encoders read "alone" and decoders in "context" unless told.

        Raises:
            ModelError: it cannot be loaded, or its tokenizer does not fit.
        """
        backbone = load_backbone(source).to(device)
        for parameter in backbone.parameters():
            parameter.requires_grad_(False)
        reader = Reader.load(source, backbone)
        return cls(Body(backbone), reader, reads or ("alone" if reader.encoder else "context"))

    @property
    def device(self) -> torch.device:
        return next(self.body.module.parameters()).device

    @property
    def width(self) -> int:
        """Numbers that a text's features are (count)."""
        config: Any = self.body.module.config
        return int(config.hidden_size)

    def cache(self, root: Path, identity: str) -> FeatureCache:
        """The cache under ``root`` of the backbone that is known by ``identity``."""
        return FeatureCache(root, [identity, self.reads, self.device.type])

    def of(
        self,
        prompts: Sequence[PromptContent],
        completions: Sequence[str],
        cache: FeatureCache | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Features:
        """Features of completions; what the cache holds is not computed again.

        A text's features differ in the last bits with the texts beside it. The cache is filled in the order of the texts,
        so that a call that goes on where another was stopped gives the very numbers of one that was not.

        Args:
            prompts, completions: [N]; equal ones are computed once.
            cache: where features are looked for and kept; None keeps none.
            progress: told how many texts are done, of how many to compute, after each write; may raise to stop.

        Raises:
            DataError: reading in context, a prompt with its completion is longer than the backbone's context.
        """
        keys = [self._key(p, c) for p, c in zip(prompts, completions, strict=True)]
        texts = dict(zip(keys, zip(prompts, completions, strict=True), strict=True))
        missing = [key for key in texts if cache is None or key not in cache]
        made: list[Features] = []
        for start in range(0, len(missing), _TEXTS_AT_ONCE):
            chunk = missing[start : start + _TEXTS_AT_ONCE]
            made.append(self._compute([texts[key] for key in chunk]))
            if cache is not None:
                cache.add(chunk, made.pop())
            if progress is not None:
                progress(start + len(chunk), len(missing))
        if cache is not None:
            return cache.read(keys)
        vectors = np.concatenate([np.zeros((0, self.width), np.float32), *(part.vectors for part in made)])
        cut = np.concatenate([np.zeros(0, bool), *(part.cut for part in made)])
        row = {key: number for number, key in enumerate(missing)}
        order = [row[key] for key in keys]
        return Features(vectors[order], cut[order])

    def _key(self, prompt: PromptContent, completion: str) -> bytes:
        known = prompt if isinstance(prompt, str) else [[m.role, m.content] for m in prompt]
        read = [known, completion] if self.reads == "context" else [completion]
        return hashlib.sha256(json.dumps(read).encode()).digest()

    def _compute(self, texts: Sequence[tuple[PromptContent, str]]) -> Features:
        encoded = [self._encode(*text) for text in texts]
        order = sorted(range(len(texts)), key=lambda row: (len(encoded[row][0].ids), row))
        vectors = np.zeros((len(texts), self.width), np.float32)
        for group in microbatches([len(encoded[row][0].ids) for row in order], _TOKENS_PER_MICROBATCH):
            rows = [order[place] for place in group]
            vectors[rows] = self._means([encoded[row][0] for row in rows])
        return Features(vectors, np.array([cut for _, cut in encoded], bool))

    @torch.no_grad()
    def _means(self, encoded: Sequence[Encoded]) -> Vectors:
        batch = TokenBatch.of([e.ids for e in encoded], self.device)
        keep = [place for row, e in enumerate(encoded) for place in batch.span(row, e.start, e.end)]
        hidden = self.body.hidden(batch, torch.tensor(keep, device=self.device)).float()
        counts = torch.tensor([e.end - e.start for e in encoded], device=self.device)
        rows = torch.repeat_interleave(torch.arange(len(encoded), device=self.device), counts)
        means = hidden.new_zeros(len(encoded), hidden.shape[1]).index_add(0, rows, hidden) / counts[:, None]
        found: Vectors = means.cpu().numpy()
        return found

    def _encode(self, prompt: PromptContent, completion: str) -> tuple[Encoded, bool]:
        """The token ids of a text, what of them is averaged, and whether its end was cut off."""
        if self.reads == "context":
            return self.reader.encode(prompt, completion), False
        tokenizer = self.reader.tokenizer
        limit = min(self.reader.context, tokenizer.model_max_length)
        if self.reader.policy is None:
            whole = tokenizer(completion)["input_ids"]
            ids = (
                whole if len(whole) <= limit else tokenizer(completion, truncation=True, max_length=limit)["input_ids"]
            )
        else:
            whole = [*tokenizer(completion)["input_ids"], self.reader.policy.end_id]
            ids = whole if len(whole) <= limit else [*whole[: limit - 1], whole[-1]]
        if not ids:
            raise DataError(
                "an empty text has no features",
                "the tokenizer makes no token of it.",
                "Leave it out, or use a decoder.",
            )
        return Encoded(tuple(ids), 0, len(ids)), len(ids) < len(whole)

    def save(self, folder: Path) -> None:
        """Write backbone and tokenizer as a Hugging Face folder (safetensors)."""
        backbone: Any = self.body.module
        backbone.save_pretrained(folder)
        self.reader.tokenizer.save_pretrained(folder)
