"""TRL's dataset formats, as its documentation page "Dataset formats and types" describes them, in JSON lines.

| TRL type            | columns                           | feedback                            |
|---------------------|-----------------------------------|-------------------------------------|
| preference          | prompt, chosen, rejected          | comparison; ``a`` is the chosen one |
| ... implicit prompt | chosen, rejected                  | the same; the prompt is their shared beginning |
| unpaired preference | prompt, completion, label         | thumb                               |
| prompt-completion   | prompt, completion                | demonstration                       |
| language modeling   | messages                          | demonstration of what the assistant says; as a judgment, of the last message |
| ... in plain text   | text                              | refused with the reason             |
| prompt-only, stepwise supervision | | refused with the reason             |

Each in standard (text) or conversational form (messages; a completion is one assistant message). Where the shared
beginning of two texts ends within a word, the prompt ends before that word and its space, so that no completion starts
with half a word. TRL has no place for raters and times: see ``heed.feedback.formats`` for what an import makes of that.
"""

from __future__ import annotations

import re
from typing import Any

from heed.feedback.formats.rows import (
    Parsed,
    Row,
    RowError,
    plain_prompt,
    read_messages,
    read_prompt,
    read_text,
    winner_first,
)
from heed.feedback.kinds import Demonstration, Message, PromptContent, Thumb

# Letters of words that spaces part: in Chinese and Japanese (from U+2E80 on) a text may be divided anywhere.
_LETTER = re.compile(r"[^\W\u2e80-\U0003ffff]")

PREFERENCE = frozenset({"chosen", "rejected"})
COMPLETION = frozenset({"prompt", "completion"})


def refusal(columns: set[str]) -> str | None:
    """Why rows with ``columns``, although TRL's, are no feedback; None if they are, or are not TRL's."""
    if PREFERENCE & columns or columns >= COMPLETION:
        return None
    if {"prompt", "completions", "labels"} <= columns:
        return "stepwise supervision labels the steps of one answer, which heed has no kind of feedback for"
    if "messages" in columns:
        return None
    if "text" in columns:
        return "it is text for language modelling, without a prompt that it would be an answer to"
    if "prompt" in columns:
        return "it is prompts, not feedback: nobody judged an answer to them"
    return None


def parse(values: dict[str, Any]) -> Parsed:
    """Read a row of any TRL type that is feedback.

    Raises:
        RowError: with the reason.
    """
    # A column that is null in this row is one that other rows of the file have.
    present = {name: value for name, value in values.items() if value is not None}
    columns = set(present)
    if columns >= PREFERENCE and "completion" in columns:
        raise RowError("it has chosen and rejected, and completion as well; which is meant?")
    if columns >= PREFERENCE:
        ignored = tuple(sorted(columns - PREFERENCE - {"prompt"}))
        prompt, chosen, rejected = _read_pair(present)
        return Parsed(prompt, (chosen, rejected), {"kind": "comparison", "choice": "a"}, ignored)
    if columns >= COMPLETION:
        prompt = read_prompt(present["prompt"])
        text = _read_completion(present["completion"], "completion", prompt)
        ignored = tuple(sorted(columns - COMPLETION - {"label"}))
        if "label" not in columns:
            return Parsed(prompt, (), {"kind": "demonstration", "text": text}, ignored)
        if not isinstance(present["label"], bool):
            raise RowError(f"label is {present['label']!r}, not true or false")
        return Parsed(prompt, (text,), {"kind": "thumb", "up": present["label"]}, ignored)
    if "messages" in columns and not PREFERENCE & columns:
        return _read_dialogue(present)
    if PREFERENCE & columns:
        raise RowError(f"'{min(PREFERENCE - columns)}' is missing")
    raise RowError(refusal(columns) or f"no type of TRL has the columns {sorted(columns)}")


def _read_dialogue(values: dict[str, Any]) -> Parsed:
    """A whole conversation shows how the assistant is to answer: its last message after those before it, and where models are
    trained on it, its messages before that as well."""
    messages = read_messages(values["messages"], "messages")
    if len(messages) < 2 or messages[-1].role != "assistant":
        raise RowError("messages must end with an assistant's, after what it answers")
    text = read_text(messages[-1].content, "the last message")
    ignored = tuple(sorted(set(values) - {"messages"}))
    return Parsed(messages[:-1], (), {"kind": "demonstration", "text": text}, ignored, whole=True)


