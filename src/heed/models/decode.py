"""Sampling completions.

Our own path serves the shapes of ``trunk.py``: one prefill a prompt, shared by its samples; a preallocated key-value
cache; finished rows leave the batch; log-probabilities and values are taken on the way. All other causal models go
through ``transformers.generate``. Both draw from the same distributions and return the same thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heed.config import SamplingSettings
from heed.models.batch import TokenBatch
from heed.models.encoder_decoder import start_id
from heed.models.policy import Policy

Explore = Callable[[Tensor], Tensor]
"""Another distribution in place of the model's own: logits to logits [R, V]."""

# Rows are dropped from the cache once this share of them has finished: copying the cache for each single row costs more.
_SHARE_FINISHED = 0.2
# Counts of rows are rounded up to this, by keeping some that have finished: each new count has its products compiled anew.
_ROWS_AT_A_TIME = 16


@dataclass
class Samples:
    """Completions of some prompts, prompt by prompt, ``samples_per_prompt`` rows each.

    Attributes:
        tokens: token ids of each completion, its end token included where it has one.
        finished: whether each ended by an end token or a stop string, rather than at the length limit.
        logprobs: log-probability of each token under the distribution it was drawn from (nats); for greedy decoding
            under the model itself.
        values: value before each token was drawn, where a value head was given.
        texts: the completions as text, stop strings cut off.
    """

    tokens: list[list[int]]
    finished: list[bool]
    logprobs: list[list[float]]
    values: list[list[float]] | None
    texts: list[str]

    @property
    def token_count(self) -> int:
        return sum(map(len, self.tokens))


