"""What the head of a reward model sees of a text, and what its members make of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from heed.models.batch import TokenBatch, microbatches
from heed.models.reward import Encoded, RewardModel, ScalarModel


def pooled_features(member: ScalarModel, encoded: Sequence[Encoded], pooling: str) -> Tensor:
    """Hidden states [B, D] that ``member.head`` scores: of each completion the last one, or their mean."""
    batch = TokenBatch.of([e.ids for e in encoded], member.head.weight.device)
    spans = [(e.end - 1, e.end) if pooling == "last" else (e.start, e.end) for e in encoded]
    keep = [place for row, (start, end) in enumerate(spans) for place in batch.span(row, start, end)]
    hidden = member.body.hidden(batch, torch.tensor(keep, device=batch.ids.device)).float()
    counts = torch.tensor([end - start for start, end in spans], device=batch.ids.device)
    rows = torch.repeat_interleave(torch.arange(len(spans), device=batch.ids.device), counts)
    return hidden.new_zeros(len(spans), hidden.shape[1]).index_add(0, rows, hidden) / counts[:, None]


@torch.no_grad()
def features_and_scores(
    model: RewardModel,
    encoded: Sequence[Encoded],
    tokens_per_microbatch: int = 16384,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[Tensor, Tensor]:
    """Features of the first member's head [N, D], and the members' raw scores [N, M], both on the CPU in float32.

    Texts of about the same length share a forward pass; the result is in the order given.

    Args:
        model: the reward model.
        encoded: the texts.
        tokens_per_microbatch: in one forward pass (tokens).
        progress: called with how many texts are done, after each pass.
    """
    first = model.members[0]
    order = sorted(range(len(encoded)), key=lambda row: len(encoded[row].ids))
    features = torch.zeros(len(encoded), first.head.in_features)
    scores = torch.zeros(len(encoded), len(model.members))
    done = 0
    for rows in microbatches([len(encoded[row].ids) for row in order], tokens_per_microbatch):
        places = [order[row] for row in rows]
        texts = [encoded[place] for place in places]
        seen = pooled_features(first, texts, model.pooling)
        own = first.head(seen.to(first.head.weight.dtype))[:, 0].float()
        told = [own, *(member.pooled(texts, model.pooling).float() for member in model.members[1:])]
        features[places], scores[places] = seen.cpu(), torch.stack(told, 1).cpu()
        done += len(places)
        progress(done)
    return features, scores
