"""Conversations and single answers as supervised training takes them: token ids, and which of them are learned.

What the assistant says is learned, in all its turns, with the token that ends each; what others say is read. Where the chat
template marks what the assistant generates (``{% generation %}``), its marks decide. Where it does not, the conversation is
rendered up to the beginning and the end of each turn: what stands between the two is the turn. That holds only for templates
that write a conversation's beginning in the same way whatever follows, which is checked each time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from heed.errors import DataError, ModelError
from heed.feedback.kinds import Message, PromptContent
from heed.models.policy import Policy
from heed.texts import cut, shown

_MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")
_SHOWN = 60


class Masked(NamedTuple):
    """Token ids of a text, of each whether it is learned, and how much the text counts beside others.

    The first token is never learned, since nothing stands before it.
    """

    ids: tuple[int, ...]
    learned: tuple[bool, ...]
    weight: float = 1.0

    @classmethod
    def of(cls, prompt: Sequence[int], completion: Sequence[int]) -> Masked:
        """A completion, which is learned, after its prompt, which is read."""
        return cls((*prompt, *completion), (False,) * len(prompt) + (True,) * len(completion))

    @property
    def taught(self) -> int:
        """How many tokens are learned (count)."""
        return sum(self.learned)


class Span(NamedTuple):
    """Characters ``start`` up to, not including, ``end`` of a rendered conversation."""

    start: int
    end: int


def encode_shown(policy: Policy, prompt: PromptContent, answer: str, whole: bool = False) -> Masked:
    """A demonstration as it is trained on: its answer, or with ``whole`` what the assistant says in all turns of a conversation.

    Raises:
        DataError: a prompt without tokens, or a conversation that the template refuses or writes so that no turn can be told
            from the rest. ModelError: messages, but the tokenizer has no chat template, or gives no places of its tokens.
    """
    if whole and not isinstance(prompt, str):
        return encode_conversation(policy, (*prompt, Message(role="assistant", content=answer)))
    return Masked.of(policy.encode_prompt(prompt), policy.encode_completion(prompt, answer))


def encode_conversation(policy: Policy, messages: Sequence[Message]) -> Masked:
    """A conversation as its chat template writes it, with what the assistant says in all its turns learned.

    Where the last turn ends without a token that ends texts, one is added, so that the model learns to stop.

    Raises:
        DataError, ModelError: see :func:`encode_shown`.
    """
    text = policy.written(messages, add_generation_prompt=False)
    if _MARKS.search(policy.tokenizer.chat_template):
        found = _marked(policy, messages)
    else:
        found = _between(policy, text, spans_of(policy, messages, text))
    ids, learned = list(found.ids), list(found.learned)
    last = max(place for place, own in enumerate(learned) if own)
    if ids[last] not in policy.end_ids:
        del ids[last + 1 :], learned[last + 1 :]
        ids.append(policy.end_id)
        learned.append(True)
    return Masked(tuple(ids), tuple(learned))


def spans_of(policy: Policy, messages: Sequence[Message], text: str) -> list[Span]:
    """Where each turn of the assistant stands in ``text``, the whole conversation as the template writes it.

    Raises:
        DataError: the template writes the beginning of a conversation otherwise when more follows.
    """
    found = []
    for place, message in enumerate(messages):
        if message.role != "assistant":
            continue
        before = policy.written(messages[:place], add_generation_prompt=True)
        after = policy.written(messages[: place + 1], add_generation_prompt=False)
        if not after.startswith(before):
            raise _no_prefix(policy, place, "what asks for an answer is not how the answer begins", before, after)
        if not text.startswith(after):
            raise _no_prefix(policy, place, "it writes a turn otherwise once more turns follow", after, text)
        if len(after) == len(before):
            raise _unseen(policy, place)
        found.append(Span(len(before), len(after)))
    return found


def _no_prefix(policy: Policy, place: int, what: str, expected: str, written: str) -> DataError:
    same = next((k for k, (a, b) in enumerate(zip(expected, written, strict=False)) if a != b), len(written))
    return DataError(
        f"message {place + 1} of a conversation, the assistant's",
        f"the chat template of {policy.source} does not say which tokens are the assistant's, and they cannot be derived: "
        f"{what}, {shown(cut(written[same:], _SHOWN))} instead of {shown(cut(expected[same:], _SHOWN))}.",
        "Put {% generation %} and {% endgeneration %} around the assistant's turns in the template, or give each turn as a row "
        'of its own, with "prompt" (the messages before) and "completion".',
    )


def _unseen(policy: Policy, place: int) -> DataError:
    return DataError(
        f"message {place + 1} of a conversation, the assistant's",
        f"the chat template of {policy.source} writes nothing of it.",
        "Remove empty turns, or mend the template.",
    )


def _marked(policy: Policy, messages: Sequence[Message]) -> Masked:
    """By the template's own marks; a token that ends texts right behind a marked turn is part of it."""
    plain = [{"role": message.role, "content": message.content} for message in messages]
    made = policy.tokenizer.apply_chat_template(
        plain, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    ids, learned = [int(i) for i in made["input_ids"]], [bool(own) for own in made["assistant_masks"]]
    for place in range(1, len(ids)):
        if learned[place - 1] and ids[place - 1] not in policy.end_ids and ids[place] in policy.end_ids:
            learned[place] = True
    if ids:
        learned[0] = False
    if not any(learned):
        raise DataError(
            f"a conversation of {len(messages)} messages",
            f"the chat template of {policy.source} has marks of what the assistant generates, but none around these turns.",
            "Put {% generation %} and {% endgeneration %} around what the template writes of each assistant's message.",
        )
    return Masked(tuple(ids), tuple(learned))


def _between(policy: Policy, text: str, spans: Sequence[Span]) -> Masked:
    """By the places of the turns; what the template writes between the end of a turn and the next one is read."""
    if not getattr(policy.tokenizer, "is_fast", False):
        raise ModelError(
            f"the tokenizer of {policy.source}",
            "it does not say where in a text its tokens stand, so the assistant's cannot be told from the others.",
            "Save it as a fast tokenizer (tokenizer.json), or give each turn as a row of its own.",
        )
    made = policy.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, ends = [int(i) for i in made["input_ids"]], [int(end) for _, end in made["offset_mapping"]]
    # From the end of the token before: some tokenizers do not count the spaces that a token begins with.
    starts = [0, *ends[:-1]]
    learned = [False] * len(ids)
    for span in spans:
        own = [place for place in range(1, len(ids)) if span.start <= starts[place] < span.end]
        for place in own[: _ending(policy, [ids[place] for place in own])]:
            learned[place] = True
    if not any(learned):
        raise _unseen(policy, len(spans) - 1)
    return Masked(tuple(ids), tuple(learned))


def _ending(policy: Policy, ids: Sequence[int]) -> int:
    """How many tokens of a turn are learned: up to the last that ends texts, else the last special one, else all."""
    for special in (policy.end_ids, frozenset(policy.tokenizer.all_special_ids)):
        places = [place for place, token in enumerate(ids) if token in special]
        if places:
            return places[-1] + 1
    return len(ids)
