"""Prompts and completions as token ids, for what is trained on a fixed set of texts."""

from __future__ import annotations

from heed.train.preferences import Text
from tiny_models import ragged

END = 16
"""The end token of the tiny policies over all letters."""


def texts_of(count: int, seed: int = 0) -> list[Text]:
    """Two or three completions of unequal length to each prompt."""
    prompts = ragged([3, 5, 1, 4] * (count // 4 + 1), END + 1, seed)
    written = ragged([2, 7, 4, 1, 6] * (count // 5 + 1), END + 1, seed + 1)
    return [Text(tuple(prompts[n // 3]), (*written[n], END)) for n in range(count)]
