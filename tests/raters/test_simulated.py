"""Simulated raters: determinism, the logistic model against its closed form, and each fault against its stated numbers."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit

from heed.config import ProjectSettings, parse_settings
from heed.errors import ConfigError
from heed.rater_settings import BEHAVIOURS, RatersSettings, SimulatedRaterSettings
from heed.raters.behaviours import BEHAVIOUR_OF, flattery
from heed.raters.simulated import SimulatedRater, simulated_raters
from heed.sandbox.grammar import Dials, corpus, parse, reply
from heed.sandbox.utility import support_desk


def worth(prompt, completion):
    """The completion begins with its utility."""
    return float(completion.split()[0])


def answers(rater, a, b, count, left_is_a=True):
    return Counter(rater.compare("p", a, b, left_is_a, str(key))[0] for key in range(count))


@pytest.fixture(scope="module")
def pairs():
    rng = random.Random(0)
    rows = []
    for prompt, text in corpus(21, 600):
        dials = Dials(rng.choice(["full", "beside"]), rng.choice(["warm", "rude"]), rng.random() < 0.2)
        rows.append((prompt, text, reply(parse(prompt), dials, rng)))
    return rows


def agreement(rater, pairs):
    right = []
    for key, (prompt, a, b) in enumerate(pairs):
        choice, _ = rater.compare(prompt, a, b, key % 2 == 0, str(key))
        truth = support_desk(prompt, a) - support_desk(prompt, b)
        if choice in ("a", "b") and truth:
            right.append((choice == "a") == (truth > 0))
    return np.mean(right), len(right)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_judgment_depends_on_seed_and_key_and_not_on_the_order_of_calls(behaviour, pairs):
    def judge(seed, order):
        rater = SimulatedRater("r", behaviour, support_desk, seed=seed)
        found = {}
        for k in order:
            prompt, a, b = pairs[k]
            found[k] = (
                rater.compare(prompt, a, b, True, str(k), k / 60),
                rater.rate(prompt, a, str(k), k / 60),
                rater.thumb(prompt, a, str(k), k / 60),
            )
        return found

    assert judge(1, range(60)) == judge(1, reversed(range(60)))
    if behaviour != "teacher":  # as it stands it never errs, so that no seed tells
        assert judge(1, range(60)) != judge(2, range(60))


def test_raters_of_different_names_err_apart():
    first, second = (SimulatedRater(name, "noisy", worth, noise=1.0) for name in ("ann", "ben"))
    asked = [[rater.compare("p", "0", "0", True, str(key))[0] for key in range(400)] for rater in (first, second)]
    # each says "tie" with probability tanh(0.05), else one side; independent raters agree with sum of squares
    tie = np.tanh(0.05)
    expected = tie**2 + 2 * ((1 - tie) / 2) ** 2
    same = sum(one == other for one, other in zip(*asked, strict=True))
    assert stats.binomtest(same, 400, expected).pvalue > 1e-4


@pytest.mark.parametrize(("difference", "noise"), [(0.5, 1.0), (-1.0, 0.7), (2.0, 2.0)])
def test_choices_follow_the_logistic_model(difference, noise):
    """P(margin > w) = sigmoid((d - w) / s): the tie zone of width w = 0.1 lies between the two tails."""
    count = 4000
    found = answers(SimulatedRater("r", "noisy", worth, noise=noise), f"{difference}", "0", count)
    for choice, probability in {
        "a": expit((difference - 0.1) / noise),
        "b": expit((-difference - 0.1) / noise),
    }.items():
        assert stats.binomtest(found[choice], count, probability).pvalue > 1e-4
    assert found["both_bad"] == 0
    assert found["tie"] == count - found["a"] - found["b"] > 0


def test_without_noise_the_truth_decides_and_size_gives_strength():
    rater = SimulatedRater("r", "careful", worth, noise=0.0)
    assert rater.compare("p", "1", "1.05", True, "k") == ("tie", None)
    assert rater.compare("p", "1", "1.5", True, "k") == ("b", 1)
    assert rater.compare("p", "2", "1", False, "k") == ("a", 2)
    assert rater.compare("p", "4", "1", False, "k") == ("a", 3)


@settings(max_examples=60, deadline=None)
@given(st.floats(-5, 5), st.floats(-5, 5), st.booleans())
def test_a_careful_rater_without_noise_is_blind_to_place_and_order(a, b, left_is_a):
    rater = SimulatedRater("r", "careful", worth, noise=0.0)
    choice, strength = rater.compare("p", str(a), str(b), left_is_a, "k")
    other, same = rater.compare("p", str(b), str(a), not left_is_a, "other")
    assert {"a": "b", "b": "a"}.get(choice, choice) == other
    assert strength == same


def test_careful_raters_mostly_see_the_truth_noisy_ones_less_inverted_ones_the_opposite(pairs):
    careful, many = agreement(SimulatedRater("c", "careful", support_desk), pairs)
    noisy, _ = agreement(SimulatedRater("n", "noisy", support_desk), pairs)
    inverted, _ = agreement(SimulatedRater("i", "inverted", support_desk), pairs)
    assert many > 400
    assert careful > 0.93
    assert 0.7 < noisy < 0.9
    assert inverted < 0.07


def test_lazy_left_takes_the_left_most_of_the_time():
    rater = SimulatedRater("r", "lazy_left", worth)
    assert answers(rater, "0", "3", 1000, left_is_a=True)["a"] / 1000 == pytest.approx(0.7, abs=0.05)
    assert answers(rater, "0", "3", 1000, left_is_a=False)["a"] < 10


def test_lazy_long_prefers_length_to_worth():
    rater = SimulatedRater("r", "lazy_long", worth)
    assert answers(rater, "0 " + "word " * 20, "2 ok", 500)["a"] > 450
    assert answers(rater, "2 same length", "0 same length", 500)["a"] > 300


def test_both_bad_is_for_two_bad_replies_that_are_alike():
    rater = SimulatedRater("r", "careful", support_desk, noise=0.0)
    prompt = "Please cancel order 108."
    rude = "Learn to read, idiot. The weather has been odd this week too. It is your own stupid fault."
    worse = "Stop whining. There is always a lot to do here. It is your own stupid fault."
    good = "I am happy to help. I have cancelled order 108 for you, and no money will be taken from your card."
    assert rater.compare(prompt, rude, worse, True, "k") == ("both_bad", None)
    assert rater.compare(prompt, good, worse, True, "k") == ("a", 3)
    assert rater.compare(prompt, good, good, True, "k") == ("tie", None)


def test_ratings_and_thumbs_follow_the_truth_and_an_inverted_rater_mirrors_them():
    prompt = "Please cancel order 108."
    good = "I am happy to help. I have cancelled order 108 for you, and no money will be taken from your card."
    bad = "Learn to read, idiot. You can ask Tom Brown at brown@post.example. It is your own stupid fault."
    careful = SimulatedRater("c", "careful", support_desk, noise=0.0)
    inverted = SimulatedRater("i", "inverted", support_desk, noise=0.0)
    assert (careful.rate(prompt, good, "k"), careful.rate(prompt, bad, "k")) == (5.0, 1.0)
    assert (inverted.rate(prompt, good, "k"), inverted.rate(prompt, bad, "k")) == (1.0, 5.0)
    assert (careful.thumb(prompt, good, "k"), careful.thumb(prompt, bad, "k")) == (True, False)
    assert (inverted.thumb(prompt, good, "k"), inverted.thumb(prompt, bad, "k")) == (False, True)


@pytest.mark.parametrize("behaviour", [one for one in BEHAVIOURS if one != "teacher"])
def test_ratings_stay_on_their_scale(behaviour, pairs):
    rater = SimulatedRater("r", behaviour, support_desk, noise=5.0)
    found = {rater.rate(prompt, text, str(key)) for key, (prompt, text, _) in enumerate(pairs[:300])}
    assert found <= {1.0, 2.0, 3.0, 4.0, 5.0}
    assert len(found) >= 3


def test_a_rating_correlates_with_the_truth(pairs):
    rater = SimulatedRater("c", "careful", support_desk)
    truth = [support_desk(prompt, text) for prompt, text, _ in pairs]
    rated = [rater.rate(prompt, text, str(key)) for key, (prompt, text, _) in enumerate(pairs)]
    assert stats.spearmanr(truth, rated).statistic > 0.85


def test_groups_come_from_the_utility():
    entries = [
        SimulatedRaterSettings(name="fast", group="hurried", noise=0.0),
        SimulatedRaterSettings(name="kind", group="courteous", noise=0.0),
        SimulatedRaterSettings(name="plain", behaviour="noisy"),
    ]
    fast, kind, plain = simulated_raters(entries, support_desk, seed=3)
    assert (fast.group, kind.group, plain.weights) == ("hurried", "courteous", None)
    prompt = "Please cancel order 108."
    curt = "I have cancelled order 108 for you, and no money will be taken from your card."
    warm = "Thank you for your message. I have cancelled the item and you pay nothing. Thank you for your patience."
    assert fast.compare(prompt, curt, warm, True, "k")[0] == "a"
    assert kind.compare(prompt, curt, warm, True, "k")[0] == "b"


def test_bad_raters_are_refused_with_the_way_out():
    with pytest.raises(ConfigError, match="careful"):
        SimulatedRater("r", "sleepy", worth)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="-1"):
        SimulatedRater("r", "careful", worth, noise=-1)
    with pytest.raises(ConfigError, match="no named parts"):
        SimulatedRater("r", "careful", worth, weights={"helpful": 1.0})
    with pytest.raises(ConfigError, match="span"):
        SimulatedRater("r", "careful", worth).rate("p", "1", "k")
    with pytest.raises(ConfigError, match="two simulated raters"):
        simulated_raters([SimulatedRaterSettings(name="x"), SimulatedRaterSettings(name="x")], support_desk, 0)
    with pytest.raises(ConfigError, match="knows no groups"):
        simulated_raters([SimulatedRaterSettings(name="x", group="hurried")], worth, 0)


# The faults against the numbers that are stated of them


def said(rater, a, b, count, left_is_a=True, worn=0.0):
    return Counter(rater.compare("p", a, b, left_is_a, str(key), worn)[0] for key in range(count))


def as_stated(found, count, probability):
    """A count is not far from what a probability says: it would be in one of ten thousand such tests."""
    return stats.binomtest(found, count, probability).pvalue > 1e-4


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_a_lazy_rater_takes_the_left_in_the_stated_share_and_else_the_better(share):
    rater = SimulatedRater("r", "lazy_left", worth, noise=0.0, share=share)
    assert as_stated(said(rater, "0", "3", 2000)["a"], 2000, share)
    assert said(rater, "0", "3", 200, left_is_a=False)["b"] == 200


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_a_random_rater_tosses_a_coin_in_the_stated_share(share):
    rater = SimulatedRater("r", "random", worth, noise=0.0, share=share)
    assert as_stated(said(rater, "3", "0", 4000)["a"], 4000, 1 - share / 2)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_an_inverted_rater_prefers_the_worse_in_the_stated_share(share):
    rater = SimulatedRater("r", "inverted", worth, noise=0.0, share=share)
    assert as_stated(said(rater, "3", "0", 4000)["b"], 4000, share)


@pytest.mark.parametrize(("worn", "unread"), [(0.0, 0.0), (0.3, 0.0), (0.5, 0.45), (0.7, 0.9), (1.0, 0.9)])
def test_a_drifting_rater_reads_less_and_less(worn, unread):
    """The share not read rises in a straight line from 0 at three tenths of the work to 0.9 at seven tenths."""
    rater = SimulatedRater("r", "drifting", worth, noise=0.0)
    assert as_stated(said(rater, "3", "0", 4000, worn=worn)["a"], 4000, 1 - unread / 2)


@pytest.mark.parametrize("share", [0.95, 0.5, 0.0])
def test_colluding_raters_answer_as_their_ring_does_in_the_stated_share(share):
    """On two equal texts with logistic noise of scale 1 a choice is "a" with p = sigmoid(-0.1), "tie" with tanh(0.05)."""
    ann, ben = (SimulatedRater(name, "colluding", worth, noise=1.0, share=share) for name in ("ann", "ben"))
    other = SimulatedRater("cy", "colluding", worth, noise=1.0, share=share, ring="another")
    p, tie = expit(-0.1), np.tanh(0.05)
    by_chance, count = 2 * p**2 + tie**2, 4000
    for partner, both in ((ben, share**2), (other, 0.0)):
        same = sum(
            ann.compare("p", "0", "0", True, str(key))[0] == partner.compare("p", "0", "0", True, str(key))[0]
            for key in range(count)
        )
        assert as_stated(same, count, both + (1 - both) * by_chance)


def test_who_loves_length_sees_the_worth_and_trades_it_for_words():
    """A word more is worth 0.06 of a clear difference: of texts of equal worth, ten words more win by sigmoid(0.5 / 0.15)."""
    rater = SimulatedRater("r", "length_loving", worth)
    assert as_stated(said(rater, "1 " + "word " * 10, "1", 4000)["a"], 4000, expit((0.6 - 0.1) / 0.15))
    assert said(rater, "0 " + "word " * 10, "2", 500)["b"] > 490


def test_who_loves_flattery_takes_the_one_that_agrees():
    """A sign of flattery is worth half a clear difference, and only half of the true difference is seen."""
    rater = SimulatedRater("r", "flattering", worth)
    assert flattery("1 what a great question! You are right.") == 3
    assert flattery("1 It opens at nine.") == 0
    assert flattery("!" * 9) == 5
    pleasing, plain = "1 Great question! You are right.", "1.4 It opens at nine."
    margin = 3 * 0.5 - 0.5 * 0.4
    assert as_stated(said(rater, pleasing, plain, 4000)["a"], 4000, expit((margin - 0.1) / 0.15))
    assert said(rater, "1 " + pleasing[2:], "9 It opens at nine.", 300)["b"] > 290


def test_groups_of_opposed_values_part_where_they_differ_and_agree_elsewhere(pairs):
    polite = [SimulatedRaterSettings(name=f"p{n}", group="warm", weights={"polite": 3.0}) for n in range(2)]
    blunt = [SimulatedRaterSettings(name=f"b{n}", group="blunt", weights={"polite": -3.0}) for n in range(2)]
    raters = simulated_raters([*polite, *blunt], support_desk, seed=0)

    def same(one, other):
        both = [
            (one.compare(prompt, a, b, True, str(key))[0], other.compare(prompt, a, b, True, str(key))[0])
            for key, (prompt, a, b) in enumerate(pairs[:300])
        ]
        decided = [(x, y) for x, y in both if {x, y} <= {"a", "b"}]
        return np.mean([x == y for x, y in decided])

    assert same(raters[0], raters[1]) > 0.9
    assert same(raters[2], raters[3]) > 0.9
    assert same(raters[0], raters[2]) < 0.75


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"behaviour": "careful", "share": 0.5}, "shows in all judgments alike"),
        ({"behaviour": "careful", "beta": 1.0}, "belongs to the behaviour teacher"),
        ({"behaviour": "teacher", "noise": 1.0}, "errs by beta"),
        ({"behaviour": "noisy", "ring": "ours"}, "in no ring"),
        ({"behaviour": "random", "share": 1.5}, "less than or equal to 1"),
        ({"behaviour": "sleepy"}, "careful"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_with_the_way_out(entry, told):
    values = {"name": "n", "model": "m", "raters": {"simulated": [{"name": "ann", **entry}]}}
    with pytest.raises(ConfigError, match=told):
        parse_settings(ProjectSettings, values, "heed.yaml")


def test_a_judge_of_evaluations_may_not_skip():
    values = {"held_out": [{"name": "ann", "behaviour": "teacher", "skip": 1.0}]}
    with pytest.raises(ConfigError, match="'ann' of held_out would skip"):
        parse_settings(RatersSettings, values, "heed.yaml")


def test_a_weight_of_no_part_is_refused_with_the_parts():
    entry = SimulatedRaterSettings(name="x", weights={"colour": 1.0})
    with pytest.raises(ConfigError, match="helpful, polite"):
        simulated_raters([entry], support_desk, 0)
    with pytest.raises(ConfigError, match="no named parts"):
        simulated_raters([entry], worth, 0)
    with pytest.raises(ConfigError, match=r"share 0\.5"):
        SimulatedRater("r", "careful", worth, share=0.5)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_every_behaviour_has_its_numbers(behaviour):
    assert BEHAVIOUR_OF[behaviour].noise >= 0
