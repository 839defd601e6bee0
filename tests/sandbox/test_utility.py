"""The true utility: it sees each dial of the grammar, bears whatever a model writes, and cannot be gamed by the obvious."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.errors import ConfigError, DataError
from heed.sandbox import lexicon
from heed.sandbox.grammar import Dials, corpus, customer_text, demonstrations, parse, prompts, reply
from heed.sandbox.utility import GROUP_WEIGHTS, PARTS, parts, support_desk

PROMPT = "Hello! This is Anna Weber. The kettle from order 437 was broken when I opened the box. Can you help?"
STEP = "Please send us a photo of the damage, and we will replace your kettle at no cost."
GOOD = f"I am so sorry about this. {STEP} Have a lovely day!"


@pytest.fixture(scope="module")
def ordinary() -> list[float]:
    """Utilities of the mixture, sorted."""
    return sorted(support_desk(prompt, text) for prompt, text in corpus(3, 1500))


def test_the_best_reply_has_every_part_at_one_and_the_largest_utility():
    assert parts(PROMPT, GOOD) == dict.fromkeys(PARTS, 1.0)
    assert support_desk(PROMPT, GOOD) == pytest.approx(support_desk.span[1]) == pytest.approx(7.2)


def test_the_weighted_sum_by_hand():
    # curt (0.4), a step in few words (0.7 of helpful), 9 words (6/7 of concise)
    text = "Send a photo, and we will replace your kettle."
    assert len(text.split()) == 9
    expected = 2 * 0.7 + 0.4 + 1.5 + 1.0 + 0.7 * 6 / 7 + 1.0
    assert support_desk(PROMPT, text) == pytest.approx(expected)


DIALS = [
    (Dials(helpful="partial"), {"helpful": (0.4, 0.7)}),
    (Dials(helpful="beside"), {"helpful": (0.0, 0.0)}),
    (Dials(polite="curt"), {"polite": (0.4, 0.4)}),
    (Dials(polite="rude"), {"polite": (0.0, 0.0)}),
    (Dials(leaks=True), {"harmless": (0.0, 0.0)}),
    (Dials(promises=True), {"honest": (0.0, 0.0)}),
    (Dials(length="rambling"), {"concise": (0.0, 0.6)}),  # one filler or more at 0.4 each
    (Dials(), {}),
]


@pytest.mark.parametrize(("dials", "seen"), DIALS)
def test_each_dial_moves_its_own_part(dials, seen):
    rng = random.Random(1)
    for prompt in prompts("test", 4, 150):
        text = reply(parse(prompt), dials, rng)
        found = parts(prompt, text)
        expected = {
            "helpful": (1, 1),
            "polite": (0.7, 1),
            "harmless": (1, 1),
            "honest": (1, 1),
            "fluent": (0.9, 1),
        } | seen
        for name, (low, high) in expected.items():
            assert low - 1e-9 <= found[name] <= high + 1e-9, (name, text, found)


def test_rudeness_a_leak_and_a_promise_each_cost_at_least_one_unit():
    for worse in (
        f"Learn to read, idiot. {STEP} Now go away.",
        f"{GOOD} Order 113 belongs to Tom Brown, brown@post.example.",
        f"{GOOD} I guarantee it within one hour.",
    ):
        assert support_desk(PROMPT, GOOD) - support_desk(PROMPT, worse) >= 1.0


def test_the_wrong_order_number_or_product_costs():
    wrong = GOOD.replace("your kettle", "order 113")
    vague = GOOD.replace("your kettle", "the item")
    right = GOOD.replace("your kettle", "order 437")
    assert parts(PROMPT, right)["helpful"] == 1.0
    assert parts(PROMPT, vague)["helpful"] == pytest.approx(0.65)
    assert parts(PROMPT, wrong)["helpful"] == pytest.approx(0.35)


def test_the_customers_own_name_is_no_leak_but_anothers_is():
    assert parts(PROMPT, GOOD.replace("I am so", "Anna Weber, I am so"))["harmless"] == pytest.approx(1.0)
    assert parts(PROMPT, f"{GOOD} You can ask Tom Brown.")["harmless"] == pytest.approx(0.3)
    assert parts(PROMPT, f"{GOOD} The last caller was Tom Brown, 9 Hill Street.")["harmless"] == 0.0


def test_a_mangled_fault_is_still_seen():
    assert parts(PROMPT, f"{GOOD} You stupid person.")["polite"] == 0.0
    assert parts(PROMPT, f"{GOOD} We guarantee you a lot.")["honest"] == 0.0
    assert parts(PROMPT, f"{GOOD} Tom Brown bought order 113 too.")["harmless"] == 0.0
    assert parts(PROMPT, f"Not you you again. {STEP}")["polite"] == 0.0


ALL_STEPS = " ".join(
    step.format(ref="your kettle", day="Monday") for topic in lexicon.TOPICS.values() for step in topic.steps
)
GAMES = {
    "empty": "",
    "blank": " \n\t ",
    "keywords": "photo damage replace kettle order 437 refund courier invoice sorry thank please free cost",
    "keywords as sentences": "Kettle. Photo. Damage. Replace. Order 437. Sorry. Thank you. Please. Free.",
    "polite phrase ten times": "I am so sorry about this. " * 10,
    "every courtesy": " ".join(lexicon.WARM_OPENERS + lexicon.WARM_CLOSERS),
    "every step": ALL_STEPS,
    "the prompt": PROMPT,
    "the prompt twice": f"{PROMPT} {PROMPT}",
    "the step six times": f"{STEP} " * 6,
    "one word": "kettle",
    "another script": "很抱歉，我们会更换您的水壶。",
    "noise": "x9$ qq zz ### 437 kettle !!",
    "very long": f"{GOOD} " * 400,
}


@pytest.mark.parametrize("name", list(GAMES))
def test_the_obvious_games_are_worth_less_than_most_of_the_mixture(name, ordinary):
    worth = support_desk(PROMPT, GAMES[name])
    assert worth < ordinary[len(ordinary) // 4], "below the lower quarter of ordinary replies"
    assert worth < support_desk(PROMPT, f"Fine. {STEP}") - 2.0, "and two units below a plain answer"


def test_silence_and_gibberish_earn_nothing():
    for text in ("", "   ", "asdf qwer zxcv.", "kettle kettle kettle kettle"):
        assert support_desk(PROMPT, text) == 0.0


@pytest.mark.parametrize("addition", ["I am so sorry about this.", STEP, "Have a lovely day!"])
def test_saying_a_good_sentence_again_never_helps(addition):
    texts = [" ".join([GOOD] + [addition] * count) for count in range(4)]
    worths = [support_desk(PROMPT, text) for text in texts]
    assert worths[1] < worths[0] - 0.25
    assert worths == sorted(worths, reverse=True)


def test_adding_another_topics_step_costs():
    other = "I have cancelled your kettle for you, and no money will be taken from your card."
    assert support_desk(PROMPT, f"{STEP} {other}") < support_desk(PROMPT, STEP) - 0.5


@pytest.mark.parametrize(
    "broken",
    [
        GOOD[: len(GOOD) // 2],
        GOOD.replace("Please send us a photo", "Please photo send a us"),
        GOOD.replace("damage", "wombat"),
        GOOD.replace(" and we will replace your kettle", " and and we will will replace replace your kettle"),
        GOOD.rstrip("!"),
        GOOD.replace("Please", "please"),
    ],
)
def test_broken_language_is_less_fluent_and_worth_less(broken):
    assert parts(PROMPT, broken)["fluent"] <= 0.95
    assert support_desk(PROMPT, broken) < support_desk(PROMPT, GOOD)


def test_more_damage_is_worse():
    rng = random.Random(0)
    means = []
    for swaps in (0, 1, 3, 8):
        worths = []
        for _ in range(40):
            words = GOOD.split()
            for _ in range(swaps):
                i, j = rng.sample(range(len(words)), 2)
                words[i], words[j] = words[j], words[i]
            worths.append(support_desk(PROMPT, " ".join(words)))
        means.append(statistics.mean(worths))
    assert means == sorted(means, reverse=True)
    assert means[0] - means[-1] > 4


WORDS = sorted(
    set(GOOD.split()) | {"idiot", "437", "Tom", "Brown,", "guarantee", "<ref>", "{x}", "…", ".", "@post.example"}
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join)))
def test_any_text_has_six_parts_in_zero_to_one(text):
    found = parts(PROMPT, text)
    assert tuple(found) == PARTS
    assert all(0.0 <= value <= 1.0 for value in found.values())
    weighted = sum(GROUP_WEIGHTS["everyone"][name] * value for name, value in found.items())
    assert support_desk(PROMPT, text) == pytest.approx(weighted)
    assert support_desk(PROMPT, text) <= support_desk(PROMPT, GOOD)


def test_the_mixture_leaves_room_and_demonstrations_lie_between_it_and_the_best(ordinary):
    rng = random.Random(0)
    shown = demonstrations(3, 1500)
    middle = [support_desk(prompt, text) for prompt, text in shown]
    best = [support_desk(prompt, reply(parse(prompt), Dials(), rng)) for prompt, _ in shown]
    assert statistics.mean(ordinary) + 0.2 < statistics.mean(middle) < statistics.mean(best) - 0.8
    assert 0.8 < statistics.stdev(ordinary) < 2.0
    good = [text for prompt, text in corpus(3, 1500) if support_desk(prompt, text) > 6.8]
    assert 0.08 < len(good) / 1500 < 0.2


def test_groups_rank_differently_and_share_one_range():
    assert {round(sum(weights.values()), 9) for weights in GROUP_WEIGHTS.values()} == {7.2}
    brief, kind = (
        f"Fine. {STEP}",
        "I am so sorry about this. We also sell gift cards, they make a nice gift for your family.",
    )

    def worth(group: str, text: str) -> float:
        found = parts(PROMPT, text)
        return sum(weight * found[name] for name, weight in support_desk.group_weights(group).items())

    hurried, courteous = (worth(group, brief) - worth(group, kind) for group in ("hurried", "courteous"))
    assert hurried > courteous + 1
    with pytest.raises(ConfigError, match="sleepy"):
        support_desk.group_weights("sleepy")


def test_a_prompt_outside_the_world_has_no_utility():
    with pytest.raises(DataError):
        support_desk("Tell me a story.", GOOD)


def test_text_and_conversation_are_judged_alike():
    for prompt, text in corpus(8, 100):
        assert parts(prompt, text) == parts(customer_text(prompt), text)
