"""Kinds of feedback: what is refused on construction, and that ids are hashes of content and of nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from heed.errors import DataError
from heed.feedback.kinds import (
    KINDS,
    Comparison,
    Critique,
    Message,
    Ranking,
    Rating,
    Scale,
    Thumb,
    completion_id,
    parse_feedback,
    prompt_id,
)

NOON = "2026-01-31T12:00:00Z"
BASE: dict[str, Any] = {"rater": "ann", "prompt_id": "p1", "created": NOON}
ONE, TWO, THREE = ["c1"], ["c1", "c2"], ["c1", "c2", "c3"]
GOOD: dict[str, dict[str, Any]] = {
    "comparison": {"completion_ids": TWO, "choice": "b", "strength": 3, "shown_order": [1, 0]},
    "rating": {
        "completion_ids": ONE,
        "scores": {"polite": 4, "true": 0.3},
        "scales": {"polite": {"low": 1, "high": 5, "step": 1}, "true": {"low": 0, "high": 1}},
    },
    "ranking": {"completion_ids": THREE, "groups": [[2], [0]], "seconds": 4.5},
    "thumb": {"completion_ids": ONE, "up": False, "confidence": 0.25},
    "edit": {"completion_ids": ONE, "edited": "Better."},
    "demonstration": {"text": "Like this."},
    "critique": {
        "completion_ids": ONE,
        "defects": ["rude", "false"],
        "spans": [{"start": 0, "end": 3, "label": "rude"}],
        "note": "no",
    },
}


def make(kind: str, **changes: Any) -> Any:
    return parse_feedback({**BASE, "kind": kind, **GOOD[kind], **changes})


def test_every_kind_has_a_good_example_here() -> None:
    assert set(GOOD) == set(KINDS)


@pytest.mark.parametrize("kind", GOOD)
def test_plain_json_and_back_is_the_same_feedback_with_the_same_id(kind: str) -> None:
    feedback = make(kind)
    again = parse_feedback(json.loads(json.dumps(feedback.model_dump(mode="json"))))
    assert again == feedback
    assert again.id == feedback.id
    assert feedback.id[0] == "f"
    assert len(feedback.id) == 17
    with pytest.raises(ValidationError):
        feedback.rater = "bob"


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("comparison", {"choice": "tie"}, "needs a winner"),
        ("comparison", {"choice": "left"}, "choice"),
        ("comparison", {"strength": 4}, "strength"),
        ("comparison", {"strength": True}, "strength"),
        ("comparison", {"completion_ids": ONE}, "at least 2"),
        ("comparison", {"completion_ids": ["c1", "c1"]}, "twice"),
        ("comparison", {"completion_ids": "c1"}, "tuple"),
        ("comparison", {"shown_order": [0, 0]}, "permutation"),
        ("comparison", {"shown_order": [0]}, "permutation"),
        ("rating", {"scores": {"polite": 9, "true": 0}}, "polite 9 is off its scale 1 to 5"),
        ("rating", {"scores": {"polite": 2.5, "true": 0}}, "not on a step"),
        ("rating", {"scores": {"polite": 2}}, "'true'"),
        ("rating", {"scores": {"polite": float("nan"), "true": 0}}, "finite"),
        ("rating", {"scores": {"polite": True, "true": 0}}, "number"),
        ("rating", {"scores": {"polite": "4", "true": 0}}, "number"),
        ("rating", {"scores": {"polite": 10**400, "true": 0}}, "scores.polite"),
        ("rating", {"scores": {}, "scales": {}}, "at least 1"),
        ("rating", {"scales": {"polite": {"low": 5, "high": 1}, "true": {"low": 0, "high": 1}}}, "extent"),
        ("ranking", {"groups": [[0], [3]]}, "position 3 is beyond"),
        ("ranking", {"groups": [[0, 1], [1]]}, "ranked twice"),
        ("ranking", {"groups": [[0]]}, "at least two"),
        ("ranking", {"groups": [[0], [], [1]]}, "at least 1"),
        ("ranking", {"groups": [[0], [-1]]}, "greater than or equal to 0"),
        ("thumb", {"up": 1}, "up"),
        ("thumb", {"up": "true"}, "up"),
        ("thumb", {"completion_ids": TWO}, "at most 1"),
        ("thumb", {"seconds": -1}, "seconds"),
        ("thumb", {"seconds": float("inf")}, "seconds"),
        ("thumb", {"confidence": 1.01}, "confidence"),
        ("thumb", {"created": "2026-01-31T12:00:00"}, "created"),
        ("thumb", {"created": 1769860800}, "milliseconds"),
        ("thumb", {"created": "0001-01-01T00:00:00+10:00"}, "years 1 to 9999"),
        ("thumb", {"rater": " "}, "rater"),
        ("thumb", {"mood": "good"}, "unknown field 'mood'"),
        ("edit", {"edited": " \n"}, "empty"),
        ("edit", {"edited": "half \ud83d"}, "U+D83D"),
        ("edit", {"edited": "a\x00"}, "NUL"),
        ("demonstration", {"text": ""}, "empty"),
        ("demonstration", {"completion_ids": ONE}, "at most 0"),
        ("critique", {"spans": [{"start": 3, "end": 3, "label": "x"}]}, "end after it starts"),
        ("critique", {"spans": [{"start": -1, "end": 3, "label": "x"}]}, "spans.0.start"),
        ("critique", {"defects": ["rude", "rude"]}, "twice"),
    ],
)
def test_what_does_not_hold_together_is_refused_with_the_reason(
    kind: str, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DataError) as error:
        make(kind, **changes)
    assert reason in error.value.why


def test_a_missing_kind_or_field_is_named() -> None:
    with pytest.raises(DataError, match="'kind' is missing"):
        parse_feedback({"rater": "ann"})
    with pytest.raises(DataError, match="kind is 'clap'; it is one of comparison, "):
        parse_feedback({**BASE, "kind": "clap"})
    with pytest.raises(DataError, match="'choice' is missing"):
        parse_feedback({**BASE, "kind": "comparison", "completion_ids": TWO})


def test_ids_are_the_documented_hash_and_stay_what_they_are() -> None:
    """Stored lineage depends on these: the hashes are computed here by hand, from the definition."""

    def sha(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    assert prompt_id("Hé") == "p" + sha('"Hé"')
    assert prompt_id((Message(role="user", content="Hé"),)) == "p" + sha('[["user","Hé"]]')
    assert completion_id("p1", "Yes", "sample-1#0") == "c" + sha('["p1","Yes","sample-1#0"]')
    thumb = Thumb(
        rater="ann", prompt_id="p1", completion_ids=("c1",), up=True, created=datetime(2026, 1, 31, tzinfo=UTC)
    )
    assert thumb.id == "f" + sha(
        '{"completion_ids":["c1"],"created":"2026-01-31T00:00:00+00:00","kind":"thumb","prompt_id":"p1",'
        '"rater":"ann","up":true}'
    )


def test_ids_do_not_depend_on_the_process() -> None:
    code = (
        "from heed.feedback.kinds import parse_feedback; import json, sys;"
        "print(parse_feedback(json.loads(sys.argv[1])).id)"
    )
    values = {**BASE, "kind": "rating", **GOOD["rating"]}
    ids = {
        subprocess.run(
            [sys.executable, "-c", code, json.dumps(values)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert ids == {make("rating").id}


@pytest.mark.parametrize("kind", GOOD)
def test_the_source_is_no_part_of_the_id_and_everything_else_is(kind: str) -> None:
    feedback = make(kind)
    assert make(kind, source="x.csv:3").id == feedback.id
    changes: dict[str, Any] = {
        "rater": "bob",
        "prompt_id": "p2",
        "created": "2026-01-31T12:00:01Z",
        "supersedes": "f1",
        "seconds": 0.5,
        "confidence": 1.0,
    }
    ids = {make(kind, **{name: value}).id for name, value in changes.items()}
    assert len(ids | {feedback.id}) == len(changes) + 1


def test_equal_judgments_have_one_id_however_they_are_written() -> None:
    east = datetime(2026, 1, 31, 17, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert make("thumb", created=east) == make("thumb")
    assert make("thumb", seconds=-0.0).id == make("thumb", seconds=0).id
    assert make("ranking", groups=[[1], [2, 0]]).id == make("ranking", groups=[[1], [0, 2]]).id
    assert make("ranking", groups=[[1], [0], [2]]).id != make("ranking", groups=[[1], [2], [0]]).id
    assert make("critique", defects=["false", "rude"]).id == make("critique").id
    turned = dict(reversed(GOOD["rating"]["scores"].items()))
    assert make("rating", scores=turned).id == make("rating").id


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_different_texts_have_different_ids(one: str, other: str) -> None:
    assert (prompt_id(one) == prompt_id(other)) == (one == other)
    assert prompt_id(one) != prompt_id((Message(role="user", content=one.replace("\x00", "")),))
    assert completion_id("p1", one, "import") != completion_id("p2", one, "import")
    assert completion_id("p1", one, "sample-1#0") != completion_id("p1", one, "sample-1#1")


def test_a_prompt_that_is_no_unicode_is_an_error_for_people() -> None:
    with pytest.raises(DataError, match=r"U\+DCFF"):
        prompt_id("bad \udcff")


@given(
    low=st.integers(-50, 50),
    steps=st.integers(1, 40),
    denominator=st.sampled_from([1, 2, 3, 4, 5, 10, 100]),
    taken=st.integers(-5, 45),
    halves=st.booleans(),
)
def test_a_stepped_scale_takes_its_own_steps_and_no_others(
    low: int, steps: int, denominator: int, taken: int, halves: bool
) -> None:
    """Exact arithmetic is the judge: 0.1 + 0.2 and other binary roundings must not push a true step off its scale."""
    step = Fraction(1, denominator)
    exact = low + step * taken + (step / 2 if halves else 0)
    scale = Scale(low=float(low), high=float(low + step * steps), step=float(step))
    on_scale = low <= exact <= low + step * steps and not halves
    assert (scale.fault(float(exact)) is None) == on_scale


@pytest.mark.parametrize(
    "scale",
    [
        {"low": 1, "high": 1},
        {"low": 1, "high": 5, "step": 3},
        {"low": 0, "high": 1, "step": 0},
        {"low": -1e308, "high": 1e308},
        {"low": 0, "high": float("inf")},
    ],
)
def test_scales_without_extent_or_with_steps_that_miss_the_end_are_refused(scale: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Scale(**scale)


def test_constructors_validate_as_parsing_does() -> None:
    common: dict[str, Any] = {"rater": "ann", "prompt_id": "p1", "created": datetime.now(UTC)}
    with pytest.raises(ValidationError, match="needs a winner"):
        Comparison(**common, completion_ids=("c1", "c2"), choice="both_bad", strength=1)
    with pytest.raises(ValidationError, match="off its scale"):
        Rating(**common, completion_ids=("c1",), scores={"x": 0}, scales={"x": Scale(low=1, high=5)})
    with pytest.raises(ValidationError, match="at least two"):
        Ranking(**common, completion_ids=("c1", "c2"), groups=((0,),))
    assert Critique(**common, completion_ids=("c1",)).defects == ()


def test_no_torch_is_imported() -> None:
    code = "import sys, heed.feedback.kinds, heed.feedback.formats; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
