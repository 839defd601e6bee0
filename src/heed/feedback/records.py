"""What the store holds and says, as plain immutable records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from heed.feedback.kinds import AnyFeedback, PromptContent

RaterKind = Literal["human", "judge", "simulated"]


@dataclass(frozen=True)
class PromptRecord:
    """A prompt: its id (a hash of the content), text or messages, split ("train", "test", ...) and where it came from."""

    id: str
    content: PromptContent
    split: str
    source: str


@dataclass(frozen=True)
class RaterRecord:
    """Whoever judges: a unique name, the kind of rater and the group, if any ("" is none)."""

    name: str
    kind: RaterKind
    group: str


@dataclass(frozen=True)
class CompletionRecord:
    """A completion of a prompt.

    Attributes:
        id: hash of prompt, text and origin (see ``heed.feedback.kinds.completion_id``).
        run_id: the run that sampled it; None if it came from outside.
        index: which sample of the run it is (count from 0).
        tokens: length (tokens), the end of text included; None if unknown.
        finished: whether it ended by itself, not by the limit of tokens.
        logprob: log-probability of the whole text at the sampling temperature (nats); None if unknown.
    """

    id: str
    prompt_id: str
    text: str
    run_id: str | None = None
    index: int = 0
    tokens: int | None = None
    finished: bool = True
    logprob: float | None = None


@dataclass(frozen=True)
class StoredFeedback:
    """A judgment and its id."""

    id: str
    feedback: AnyFeedback


@dataclass(frozen=True)
class AddResult:
    """What an addition did: rows that are new, rows that were there already, and raters first heard of in it."""

    added: int
    duplicates: int
    new_raters: tuple[str, ...] = ()
