"""Many rows at once are the rows that statements would have made, and fail as these do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Table, delete, insert, select
from sqlalchemy.exc import IntegrityError

from heed.errors import DataError
from heed.feedback import database
from heed.feedback.bulk import insert_rows
from heed.feedback.kinds import completion_id, prompt_id
from heed.feedback.schema import completions, prompts, raters
from heed.feedback.store import CompletionRecord, Store

ODD = ("plain", "tab\tand\nline\r\nend", "\\N", "\\.", "a\\tb", "'quoted\"", "", "\x00", "猫 é 🐈", "null", "{}", "NaN")


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    with Store.open(database_url) as opened:
        yield opened


def rows(count: int) -> list[dict[str, Any]]:
    """Completions of which every column that may be empty is so now and then."""
    return [
        {
            "id": f"c{number:016x}",
            "prompt_id": "p1",
            "text": ODD[number % len(ODD)],
            "run_id": None,
            "sample_index": number,
            "tokens": None if number % 3 else number,
            "finished": bool(number % 2),
            "logprob": None if number % 5 else -number / 3,
        }
        for number in range(count)
    ]


def stored(store: Store, table: Table) -> list[Any]:
    columns = [column for column in table.c if column.name != "number"]
    with store.reading() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(table.c.number))]


def add_prompt(store: Store) -> None:
    values = {"id": "p1", "content": "p", "split": "train", "source": ""}
    store.write(lambda connection: connection.execute(insert(prompts).values(values)))


@pytest.mark.parametrize("count", [1, 200])
def test_rows_are_stored_as_statements_store_them_and_in_their_order(store: Store, count: int) -> None:
    add_prompt(store)
    store.write(lambda connection: connection.execute(insert(completions), rows(count)))
    expected = stored(store, completions)
    store.write(lambda connection: connection.execute(delete(completions)))
    store.write(lambda connection: insert_rows(connection, completions, rows(count)))
    assert stored(store, completions) == expected
    assert [row[2] for row in expected] == [row["text"] for row in rows(count)]


def test_no_rows_are_no_work(store: Store) -> None:
    store.write(lambda connection: insert_rows(connection, completions, []))
    assert stored(store, completions) == []


def test_a_row_that_is_there_breaks_a_constraint_and_nothing_is_stored(store: Store) -> None:
    add_prompt(store)
    twice = [*rows(60), rows(1)[0]]
    with pytest.raises(IntegrityError):
        store.write(lambda connection: insert_rows(connection, completions, twice))
    assert stored(store, completions) == []


def test_the_work_is_done_again_where_another_process_was_quicker(store: Store) -> None:
    people = [{"name": f"r{number}", "kind": "human", "group_name": ""} for number in range(60)]
    tries = []

    def work(connection: Any) -> None:
        tries.append(1)
        there = database.existing(connection, raters.c.name, [row["name"] for row in people])
        # As if the other had added its own after we looked.
        known = there if len(tries) > 1 else set()
        insert_rows(connection, raters, [row for row in people if row["name"] not in known])

    store.add_raters([("r59", "human", "")])
    store.write(work)
    assert (len(tries), len(stored(store, raters))) == (2, 60)


def test_a_completion_of_an_unknown_prompt_is_refused_among_others(store: Store) -> None:
    (known,) = store.add_prompts([("p", None, "")])
    unknown = prompt_id("q")
    records = [CompletionRecord(completion_id(one, "text", "import"), one, "text") for one in (known, unknown)]
    with pytest.raises(DataError, match=f"its prompt {unknown} is not in the store"):
        store.add_completions(records)
    assert store.add_completions(records[:1]).added == 1
