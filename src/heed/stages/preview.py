"""What a model is trained on, token by token, and what is wrong with it: before anything is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from heed.errors import DataError
from heed.feedback.kinds import Message, PromptContent

if TYPE_CHECKING:
    from heed.models.conversations import Masked
    from heed.models.policy import Policy

DOUBLED_BEGIN = "begin with the begin token twice: the chat template and the tokenizer each add one"
BEGIN_INSIDE = "have a begin token after their beginning"
NO_BEGIN = "lack the begin token that the tokenizer puts before plain texts: the chat template leaves it out"
END_IN_PROMPT = "have an end token at the end of the prompt: the model learns to go on after an end"
END_INSIDE = "have an end token within the completion: the model learns to go on after an end"
DOUBLED_END = "bring an end token of their own in the text; heed adds it, and takes that one away"
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""How SentencePiece writes a space."""
UNKNOWN = "have tokens that stand for what the tokenizer does not know"
SEAM = "are cut into other tokens together with their prompt than alone, so that the completion is taken alone"
TOO_LONG = "are longer than the model's context and left out"
EMPTY = "have an empty completion: the model learns to say nothing"
NO_END = "have a turn of the assistant without an end token: the model does not learn to stop there"
OTHER_PROMPT = (
    "have a turn of the assistant behind other tokens than the prompt that asks for it: the model learns to answer what it is "
    "never asked"
)


class Looked(NamedTuple):
    """A row to look at: where it stands, for people; its prompt and text; whether it is a conversation of which all that the
    assistant says is learned."""

    line: str
    prompt: PromptContent
    text: str
    whole: bool = False


class Seen(NamedTuple):
    """A row as it is trained on.

    Attributes:
        line: where it stands, for people.
        tokens: as text.
        learned: of each token whether it is learned; the others are read.
        faults: what is wrong with it.
    """

    line: str
    tokens: list[str]
    learned: list[bool]
    faults: list[str]


@dataclass(frozen=True)
class Preview:
    """The first rows in full, how many rows were looked at, and how many have which fault."""

    shown: list[Seen]
    rows: int
    tokens: int
    trained: int
    faults: dict[str, int]
    first: dict[str, str]


def preview(policy: Policy, rows: Sequence[Looked], shown: int = 3) -> Preview:
    """Look at rows as training will.

    Args:
        policy: its tokenizer and context; weights are not needed.
        rows: what is trained on.
        shown: rows to give in full (count).

    Raises:
        DataError: there is none, or the chat template does not say what is learned of a conversation. ModelError: the tokenizer
            has no chat template for messages.
    """
    from heed.models.conversations import encode_shown

    if not rows:
        raise DataError("nothing to look at", "there is no row with a prompt and a completion.", "Give another file.")
    full: list[Seen] = []
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    tokens = trained = 0
    for row in rows:
        taken = encode_shown(policy, row.prompt, row.text, row.whole)
        faults = faults_of(policy, row, taken)
        counts.update(faults)
        for fault in faults:
            first.setdefault(fault, row.line)
        if TOO_LONG not in faults:
            tokens += len(taken.ids)
            trained += taken.taught
        if len(full) < shown:
            full.append(Seen(row.line, _texts(policy, taken.ids), list(taken.learned), faults))
    return Preview(full, len(rows), tokens, trained, dict(counts.most_common()), first)


def faults_of(policy: Policy, row: Looked, taken: Masked) -> list[str]:
    """What is wrong with a row, given as it is trained on."""
    found = _of_begin(policy, taken.ids)
    ends = [policy.tokenizer.convert_ids_to_tokens(end) for end in policy.end_ids]
    if isinstance(row.prompt, str) or not row.whole:
        found += _of_pair(policy, row, taken)
        said = [row.text]
    else:
        messages = (*row.prompt, Message(role="assistant", content=row.text))
        found += _of_turns(policy, messages, taken)
        said = [message.content for message in messages if message.role == "assistant"]
    if any(text.rstrip().endswith(end) for text in said for end in ends):
        found.append(DOUBLED_END)
    if not all(text.strip() for text in said):
        found.append(EMPTY)
    if policy.tokenizer.unk_token_id is not None and policy.tokenizer.unk_token_id in taken.ids:
        found.append(UNKNOWN)
    if len(taken.ids) > policy.context:
        found.append(TOO_LONG)
    return found


def _of_begin(policy: Policy, ids: Sequence[int]) -> list[str]:
    begin = policy.tokenizer.bos_token_id
    if begin is None or begin in policy.end_ids:
        return []
    if list(ids[:2]) == [begin, begin]:
        return [DOUBLED_BEGIN]
    if begin in ids[1:]:
        return [BEGIN_INSIDE]
    usual = list(policy.tokenizer("a")["input_ids"])[:1] == [begin]
    return [NO_BEGIN] if usual and ids[0] != begin else []


def _of_pair(policy: Policy, row: Looked, taken: Masked) -> list[str]:
    found, start = [], taken.learned.index(True)
    prompt, completion = list(taken.ids[:start]), taken.ids[start:]
    # An encoder reads its prompt with an end, and apart from the completion.
    if isinstance(row.prompt, str) and prompt[-1] in policy.end_ids and not policy.encoder_decoder:
        found.append(END_IN_PROMPT)
    if any(token in policy.end_ids for token in completion[:-1]):
        found.append(END_INSIDE)
    plain = isinstance(row.prompt, str)
    joint = policy.tokenizer(policy.render(row.prompt) + row.text, add_special_tokens=plain)["input_ids"]
    if list(joint[:start]) != prompt and not policy.encoder_decoder:
        found.append(SEAM)
    return found


def _of_turns(policy: Policy, messages: Sequence[Message], taken: Masked) -> list[str]:
    found, ids, learned = [], taken.ids, taken.learned
    places = range(1, len(ids))
    if any(learned[k - 1] and learned[k] and ids[k - 1] in policy.end_ids for k in places):
        found.append(END_INSIDE)
    last = [k for k in range(len(ids)) if learned[k] and not (k + 1 < len(ids) and learned[k + 1])]
    if any(ids[k] not in policy.end_ids for k in last):
        found.append(NO_END)
    starts = [k for k in places if learned[k] and not learned[k - 1]]
    turns = [place for place, message in enumerate(messages) if message.role == "assistant"]
    asked = [policy.encode_prompt(tuple(messages[:place])) for place in turns]
    if asked != [list(ids[:start]) for start in starts]:
        found.append(OTHER_PROMPT)
    return found


def _texts(policy: Policy, ids: Sequence[int]) -> list[str]:
    """Each token as text; a part of a character as the tokenizer writes it."""
    found = []
    for one in ids:
        text = policy.tokenizer.decode([one], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        piece = str(policy.tokenizer.convert_ids_to_tokens(one))
        if not text or "\ufffd" in text:
            text = piece
        elif not text[0].isspace():
            # Alone, SentencePiece takes a token for the beginning of a text, and leaves the space before it out.
            text = " " * (len(piece) - len(piece.lstrip(_SPACE))) + text
        found.append(str(text))
    return found
