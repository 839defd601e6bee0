"""Items from files: every field arrives, and a row that cannot be an item is named by its line and the reason."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from heed.errors import DataError
from heed.feedback.formats.rows import BrokenRow
from heed.feedback.item_files import ItemRow, read_items
from heed.feedback.kinds import Message


def lines_file(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def reason(path: Path) -> str:
    (row,) = read_items(path)
    assert isinstance(row, BrokenRow), row
    return row.reason


def test_json_lines_carry_every_field(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "سلام"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "?"},
    ]
    given = {
        "messages": turns,
        "completions": ["one", "二"],
        "external_id": 17,
        "priority": -3,
        "overlap": 4,
        "purpose": "gold",
        "expected": {"which": {"choice": "a"}},
        "explanation": "**why**",
        "source": "here",
        "model": "unknown to heed",
    }
    (row,) = read_items(lines_file(tmp_path / "x.jsonl", given))
    assert row == ItemRow(
        prompt=tuple(Message(**turn) for turn in turns),
        completions=("one", "二"),
        external_id="17",
        priority=-3,
        overlap=4,
        purpose="gold",
        expected={"which": {"choice": "a"}},
        explanation="**why**",
        source="here",
        line=1,
        ignored=("model",),
    )


def test_an_id_has_two_names_that_must_not_differ(tmp_path: Path) -> None:
    rows = ({"prompt": "p", "id": 7}, {"prompt": "p", "id": "7", "external_id": 7, "metadata": {"x": 1}, "split": "a"})
    found = list(read_items(lines_file(tmp_path / "x.jsonl", *rows)))
    assert [(row.external_id, row.ignored) for row in found] == [("7", ()), ("7", ("metadata", "split"))]
    (tmp_path / "x.csv").write_text("prompt,id,external_id\np,e1,\nq,,e2\n")
    assert [row.external_id for row in read_items(tmp_path / "x.csv")] == ["e1", "e2"]
    assert "both external_id and id" in reason(
        lines_file(tmp_path / "y.jsonl", {"prompt": "p", "id": "1", "external_id": "2"})
    )
    assert "id has 256 characters" in reason(lines_file(tmp_path / "z.jsonl", {"prompt": "p", "id": "x" * 256}))


def test_what_is_not_given_has_its_default_and_the_source_is_the_line(tmp_path: Path) -> None:
    rows = list(read_items(lines_file(tmp_path / "x.jsonl", "", {"prompt": "p", "overlap": None}, {"prompt": "q"})))
    assert rows[0] == ItemRow("p", (), source="x.jsonl:2", line=2)
    assert rows[1] == ItemRow("q", (), source="x.jsonl:3", line=3)


def test_csv_and_json_lines_give_the_same_item(tmp_path: Path) -> None:
    values = {"prompt": "=1+1", "a": "two", "b": "-2", "priority": "7", "overlap": "3", "external_id": "e 1"}
    values |= {"purpose": "training", "expected": '{"which": {"choice": "a"}}', "explanation": 'because "so",\nyes'}
    with (tmp_path / "x.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(values))
        writer.writeheader()
        writer.writerow(values)
    (row,) = read_items(tmp_path / "x.csv")
    assert row == ItemRow(
        "=1+1",
        ("two", "-2"),
        "e 1",
        7,
        3,
        "training",
        {"which": {"choice": "a"}},
        'because "so",\nyes',
        "x.csv:2",
        2,
    )


def test_gzip_is_read_as_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(gzip.compress(b'{"prompt": "p", "completions": ["c"]}\n'))
    (row,) = read_items(tmp_path / "x")
    assert isinstance(row, ItemRow)
    assert row.completions == ("c",)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "not JSON"),
        ("{} {}", "not JSON"),
        ('{"prompt": "p", "prompt": "q"}', "given twice"),
        ({}, "'prompt' is missing"),
        ({"prompt": " "}, "prompt is empty"),
        ({"prompt": "p", "messages": []}, "both prompt and messages"),
        ({"messages": "p"}, "not a list of messages"),
        ({"messages": []}, "no messages"),
        ({"prompt": [{"role": "robot", "content": "x"}]}, "role"),
        ({"prompt": "p", "completions": "c"}, "not a list"),
        ({"prompt": "p", "completions": [1]}, "completion 1"),
        ({"prompt": "p", "completions": ["x"] * 2}, "the same text"),
        ({"prompt": "p", "completions": list("abcdefghi")}, "8 is the most"),
        ({"prompt": "p\u0000"}, "NUL"),
        ({"prompt": "p", "priority": "high"}, "priority is not a whole number"),
        ({"prompt": "p", "priority": True}, "priority is not a whole number"),
        ({"prompt": "p", "priority": 10**400}, "far off"),
        ({"prompt": "p", "overlap": 0}, "1 to 20"),
        ({"prompt": "p", "overlap": 21}, "1 to 20"),
        ({"prompt": "p", "purpose": "repeat"}, "it is one of work, gold"),
        ({"prompt": "p", "purpose": "gold"}, "'expected' is missing"),
        ({"prompt": "p", "expected": {"x": 1}}, "is it gold?"),
        ({"prompt": "p", "purpose": "gold", "expected": [1]}, "not an object"),
        ({"prompt": "p", "external_id": "x" * 256}, "255 is the most"),
        ({"prompt": "p", "external_id": {}}, "external_id"),
    ],
)
def test_a_row_that_is_no_item_says_why(tmp_path: Path, row: Any, said: str) -> None:
    path = tmp_path / "x.jsonl"
    lines_file(path, row)
    if not path.read_text().startswith("{"):
        pytest.fail("the test's own rows are JSON lines")
    assert said in reason(path)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("p,a,,c,,", "completion b is empty"),
        ("p,a,b,c,x,", "priority is 'x'"),
        ("p,a,b,c,1.5,", "not a whole number"),
        ("p,a,b,c,1,[]", "it has both completions and columns"),
        ("p,a", "2 cells under 6 columns"),
    ],
)
def test_a_record_that_is_no_item_says_why(tmp_path: Path, record: str, said: str) -> None:
    (tmp_path / "x.csv").write_text(f"prompt,a,b,c,priority,completions\n{record}\n")
    assert said in reason(tmp_path / "x.csv")


def test_broken_rows_stand_between_good_ones_with_their_lines(tmp_path: Path) -> None:
    rows = list(read_items(lines_file(tmp_path / "x.jsonl", {"prompt": "p"}, "{no", {"prompt": "q"}, "[]")))
    assert [(type(row).__name__, row.line) for row in rows] == [
        ("ItemRow", 1),
        ("BrokenRow", 2),
        ("ItemRow", 3),
        ("BrokenRow", 4),
    ]


@pytest.mark.parametrize("content", ["", "\n\n", "name,text\nx,y\n", '"open'])
def test_a_file_without_items_is_refused_at_once(tmp_path: Path, content: str) -> None:
    (tmp_path / "x").write_text(content)
    with pytest.raises(DataError):
        read_items(tmp_path / "x")
