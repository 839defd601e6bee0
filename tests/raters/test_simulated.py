"""Simulated raters: determinism, the logistic model against its closed form, each fault, and utilities by name."""

from __future__ import annotations

import builtins
import random
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit

from heed.config import SimulatedRaterSettings
from heed.errors import ConfigError, DataError
from heed.raters.simulated import DEFAULT_NOISE, SimulatedRater, simulated_raters, utility_by_name
from heed.sandbox.grammar import Dials, corpus, parse, reply
from heed.sandbox.utility import support_desk

BEHAVIOURS = list(DEFAULT_NOISE)


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
                rater.compare(prompt, a, b, True, str(k)),
                rater.rate(prompt, a, str(k)),
                rater.thumb(prompt, a, str(k)),
            )
        return found

    assert judge(1, range(200)) == judge(1, reversed(range(200)))
    assert judge(1, range(200)) != judge(2, range(200))


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


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
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


def test_utilities_by_name():
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    assert utility_by_name("support_desk") is support_desk
    score = utility_by_name("vader")
    for text in ("I love this wonderful day!", "This is a horrible, sad mess.", ""):
        assert score("ignored", text) == SentimentIntensityAnalyzer().polarity_scores(text)["compound"]


def test_vader_missing_names_the_command(monkeypatch):
    from heed.raters import simulated

    real = builtins.__import__

    def without_vader(name, *args, **kwargs):
        if name.startswith("vaderSentiment"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    simulated._vader_analyzer.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without_vader)
    with pytest.raises(ConfigError, match="pip install vaderSentiment"):
        utility_by_name("vader")


def test_a_users_function_is_found_in_the_current_folder_and_checked(tmp_path, monkeypatch):
    (tmp_path / "my_desk_utility.py").write_text(
        "def words(prompt, completion):\n    return len(completion.split())\n"
        "words.span = (0.0, 20.0)\n"
        "def broken(prompt, completion):\n    return float('nan')\n"
        "def wordy(prompt, completion):\n    return 'much'\n"
        "number = 3\n"
    )
    (tmp_path / "unfinished_utility.py").write_text("def f(:\n")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    words = utility_by_name("my_desk_utility:words")
    assert words("p", "one two") == 2.0
    assert SimulatedRater("r", "careful", words, noise=0.0).rate("p", "w " * 20, "k") == 5.0
    with pytest.raises(DataError, match="nan"):
        utility_by_name("my_desk_utility:broken")("p", "x")
    with pytest.raises(DataError, match="much"):
        utility_by_name("my_desk_utility:wordy")("p", "x")
    for name in ("my_desk_utility:number", "my_desk_utility:nothing", "no_such_module_here:f", "unfinished_utility:f"):
        with pytest.raises(ConfigError):
            utility_by_name(name)
    assert sys.path == path


def test_a_users_code_that_fails_is_an_error_with_its_place(tmp_path, monkeypatch):
    (tmp_path / "failing_utility.py").write_text(
        "def divides(prompt, completion):\n    return 1 / 0\n\n\ndef one(prompt):\n    return 1\n"
    )
    (tmp_path / "failing_import.py").write_text("value = 1 / 0\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"ZeroDivisionError: .*failing_utility.py, line 2"):
        utility_by_name("failing_utility:divides")("p", "x")
    with pytest.raises(DataError, match=r"TypeError: .*takes a prompt and a completion"):
        utility_by_name("failing_utility:one")("p", "x")
    with pytest.raises(ConfigError, match=r"ZeroDivisionError: .*failing_import.py, line 1"):
        utility_by_name("failing_import:value")


@pytest.mark.parametrize("name", ["", "happiness", "a:", ":b", ".a:b", "a b:c"])
def test_other_names_are_refused_with_the_choices(name):
    with pytest.raises(ConfigError, match="support_desk"):
        utility_by_name(name)
