"""Reward models of every kind of feedback as a stage: what is read, what is learned, what the card tells, what is refused."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from heed.config import RewardSettings
from heed.errors import ConfigError, DataError, ModelError
from heed.models.reward import RewardModel
from heed.models.weighing import reweigh
from heed.stages.data import FIRST, SECOND, TIE, ComparisonRow
from heed.stages.judgments import (
    WITHOUT_SAMPLES,
    Judgment,
    Known,
    compared,
    evidence,
    read_judgments,
    share_met,
    with_samples,
)
from heed.stages.reward import train_reward
from tiny_models import tiny_policy
from tiny_project import letter_likes, letters, write_lines

QUICK = RewardSettings(epochs=3, prompts_per_step=16, learning_rate=1e-2, test_fraction=0.25, validation_fraction=0.2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    tiny_policy(initializer_range=0.05).save(folder)
    return folder


def line(kind: str, number: int, completions: list[str], rater: str = "ann", **answer: Any) -> dict[str, Any]:
    return {"kind": kind, "rater": rater, "prompt": letters(number, 3), "completions": completions, **answer}


SCALE = {"good": {"low": 1, "high": 5, "step": 1}}
LINES = [
    line("comparison", 1, ["aa", "bb"], choice="a", strength=2, shown_order=[1, 0]),
    line("comparison", 1, ["aa", "bb"], choice="both_bad"),
    line("ranking", 2, ["aa", "bb", "cc", "dd"], groups=[[2], [0, 3]], shown_order=[3, 2, 1, 0]),
    line("rating", 3, ["aa"], scores={"good": 4}, scales=SCALE),
    line("rating", 3, ["bb"], scores={"good": 2}, scales=SCALE),
    line("rating", 3, ["bb"], rater="bob", scores={"good": 5}, scales=SCALE),
    line("thumb", 4, ["aa"], up=True),
    line("thumb", 4, ["bb"], up=False),
    line("edit", 5, ["bb"], edited="ab"),
    line("critique", 6, ["aa"], defects=["dull"], spans=[{"start": 0, "end": 1, "label": "rude"}]),
    line("critique", 6, ["bb"]),
    line("demonstration", 1, [], text="aaa"),
]


def test_rows_of_every_kind_become_what_is_learned_from(tmp_path: Path) -> None:
    learned, broken = read_judgments(write_lines(tmp_path / "all.jsonl", LINES))
    assert not broken
    said = {row.kind: (row.texts, row.said, row.shown) for row in learned.rows}
    assert said == {
        "comparison": (("aa", "bb"), (TIE, 0), None),
        "ranking": (("aa", "bb", "cc", "dd"), (1, -1, 0, 1), (3, 2, 1, 0)),
        "rating": (("bb",), {"good": (5.0, 1.0, 5.0, 1.0)}, None),
        "thumb": (("bb",), False, None),
        "edit": (("ab", "bb"), None, None),
        "critique": (("bb",), (), None),
    }
    assert learned.rows[0].said == (FIRST, 2)
    assert learned.rows[0].shown == (1, 0)
    assert next(row.said for row in learned.rows if row.kind == "critique") == ("dull", "rude")
    assert learned.unused == {WITHOUT_SAMPLES: 1}


def test_a_kind_alone_takes_its_own_and_comparisons_take_what_implies_them(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "all.jsonl", LINES)
    ratings, _ = read_judgments(path, "rating")
    assert {row.kind for row in ratings.rows} == {"rating"}
    assert ratings.unused == {"comparison": 2, "ranking": 1, "thumb": 2, "edit": 1, "critique": 2, "demonstration": 1}
    pairs, _ = read_judgments(path, "comparison")
    assert {row.kind for row in pairs.rows} == {"comparison"}
    assert len(pairs.rows) == 2 + 3 + 1
    only = write_lines(tmp_path / "shown.jsonl", [{"prompt": "a", "completion": "b"}])
    with pytest.raises(DataError, match="has no thumb"):
        read_judgments(only, "thumb")


def test_a_demonstration_is_better_than_what_was_sampled_for_its_prompt(tmp_path: Path) -> None:
    sampled = line("thumb", 1, ["bb"], up=True, completion_ids=["c0123456789abcdef"])
    learned, _ = read_judgments(write_lines(tmp_path / "all.jsonl", [*LINES, sampled]))
    assert [row.texts for row in learned.rows if row.kind == "demonstration"] == [("aaa", "bb")]
    own = Judgment("demonstration", "p", ("x",), None)
    assert with_samples([own], {"other": ["y"]}) == ([], 1)


def test_pairs_are_measured_on_whatever_the_kind(tmp_path: Path) -> None:
    learned, _ = read_judgments(write_lines(tmp_path / "all.jsonl", LINES))
    pairs = {(row.a, row.b, row.outcome, row.rater) for row in compared(learned.rows) if row.outcome != TIE}
    assert pairs == {
        ("aa", "bb", FIRST, "ann"),  # the comparison
        ("aa", "cc", SECOND, "ann"),  # the ranking
        ("cc", "dd", FIRST, "ann"),
        ("bb", "aa", SECOND, "ann"),  # the ratings of one rater, and the thumbs
        ("ab", "bb", FIRST, "ann"),  # the edit
        ("bb", "aa", FIRST, "ann"),  # the critiques: fewer defects
    }


def test_known_answers_of_a_file_tell_of_the_raters_alone(tmp_path: Path) -> None:
    votes = [line("comparison", 1, ["aa", "bb"], rater, choice=c) for rater, c in (("ann", "a"), ("bob", "b"))]
    rankings = [line("ranking", 2, ["aa", "bb", "cc"], groups=[[0], [1], [2]])]
    more = [line("comparison", 9, ["aa", "bb"], choice="a")]
    known = [
        line("comparison", 1, ["bb", "aa"], choice="b"),
        line("ranking", 2, ["cc", "bb", "aa"], groups=[[2], [1], [0]]),
    ]
    data = write_lines(tmp_path / "votes.jsonl", [*votes, *rankings, *more])
    learned, _ = read_judgments(data, gold=write_lines(tmp_path / "gold.jsonl", known))
    assert [row.prompt for row in learned.rows] == [letters(9, 3)]
    assert [(k.given.rater, share_met(*k)) for k in learned.known] == [("ann", 1.0), ("bob", 0.0), ("ann", 1.0)]
    for answer in learned.known:
        heeds, inverts = evidence(answer)[:2]
        assert (heeds > inverts) == (share_met(*answer) == 1.0)


def test_evidence_of_a_known_answer_is_a_probability_in_every_way() -> None:
    """Of the three answers to a comparison whose answer is known, wherever it stood."""
    for shown in ((0, 1), (1, 0), None):
        for right in (FIRST, SECOND, TIE):
            expected = Judgment("comparison", "p", ("a", "b"), (right, 0))
            given = [expected._replace(said=(said, 0), shown=shown) for said in (FIRST, SECOND, TIE)]
            for way in zip(*(evidence(Known(one, expected)) for one in given), strict=True):
                assert sum(map(math.exp, way)) == pytest.approx(1.0)


def mixed(count: int, seed: int = 0, turned: tuple[str, ...] = ()) -> list[Judgment]:
    """Judgments of three texts a prompt by four raters; more of the letter a is better. Some raters invert."""
    rng = random.Random(seed)
    rows = []
    for n in range(count):
        texts = ["".join(rng.choice("abcd") for _ in range(6)) + end for end in "efg"]
        likes = [text.count("a") + 0.1 * k for k, text in enumerate(texts)]
        rater = ("ann", "bob", "carl", "dora")[n % 4]
        sign = -1 if rater in turned else 1
        places = sorted(range(3), key=lambda k: -sign * likes[k])
        rank = tuple(places.index(k) for k in range(3))
        prompt = letters(n // 3, 3)
        rows += [
            Judgment("comparison", prompt, tuple(texts[:2]), (int(sign * (likes[0] - likes[1]) < 0), 0), rater, (0, 1)),
            Judgment("ranking", prompt, tuple(texts), rank, rater, (2, 0, 1)),
            Judgment("rating", prompt, (texts[0],), {"good": (min(5, 1 + round(likes[0])), 1, 5, 1)}, rater),
            Judgment("thumb", prompt, (texts[1],), sign * (likes[1] - 1.6) > 0, rater),
            Judgment("critique", prompt, (texts[2],), ("dull",) if likes[2] < 1.5 else (), rater),
        ]
    return rows


def test_all_kinds_together_with_their_raters_and_what_the_card_tells(model: Path, tmp_path: Path) -> None:
    rows = mixed(120, turned=("dora",))
    done = train_reward(model, rows, tmp_path / "out", QUICK, skipped={"edit": 3})
    card = json.loads((tmp_path / "out" / "reward.json").read_text())["card"]
    assert set(card["raters"]) == {"ann", "bob", "carl", "dora"}
    reliable = {name: rater["reliability"] for name, rater in card["raters"].items()}
    assert min(reliable[name] for name in ("ann", "bob", "carl")) > 0.4
    assert reliable["dora"] < 0.3, "who ranks upside down and rates straight"
    assert all(rater["error"] > 0 for rater in card["raters"].values())
    assert sum(card["kinds"].values()) == done.metrics["trained_on"]
    assert (card["skipped"], card["direction"]["by"], card["gold"]) == ({"edit": 3}, "majority", 0)
    assert card["weights"] == {"reward": 1.0, "good": 0.0, "dull": 0.0}
    parts = ("trained_on", "validation", "held_out", "on_test_prompts", "too_long")
    assert done.metrics["judgments"] == len(rows) == sum(done.metrics[part] for part in parts)
    assert f"of {len(rows)} judgments" in done.verdict
    assert "Raters told apart: 4" in done.verdict
    network = RewardModel.load(tmp_path / "out")
    texts = ["".join(random.Random(n).choice("abcd") for _ in range(6)) for n in range(200)]
    scores = network.score([letters(1, 3)] * 200, texts)
    likes = torch.tensor([letter_likes(text) for text in texts])
    assert float(torch.corrcoef(torch.stack([scores, likes]))[0, 1]) > 0.7


def test_weights_change_afterwards_without_training(model: Path, tmp_path: Path) -> None:
    rows = mixed(90)
    train_reward(model, rows, tmp_path / "out", QUICK)
    network = RewardModel.load(tmp_path / "out")
    texts = list(dict.fromkeys((row.prompt, text) for row in rows for text in row.texts))
    prompts, completions = [p for p, _ in texts], [t for _, t in texts]
    before = network.score(prompts, completions)
    reweigh(network, {"dull": -2.0})
    assert float(torch.corrcoef(torch.stack([before, network.score(prompts, completions)]))[0, 1]) > 0.3
    network.save(tmp_path / "again")
    again = RewardModel.load(tmp_path / "again")
    assert torch.equal(again.score(prompts, completions), network.score(prompts, completions))
    member = network.members[0]
    assert member.components is not None
    encoded = [network.reader.encode(p, t) for p, t in texts]
    probability = member.components.values(member.outputs(encoded, "mean"))[:, member.components.names.index("dull")]
    torch.testing.assert_close(
        again.score(prompts, completions), (-2 * probability.detach() - again.mean) / again.std, atol=1e-5, rtol=1e-4
    )
    with pytest.raises(ConfigError, match="a weight of 'polite'"):
        reweigh(network, {"polite": 1.0})


def test_scores_weighed_anew_keep_the_scale_of_the_reference_texts(model: Path, tmp_path: Path) -> None:
    texts = [(letters(n, 3), letters(3 * n, 5)) for n in range(40)]
    train_reward(model, mixed(60), tmp_path / "out", QUICK.model_copy(update={"members": 2}), reference_texts=texts)
    network = RewardModel.load(tmp_path / "out")
    reweigh(network, {"reward": 0.3, "good": 1.0})
    scores = network.score([p for p, _ in texts], [t for _, t in texts])
    assert float(scores.mean()) == pytest.approx(0, abs=1e-3)
    assert float(scores.std(correction=0)) == pytest.approx(1, abs=1e-3)


def test_a_reward_of_comparisons_alone_has_nothing_to_weigh(model: Path, tmp_path: Path) -> None:
    rows = [row for row in mixed(60) if row.kind == "comparison"]
    train_reward(model, rows, tmp_path / "out", QUICK)
    with pytest.raises(ModelError, match="cannot be weighed anew"):
        reweigh(RewardModel.load(tmp_path / "out"), {"reward": 1.0})
    with pytest.raises(ConfigError, match="a weight of 'good'"):
        train_reward(model, rows, tmp_path / "other", QUICK.model_copy(update={"weights": {"good": 1.0}}))


def camps(turned: int, of: int) -> list[Judgment]:
    """Comparisons of pairs by all of some raters, of whom the first ones invert."""
    rng, rows = random.Random(3), []
    for n in range(150):
        a, b = ("".join(rng.choice("abcd") for _ in range(6)) for _ in range(2))
        if a.count("a") == b.count("a"):
            continue
        for rater in rng.sample(range(of), 3):
            outcome = int((a.count("a") < b.count("a")) != (rater < turned))
            rows.append(Judgment("comparison", letters(n // 3, 3), (a, b), (outcome, 0), f"rater {rater}", (0, 1)))
    return rows


def gold_of(turned: int, of: int) -> list[Known]:
    found = []
    for rater in range(of):
        for n in range(10):
            right = Judgment(
                "comparison", letters(n, 4), ("aaa", "bbb"), (FIRST, 0), f"rater {rater}", (n % 2, 1 - n % 2)
            )
            found.append(Known(right._replace(said=(int(rater < turned), 0)), right))
    return found


def test_two_camps_without_gold_are_refused_and_with_gold_the_right_one_is_heeded(model: Path, tmp_path: Path) -> None:
    rows = camps(3, 5)
    settings = QUICK.model_copy(update={"epochs": 4.0})
    with pytest.raises(DataError, match="which way the reward points cannot be told") as caught:
        train_reward(model, rows, tmp_path / "out", settings)
    assert "gold items" in caught.value.fix
    assert not (tmp_path / "out" / "reward.json").exists()
    done = train_reward(model, rows, tmp_path / "out", settings, gold=gold_of(3, 5))
    assert done.metrics["direction"]["by"] == "gold"
    assert "10" in done.metrics["direction"]["reason"] or "50" in done.metrics["direction"]["reason"]
    trusted = done.metrics["accuracy_trusted"]["clustered"]["estimate"]
    assert trusted > 0.8
    assert done.metrics["accuracy"]["clustered"]["estimate"] < trusted
    assert f"Of raters who surely heed: {100 * trusted:.1f} %" in done.verdict


def test_equal_raters_and_comparisons_alone_are_what_they_were(model: Path, tmp_path: Path) -> None:
    """With names or without, in whatever order things were shown: nobody is told apart."""
    rows = camps(0, 4)
    bare = [ComparisonRow(row.prompt, *row.texts, row.said[0]) for row in rows]  # type: ignore[misc]
    settings = QUICK.model_copy(update={"raters": "equal"})
    for name, given in (("named", rows), ("bare", bare)):
        train_reward(model, given, tmp_path / name, settings, seed=1)
    weights = [(tmp_path / name / "member-0/model.safetensors").read_bytes() for name in ("named", "bare")]
    assert weights[0] == weights[1]
    assert "raters" not in json.loads((tmp_path / "named" / "reward.json").read_text())["card"]


def test_the_expected_level_of_a_classifier_is_the_reward(model: Path, tmp_path: Path) -> None:
    rows = [row for row in mixed(150) if row.kind == "rating"]
    settings = QUICK.model_copy(update={"kind": "rating", "ratings": "levels", "raters": "equal"})
    done = train_reward(model, rows, tmp_path / "out", settings)
    assert done.metrics["weights"] == {"reward": 0.0, "good": 1.0}
    network = RewardModel.load(tmp_path / "out")
    raw = network.raw([network.reader.encode(row.prompt, row.texts[0]) for row in rows]).detach()
    assert bool(((raw > 0) & (raw < 1)).all())
    mean = sum((row.said["good"][0] - 1) / 4 for row in rows) / len(rows)
    assert float(raw.mean()) == pytest.approx(mean, abs=0.1)
