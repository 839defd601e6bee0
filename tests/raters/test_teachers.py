"""The teachers of B-Pref against the formulas of its section 3, and against the rates that they state."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit

from heed.errors import ConfigError
from heed.rater_settings import SimulatedRaterSettings
from heed.raters.simulated import simulated_raters
from heed.raters.teachers import Teacher, adaptive_threshold, steps_of_text

GOOD, BAD = [1.0, 2.0, 3.0], [1.0, 1.5, 2.5]
REWARDS = st.lists(st.floats(-5, 5), min_size=1, max_size=6)


def said(teacher: Teacher, a: list[float], b: list[float], count: int = 4000) -> Counter[str]:
    return Counter(teacher.judge(a, b, str(key)) for key in range(count))


def as_stated(found: int, count: int, probability: float) -> bool:
    return bool(stats.binomtest(found, count, probability).pvalue > 1e-4)


@given(REWARDS, REWARDS)
def test_the_oracle_takes_the_segment_of_the_larger_sum(a: list[float], b: list[float]) -> None:
    if math.fsum(a) != math.fsum(b):
        assert Teacher().judge(a, b, "k") == ("a" if math.fsum(a) > math.fsum(b) else "b")


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("gamma", [1.0, 0.5])
def test_a_stochastic_teacher_is_bradley_terry_of_discounted_sums(beta: float, gamma: float) -> None:
    """P = exp(beta sum gamma^(H-t) r_t) over the two, equation (2) of the paper."""
    worth = [sum(gamma ** (2 - step) * reward for step, reward in enumerate(rewards)) for rewards in (GOOD, BAD)]
    expected = expit(beta * (worth[0] - worth[1]))
    teacher = Teacher(beta=beta, gamma=gamma)
    assert teacher.probability(GOOD, BAD) == pytest.approx(expected)
    assert as_stated(said(teacher, GOOD, BAD)["a"], 4000, expected)


def test_a_myopic_teacher_prefers_what_ends_well() -> None:
    late, early = [0.0, 0.0, 2.0], [3.0, 0.0, 0.0]
    assert Teacher().judge(late, early, "k") == "b"
    assert Teacher(gamma=0.5).judge(late, early, "k") == "a"


@pytest.mark.parametrize("mistake", [0.1, 0.4])
def test_mistakes_flip_the_stated_share(mistake: float) -> None:
    assert as_stated(said(Teacher(mistake=mistake), GOOD, BAD)["b"], 4000, mistake)
    noisy = Teacher(beta=1.0, mistake=mistake)
    rational = expit(1.0)
    assert noisy.probability(GOOD, BAD) == pytest.approx((1 - mistake) * rational + mistake * (1 - rational))


def test_what_is_worth_too_little_is_skipped_and_what_is_too_close_is_called_equal() -> None:
    teacher = Teacher(skip=5.5, equal=1.0, mistake=1.0)
    assert said(teacher, [1.0, 2.0], [5.0, 0.0], 50) == {"skip": 50}
    assert said(teacher, GOOD, [6.9], 50) == {"tie": 50}  # 6 and 6.9: neither skipped nor mistaken
    assert said(teacher, GOOD, [7.0], 50) == {"a": 50}  # one apart is not less than one, and all choices are mistaken


def test_the_threshold_is_a_share_of_what_a_segment_brings() -> None:
    assert adaptive_threshold(0.1, 500.0, 50, 1000) == pytest.approx(2.5)
    with pytest.raises(ConfigError, match="without a step"):
        adaptive_threshold(0.1, 500.0, 50, 0)


@pytest.mark.parametrize(
    "wrong", [{"beta": -1.0}, {"gamma": 1.1}, {"mistake": -0.1}, {"equal": -1.0}, {"skip": math.nan}]
)
def test_teachers_that_there_are_not_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="of a teacher"):
        Teacher(**wrong)


def test_rewards_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="not a finite number"):
        Teacher().judge([math.nan], [1.0], "k")


@given(st.text(alphabet="ab. !?\n", max_size=30))
def test_the_steps_of_a_text_sum_to_the_worth_of_the_whole(text: str) -> None:
    steps = steps_of_text(lambda part: len(part) ** 2 / 7, text)
    assert math.fsum(steps) == pytest.approx(len(text) ** 2 / 7)
    assert len(steps) >= 1


def worth(prompt: object, completion: str) -> float:
    """One for each sentence that says yes."""
    return float(completion.count("yes."))


def test_a_teacher_of_the_settings_judges_texts() -> None:
    entry = SimulatedRaterSettings(name="t", behaviour="teacher", gamma=0.5, skip=1.0, equal=0.5)
    (rater,) = simulated_raters([entry], worth, 0)
    early, late = "yes. yes. no. no.", "no. no. no. yes."
    assert rater.compare("p", early, late, True, "k") == ("b", None)
    assert rater.compare("p", "no.", "no. no.", True, "k") == ("skip", None)
    assert rater.compare("p", "yes.", "no. yes.", True, "k") == ("tie", None)
    (plain,) = simulated_raters([SimulatedRaterSettings(name="t", behaviour="teacher")], worth, 0)
    assert plain.compare("p", early, late, True, "k") == ("a", None)
