"""Sampling as a stage: completions of some prompts, in pieces that can be stored one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from heed.config import SamplingSettings
from heed.feedback.kinds import PromptContent
from heed.stages.results import prepare_machine
from heed.train.optimise import memory_errors
from heed.train.progress import Stopped, Watcher, stop_on_interrupt

if TYPE_CHECKING:
    from heed.models.policy import Policy


@dataclass(frozen=True)
class Completion:
    """One completion: its length (tokens, end included), whether it ended by itself, and its log-probability (nats)."""

    prompt: PromptContent
    text: str
    tokens: int
    finished: bool
    logprob: float


def sample(
    model: str | Path,
    prompts: Sequence[PromptContent],
    settings: SamplingSettings | None = None,
    seed: int = 0,
    device: str = "auto",
    watcher: Watcher | None = None,
) -> list[Completion]:
    """Draw ``samples_per_prompt`` completions of each prompt; in the order of the prompts.

    Raises:
        ModelError: the model cannot be loaded. DataError: a prompt is empty or too long. Stopped: on Ctrl-C.
    """
    from heed.models.policy import Policy

    settings = settings or SamplingSettings()
    policy = Policy.load(model, prepare_machine(device))
    pieces = sample_pieces(policy, prompts, settings, seed, watcher or Watcher())
    return [completion for _, piece in pieces for completion in piece]


def sample_pieces(
    policy: Policy,
    prompts: Sequence[PromptContent],
    settings: SamplingSettings,
    seed: int,
    watcher: Watcher,
    done: int = 0,
) -> Iterator[tuple[int, list[Completion]]]:
    """Completions in pieces of some prompts each: (prompts done before the piece, its completions).

    Each piece has its own seed, so a run that goes on after ``done`` prompts draws what it would have drawn.

    Raises:
        Stopped: on Ctrl-C, between pieces.
    """
    from heed.models.decode import sample as draw

    encoded = [policy.encode_prompt(prompt) for prompt in prompts]
    for number, ids in enumerate(encoded):
        policy.check_prompt(ids, settings.max_new_tokens, f"prompt {number + 1}")
    each, size = settings.samples_per_prompt, prompts_per_piece(settings)
    with stop_on_interrupt() as flag:
        for start in range(0, len(prompts), size):
            if start + size <= done:
                continue
            if flag.asked:
                raise Stopped
            chunk = prompts[start : start + size]
            with memory_errors("Lower rows_per_batch, then max_new_tokens."):
                drawn = draw(policy, encoded[start : start + size], settings, seed * 1_000_003 + start)
            rows = zip(drawn.texts, drawn.tokens, drawn.finished, drawn.logprobs, strict=True)
            yield (
                start,
                [
                    Completion(chunk[row // each], text, len(tokens), finished, sum(logprobs))
                    for row, (text, tokens, finished, logprobs) in enumerate(rows)
                ],
            )
            watcher.advance(start + len(chunk), len(prompts), f"{each} completions a prompt")


def prompts_per_piece(settings: SamplingSettings) -> int:
    """Prompts that are sampled for at once (count)."""
    return max(1, settings.rows_per_batch // settings.samples_per_prompt)
