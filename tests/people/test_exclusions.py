"""Whose judgments are learned from: decided with a reason, reversible, and obeyed by what is trained on."""

from __future__ import annotations

import pytest
from townsfolk import NOON, later, person

from heed.errors import DataError, MissingError
from heed.feedback.kinds import Comparison, Demonstration, completion_id
from heed.feedback.store import CompletionRecord
from heed.people import audit, exclusions
from heed.questions import EXCLUDED, HELD_OUT, comparisons_in, demonstrations_in


def exclude(store, rater="ann", reason="chose left always"):
    store.write(lambda c: exclusions.exclude(c, rater, reason, "lead", NOON))


def include(store, rater="ann", reason="it was the keyboard"):
    store.write(lambda c: exclusions.include(c, rater, reason, "lead", later(days=1)))


def excluded(store) -> set[str]:
    with store.reading() as connection:
        return exclusions.excluded(connection)


def test_who_is_excluded_can_come_back_and_both_reasons_stay(store):
    for name in ("ann", "bob"):
        person(store, name)
    assert excluded(store) == set()
    exclude(store)
    exclude(store)
    assert excluded(store) == {"ann"}
    include(store)
    assert excluded(store) == set()
    exclude(store, reason="again")
    assert excluded(store) == {"ann"}
    with store.reading() as connection:
        told = [(one.excluded, one.reason, one.actor) for one in exclusions.history(connection, "ann")]
        assert told == [
            (True, "chose left always", "lead"),
            (False, "it was the keyboard", "lead"),
            (True, "again", "lead"),
        ]
        assert [entry.action for entry in audit.entries(connection)] == [
            "rater.exclude",
            "rater.include",
            "rater.exclude",
        ]


@pytest.mark.parametrize("reason", ["", "  ", "x" * 2001, "a\x00"])
def test_without_a_reason_nobody_is_excluded(store, reason):
    person(store)
    with pytest.raises(DataError):
        exclude(store, reason=reason)


def test_who_is_not_there_is_not_excluded(store):
    with pytest.raises(MissingError):
        exclude(store, "nobody")


def test_what_excluded_raters_said_is_kept_and_not_learned_from(store):
    train, test = store.add_prompts([("Say hello.", "train", "t"), ("Say goodbye.", "test", "t")])
    texts = dict.fromkeys((train, test), ("Hello!", "Go away."))
    store.add_completions(
        CompletionRecord(completion_id(prompt, text, "import"), prompt, text, None, 0, None, True, None)
        for prompt, pair in texts.items()
        for text in pair
    )
    for rater in ("ann", "bob"):
        for prompt in (train, test):
            a, b = (completion_id(prompt, text, "import") for text in texts[prompt])
            common = {"rater": rater, "prompt_id": prompt, "created": NOON}
            store.add_feedback(
                [
                    Comparison(completion_ids=(a, b), shown_order=(0, 1), choice="a", **common),
                    Demonstration(text=f"{rater} says hello", **common),
                ]
            )
    before = store.counts()["feedback"]
    exclude(store)
    rows, ids, unused = comparisons_in(store)
    assert len(rows) == len(ids) == 1
    # Of ann's and bob's two judgments on each prompt, all on the test prompt are held out, whoever gave them.
    assert unused == {HELD_OUT: 4, EXCLUDED: 2}
    demonstrations, given, left = demonstrations_in(store)
    assert demonstrations == [("Say hello.", "bob says hello")]
    assert left == {HELD_OUT: 2, EXCLUDED: 1}
    by_id = {entry.id: entry.feedback.rater for entry in store.feedback()}
    assert {by_id[i] for i in (*ids, *given)} == {"bob"}
    assert store.counts()["feedback"] == before
    include(store)
    assert len(comparisons_in(store)[0]) == 2
    assert len(demonstrations_in(store)[0]) == 2
