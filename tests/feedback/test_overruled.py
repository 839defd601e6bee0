"""What a lead decides about an item takes the place of what its raters answered, wherever feedback is learned from."""

from __future__ import annotations

from typing import Any

import pytest
from judged_studio import LEFT, RIGHT, TIE, Studio

from heed.errors import ConflictError
from heed.feedback import adjudication
from heed.feedback.kinds import Comparison
from heed.feedback.studio_schema import items as items_table
from heed.people import exclusions
from heed.questions import EXCLUDED, OVERRULED, comparisons_in, demonstrations_in

FIELDS = [
    {"kind": "comparison", "name": "better", "label": "Which is better?"},
    {"kind": "edit", "name": "mended", "label": "Mend it", "required": False},
    {"kind": "demonstration", "name": "own", "label": "Your own", "required": False},
]


def decide(studio: Studio, lead: str, item: str, answer: Any) -> None:
    studio.later(minutes=1)
    rater = studio.rater(lead)
    studio.store.write(lambda c: adjudication.adjudicate(c, rater, item, answer, "seen it", studio.now))


def exclude(studio: Studio, name: str) -> None:
    studio.store.write(lambda c: exclusions.exclude(c, name, "as told", "lea", studio.now))


def learned(studio: Studio) -> tuple[set[tuple[str, str, str]], dict[str, int]]:
    """Who said what of which prompt, of all that is learned from; and how much is left out."""
    _, compared, unused = comparisons_in(studio.store)
    _, shown, without = demonstrations_in(studio.store)
    prompts = {prompt.id: str(prompt.content) for prompt in studio.store.prompts()}
    kept = {s.id: s.feedback for s in studio.store.feedback(ids=[*compared, *shown])}
    assert len(kept) == len(compared) + len(shown)
    assert without.get(OVERRULED, 0) <= unused.get(OVERRULED, 0)
    return {(f.rater, f.kind, prompts[f.prompt_id]) for f in kept.values()}, unused


def judged(studio: Studio, **changes: Any) -> tuple[str, str]:
    """Two items that ann and bob have answered; their ids, that of "prompt 0" first."""
    question = studio.ask(2, **({"overlap": 2} | changes))
    for name, side in (("ann", LEFT), ("bob", RIGHT)):
        studio.work_through(studio.rater(name), question, side)
    prompts = {prompt.id: prompt.content for prompt in studio.store.prompts()}
    first, second = sorted(studio.rows(items_table), key=lambda item: prompts[item.prompt_id])
    return first.id, second.id


def said(*names: str, prompt: int = 0) -> set[tuple[str, str, str]]:
    return {(name, "comparison", f"prompt {prompt}") for name in names}


def test_a_decision_is_learned_from_instead_of_the_answers_to_its_item_alone(studio: Studio) -> None:
    item, _ = judged(studio)
    assert learned(studio) == (said("ann", "bob") | said("ann", "bob", prompt=1), {})
    # What came from elsewhere about the same completions is no answer to the item.
    row = studio.item(item)
    values: dict[str, Any] = {"prompt_id": row.prompt_id, "completion_ids": tuple(row.completion_ids)}
    studio.store.add_feedback(
        [Comparison(rater="carl", choice="b", shown_order=(0, 1), created=studio.now, source="file", **values)]
    )
    decide(studio, "lea", item, LEFT)
    assert learned(studio) == (said("lea", "carl") | said("ann", "bob", prompt=1), {OVERRULED: 2})
    assert len(studio.store.feedback()) == 6, "nothing is deleted"


def test_of_two_decisions_the_newest_counts_whoever_decided(studio: Studio) -> None:
    item, _ = judged(studio)
    decide(studio, "lea", item, LEFT)
    decide(studio, "leo", item, RIGHT)
    assert learned(studio) == (said("leo") | said("ann", "bob", prompt=1), {OVERRULED: 3})
    decide(studio, "lea", item, TIE)
    assert learned(studio) == (said("lea") | said("ann", "bob", prompt=1), {OVERRULED: 3})


def test_the_decision_of_somebody_excluded_settles_nothing(studio: Studio) -> None:
    item, _ = judged(studio)
    decide(studio, "lea", item, LEFT)
    exclude(studio, "lea")
    assert learned(studio) == (said("ann", "bob") | said("ann", "bob", prompt=1), {EXCLUDED: 1})
    decide(studio, "leo", item, RIGHT)
    exclude(studio, "ann")
    assert learned(studio) == (said("leo") | said("bob", prompt=1), {EXCLUDED: 3, OVERRULED: 1})


def test_a_decision_overrules_only_what_it_decides(studio: Studio) -> None:
    question = studio.ask(1, fields=FIELDS)
    ann = studio.rater("ann")
    showing = studio.next(ann, question)
    assert showing is not None
    studio.answer(ann, showing.id, LEFT | {"mended": ["better so", None], "own": "my own"})
    everything = {("ann", kind, "prompt 0") for kind in ("comparison", "edit", "demonstration")}
    assert learned(studio) == (everything, {})
    decide(studio, "lea", showing.item_id, RIGHT)
    kept = everything - said("ann") | said("lea")
    assert learned(studio) == (kept, {OVERRULED: 1})
    decide(studio, "leo", showing.item_id, RIGHT | {"own": "the lead's"})
    shown, _, unused = demonstrations_in(studio.store)
    assert (shown, unused) == ([("prompt 0", "the lead's")], {OVERRULED: 1})
    kept = {("ann", "edit", "prompt 0"), ("leo", "demonstration", "prompt 0"), *said("leo")}
    assert learned(studio) == (kept, {OVERRULED: 3})


def take_back(studio: Studio, lead: str, item: str) -> int:
    studio.later(minutes=1)
    rater = studio.rater(lead)
    return studio.store.write(lambda c: adjudication.take_back(c, rater, item, studio.now))


def test_a_decision_that_is_taken_back_settles_nothing_until_somebody_decides_anew(studio: Studio) -> None:
    item, _ = judged(studio, overlap=3)
    everything = learned(studio)
    decide(studio, "lea", item, LEFT)
    decide(studio, "max", item, RIGHT)
    assert learned(studio) != everything
    assert take_back(studio, "max", item) == 2
    assert learned(studio) == everything
    (row,) = (one for one in studio.rows(items_table) if one.id == item)
    assert (row.adjudicated, row.available) == (False, True)  # two of three have answered
    with pytest.raises(ConflictError, match="none stands"):
        take_back(studio, "lea", item)
    # Each of them may decide again, the same as before too.
    decide(studio, "lea", item, LEFT)
    assert learned(studio)[0] == said("lea") | said("ann", "bob", prompt=1)
    decide(studio, "max", item, RIGHT)
    assert learned(studio)[0] == said("max") | said("ann", "bob", prompt=1)
    (row,) = (one for one in studio.rows(items_table) if one.id == item)
    assert (row.adjudicated, row.available) == (True, False)
