"""The grammar: distinct prompts, disjoint splits, situations read back from text, replies that show their dials."""

from __future__ import annotations

import itertools
import random
import re

import pytest

from heed.errors import DataError
from heed.feedback.kinds import Message
from heed.sandbox import lexicon
from heed.sandbox.grammar import (
    Dials,
    corpus,
    customer_text,
    demonstrations,
    distinct_prompts,
    normalise,
    parse,
    prompts,
    reply,
    split_sentences,
)

ALL_DIALS = [
    Dials(*values)
    for values in itertools.product(
        ("full", "partial", "beside"),
        ("warm", "curt", "rude"),
        (False, True),
        (False, True),
        ("right", "terse", "rambling"),
    )
]


@pytest.mark.parametrize("split", ["train", "test"])
def test_thousands_of_distinct_prompts_that_repeat_with_their_seed(split):
    drawn = prompts(split, seed=5, count=6000)
    assert len({customer_text(prompt) for prompt in drawn}) == 6000
    assert drawn == prompts(split, seed=5, count=6000)
    assert drawn[:50] != prompts(split, seed=6, count=50)
    assert distinct_prompts(split) > 5000


def test_a_shorter_draw_is_the_beginning_of_a_longer_one():
    assert prompts("train", 0, 300)[:100] == prompts("train", 0, 100)


def test_too_many_prompts_are_refused_with_the_number_there_is():
    with pytest.raises(DataError, match=str(distinct_prompts("test"))):
        prompts("test", 0, distinct_prompts("test"))


def test_held_out_phrasings_occur_in_test_prompts_only():
    held_out = {normalise(ask) for topic in lexicon.TOPICS.values() for ask in topic.held_out_asks}
    assert len(held_out) == 2 * len(lexicon.TOPICS)
    training = [prompt for prompt, _ in corpus(0, 3000) + demonstrations(0, 3000)] + prompts("train", 0, 3000)
    as_templates = {normalise(_to_slots(s)) for prompt in training for s in split_sentences(customer_text(prompt))}
    assert not held_out & as_templates
    tested = {
        normalise(_to_slots(s)) for prompt in prompts("test", 0, 3000) for s in split_sentences(customer_text(prompt))
    }
    assert held_out <= tested


def _to_slots(sentence: str) -> str:
    sentence = re.sub(r"\b\d{3}\b", "{order}", sentence)
    sentence = re.sub(r"\b(" + "|".join(lexicon.PRODUCTS) + r")\b", "{product}", sentence)
    return re.sub(r"\b(" + "|".join(lexicon.DAYS) + r")\b", "{day}", sentence)


def test_held_out_topics_are_in_the_mixture_but_in_no_training_prompt():
    def topics(all_prompts):
        return {parse(prompt).topic for prompt in all_prompts}

    held_out = set(lexicon.HELD_OUT_TOPICS)
    assert topics(prompts("train", 1, 2000)) == set(lexicon.TOPICS) - held_out
    assert topics(prompt for prompt, _ in demonstrations(1, 2000)) == set(lexicon.TOPICS) - held_out
    assert topics(prompt for prompt, _ in corpus(1, 2000)) == set(lexicon.TOPICS)
    assert topics(prompts("test", 1, 2000)) == set(lexicon.TOPICS)


@pytest.mark.parametrize("name", list(lexicon.TOPICS))
def test_every_phrasing_gives_its_topic_and_slots_back(name):
    topic = lexicon.TOPICS[name]
    for ask in topic.asks + topic.held_out_asks:
        filled = ask.format(order="437", product="drill", day="Sunday")
        situation = parse(f"Good morning! This is Nina Khan. {filled} Can you help?")
        assert situation.topic == name
        assert situation.order == ("437" if "{order}" in ask else None)
        assert situation.product == ("drill" if "{product}" in ask else None)
        assert situation.day == ("Sunday" if "{day}" in ask else None)
        assert situation.name == "Nina Khan"
        assert situation.order or situation.product, "an agent must have something to name"


def test_no_two_phrasings_look_the_same():
    asks = [normalise(_fill(ask)) for topic in lexicon.TOPICS.values() for ask in topic.asks + topic.held_out_asks]
    assert len(set(asks)) == len(asks)


def _fill(ask: str) -> str:
    return ask.format(order="108", product="lamp", day="Monday")


def test_parse_reads_the_last_message_of_the_user():
    talk = (
        Message(role="user", content="Please cancel order 108."),
        Message(role="assistant", content="I have cancelled order 108 and you pay nothing."),
        Message(role="user", content="My lamp died, do I still have a warranty?"),
        Message(role="assistant", content="Fine."),
    )
    assert parse(talk).topic == "warranty"
    assert parse(talk).order is None


def test_a_message_outside_the_world_is_refused():
    with pytest.raises(DataError, match="What is the capital of France"):
        parse("What is the capital of France?")
    with pytest.raises(DataError, match="without a message of the user"):
        parse((Message(role="assistant", content="Hello."),))


def test_replies_keep_their_length_for_every_combination_of_dials():
    rng = random.Random(0)
    situations = [parse(prompt) for prompt in prompts("test", 0, 40)]
    for dials in ALL_DIALS:
        for situation in situations:
            text = reply(situation, dials, rng)
            assert 8 <= len(text.split()) <= 40, (dials, text)
            assert text[-1] in ".!?"
            assert "{" not in text
            assert any(filler in text for filler in lexicon.FILLERS) == (dials.length == "rambling"), (dials, text)


def test_replies_repeat_with_the_state_of_the_generator():
    situation = parse("Please cancel order 108.")
    draws = [[reply(situation, d, random.Random(seed)) for d in ALL_DIALS] for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_a_leak_never_names_the_customer_or_the_customers_order():
    rng = random.Random(0)
    for prompt in prompts("train", 2, 400):
        situation = parse(prompt)
        text = reply(situation, Dials(helpful="partial", leaks=True), rng)
        assert situation.order is None or situation.order not in text
        assert not set((situation.name or "").split()) & set(re.findall(r"\w+", text))


def test_words_that_mark_rudeness_and_promises_are_in_nothing_else():
    others = " ".join(
        (
            *lexicon.WARM_OPENERS,
            *lexicon.WARM_CLOSERS,
            *lexicon.CURT_OPENERS,
            *lexicon.FILLERS,
            *lexicon.BESIDE_THE_POINT,
            *lexicon.LEAKS,
            *(step for topic in lexicon.TOPICS.values() for step in topic.steps + topic.short_steps),
        )
    )
    words = set(re.findall(r"[a-z]+", others.lower()))
    assert not words & (lexicon.RUDE_WORDS | lexicon.PROMISE_WORDS)
    assert not lexicon.RUDE_WORDS & lexicon.PROMISE_WORDS


def test_the_language_is_small():
    texts = [text for prompt, answer in corpus(0, 5000) for text in (customer_text(prompt), answer)]
    words = {word for text in texts for word in re.findall(r"[a-z]+|\d+", text.lower())}
    assert 380 <= len(words) <= 900
