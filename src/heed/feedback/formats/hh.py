"""Anthropic's HH-RLHF: JSON lines of ``chosen`` and ``rejected``, two transcripts that differ in their last reply.

A transcript is ``"\\n\\nHuman: ...\\n\\nAssistant: ..."``. All turns but the last, which both share, are the prompt; the
last reply of each is a completion. The one space after the colon belongs to the mark, everything else to the text. Pairs
that part earlier, or whose last reply is empty, are reported: there is no one prompt, or nothing to judge.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from heed.feedback.formats.rows import Parsed, Row, RowError, read_text, winner_first
from heed.feedback.kinds import Message

_MARK = re.compile(r"\n\n(Human|Assistant):")
_ROLES: dict[str, Literal["user", "assistant"]] = {"Human": "user", "Assistant": "assistant"}
_NAMES: dict[str, str] = {role: name for name, role in _ROLES.items()}


def is_transcript(value: Any) -> bool:
    """Whether ``value`` is text that begins like a transcript."""
    return isinstance(value, str) and _MARK.match(value) is not None


def _turns(value: Any, name: str) -> tuple[Message, ...]:
    start, *pieces = _MARK.split(read_text(value, name))
    if start or not pieces:
        raise RowError(f"{name} does not begin with '\\n\\nHuman:' or '\\n\\nAssistant:'")
    return tuple(
        Message(role=_ROLES[who], content=said.removeprefix(" "))
        for who, said in zip(pieces[::2], pieces[1::2], strict=True)
    )


def parse(values: dict[str, Any]) -> Parsed:
    """Read a row.

    Raises:
        RowError: with the reason.
    """
    for name in ("chosen", "rejected"):
        if name not in values:
            raise RowError(f"'{name}' is missing")
    chosen, rejected = _turns(values["chosen"], "chosen"), _turns(values["rejected"], "rejected")
    prompt = chosen[:-1]
    if prompt != rejected[:-1]:
        raise RowError("the transcripts differ before the last reply, so they answer different prompts")
    if not any(message.content.strip() for message in prompt):
        raise RowError("the transcripts have nothing before the last reply, so there is no prompt")
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        if turns[-1].role != "assistant":
            raise RowError(f"{name} ends with the human's turn, not with a reply")
        read_text(turns[-1].content, f"the last reply of {name}")
    ignored = tuple(sorted(set(values) - {"chosen", "rejected"}))
    completions = (chosen[-1].content, rejected[-1].content)
    return Parsed(prompt, completions, {"kind": "comparison", "choice": "a"}, ignored)


def render(row: Row) -> dict[str, Any]:
    """A row as ``parse`` reads it back.

    Raises:
        RowError: HH-RLHF has no place for it.
    """
    if row.feedback.kind != "comparison":
        raise RowError(f"HH-RLHF has no place for a {row.feedback.kind}")
    chosen, rejected = winner_first(row, "HH-RLHF")
    if isinstance(row.prompt, str):
        raise RowError("HH-RLHF has no place for a prompt that is plain text, not a conversation")
    if any(message.role == "system" for message in row.prompt):
        raise RowError("HH-RLHF has no place for a system message")
    if not chosen.strip() or not rejected.strip():
        raise RowError("an empty completion is missing data to HH-RLHF")
    said = [(_NAMES[message.role], message.content) for message in row.prompt]
    shared = "".join(f"\n\n{name}: {text}" for name, text in said)
    values = {"chosen": f"{shared}\n\nAssistant: {chosen}", "rejected": f"{shared}\n\nAssistant: {rejected}"}
    if any(len(_MARK.findall(transcript)) != len(said) + 1 for transcript in values.values()):
        raise RowError("a text holds HH-RLHF's own mark of a new turn")
    return values
