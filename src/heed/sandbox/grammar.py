"""The grammar of the support desk: customer messages and replies of every quality, both from seeds.

Nothing is hidden in what it makes: the situation of a message is read back from its text by ``parse``, so that the true
utility can judge any reply to it, whoever wrote it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

from heed.errors import DataError
from heed.feedback.kinds import Message, PromptContent
from heed.sandbox import lexicon
from heed.sandbox.lexicon import TOPICS

T = TypeVar("T")
Split = Literal["train", "test"]

LONGEST_REPLY = 40
SHORTEST_REPLY = 8

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_TOKEN = re.compile(r"<\w+>|[^\W\d_]+(?:['’-][^\W\d_]+)*|[^\s\w]|\w")
_SLOT_PATTERNS = {
    "mail": r"\b\w+@post\.example\b",
    "street": r"\b(?:" + "|".join(lexicon.STREETS) + r")\b",
    "num": r"\b\d+\b",
    "product": r"\b(?:" + "|".join(lexicon.PRODUCTS) + r")\b",
    "day": r"\b(?:" + "|".join(lexicon.DAYS) + r")\b",
    "name": r"\b(?:" + "|".join(lexicon.FIRST_NAMES + lexicon.LAST_NAMES) + r")\b",
}
_SLOTS = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _SLOT_PATTERNS.items()))
_REFS = re.compile(r"\border <num>|\byour <product>|\byour order\b|\bthe item\b")


@dataclass(frozen=True)
class Situation:
    """What a customer's message is about; ``None`` where the message does not say it."""

    topic: str
    order: str | None
    product: str | None
    day: str | None
    name: str | None


@dataclass(frozen=True)
class Dials:
    """The quality of a reply, each dial independent of the others; the defaults are the best.

    Attributes:
        helpful: "full" names the right next step and the customer's order or product, "partial" names the step only
            vaguely, "beside" misses the point.
        polite: "warm", "curt" (neither polite nor rude) or "rude".
        leaks: names another customer and that customer's order, address or e-mail.
        promises: promises what no shop can keep.
        length: "right", "terse" (a few words) or "rambling" (filler and repetition).
    """

    helpful: Literal["full", "partial", "beside"] = "full"
    polite: Literal["warm", "curt", "rude"] = "warm"
    leaks: bool = False
    promises: bool = False
    length: Literal["right", "terse", "rambling"] = "right"


def split_sentences(text: str) -> list[str]:
    """Sentences of ``text``, cut after a full stop, exclamation or question mark that white space follows."""
    return [sentence for sentence in _SENTENCE_END.split(text.strip()) if sentence]


@lru_cache(maxsize=65536)
def normalise(sentence: str) -> tuple[str, ...]:
    """Words and signs of a sentence with its slots as kinds: "your kettle is late" gives ("<ref>", "is", "late").

    The kinds are ``<num>``, ``<product>``, ``<day>``, ``<name>``, ``<street>``, ``<mail>``, and ``<ref>`` for how an agent
    names the customer's case.
    """
    slotted = _SLOTS.sub(lambda match: f"<{match.lastgroup}>", sentence)
    return tuple(_TOKEN.findall(_REFS.sub("<ref>", slotted)))


def ref_texts(situation: Situation) -> list[str]:
    """How an agent can name this customer's case, for example ["order 417", "your kettle"]."""
    refs = []
    if situation.order is not None:
        refs.append(f"order {situation.order}")
    if situation.product is not None:
        refs.append(f"your {situation.product}")
    return refs


def customer_text(prompt: PromptContent) -> str:
    """What the customer wrote last: the prompt itself, or the last message of the user in a conversation.

    Raises:
        DataError: the conversation has no message of the user.
    """
    if isinstance(prompt, str):
        return prompt
    for message in reversed(prompt):
        if message.role == "user":
            return message.content
    raise DataError(
        "a conversation without a message of the user",
        "the support desk answers customers.",
        "Add a message with the role 'user'.",
    )


@lru_cache(maxsize=1)
def _topic_of_ask() -> dict[tuple[str, ...], str]:
    return {
        normalise(ask_text(ask, "108", lexicon.PRODUCTS[0], lexicon.DAYS[0])): name
        for name, topic in TOPICS.items()
        for ask in topic.asks + topic.held_out_asks
    }


def ask_text(ask: str, order: str, product: str, day: str) -> str:
    """The request ``ask`` of the lexicon with its slots filled."""
    return ask.format(order=order, product=product, day=day)


def parse(prompt: PromptContent) -> Situation:
    """Read the situation back from a customer's message.

    Raises:
        DataError: no sentence of the message is a request that the support desk knows.
    """
    return _parse_text(customer_text(prompt))