def _read_pair(values: dict[str, Any]) -> tuple[PromptContent, str, str]:
    chosen, rejected = values["chosen"], values["rejected"]
    if "prompt" in values and not _repeats_prompt(values):
        prompt = read_prompt(values["prompt"])
        return prompt, _read_completion(chosen, "chosen", prompt), _read_completion(rejected, "rejected", prompt)
    if isinstance(chosen, str) and isinstance(rejected, str):
        return _split_texts(read_text(chosen, "chosen"), read_text(rejected, "rejected"))
    return _split_conversations(read_messages(chosen, "chosen"), read_messages(rejected, "rejected"))


def _repeats_prompt(values: dict[str, Any]) -> bool:
    """Whether ``prompt`` is only a copy of the user's message that both conversations hold, as some datasets have it."""
    if not isinstance(values["prompt"], str):
        return False
    asked = {"role": "user", "content": values["prompt"]}
    return all(
        isinstance(side, list)
        and len(side) > 1
        and isinstance(side[-2], dict)
        and {name: side[-2].get(name) for name in asked} == asked
        for side in (values["chosen"], values["rejected"])
    )


def _read_completion(value: Any, name: str, prompt: PromptContent) -> str:
    # A conversation answered by a plain text is no form of TRL's, but what people write, and it says the same.
    if isinstance(prompt, str) or isinstance(value, str):
        return read_text(value, name)
    return _only_reply(read_messages(value, name), name)


def _only_reply(messages: tuple[Message, ...], name: str) -> str:
    if len(messages) != 1 or messages[0].role != "assistant":
        roles = ", ".join(message.role for message in messages) or "none"
        raise RowError(f"{name} must be one assistant message after the prompt; it is: {roles}")
    return read_text(messages[0].content, name)


def _split_conversations(chosen: tuple[Message, ...], rejected: tuple[Message, ...]) -> tuple[PromptContent, str, str]:
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    if shared == 0:
        raise RowError("chosen and rejected share no beginning that could be their prompt")
    if shared == len(chosen) == len(rejected):
        raise RowError("chosen and rejected are the same")
    return chosen[:shared], _only_reply(chosen[shared:], "chosen"), _only_reply(rejected[shared:], "rejected")


def _split_texts(chosen: str, rejected: str) -> tuple[PromptContent, str, str]:
    if chosen == rejected:
        raise RowError("chosen and rejected are the same")
    parted = (k for k, (one, other) in enumerate(zip(chosen, rejected, strict=False)) if one != other)
    end = next(parted, min(len(chosen), len(rejected)))
    while end > 0 and _LETTER.match(chosen[end - 1]) and (_LETTER.match(chosen, end) or _LETTER.match(rejected, end)):
        end -= 1
    while end > 0 and chosen[end - 1] == " ":
        end -= 1
    if not chosen[:end].strip():
        raise RowError("chosen and rejected share no beginning that could be their prompt")
    return chosen[:end], read_text(chosen[end:], "chosen"), read_text(rejected[end:], "rejected")


class Renderer:
    """Rows as TRL reads them. A data set has one type and one form, so the first row that fits decides both."""

    def __init__(self) -> None:
        self._shape: tuple[str, str] | None = None

    def __call__(self, row: Row) -> dict[str, Any]:
        """A row as ``parse`` reads it back.

        Raises:
            RowError: TRL has no place for it, or not in this file.
        """
        form = "standard" if isinstance(row.prompt, str) else "conversational"

        def completion(text: str) -> str | list[dict[str, str]]:
            return text if form == "standard" else [{"role": "assistant", "content": text}]

        values: dict[str, Any] = {"prompt": plain_prompt(row.prompt)}
        if row.feedback.kind == "comparison":
            chosen, rejected = winner_first(row, "TRL")
            values |= {"chosen": completion(chosen), "rejected": completion(rejected)}
        elif isinstance(row.feedback, Thumb):
            values |= {"completion": completion(row.completions[0]), "label": row.feedback.up}
        elif isinstance(row.feedback, Demonstration):
            values |= {"completion": completion(row.feedback.text)}
        else:
            raise RowError(f"TRL has no place for a {row.feedback.kind}")
        if not all(text.strip() for text in row.completions):
            raise RowError("an empty completion is missing data to TRL")
        shape = (row.feedback.kind, form)
        self._shape = self._shape or shape
        if shape != self._shape:
            raise RowError(f"a {form} {shape[0]} does not fit a TRL file of {self._shape[1]} {self._shape[0]}s")
        return values