@torch.no_grad()
def sample(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    settings: SamplingSettings,
    seed: int,
    value_head: nn.Module | None = None,
    progress: Callable[[int], None] | None = None,
    explore: Explore | None = None,
) -> Samples:
    """Draw ``settings.samples_per_prompt`` completions of each prompt.

    Args:
        prompts: token ids of each prompt, all at least one token long.
        seed: the same seed, prompts and settings give the same completions on one machine's CPU.
        value_head: maps final hidden states [N, D] to values [N, 1]; only the fast path takes values.
        progress: called with the number of completions done since the last call.
        explore: maps logits [R, V] to those that tokens are drawn by, before temperature, top-k and top-p.

    Raises:
        DataError: a prompt and its completion do not fit the model's context.
    """
    for number, prompt in enumerate(prompts):
        policy.check_prompt(prompt, settings.max_new_tokens, f"prompt {number + 1}")
    per_batch = max(1, settings.rows_per_batch // settings.samples_per_prompt)
    out = Samples([], [], [], None if value_head is None else [], [])
    draw = _decode_fast if policy.body.trunk is not None else _decode_generic
    # One stream of random numbers for all prompts: rows_per_batch changes memory and speed, not what is drawn.
    generator = torch.Generator().manual_seed(seed % 2**63)
    for start in range(0, len(prompts), per_batch):
        chunk = prompts[start : start + per_batch]
        with policy.body.computing():
            rows = draw(policy, chunk, settings, generator, value_head, explore)
        _collect(out, policy, chunk, rows, settings)
        if progress is not None:
            progress(len(chunk) * settings.samples_per_prompt)
    return out


@dataclass
class _Rows:
    """What a decoder returns: tokens, log-probabilities and values [R, T], lengths and finished [R]."""

    tokens: Tensor
    lengths: Tensor
    finished: Tensor
    logprobs: Tensor
    values: Tensor | None


def _collect(
    out: Samples, policy: Policy, prompts: Sequence[Sequence[int]], rows: _Rows, settings: SamplingSettings
) -> None:
    lengths = rows.lengths.tolist()
    for name, grid in (("tokens", rows.tokens), ("logprobs", rows.logprobs), ("values", rows.values)):
        if grid is not None:
            getattr(out, name).extend(row[:n] for row, n in zip(grid.tolist(), lengths, strict=True))
    out.finished += rows.finished.tolist()
    for row, tokens in enumerate(out.tokens[-len(lengths) :]):
        text = policy.decode(prompts[row // settings.samples_per_prompt], tokens)
        cuts = [text.index(s) for s in settings.stop if s in text]
        out.texts.append(text[: min(cuts)] if cuts else text)


def shaped_logits(logits: Tensor, settings: SamplingSettings) -> Tensor:
    """Log-probabilities [R, V] of the distribution that tokens are drawn from: temperature, then top-k, then top-p.

    Top-p keeps the smallest set of likeliest tokens whose mass reaches it (Holtzman et al. 2020, section 3.1).
    """
    if settings.temperature not in (0.0, 1.0):
        logits = logits / settings.temperature
    if settings.top_k and settings.top_k < logits.shape[-1]:
        least = logits.topk(settings.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if settings.top_p < 1.0:
        ordered, order = logits.sort(dim=-1, descending=True)
        mass = ordered.softmax(-1)
        beyond = mass.cumsum(-1) - mass >= settings.top_p
        logits = logits.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), -torch.inf)
    return F.log_softmax(logits, dim=-1)


def draw_tokens(log_p: Tensor, uniform: Tensor) -> Tensor:
    """Tokens [R] at the quantiles ``uniform`` [R] of the distributions ``log_p`` [R, V].

    One uniform number a row makes a row's draws independent of which other rows are still in the batch. The sums run
    in float64: in float32 the rounding of 100,000 terms would be larger than the rarest tokens' probabilities.
    """
    mass = log_p.exp().cumsum(-1, dtype=torch.float64)
    return torch.searchsorted(mass, (uniform.double() * mass[:, -1])[:, None], right=True)[:, 0].clamp_(
        max=log_p.shape[-1] - 1
    )


class _StopStrings:
    """Finds rows whose text has just come to hold a stop string."""

    def __init__(self, policy: Policy, stop: list[str]) -> None:
        self.policy, self.stop = policy, stop
        # A token may be as short as one byte, so this many tokens always hold the longest stop string.
        self.window = max((len(s.encode()) for s in stop), default=0) + 4

    def ended(self, tokens: Tensor, rows: Tensor, length: int) -> Tensor:
        recent = tokens[rows, max(0, length - self.window) : length].tolist()
        texts = self.policy.tokenizer.batch_decode(recent, skip_special_tokens=True)
        return torch.tensor([any(s in text for s in self.stop) for text in texts], device=tokens.device)


@torch.inference_mode()
def _decode_fast(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    settings: SamplingSettings,
    generator: torch.Generator,
    value_head: nn.Module | None,
    explore: Explore | None = None,
) -> _Rows:
    trunk: Any = policy.body.trunk  # of either kind; each steps with the cache that it made itself
    rows, width, device = len(prompts) * settings.samples_per_prompt, settings.max_new_tokens, policy.device
    uniform = torch.rand(rows, width, generator=generator, dtype=torch.float64).to(device)
    out = _Rows(
        torch.zeros(rows, width, dtype=torch.long, device=device),
        torch.full((rows,), width, device=device),
        torch.zeros(rows, dtype=torch.bool, device=device),
        torch.zeros(rows, width, device=device),
        None if value_head is None else torch.zeros(rows, width, device=device),
    )
    ends = torch.tensor(sorted(policy.end_ids), device=device)
    stops = _StopStrings(policy, settings.stop) if settings.stop else None
    trunk.fuse()
    try:
        cache, hidden = trunk.prefill(TokenBatch.of(prompts, device), settings.samples_per_prompt, width)
        # Row numbers of the rows in the cache, and which of them have not ended yet.
        here, alive = torch.arange(rows, device=device), torch.ones(rows, dtype=torch.bool, device=device)
        for step in range(width):
            logits = policy.logits(hidden).float()
            log_p = shaped_logits(logits if explore is None else explore(logits), settings)
            tokens = log_p.argmax(-1) if settings.temperature == 0 else draw_tokens(log_p, uniform[here, step])
            out.tokens[here, step] = tokens
            out.logprobs[here, step] = log_p.gather(-1, tokens[:, None])[:, 0]
            if value_head is not None and out.values is not None:
                out.values[here, step] = value_head(hidden)[:, 0].float()
            ended = (tokens[:, None] == ends).any(-1)
            if stops is not None:
                ended |= stops.ended(out.tokens, here, step + 1)
            newly = here[alive & ended]
            if len(newly):
                out.lengths[newly], out.finished[newly] = step + 1, True
                alive &= ~ended
                left = int(alive.sum())
                if left == 0:
                    break
                room = -(-left // _ROWS_AT_A_TIME) * _ROWS_AT_A_TIME
                if room <= (1 - _SHARE_FINISHED) * len(here):
                    kept = alive.int().argsort(descending=True, stable=True)[:room].sort().values
                    cache.keep(kept)
                    here, tokens, alive = here[kept], tokens[kept], alive[kept]
            if step < width - 1:
                hidden = trunk.step(cache, tokens)
    finally:
        trunk.release()
    return out


def _decode_generic(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    settings: SamplingSettings,
    generator: torch.Generator,
    value_head: nn.Module | None,
    explore: Explore | None = None,
) -> _Rows:
    """Any model through ``transformers.generate``, with the same draws as the fast path."""
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    if value_head is not None:
        raise ValueError("values on the way need the fast path; compute them afterwards")
    repeated = [p for p in prompts for _ in range(settings.samples_per_prompt)]
    side = "right" if policy.encoder_decoder else "left"
    ids, mask = TokenBatch.of(repeated, policy.device).padded(side, fill=min(policy.end_ids))
    # What generate returns begins with the prompt, or with the token that starts a decoder of its own.
    before = 1 if policy.encoder_decoder else ids.shape[1]
    start = {"decoder_start_token_id": start_id(policy.model.config)} if policy.encoder_decoder else {}
    uniform = torch.rand(len(repeated), settings.max_new_tokens, generator=generator, dtype=torch.float64)
    recorder = _QuantileSampler(settings, uniform.to(policy.device), before, explore)
    stopping = [_StopCriterion(policy, settings.stop, before)] if settings.stop else []
    # A model's own generation settings (a repetition penalty, say) would make its samples those of another distribution.
    own, policy.model.generation_config = policy.model.generation_config, GenerationConfig()
    try:
        with policy.body.as_meant():
            whole = policy.model.generate(
                ids,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=settings.max_new_tokens,
                eos_token_id=sorted(policy.end_ids),
                pad_token_id=min(policy.end_ids),
                logits_processor=LogitsProcessorList([recorder]),
                stopping_criteria=StoppingCriteriaList(stopping),
                **start,
            )
    finally:
        policy.model.generation_config = own
    tokens = whole[:, before:]
    logprobs = torch.stack(recorder.logprobs, dim=1)
    lengths, finished = _ends(policy, tokens, settings)
    return _Rows(tokens, lengths, finished, logprobs, None)


class _StopCriterion:
    """Our stop strings for ``generate``; its own would also look into the prompt."""

    def __init__(self, policy: Policy, stop: list[str], prompt_width: int) -> None:
        self.strings, self.prompt_width = _StopStrings(policy, stop), prompt_width

    def __call__(self, input_ids: Tensor, scores: Any, **unused: Any) -> Tensor:
        tokens = input_ids[:, self.prompt_width :]
        return self.strings.ended(tokens, torch.arange(len(tokens), device=tokens.device), tokens.shape[1])


class _QuantileSampler:
    """A logits processor that draws the token itself and leaves generate no choice, so that draws are ours to seed."""

    def __init__(
        self, settings: SamplingSettings, uniform: Tensor, prompt_width: int, explore: Explore | None = None
    ) -> None:
        self.settings, self.uniform, self.prompt_width, self.explore = settings, uniform, prompt_width, explore
        self.logprobs: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        logits = scores.float()
        log_p = shaped_logits(logits if self.explore is None else self.explore(logits), self.settings)
        step = input_ids.shape[1] - self.prompt_width
        tokens = log_p.argmax(-1) if self.settings.temperature == 0 else draw_tokens(log_p, self.uniform[:, step])
        self.logprobs.append(log_p.gather(-1, tokens[:, None])[:, 0])
        return torch.full_like(scores, -torch.inf).scatter(-1, tokens[:, None], 0.0)


def _ends(policy: Policy, tokens: Tensor, settings: SamplingSettings) -> tuple[Tensor, Tensor]:
    """Length and whether it ended, of each row of generated tokens [R, T]; what follows an end is not counted."""
    stops = _StopStrings(policy, settings.stop) if settings.stop else None
    lengths, finished = [], []
    for row in range(tokens.shape[0]):
        length, ended = tokens.shape[1], False
        for step, token in enumerate(tokens[row].tolist()):
            stopped = stops is not None and bool(stops.ended(tokens, torch.tensor([row]), step + 1)[0])
            if token in policy.end_ids or stopped:
                length, ended = step + 1, True
                break
        lengths.append(length)
        finished.append(ended)
    return torch.tensor(lengths, device=tokens.device), torch.tensor(finished, device=tokens.device)


def stream(policy: Policy, prompt: Sequence[int], settings: SamplingSettings, seed: int) -> Iterator[str]:
    """Pieces of text of one completion as it is written, for talking to a policy."""
    if policy.encoder_decoder:
        # Its encoder would have to read the prompt again for each token: the text comes whole.
        single = settings.model_copy(update={"samples_per_prompt": 1})
        yield sample(policy, [prompt], single, seed).texts[0]
        return
    written: list[int] = []
    shown = ""
    generator = torch.Generator().manual_seed(seed)
    one = settings.model_copy(update={"max_new_tokens": 1, "samples_per_prompt": 1, "stop": []})
    for _ in range(settings.max_new_tokens):
        policy.check_prompt([*prompt, *written], 1, "the conversation")
        with torch.no_grad(), policy.body.computing():
            draw = _decode_fast if policy.body.trunk is not None else _decode_generic
            rows = draw(policy, [[*prompt, *written]], one, generator, None)
        written.append(int(rows.tokens[0, 0]))
        text = policy.decode(prompt, written)
        cuts = [text.index(s) for s in settings.stop if s in text]
        text = text[: min(cuts)] if cuts else text
        ended = bool(cuts) or written[-1] in policy.end_ids or len(written) == settings.max_new_tokens
        # What may yet grow into a stop string is held back, and a character of several tokens is shown once it is whole.
        ready = text if ended else text[: len(text) - _stop_overlap(text, settings.stop)]
        if ended or not ready.endswith("\N{REPLACEMENT CHARACTER}"):
            yield ready[len(shown) :]
            shown = ready
        if ended:
            return


def _stop_overlap(text: str, stop: list[str]) -> int:
    """Length of the longest end of ``text`` that a stop string begins with."""
    return max((n for s in stop for n in range(1, len(s)) if text.endswith(s[:n])), default=0)
