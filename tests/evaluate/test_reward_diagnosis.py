"""A diagnosis of reward models of which everything is known, and its page."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from pydantic import BaseModel
from reward_worlds import World, judged, world
from test_report import HOSTILE, Page, numbers_of

from heed.evaluate.metrics import accuracy
from heed.evaluate.reward_claims import claims_of
from heed.evaluate.reward_diagnosis import MOST_CONTESTED, RewardDiagnosis, diagnose
from heed.evaluate.reward_page import page, write
from heed.statistics import Undefined


def division(found: RewardDiagnosis, by: str):
    (one,) = (one for one in found.by if one.by == by)
    return {part.name: part.accuracy for part in one.parts}


def length(text: str) -> int:
    return len(text.split())


def test_a_reward_that_is_the_truth_is_as_good_as_bradley_terry_allows() -> None:
    known = world(2000, 0)
    found = diagnose(known.claims, known.scores())
    gaps = [abs(known.worth[a.completions[0]] - known.worth[a.completions[1]]) for a in known.claims.judged]
    expected = float(np.mean(1 / (1 + np.exp(-np.array(gaps)))))
    right = found.accuracy.clustered
    assert right.low is not None
    assert right.low < expected < (right.high or 0)
    assert (right.prompts, right.n, found.claims, found.judgments) == (1000, 2000, 2000, 2000)
    assert not isinstance(found.calibration, Undefined)
    assert found.calibration.temperature == pytest.approx(1.0, abs=0.15)
    assert not [note for note in found.notes if "contradicts" not in note], found.notes
    assert isinstance(found.order, Undefined)


def test_a_planted_love_of_length_is_told() -> None:
    known = world(1500, 1)
    longer = {text: 0.08 * len(text.split()) for _, text in known.claims.texts}
    found = diagnose(known.claims, known.scores(longer))
    (told,) = (note for note in found.notes if note.startswith("It is right on"))
    assert "preferred the longer text" in told
    assert "not shown" not in told
    (paid,) = (note for note in found.notes if note.startswith("It pays too much for length"))
    # The planted love is all that tells two texts apart that are otherwise as good.
    lead = 0.08 * np.sqrt(
        np.mean([(length(a) - length(b)) ** 2 for a, b in (j.completions for j in known.claims.judged)])
    )
    favour = found.styles[0].favour
    assert favour.estimate == pytest.approx(1 / (1 + np.exp(-lead)), abs=0.05)
    assert f"gives the longer text {100 * favour.estimate:.1f} %" in paid
    assert "texts that differ in length" in found.now
    assert not isinstance(found.length, Undefined)
    assert found.length.reward.estimate is not None
    assert found.length.reward.estimate > 0.6
    # The rater's own choice does not go with length.
    assert not found.length.raters.above(0.5)
    assert found.styles[0].correlation.above(0.3)


def test_a_true_reward_is_not_accused_of_leaning_as_raters_do() -> None:
    """Short texts are mostly better, and raters choose by what texts are worth, of which the reward knows all. It is right
    more often where they preferred the shorter text, for that was more often the clear choice, and pays nothing too much."""
    rng = np.random.default_rng(3)
    rows, worth = [], {}
    for n in range(1500):
        texts = tuple(f"t{n}{side} " + "word " * int(rng.integers(3, 25)) for side in "ab")
        worth |= {text: float(rng.normal(1.5 - 0.15 * length(text), 0.5)) for text in texts}
        first = rng.random() < 1 / (1 + np.exp(worth[texts[1]] - worth[texts[0]]))
        rows.append(judged("comparison", f"p{n}", texts, n, choice="a" if first else "b"))
    claims = claims_of(rows)
    found = diagnose(claims, [worth[text] for _, text in claims.texts])
    assert not isinstance(found.length, Undefined)
    assert found.length.gap.below(0.0)
    (told,) = (note for note in found.notes if note.startswith("It is right on"))
    assert "preferred the shorter text" in told
    assert "That it pays too much for length is not shown" in told
    assert not any(note.startswith("It pays too") for note in found.notes)


def test_a_reward_that_is_no_better_than_length_is_told() -> None:
    """Raters prefer the longer text in 70 of 100; the reward is right as often, on others."""
    rng = np.random.default_rng(5)
    rows = []
    for n in range(200):
        longer = bool(rng.random() < 0.7)
        rows.append(judged("comparison", f"p{n}", ("a word or two more", "a word"), n, choice="a" if longer else "b"))
    claims = claims_of(rows)
    preferred = [one.feedback.choice == "a" for one in rows]
    right = [rng.random() < 0.7 for _ in rows]
    scores = [score for a, r in zip(preferred, right, strict=True) for score in ((1.0, 0.0) if a == r else (0.0, 1.0))]
    found = diagnose(claims, scores)
    (told,) = (note for note in found.notes if note.startswith("Taking the longer text alone is right on"))
    share = float(np.mean(preferred))
    assert f"right on {100 * share:.1f} %" in told
    assert "has learned more than length" in found.now


def test_parts_of_a_handful_of_comparisons_are_counted_and_not_shown() -> None:
    rows = [
        judged("comparison", f"p{n}", ("good", "bad"), n, choice="a", rater="many" if n < 40 else f"few {n % 3}")
        for n in range(49)
    ]
    claims = claims_of(rows)
    found = diagnose(claims, [1.0 if text == "good" else 0.0 for _, text in claims.texts])
    assert {name: part.n for name, part in division(found, "rater").items()} == {
        "many": 40,
        "few 0": 3,
        "few 1": 3,
        "few 2": 3,
    }
    shown = Page(page(found)).text
    assert "many" in shown
    assert "few 1" not in shown
    assert "of fewer than 10 comparisons each: 3" in shown


def test_raters_who_take_the_left_unread_show_in_the_place() -> None:
    known = world(1500, 2, left_unread=0.5)
    found = diagnose(known.claims, known.scores())
    assert not isinstance(found.position, Undefined)
    assert found.position.raters.estimate == pytest.approx(0.75, abs=0.04)
    assert found.position.gap.below(0.0), "where the right was chosen somebody has read"
    assert any(note.startswith("Raters chose the left text") for note in found.notes)


# Contradicted judgments


def posterior(known: World, wrong: float) -> np.ndarray:
    """The probability that each label is wrong, by Bayes, for whoever knows what texts are worth."""
    found = []
    for one in known.claims.judged:
        a, b = (known.worth[text] for text in one.completions)
        said = 1 / (1 + np.exp(-(a - b))) if one.feedback.choice == "a" else 1 / (1 + np.exp(-(b - a)))
        found.append(wrong * (1 - said) / (wrong * (1 - said) + (1 - wrong) * said))
    return np.array(found)


@pytest.mark.parametrize("seed", range(3))
def test_planted_wrong_labels_come_first(seed: int) -> None:
    """Of those contradicted most surely as many are wrong as Bayes' rule says that there can be."""
    known = world(3000, seed, spread=3.0, wrong=0.1)
    found = diagnose(known.claims, known.scores())
    picked = [int(one.feedback.removeprefix("f")) for one in found.contested]
    best = posterior(known, 0.1)
    assert len(picked) == 100
    for k in (20, 50, 100):
        possible = np.sort(best)[::-1][:k].mean()
        error = 3 * np.sqrt(max(possible * (1 - possible), 0.01) / k)
        assert known.flipped[picked[:k]].mean() >= possible - error
        assert possible > 0.9
    assert known.flipped.mean() < 0.12


