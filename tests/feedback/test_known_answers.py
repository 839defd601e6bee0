"""What raters answered to gold items, beside what is known: it tells of the raters, and never becomes a judgment."""

from __future__ import annotations

from judged_studio import LEFT, RIGHT, Studio, row

from heed.people import exclusions
from heed.questions import judgments_in, known_answers_in
from heed.stages.judgments import evidence

FIELDS = [
    {"kind": "comparison", "name": "better", "label": "Which is better?"},
    {
        "kind": "rating",
        "name": "score",
        "label": "How good?",
        "required": False,
        "attributes": [{"name": "good", "label": "Good"}],
    },
]
KNOWN = {"better": {"choice": "a"}, "score": [{"good": 5}, {"good": 1}]}


def studio_with_gold(studio: Studio) -> str:
    question = studio.ask(4, fields=FIELDS, gold_rate=0.5, overlap=3)
    studio.add(question, [row(n, purpose="gold", expected=KNOWN) for n in range(100, 103)])
    for name, side in (("ann", LEFT), ("bob", RIGHT)):
        studio.work_through(studio.rater(name), question, side)
    return question


def test_answers_to_gold_items_stand_beside_what_is_known(studio: Studio) -> None:
    studio_with_gold(studio)
    known = known_answers_in(studio.store)
    assert {answer.given.rater for answer in known} == {"ann", "bob"}
    for given, expected in known:
        assert (given.kind, given.texts, expected.said) == ("comparison", expected.texts, (0, 0))
        assert given.shown is not None
        left = given.shown[0]
        assert given.said[0] == (left if given.rater == "ann" else 1 - left)
        met = given.said[0] == expected.said[0]
        heeds, inverts, says_left, says_right = evidence((known[0])._replace(given=given, expected=expected))
        assert (heeds > inverts) == met
        assert (says_left > says_right) == (given.rater == "ann")


def test_gold_answers_are_not_among_what_is_learned_from(studio: Studio) -> None:
    studio_with_gold(studio)
    learned, ids = judgments_in(studio.store, "joint")
    assert len(learned.rows) == len(ids) == 8
    assert learned.known == known_answers_in(studio.store)
    about = {row.prompt for row in learned.rows}
    assert about == {f"prompt {n}" for n in range(4)}


def test_who_is_excluded_and_what_was_corrected_tells_nothing(studio: Studio) -> None:
    question = studio_with_gold(studio)
    before = known_answers_in(studio.store)
    studio.store.write(lambda c: exclusions.exclude(c, "bob", "as told", "lea", studio.now))
    assert known_answers_in(studio.store) == [answer for answer in before if answer.given.rater == "ann"]
    ann = studio.rater("ann")
    showing = studio.undo(ann, question)
    studio.answer(ann, showing.id, RIGHT)
    after = known_answers_in(studio.store)
    assert len(after) == sum(answer.given.rater == "ann" for answer in before)
    changed = [
        a for a, b in zip(after, (k for k in before if k.given.rater == "ann"), strict=True) if a.given != b.given
    ]
    assert len(changed) == (showing.purpose == "gold")


def test_every_part_of_an_answer_is_compared_with_its_own(studio: Studio) -> None:
    question = studio.ask(1, fields=FIELDS, gold_rate=1.0, overlap=1)
    studio.add(question, [row(100, purpose="gold", expected=KNOWN)])
    ann = studio.rater("ann")
    for _ in range(2):
        showing = studio.next(ann, question)
        assert showing is not None
        scores = [{"good": 5}, {"good": 4}] if showing.shown_order == (0, 1) else [{"good": 4}, {"good": 5}]
        studio.answer(ann, showing.id, LEFT | {"score": scores})
    kinds = [(given.kind, given.texts, given.said) for given, _ in known_answers_in(studio.store)]
    assert [kind for kind, _, _ in kinds] == ["comparison", "rating", "rating"]
    assert {texts[0]: said["good"][0] for kind, texts, said in kinds if kind == "rating"} == {"yes 100": 5, "no 100": 4}
