"""The examples of docs/api.md: answers of every kind, and the Python client at work. Tests run all of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heed.client import Client


@dataclass(frozen=True)
class AnswerExample:
    """An answer to a form of one field.

    Attributes:
        field: as it stands in ``form.fields`` of a showing.
        shape: the shape of an answer, in words.
        shown_order: place ``k`` on the screen shows completion ``shown_order[k]`` of the item; a rater is not told it.
        sent: the answer as it is sent, in the order of the screen.
        kept: the same in the item's own order, as items' ``expected`` is given and exports tell it.
    """

    field: dict[str, Any]
    shape: str
    shown_order: tuple[int, ...]
    sent: Any
    kept: Any

    @property
    def kind(self) -> str:
        """Of the field."""
        return str(self.field["kind"])


HELPFUL = {"name": "helpful", "label": "Helpful", "low": 1, "high": 5, "step": 1}

_FAULTLESS: dict[str, Any] = {"defects": [], "spans": [], "note": "Nothing is."}

ANSWERS = (
    AnswerExample(
        {"kind": "comparison", "name": "better", "label": "Which is better?"},
        "`choice` is `left`, `right`, `tie` or `both_bad` (in an item: `a` or `b`, the first or second completion); "
        "`strength` 1 slightly, 2 clearly, 3 by far, or null; null without a winner",
        (1, 0),
        {"choice": "left", "strength": 2},
        {"choice": "b", "strength": 2},
    ),
    AnswerExample(
        {"kind": "rating", "name": "score", "label": "How good?", "attributes": [HELPFUL]},
        "one object for each completion, with a number for each attribute",
        (1, 0),
        [{"helpful": 4.0}, {"helpful": 2.0}],
        [{"helpful": 2.0}, {"helpful": 4.0}],
    ),
    AnswerExample(
        {"kind": "ranking", "name": "order", "label": "Best first"},
        "`groups`, best first, of places from 0 (in an item: of completions from 0); what is tied shares a group",
        (2, 0, 1),
        {"groups": [[1], [0, 2]]},
        {"groups": [[0], [1, 2]]},
    ),
    AnswerExample(
        {"kind": "thumb", "name": "good", "label": "Good?"},
        "true or false for each completion; null as in an edit",
        (1, 0),
        [True, False],
        [False, True],
    ),
    AnswerExample(
        {"kind": "edit", "name": "mended", "label": "Mend it"},
        "the mended text for each completion; null where the field is not required and nothing is to be said",
        (1, 0),
        ["It left on Monday.", "No idea, sorry."],
        ["No idea, sorry.", "It left on Monday."],
    ),
    AnswerExample(
        {"kind": "demonstration", "name": "own", "label": "Write an answer"},
        "the text",
        (),
        "It left on Monday. Sorry for the wait.",
        "It left on Monday. Sorry for the wait.",
    ),
    AnswerExample(
        {"kind": "critique", "name": "wrong", "label": "What is wrong?", "defects": ["rude"], "spans": True},
        "for each completion `defects` of those that the field lists, `spans` (`start` and `end` count Unicode code points of "
        "`completions[k].text`, from 0) and `note`; null as in an edit",
        (1, 0),
        [{"defects": ["rude"], "spans": [{"start": 0, "end": 2, "label": "rude", "note": ""}], "note": ""}, _FAULTLESS],
        [_FAULTLESS, {"defects": ["rude"], "spans": [{"start": 0, "end": 2, "label": "rude", "note": ""}], "note": ""}],
    ),
)


def judge_all(url: str, token: str, name: str, folder: Path) -> int:
    """Add an item to the question ``name``, whose form is one comparison, judge by program what there is, take it all out.

    How many were judged. The item that it adds stays in the project.
    """
    with Client(url, token) as studio:
        asked = next(one for one in studio.questions() if one["name"] == name)
        question = asked["id"]
        if asked["needs"] == "guidelines":
            guidelines = studio.guidelines()
            print(guidelines["text"])  # a program answers for having read them, as a person does
            studio.acknowledge_guidelines(guidelines["version"])

        done = studio.add_items(
            question,
            [{"prompt": "Where is my parcel?", "completions": ["It left on Monday.", "No idea."], "id": "parcel-1"}],
        )
        print(done.added, "added,", done.duplicates, "there already, passed over:", dict(done.ignored))

        judged = 0
        while (showing := studio.next(question)) is not None:
            field = showing.form["fields"][0]["name"]
            left, right = (completion["html"] for completion in showing.completions)
            choice = "left" if len(left) >= len(right) else "right"
            studio.answer(showing, {field: {"choice": choice, "strength": None}}, seconds=1.5)
            judged += 1

        exported = studio.export(folder / "feedback.jsonl")
        print(exported.written, "rows written, left out:", exported.left_out)
        studio.export(folder / "answers.jsonl", "answers", question_id=question)
    return judged