def test_a_noisier_reward_still_finds_several_times_the_base_rate() -> None:
    known = world(3000, 7, spread=3.0, wrong=0.1)
    rng = np.random.default_rng(0)
    noisy = [score + rng.normal(0, 3.0) for score in known.scores()]
    found = diagnose(known.claims, noisy)
    picked = [int(one.feedback.removeprefix("f")) for one in found.contested][:50]
    assert known.flipped[picked].mean() > 0.4
    assert [one.probability for one in found.contested] == sorted(
        (o.probability for o in found.contested), reverse=True
    )
    assert all(one.probability > 0.5 for one in found.contested)
    # Probabilities are those of these judgments, wrong ones among them, however loud the scores are.
    loud = diagnose(known.claims, [10 * score for score in noisy])
    assert [one.probability for one in loud.contested] == pytest.approx(
        [one.probability for one in found.contested], abs=1e-3
    )


def test_answers_of_the_studio_are_contested_however_many_others_are_more_surely() -> None:
    rows = [judged("comparison", "p", ("x", "y"), n, rater=f"robot {n}", choice="a") for n in range(2 * MOST_CONTESTED)]
    ours = judged("comparison", "p", ("x", "z"), 2 * MOST_CONTESTED, rater="ours", choice="a")
    found = diagnose(claims_of([*rows, replace(ours, asked=True)]), [0.0, 5.0, 1.0]).contested
    assert len(found) == MOST_CONTESTED + 1
    # The surest first all the same.
    assert [one.rater == "ours" for one in found] == [False] * MOST_CONTESTED + [True]
    assert found[-1].probability < found[-2].probability


