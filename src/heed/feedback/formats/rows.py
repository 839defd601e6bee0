"""What every format shares: rows, reports, and the checks on prompts and completions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from heed.errors import DataError
from heed.feedback.kinds import (
    IMPORT_ORIGIN,
    AnyFeedback,
    Critique,
    Edit,
    Message,
    PromptContent,
    completion_id,
    explain_validation,
    parse_feedback,
    prompt_id,
)
from heed.texts import cut, shown, text_fault

UNKNOWN_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""``created`` of feedback from formats that carry no time. A constant, so that importing a file twice adds nothing; the
time of import or of the file would give every import new ids."""


@dataclass(frozen=True, slots=True)
class Row:
    """One judgment with the texts that it is about.

    Attributes:
        prompt: the prompt.
        completions: the texts of ``feedback.completion_ids``, in that order.
        feedback: the judgment.
        line: line of the file that it starts on, from 1; 0 where it was not read from a file.
        ignored: columns of the row that the format does not know.
        whole: the row is a conversation of which all that the assistant says is shown, not its last answer alone.
    """

    prompt: PromptContent
    completions: tuple[str, ...]
    feedback: AnyFeedback
    line: int = 0
    ignored: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that could not be read: the line that it starts on, from 1, and why."""

    line: int
    reason: str


@dataclass(slots=True)
class ImportReport:
    """What became of the rows of a file; ``ignored`` counts the rows with each column that heed does not know."""

    imported: int = 0
    duplicates: int = 0
    broken: list[BrokenRow] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class ExportReport:
    """What an export wrote, and what its format has no place for.

    Attributes:
        written: rows in the file.
        left_out: rows that are not in the file, counted by reason.
        dropped_fields: rows that are in the file without a field that they had, counted by field.
        of_excluded: rows in the file that are of people excluded from training.
    """

    written: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    dropped_fields: Counter[str] = field(default_factory=Counter)
    of_excluded: int = 0


class RowError(Exception):
    """A row cannot be read, or a format cannot carry it; the message is the reason, for people."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A row as a format understood it, not yet validated as feedback.

    Attributes:
        prompt: the prompt.
        completions: the texts judged.
        values: ``kind`` and the answer's fields; also ``rater``, ``created`` and the rest where the format has them.
        ignored: columns that the format does not know.
        identity: the judgment's id as the row gives it, to be checked against its content; None where it gives none.
        whole: see :class:`Row`.
    """

    prompt: PromptContent
    completions: tuple[str, ...]
    values: dict[str, Any]
    ignored: tuple[str, ...] = ()
    identity: str | None = None
    whole: bool = False


def read_text(value: Any, name: str, may_be_empty: bool = False) -> str:
    """``value`` as text that can be kept.

    Raises:
        RowError: it is not text, is empty, or holds characters that cannot be stored.
    """
    if not isinstance(value, str):
        raise RowError(f"{name} is {_type_name(value)}, not text")
    if not may_be_empty and not value.strip():
        raise RowError(f"{name} is empty")
    fault = text_fault(value)
    if fault:
        raise RowError(f"{name}: {fault}")
    return value


def read_messages(value: Any, name: str) -> tuple[Message, ...]:
    """A conversation from a list of ``{"role", "content"}``; keys that are null beside these are passed over.

    Raises:
        RowError: it is not a list of text messages by system, user or assistant.
    """
    if not isinstance(value, list):
        raise RowError(f"{name} is {_type_name(value)}, not a list of messages")
    if not value:
        raise RowError(f"{name} has no messages")
    messages = []
    for number, entry in enumerate(value, 1):
        where = f"{name}, message {number}"
        if not isinstance(entry, dict):
            raise RowError(f"{where} is {_type_name(entry)}, not an object with role and content")
        if isinstance(entry.get("content"), list):
            raise RowError(f"{where} has its content in parts (multimodal); heed reads text only")
        try:
            # Columnar stores give every message all keys that any message has, null where it had none.
            messages.append(Message.model_validate({key: part for key, part in entry.items() if part is not None}))
        except ValidationError as error:
            raise RowError(f"{where}: {explain_validation(error)}") from None
    return tuple(messages)


def read_prompt(value: Any) -> PromptContent:
    """A prompt from text or a list of messages.

    Raises:
        RowError: it is neither, or says nothing.
    """
    if isinstance(value, str):
        return read_text(value, "prompt")
    messages = read_messages(value, "prompt")
    if not any(message.content.strip() for message in messages):
        raise RowError("prompt is empty")
    return messages


def plain_prompt(prompt: PromptContent) -> str | list[dict[str, str]]:
    """A prompt as JSON has it: text, or a list of ``{"role", "content"}``."""
    return prompt if isinstance(prompt, str) else [{"role": turn.role, "content": turn.content} for turn in prompt]


def import_ids(prompt: PromptContent, completions: Sequence[str]) -> tuple[str, ...]:
    """Ids of completions of which nothing is known but their text."""
    prompt_key = prompt_id(prompt)
    return tuple(completion_id(prompt_key, text, IMPORT_ORIGIN) for text in completions)


def build_row(parsed: Parsed, line: int, rater: str, source: str) -> Row:
    """Validate what a format understood as feedback. ``rater`` and ``source`` stand where the row names none.

    Raises:
        RowError: with the reason why it is not valid feedback.
    """
    values = {"rater": rater, "created": UNKNOWN_TIME, "source": source, **parsed.values}
    values["prompt_id"] = prompt_id(parsed.prompt)
    if "completion_ids" not in values:
        if len(set(parsed.completions)) != len(parsed.completions):
            raise RowError("two of the completions are the same text")
        values["completion_ids"] = import_ids(parsed.prompt, parsed.completions)
    try:
        feedback = parse_feedback(values)
    except DataError as error:
        raise RowError(error.why.removesuffix(".")) from None
    if len(feedback.completion_ids) != len(parsed.completions):
        raise RowError(f"{len(feedback.completion_ids)} completion ids for {len(parsed.completions)} completions")
    _check_against_text(feedback, parsed.completions)
    if parsed.identity is not None and parsed.identity != feedback.id:
        raise RowError(
            f"id {shown(cut(parsed.identity))} does not fit: by its content this judgment is {feedback.id}; "
            "leave the id out if the row was changed on purpose"
        )
    return Row(parsed.prompt, parsed.completions, feedback, line, parsed.ignored, parsed.whole)


def _check_against_text(feedback: AnyFeedback, completions: tuple[str, ...]) -> None:
    if isinstance(feedback, Edit) and feedback.edited == completions[0]:
        raise RowError("the edited text is the completion, unchanged")
    if isinstance(feedback, Critique):
        for span in feedback.spans:
            if span.end > len(completions[0]):
                raise RowError(f"a span ends at {span.end}, but the completion has {len(completions[0])} characters")


def winner_first(row: Row, format_name: str) -> tuple[str, str]:
    """The better and the worse text of a comparison.

    Raises:
        RowError: it has no winner, so ``format_name`` has no place for it.
    """
    choice = row.feedback.choice if row.feedback.kind == "comparison" else None
    if choice not in ("a", "b"):
        raise RowError(f"{format_name} has no place for a comparison without winner ('{choice}')")
    a, b = row.completions
    return (a, b) if choice == "a" else (b, a)


def _type_name(value: Any) -> str:
    names = {"NoneType": "null", "bool": "true or false", "int": "a number", "float": "a number"}
    return {**names, "list": "a list", "dict": "an object", "str": "text"}.get(type(value).__name__, "something else")
