"""Answers of the database become columns once each, whenever they come."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from heed.feedback import asked, items
from heed.feedback.forms import parse_form
from heed.feedback.item_files import parse_item
from heed.feedback.store import Store
from heed.feedback.studio_schema import answers
from heed.raters import reading
from heed.raters.columns import Unit
from heed.raters.reading import AnswerReader, units_of

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
FORM = parse_form(
    {
        "title": "All at once",
        "fields": [
            {"kind": "comparison", "name": "better", "label": "Better?"},
            {"kind": "ranking", "name": "order", "label": "Order?"},
            {"kind": "thumb", "name": "thumb", "label": "Good?"},
            {
                "kind": "rating",
                "name": "score",
                "label": "Score?",
                "attributes": [
                    {"name": "help", "label": "Help"},
                    {"name": "wide", "label": "Wide", "low": 0, "high": 100, "step": None, "style": "slider"},
                ],
            },
        ],
    }
)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path / 'heed.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").fresh()
    with Store.open(url) as opened:
        opened.add_raters([("ann", "human", ""), ("bob", "human", "")])
        yield opened


@pytest.fixture
def asked_of(store: Store) -> tuple[str, str]:
    """Ids of a question and of an item of it."""
    question = store.write(lambda c: asked.create_question(c, "q", FORM, "lea", NOW))
    row = parse_item({"prompt": "p", "completions": ["one", "two"]})
    added = store.write(lambda c: items.add_items(c, question.id, [row], NOW, random.Random(0)))
    return question.id, added.ids[0]


def put(store: Store, asked_of: tuple[str, str], number: int, rater: str = "ann", **values: Any) -> None:
    question, item = asked_of
    row = {
        "number": number,
        "id": f"a{number}",
        "showing_id": None,
        "item_id": item,
        "question_id": question,
        "rater": rater,
        "purpose": "work",
        "form_version": 1,
        "guideline_version": 0,
        "answer": {"better": {"choice": "a", "strength": None}},
        "confidence": None,
        "correct": None,
        "chose_left": True,
        "tied": False,
        "seconds": 9.0,
        "active_seconds": 8.0,
        "note": "",
        "created": NOW,
        "supersedes": None,
    }
    store.write(lambda c: c.execute(insert(answers), row | values))


def read(store: Store, reader: AnswerReader) -> bool:
    with store.reading() as connection:
        return reader.read(connection)


def test_each_answer_is_read_once_and_corrections_take_the_place_of_what_they_correct(
    store: Store, asked_of: tuple[str, str]
) -> None:
    reader = AnswerReader()
    put(store, asked_of, 1)
    put(store, asked_of, 2, "bob")
    assert read(store, reader)
    assert read(store, reader)
    assert len(reader.columns) == 2
    put(store, asked_of, 3, answer={"better": {"choice": "b", "strength": None}}, supersedes="a1")
    read(store, reader)
    found = reader.columns.answers()
    assert [found.raters[number] for number in found.rater] == ["bob", "ann"]
    assert found.units.value[0] != found.units.value[1]


def test_answers_that_come_late_with_lower_numbers_are_not_missed(store: Store, asked_of: tuple[str, str]) -> None:
    reader = AnswerReader()
    put(store, asked_of, 5000)
    read(store, reader)
    put(store, asked_of, 4000, "bob")
    read(store, reader)
    read(store, reader)
    assert len(reader.columns) == 2


def test_many_answers_are_read_in_turns(
    store: Store, asked_of: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "ROWS_AT_ONCE", 2)
    for number in range(1, 6):
        put(store, asked_of, number)
    reader, turns = AnswerReader(), 1
    while not read(store, reader):
        turns += 1
    assert len(reader.columns) == 5
    assert turns == 3


def test_units_tell_scores_apart_and_keep_what_belongs_to_one_field_together() -> None:
    answer = {
        "better": {"choice": "b", "strength": 2},
        "order": {"groups": [[1], [0]]},
        "thumb": [True, None],
        "score": [{"help": 4.0, "wide": 80.0}, None],
    }
    units = units_of(FORM, answer)
    assert {unit.field for unit in units} == {"better", "order", "thumb", "score.help", "score.wide"}
    (wide,) = [unit for unit in units if unit.field == "score.wide"]
    assert wide == Unit("score.wide", "0", "interval", 80.0, 10.0)
    assert len({(unit.field, unit.place) for unit in units}) == len(units)
