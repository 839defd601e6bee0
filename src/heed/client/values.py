"""What the client's calls return."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Showing:
    """One item to be judged, as a rater sees it.

    Attributes:
        id: to answer it by.
        form: what is asked: title, instructions, fields.
        prompt: the turns of the prompt, each with ``role`` and ``html``.
        completions: in the order shown, each with ``html`` and, where the form needs it, ``text``.
        training: whether the answer is explained at once.
        reopened: whether it was answered before and is open for a change.
        answer: the answer that stands where it is reopened, in the order shown; None otherwise.
        draft: what was saved of an answer and not sent yet: ``{"draft": ..., "revision": ...}``; None where nothing was.
        raw: everything that the server sent.
    """

    id: str
    form: dict[str, Any]
    prompt: list[dict[str, Any]]
    completions: list[dict[str, Any]]
    training: bool
    reopened: bool
    answer: dict[str, Any] | None
    draft: dict[str, Any] | None
    raw: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Showing:
        """A showing as the API tells it."""
        return cls(raw=values, **{part.name: values[part.name] for part in fields(cls) if part.name != "raw"})


@dataclass
class ItemsAdded:
    """What became of items.

    Attributes:
        added: how many are new.
        duplicates: how many were there already.
        broken: those that could not be used, by place (from 0) and reason.
        ignored: fields that an item has no place for and that were passed over, by name and how often.
    """

    added: int = 0
    duplicates: int = 0
    broken: list[tuple[int, str]] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Exported:
    """What became of an export.

    Attributes:
        size: of the file (bytes).
        written: how many rows are in the file.
        left_out: rows that are not, counted by reason: the format has no place for them, or they are of excluded people.
        dropped_fields: rows that are in the file without a field that they had, counted by field.
        of_excluded: rows in the file that are of people excluded from training; nothing there marks them.
    """

    size: int
    written: int
    left_out: dict[str, int]
    dropped_fields: dict[str, int]
    of_excluded: int
