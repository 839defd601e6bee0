import pytest

from heed.evaluate.compare import WinRate, undefined_win_rate
from heed.evaluate.verdict import verdict
from heed.statistics import Interval


def rate(estimate, low, high, controlled=None, prompts=400):
    shared = {"confidence": 0.95, "prompts": prompts, "n": prompts, "method": "m"}
    at_length = Interval(
        **dict(zip(("estimate", "low", "high"), controlled or (estimate, low, high), strict=True)), **shared
    )
    return WinRate(estimate=estimate, low=low, high=high, length_controlled=at_length, **shared)


UP, DOWN, OPEN = rate(0.83, 0.79, 0.868), rate(0.3, 0.25, 0.35), rate(0.52, 0.47, 0.57)
NONE = undefined_win_rate("there is no truth here.")


@pytest.mark.parametrize(("true", "outcome"), [(UP, "better"), (DOWN, "worse"), (OPEN, "undecided")])
def test_outcome_follows_the_interval(true, outcome):
    found = verdict(true, NONE, NONE)
    assert (found.outcome, found.by) == (outcome, "true")


def test_sentence_says_rate_interval_and_prompts():
    assert verdict(UP, UP, UP).sentence == (
        "The policy is better than its reference: it wins 83.0 % of the comparisons on 400 held-out prompts by true "
        "utility (95 % interval 79.0 to 86.8 %)."
    )
    assert verdict(UP, UP, UP).caveats == []


def test_rests_on_the_truest_rate_there_is():
    assert verdict(NONE, DOWN, UP).by == "judged"
    by_proxy = verdict(NONE, NONE, UP)
    assert by_proxy.by == "proxy"
    assert "proves nothing" in by_proxy.caveats[0]
    unknown = verdict(NONE, NONE, NONE)
    assert (unknown.outcome, unknown.by) == ("unknown", "none")
    assert "there is no truth here." in unknown.sentence


@pytest.mark.parametrize("true", [DOWN, OPEN])
def test_a_gain_that_only_the_proxy_sees_is_a_caveat(true):
    assert any("please the reward model" in c for c in verdict(true, NONE, UP).caveats)


def test_raters_against_truth_is_a_caveat():
    assert any("opposite: 30.0 %" in c for c in verdict(UP, DOWN, UP).caveats)
    assert verdict(UP, OPEN, UP).caveats == []


def test_a_gain_of_length_alone_is_a_caveat():
    assert "51.0 %" in verdict(rate(0.7, 0.65, 0.75, (0.51, 0.45, 0.57)), NONE, NONE).caveats[0]


def test_one_prompt_has_no_interval():
    alone = rate(1.0, None, None, prompts=1)
    found = verdict(alone, NONE, NONE)
    assert found.outcome == "undecided"
    assert "1 held-out prompt by true utility (no interval)" in found.sentence