@lru_cache(maxsize=65536)
def _parse_text(text: str) -> Situation:
    known = _topic_of_ask()
    ask = next((s for s in split_sentences(text) if normalise(s) in known), None)
    if ask is None:
        raise DataError(
            f"the message {text[:80]!r}",
            "it has no request that the support desk knows, so its true utility is undefined.",
            "Use prompts of heed.sandbox.grammar.prompts(), or another utility for your own prompts.",
        )
    found = {kind: [m.group() for m in _SLOTS.finditer(text) if m.lastgroup == kind] for kind in _SLOT_PATTERNS}
    return Situation(
        topic=known[normalise(ask)],
        order=next(iter(found["num"]), None),
        product=next(iter(found["product"]), None),
        day=next(iter(found["day"]), None),
        name=" ".join(found["name"]) or None,
    )


def _full_name(rng: random.Random) -> str:
    return f"{rng.choice(lexicon.FIRST_NAMES)} {rng.choice(lexicon.LAST_NAMES)}"


def _message(asks: Sequence[str], rng: random.Random) -> str:
    ask = ask_text(rng.choice(asks), rng.choice(lexicon.ORDERS), rng.choice(lexicon.PRODUCTS), rng.choice(lexicon.DAYS))
    introduction = rng.choice(lexicon.INTRODUCTIONS).format(name=_full_name(rng))
    pieces = (rng.choice(lexicon.GREETINGS), introduction, ask, rng.choice(lexicon.ENDINGS))
    return " ".join(piece for piece in pieces if piece)


def _as_prompt(text: str) -> PromptContent:
    return (Message(role="user", content=text),)


def _asks(source: Literal["train", "test", "pretraining"]) -> list[tuple[str, ...]]:
    """Phrasings by topic that this source draws from; what "test" draws from is in no other source."""
    if source == "test":
        return [topic.held_out_asks for topic in TOPICS.values()]
    held_out = lexicon.HELD_OUT_TOPICS if source == "train" else ()
    return [topic.asks for name, topic in TOPICS.items() if name not in held_out]


def distinct_prompts(split: Split) -> int:
    """How many different messages the split can hold (count)."""
    names = len(lexicon.FIRST_NAMES) * len(lexicon.LAST_NAMES)
    introductions = sum(names if "{name}" in text else 1 for text in lexicon.INTRODUCTIONS)
    frames = len(lexicon.GREETINGS) * introductions * len(lexicon.ENDINGS)
    choices = {"{order}": lexicon.ORDERS, "{product}": lexicon.PRODUCTS, "{day}": lexicon.DAYS}
    total = 0
    for asks in _asks(split):
        for ask in asks:
            filled = frames
            for slot, values in choices.items():
                filled *= len(values) if slot in ask else 1
            total += filled
    return total


def prompts(split: Split, seed: int, count: int) -> list[PromptContent]:
    """Distinct customer messages, each a conversation of one message of the user.

    Training prompts come from topics that are not held out; test prompts come from every topic, in phrasings that occur
    nowhere in training, so the two splits can share no message.

    Raises:
        DataError: ``count`` is more than half of what the grammar can say.
    """
    if count > distinct_prompts(split) // 2:
        raise DataError(
            f"{count} {split} prompts",
            f"the grammar has {distinct_prompts(split)} different ones, and at most half can be drawn.",
            "Ask for fewer.",
        )
    rng = random.Random(f"support desk prompts {split} {seed}")
    asks = _asks(split)
    texts: dict[str, None] = {}
    while len(texts) < count:
        texts.setdefault(_message(rng.choice(asks), rng))
    return [_as_prompt(text) for text in texts]


def _foreign_name(situation: Situation, rng: random.Random) -> str:
    own = set((situation.name or "").split())
    first = [name for name in lexicon.FIRST_NAMES if name not in own]
    last = [name for name in lexicon.LAST_NAMES if name not in own]
    return f"{rng.choice(first)} {rng.choice(last)}"


def _leak(situation: Situation, rng: random.Random) -> str:
    name = _foreign_name(situation, rng)
    return rng.choice(lexicon.LEAKS).format(
        name=name,
        house=rng.choice(("4", "7", "9", "12")),
        street=rng.choice(lexicon.STREETS),
        order=rng.choice([order for order in lexicon.ORDERS if order != situation.order]),
        mail=f"{name.split()[1].lower()}@post.example",
    )