def test_only_judgments_that_compare_by_themselves_are_contested_each_once() -> None:
    rows = [
        judged("ranking", "p", ("x", "y", "z"), 0, groups=((0,), (1,), (2,))),
        judged("thumb", "p", ("x",), 1, up=True),
        judged("thumb", "p", ("z",), 2, up=False),
        judged("comparison", "p", ("x", "y"), 3, choice="tie"),
        judged("edit", "p", ("x",), 4, edited="w"),
    ]
    claims = claims_of(rows)
    scores = {"x": 1.0, "y": 2.0, "z": 4.0, "w": 0.0}
    found = diagnose(claims, [scores[text] for _, text in claims.texts])
    assert [(one.feedback, one.preferred, one.other) for one in found.contested] == [("f0", "x", "z"), ("f4", "w", "x")]


# What is measured on what


def test_what_was_learned_from_is_looked_at_and_not_measured_on() -> None:
    rows = [
        judged("comparison", f"p{n}", ("good", "bad"), n, choice="a" if n % 3 else "b", held_out=n >= 20)
        for n in range(50)
    ]
    claims = claims_of(rows)
    found = diagnose(claims, [1.0 if text == "good" else 0.0 for _, text in claims.texts])
    assert (found.judgments, found.learned_from, found.claims) == (50, 20, 30)
    assert found.accuracy.clustered.estimate == pytest.approx(20 / 30)
    assert {one.held_out for one in found.contested} == {True, False}
    everything = [judged("comparison", f"p{n}", ("good", "bad"), n, choice="a", held_out=False) for n in range(3)]
    nothing = diagnose(claims_of(everything), [1.0, 0.0] * 3)
    assert nothing.accuracy.clustered.estimate is None
    assert "All 3 judgments are of prompts that it learned from." in nothing.verdict
    assert "not learned from" in nothing.now


def test_texts_that_are_too_long_are_left_out_and_counted() -> None:
    rows = [judged("comparison", f"p{n}", ("x", "y"), n, choice="a") for n in range(4)]
    claims = claims_of(rows)
    scores = [None, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, None]
    found = diagnose(claims, scores)
    assert (found.too_long, found.claims, found.accuracy.clustered.n) == (2, 2, 2)
    assert any("of texts longer than it reads" in note for note in found.notes)


def test_raters_and_groups_that_the_reward_speaks_against_are_named() -> None:
    rows = []
    for n in range(240):
        rater = ("ann", "bob", "eve")[n % 3]
        choice = {"ann": "a", "bob": "a", "eve": "b"}[rater]
        if n % 10 == 0:
            choice = "b" if choice == "a" else "a"
        rows.append(
            judged(
                "comparison",
                f"p{n}",
                ("x", "y"),
                n,
                rater=rater,
                choice=choice,
                group="old" if rater == "eve" else "new",
            )
        )
    claims = claims_of(rows)
    found = diagnose(claims, [1.0 if text == "x" else 0.0 for _, text in claims.texts])
    assert division(found, "rater")["eve"].below(0.2)
    assert found.notes[0].startswith("It contradicts eve more often than not: right on 10.0 %")
    assert any(note.startswith("It speaks for some people more than for others") for note in found.notes)


