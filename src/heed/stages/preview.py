"""What a model is trained on, token by token, and what is wrong with it: before anything is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from heed.errors import DataError
from heed.feedback.kinds import PromptContent

if TYPE_CHECKING:
    from heed.models.policy import Policy

DOUBLED_BEGIN = "begin with the begin token twice: the chat template and the tokenizer each add one"
BEGIN_INSIDE = "have a begin token after their beginning"
NO_BEGIN = "lack the begin token that the tokenizer puts before plain texts: the chat template leaves it out"
END_IN_PROMPT = "have an end token at the end of the prompt: the model learns to go on after an end"
END_INSIDE = "have an end token within the completion: the model learns to go on after an end"
DOUBLED_END = "bring an end token of their own in the text; heed adds it, and takes that one away"
UNKNOWN = "have tokens that stand for what the tokenizer does not know"
SEAM = "are cut into other tokens together with their prompt than alone, so that the completion is taken alone"
TOO_LONG = "are longer than the model's context and left out"
EMPTY = "have an empty completion: the model learns to say nothing"


class Seen(NamedTuple):
    """A row as it is trained on.

    Attributes:
        line: where it stands, for people.
        prompt, completion: their tokens as text; only the completion's are learned.
        faults: what is wrong with it.
    """

    line: str
    prompt: list[str]
    completion: list[str]
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


def preview(policy: Policy, rows: Sequence[tuple[str, PromptContent, str]], shown: int = 3) -> Preview:
    """Look at rows as training will.

    Args:
        policy: its tokenizer and context; weights are not needed.
        rows: (where it stands, prompt, completion).
        shown: rows to give in full (count).

    Raises:
        DataError: there is none. ModelError: the tokenizer has no chat template for messages.
    """
    if not rows:
        raise DataError("nothing to look at", "there is no row with a prompt and a completion.", "Give another file.")
    full: list[Seen] = []
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    tokens = trained = 0
    for line, content, text in rows:
        prompt, completion = policy.encode_prompt(content), policy.encode_completion(content, text)
        faults = faults_of(policy, content, text, prompt, completion)
        counts.update(faults)
        for fault in faults:
            first.setdefault(fault, line)
        if TOO_LONG not in faults:
            tokens += len(prompt) + len(completion)
            trained += len(completion)
        if len(full) < shown:
            full.append(Seen(line, _texts(policy, prompt), _texts(policy, completion), faults))
    return Preview(full, len(rows), tokens, trained, dict(counts.most_common()), first)


def faults_of(
    policy: Policy, content: PromptContent, text: str, prompt: Sequence[int], completion: Sequence[int]
) -> list[str]:
    """What is wrong with a row, given as it is trained on (token ids)."""
    tokenizer, begin = policy.tokenizer, policy.tokenizer.bos_token_id
    found = []
    if begin is not None and begin not in policy.end_ids:
        usual = list(tokenizer("a")["input_ids"])[:1] == [begin]
        if list(prompt[:2]) == [begin, begin]:
            found.append(DOUBLED_BEGIN)
        elif begin in (*prompt[1:], *completion):
            found.append(BEGIN_INSIDE)
        elif usual and prompt[0] != begin:
            found.append(NO_BEGIN)
    # An encoder reads its prompt with an end, and apart from the completion.
    if isinstance(content, str) and prompt[-1] in policy.end_ids and not policy.encoder_decoder:
        found.append(END_IN_PROMPT)
    if any(token in policy.end_ids for token in completion[:-1]):
        found.append(END_INSIDE)
    ends = [tokenizer.convert_ids_to_tokens(end) for end in policy.end_ids]
    if any(text.rstrip().endswith(end) for end in ends):
        found.append(DOUBLED_END)
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in (*prompt, *completion):
        found.append(UNKNOWN)
    joint = tokenizer(policy.render(content) + text, add_special_tokens=isinstance(content, str))["input_ids"]
    if list(joint[: len(prompt)]) != list(prompt) and not policy.encoder_decoder:
        found.append(SEAM)
    if len(prompt) + len(completion) > policy.context:
        found.append(TOO_LONG)
    if not text.strip():
        found.append(EMPTY)
    return found


def _texts(policy: Policy, ids: Sequence[int]) -> list[str]:
    """Each token as text; a part of a character as the tokenizer writes it."""
    found = []
    for one in ids:
        text = policy.tokenizer.decode([one], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        found.append(str(policy.tokenizer.convert_ids_to_tokens(one)) if not text or "\ufffd" in text else str(text))
    return found