def _step(situation: Situation, dials: Dials, short: bool, rng: random.Random) -> str:
    topic = TOPICS[situation.topic]
    specific = ref_texts(situation)
    ref = rng.choice(specific) if specific else rng.choice(lexicon.GENERIC_REFS)
    if dials.helpful == "partial":
        ref = rng.choice(lexicon.GENERIC_REFS)
    if dials.helpful == "beside":
        if not short and rng.random() < 0.75:
            return rng.choice(lexicon.BESIDE_THE_POINT)
        topic = TOPICS[rng.choice([name for name in TOPICS if name != situation.topic])]
    steps = topic.short_steps if short else topic.steps
    return rng.choice(steps).format(ref=ref, day=rng.choice(lexicon.DAYS))


def _word_count(sentences: Sequence[str]) -> int:
    return sum(len(sentence.split()) for sentence in sentences)


def reply(situation: Situation, quality: Dials, rng: random.Random) -> str:
    """A reply of 8 to 40 words with exactly the faults that ``quality`` names.

    Args:
        situation: what the customer wrote about, from ``parse``.
        quality: the dials.
        rng: source of the choice among phrasings; the same state gives the same reply.
    """
    opener, closer = "", ""
    if quality.polite == "warm":
        opener, closer = rng.choice(lexicon.WARM_OPENERS), rng.choice(("", *lexicon.WARM_CLOSERS))
    elif quality.polite == "curt":
        opener = rng.choice(lexicon.CURT_OPENERS)
    else:
        opener, closer = rng.choice(lexicon.RUDE_OPENERS), rng.choice(("", *lexicon.RUDE_CLOSERS))
    if quality.length == "terse":
        closer = ""
    faults = [_leak(situation, rng)] if quality.leaks else []
    if quality.promises:
        faults.insert(rng.randrange(len(faults) + 1), rng.choice(lexicon.PROMISES))
    fillers = rng.sample(lexicon.FILLERS, k=3) if quality.length == "rambling" else []
    needed = _word_count([opener, *faults, *fillers[:1]])
    step = _step(situation, quality, quality.length == "terse", rng)
    if needed + _word_count([step]) > LONGEST_REPLY:
        step = _step(situation, quality, True, rng)
    body = [step, *faults]
    room = LONGEST_REPLY - _word_count([opener, *body])
    used: list[str] = []
    for filler in [*fillers, closer]:
        if _word_count([*used, filler]) <= room:
            used.append(filler)
    if fillers and rng.random() < 0.5:
        body.insert(0, used.pop(0))
    return " ".join(sentence for sentence in (opener, *body, *used) if sentence)


def _one_of(rng: random.Random, weighted: dict[T, float]) -> T:
    return rng.choices(list(weighted), list(weighted.values()))[0]


def mixture_dials(rng: random.Random) -> Dials:
    """About one reply in eight has every dial at its best: room for improvement, and enough of the good to find it."""
    return Dials(
        helpful=_one_of(rng, {"full": 0.5, "partial": 0.2, "beside": 0.3}),
        polite=_one_of(rng, {"warm": 0.55, "curt": 0.3, "rude": 0.15}),
        leaks=rng.random() < 0.15,
        promises=rng.random() < 0.15,
        length=_one_of(rng, {"right": 0.6, "terse": 0.2, "rambling": 0.2}),
    )


def _demonstration_dials(rng: random.Random) -> Dials:
    """Mostly to the point, often curt or long, now and then careless: what a hurried but decent agent writes."""
    return Dials(
        helpful=_one_of(rng, {"full": 0.7, "partial": 0.2, "beside": 0.1}),
        polite=_one_of(rng, {"warm": 0.45, "curt": 0.45, "rude": 0.1}),
        leaks=rng.random() < 0.15,
        promises=rng.random() < 0.15,
        length=_one_of(rng, {"right": 0.5, "terse": 0.15, "rambling": 0.35}),
    )


def _answered(
    name: str, seed: int, count: int, asks: list[tuple[str, ...]], dials: Callable[[random.Random], Dials]
) -> list[tuple[PromptContent, str]]:
    rng = random.Random(f"support desk {name} {seed}")
    pairs = []
    for _ in range(count):
        prompt = _as_prompt(_message(rng.choice(asks), rng))
        pairs.append((prompt, reply(parse(prompt), dials(rng), rng)))
    return pairs


def corpus(seed: int, count: int) -> list[tuple[PromptContent, str]]:
    """The base model's mixture: messages on every topic, in training phrasings, with mostly mediocre and bad replies."""
    return _answered("corpus", seed, count, _asks("pretraining"), mixture_dials)


def demonstrations(seed: int, count: int) -> list[tuple[PromptContent, str]]:
    """Training messages with replies that are better than the mixture and far from perfect."""
    return _answered("demonstrations", seed, count, _asks("train"), _demonstration_dials)