def test_subsets_weigh_alike_in_their_mean() -> None:
    rows = [
        judged("comparison", f"a{n}", ("x", "y"), n, choice="a" if n < 30 else "b", subset="easy") for n in range(40)
    ]
    rows += [
        judged("comparison", f"b{n}", ("x", "y"), n, choice="a" if n < 5 else "b", subset="hard") for n in range(10)
    ]
    claims = claims_of(rows)
    found = diagnose(claims, [1.0 if text == "x" else 0.0 for _, text in claims.texts])
    assert {name: one.estimate for name, one in division(found, "subset").items()} == {"easy": 0.75, "hard": 0.5}
    assert found.subset_mean is not None
    assert found.subset_mean.estimate == pytest.approx((0.75 + 0.5) / 2)
    # Two proportions of 40 and 10 prompts, each weighing a half.
    error = np.sqrt((0.75 * 0.25 / 40 + 0.25 / 10) / 4)
    assert found.subset_mean.high is not None
    assert found.subset_mean.high - 0.625 == pytest.approx(2.01 * error, rel=0.25)


def test_the_mean_of_subsets_that_are_all_right_is_not_sure() -> None:
    rows = [judged("comparison", f"a{n}", ("x", "y"), n, choice="a", subset="easy") for n in range(40)]
    rows += [judged("comparison", f"b{n}", ("x", "y"), n, choice="a", subset="hard") for n in range(10)]
    claims = claims_of(rows)
    found = diagnose(claims, [1.0 if text == "x" else 0.0 for _, text in claims.texts])
    lows = [one.low or 0.0 for one in division(found, "subset").values()]
    assert found.subset_mean is not None
    assert (found.subset_mean.estimate, found.subset_mean.high) == (1.0, 1.0)
    # Two independent distances from 1, each weighing a half.
    assert found.subset_mean.low == pytest.approx(1 - ((1 - lows[0]) ** 2 + (1 - lows[1]) ** 2) ** 0.5 / 2)
    assert max(lows) - 0.1 < (found.subset_mean.low or 0.0) < max(lows)


def test_the_mean_of_one_subset_is_its_own() -> None:
    rows = [judged("comparison", f"a{n}", ("x", "y"), n, choice="a" if n < 30 else "b", subset="s") for n in range(40)]
    claims = claims_of(rows)
    found = diagnose(claims, [1.0 if text == "x" else 0.0 for _, text in claims.texts])
    (own,) = division(found, "subset").values()
    assert found.subset_mean is not None
    assert (found.subset_mean.low, found.subset_mean.high) == pytest.approx((own.low, own.high))


class Pairs:
    """Knows what texts are worth, and gives the one that stands first something more; reads no text of over 30 words."""

    def __init__(self, worth: dict[str, float], first_place: float) -> None:
        self.worth, self.first_place = worth, first_place

    def leads(self, prompts, first, second):
        leads = [self.worth[a] - self.worth[b] + self.first_place for a, b in zip(first, second, strict=True)]
        long = [max(len(a.split()), len(b.split())) > 30 for a, b in zip(first, second, strict=True)]
        return [None if out else lead for out, lead in zip(long, leads, strict=True)]


def test_a_model_that_reads_both_texts_is_asked_in_both_orders() -> None:
    known = world(400, 3)
    nothing = [None] * len(known.claims.texts)
    found = diagnose(known.claims, nothing, 2.0, Pairs(dict.fromkeys(known.worth, 0.0), 0.7))
    assert not isinstance(found.order, Undefined)
    assert (found.order.changed.estimate, found.order.first_place.estimate) == (1.0, pytest.approx(0.35))
    assert any("in the other order, it changes its mind on 100.0 %" in note for note in found.notes)
    assert found.accuracy.clustered.estimate == 0.5, "over both orders it knows nothing"


def test_over_both_orders_a_pair_model_is_held_against_claims_as_any_other() -> None:
    known = world(400, 3)
    whole = diagnose(known.claims, [None] * len(known.claims.texts), 1.0, Pairs(known.worth, 0.7))
    scores = [
        score if len(text.split()) <= 30 else None
        for score, (_, text) in zip(known.scores(), known.claims.texts, strict=True)
    ]
    alone = diagnose(known.claims, scores)
    assert whole.too_long == alone.too_long > 0
    assert whole.claims == 400 - whole.too_long
    assert whole.accuracy == alone.accuracy
    assert [one.feedback for one in whole.contested] == [one.feedback for one in alone.contested]
    assert alone.order == Undefined(reason="This model scores each text by itself: where it stands cannot matter.")


def test_accuracy_and_kinds_agree_with_the_metrics() -> None:
    known = world(60, 4)
    scores = known.scores()
    found = diagnose(known.claims, scores, temperature=2.0)
    gaps = [scores[c.first] - scores[c.second] for c in known.claims.claims]
    outcomes = [c.outcome for c in known.claims.claims]
    ids = [known.claims.prompts[c.first] for c in known.claims.claims]
    assert found.accuracy == accuracy(gaps, outcomes, ids)
    assert division(found, "kind")["comparison"] == found.accuracy.clustered
    assert sum(one.n for one in division(found, "gap").values()) == 60
    assert sum(one.n for one in division(found, "length").values()) == 60


# The page


def some() -> RewardDiagnosis:
    known = world(200, 5, wrong=0.1)
    return diagnose(known.claims, known.scores(), model="reward-1", data="project desk")


def test_json_reads_back_and_every_key_is_described() -> None:
    found = some()
    assert RewardDiagnosis.model_validate_json(found.model_dump_json()) == found
    stack: list[type[BaseModel]] = [RewardDiagnosis]
    seen: set[type[BaseModel]] = set()
    while stack:
        model = stack.pop()
        if model in seen or not model.__module__.startswith("heed.evaluate"):
            continue
        seen.add(model)
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            inner = [field.annotation, *getattr(field.annotation, "__args__", ())]
            stack += [one for one in inner if isinstance(one, type) and issubclass(one, BaseModel)]
    assert len(seen) >= 7


def test_every_number_of_the_page_is_one_of_the_json() -> None:
    found = some()
    known = numbers_of(json.loads(found.model_dump_json())) | {len(found.contested), min(20, len(found.contested))}
    shown = Page(page(found))
    assert len(shown.data) > 100
    assert {float(value) for value, _ in shown.data} <= {float(n) for n in known}


def test_the_page_is_self_contained_and_says_the_verdict_first() -> None:
    found = some()
    html = page(found)
    shown = Page(html)
    assert not {"script", "link", "iframe", "img", "object", "base", "form"} & {tag for tag, _ in shown.elements}
    assert "url(" not in html
    headings = [tag for tag, _ in shown.elements if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == "h1"
    text = shown.text.replace("\u00a0", " ")
    order = [
        found.verdict,
        "What was measured",
        "Where it is right",
        "What it leans to",
        "How sure",
        "contradicts most",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "None" not in text
    ids = [attrs["id"] for _, attrs in shown.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert_everywhere(text: str) -> None:
    rows = [
        judged(
            "comparison",
            f"{text}{n}",
            (text, f"{text} {n}"),
            n,
            choice="a",
            rater="r",
            group="g",
            source=text,
            subset=text,
        )
        for n in range(30)
    ]
    claims = claims_of(rows)
    tame = {tag for tag, _ in Page(page(some())).elements}
    found = diagnose(claims, [float(i % 2) for i in range(len(claims.texts))], model=text, data=text)
    shown = Page(page(found))
    assert {tag for tag, _ in shown.elements} <= tame
    assert shown.text.count(text) > 30
    for _, attrs in shown.elements:
        assert not [name for name in attrs if name.startswith("on")]


def test_what_is_missing_is_named() -> None:
    nothing = diagnose(claims_of([judged("demonstration", "p", (), text="t")]), [0.0])
    shown = Page(page(nothing)).text
    assert "There are no held-out comparisons." in shown
    assert "demonstration 1" in nothing.notes[-1]
    assert "unknown" in nothing.verdict


def test_both_files_are_written(tmp_path) -> None:
    found = some()
    paths = write(found, tmp_path / "new")
    assert [path.name for path in paths] == ["reward.json", "reward.html"]
    assert RewardDiagnosis.model_validate_json(paths[0].read_text()) == found
