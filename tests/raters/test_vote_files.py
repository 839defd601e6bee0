"""Votes from files: whatever the columns are called and however they are kept apart, and what cannot be used."""

from __future__ import annotations

import csv
import gzip
import io
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heed.errors import DataError
from heed.raters import coded_tables
from heed.raters.coded_tables import LONGEST_CELL
from heed.raters.vote_files import read_gold, read_votes
from heed.raters.votes import Votes


def told(votes: Votes) -> set[tuple[str, str, str]]:
    return {
        (votes.items[i], votes.raters[r], votes.labels[k])
        for i, r, k in zip(votes.item.tolist(), votes.rater.tolist(), votes.label.tolist(), strict=True)
    }


def file(folder: Path, text: str | bytes, name: str = "votes.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return path


VOTES = {("i1", "ann", "good"), ("i1", "bob", "bad"), ("i2", "ann", "bad")}


@pytest.mark.parametrize(
    "text",
    [
        "item,rater,label\ni1,ann,good\ni1,bob,bad\ni2,ann,bad\n",
        "\ufefflabel,Item,RATER\r\ngood,i1,ann\r\nbad,i1,bob\r\nbad,i2,ann\r\n",
        "task\tworker\tanswer\ni1\tann\tgood\ni1\tbob\tbad\ni2\tann\tbad",
        "Annotator ID;Example-Id;category;remark\nann;i1;good;-\nbob;i1;bad;\nann;i2;bad;x;".removesuffix(";"),
        "i1 ann good\ni1   bob bad\n\ni2\x20ann bad\n",
        "i1,ann,good\ni1,bob,bad\ni2,ann,bad",
        '\n\n"item","rater","label"\n"i1","ann","good"\ni1,bob,bad\ni2,"ann",bad\n',
    ],
)
def test_a_file_says_the_same_however_it_is_written(tmp_path: Path, text: str) -> None:
    found = read_votes(file(tmp_path, text))
    assert told(found.votes) == VOTES
    assert found.broken == ()
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(text.encode("utf-8")))
    assert told(read_votes(packed).votes) == VOTES


def test_columns_are_named_and_what_else_there_is_is_kept_or_passed_over(tmp_path: Path) -> None:
    text = (
        "question,id,task,worker,rating,created,group,note\nq,1,i1,ann,3,2026-01-01,a,x\nq,2,i1,bob,4,2026-01-02,b,y\n"
    )
    found = read_votes(file(tmp_path, text))
    assert {part: found.columns.name(part) for part in found.columns.places} == {
        "item": "task",
        "rater": "worker",
        "label": "rating",
        "question": "question",
        "group": "group",
        "time": "created",
    }
    assert found.columns.unread == ("id", "note")
    assert found.beside == {"question": ["q", "q"], "group": ["a", "b"], "time": ["2026-01-01", "2026-01-02"]}
    alone = read_votes(file(tmp_path, "question,rater,label\nq1,ann,x\nq2,ann,y\n"))
    assert alone.columns.name("item") == "question"
    assert alone.beside == {}


def test_labels_stand_in_the_order_of_their_numbers_else_of_their_names(tmp_path: Path) -> None:
    numbers = read_votes(file(tmp_path, "a r 10\nb r 9\nc r -1\nd r 9.5\n"))
    assert list(numbers.votes.labels) == ["-1", "9", "9.5", "10"]
    names = read_votes(file(tmp_path, "a r good\nb r bad\nc r 10\n"))
    assert list(names.votes.labels) == ["10", "bad", "good"]
    assert list(names.votes.items) == ["a", "b", "c"]


cells = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\x85\u2028\u2029"), min_size=1, max_size=8
)
cells = cells.map(str.strip).filter(lambda cell: bool(cell) and not cell.startswith("'"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.dictionaries(st.tuples(cells, cells), cells, min_size=1, max_size=12), st.sampled_from(",;\t"))
def test_what_a_csv_writer_wrote_is_read_back(
    tmp_path: Path, votes: dict[tuple[str, str], str], separator: str
) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator)
    writer.writerow(["item", "rater", "label"])
    writer.writerows([item, rater, label] for (item, rater), label in votes.items())
    found = read_votes(file(tmp_path, buffer.getvalue()))
    assert told(found.votes) == {(item, rater, label) for (item, rater), label in votes.items()}


def test_a_vote_said_again_counts_once(tmp_path: Path) -> None:
    found = read_votes(file(tmp_path, "i1 ann x\ni2 ann y\ni1 ann x\ni1 bob y\ni1 ann x\n"))
    assert told(found.votes) == {("i1", "ann", "x"), ("i2", "ann", "y"), ("i1", "bob", "y")}
    assert (found.votes.size, found.repeated, found.contradicted) == (3, 2, 0)


def test_contradictions_are_refused_or_the_last_one_counts(tmp_path: Path) -> None:
    path = file(tmp_path, "item,rater,label,group\ni1,ann,x,1\ni2,ann,y,2\ni1,ann,y,3\ni1,ann,y,4\ni2,bob,y,5\n")
    with pytest.raises(DataError) as refused:
        read_votes(path)
    assert "lines 2 and 4" in refused.value.what
    assert "'ann' calls item 'i1' 'x' and then 'y'; 1 such" in refused.value.why
    assert "--contradictions last" in refused.value.fix
    found = read_votes(path, "last")
    assert told(found.votes) == {("i1", "ann", "y"), ("i2", "ann", "y"), ("i2", "bob", "y")}
    assert (found.repeated, found.contradicted) == (1, 1)
    assert sorted(found.beside["group"]) == ["2", "4", "5"]


def test_rows_that_cannot_be_used_are_named_and_missing_answers_counted(tmp_path: Path) -> None:
    text = f"item,rater,label\ni1,ann,x\ni1,bob\n,ann,x\ni2,,x\ni3,ann,\n{'i' * 1001},ann,x\ni2,ann,y\n"
    found = read_votes(file(tmp_path, text))
    assert told(found.votes) == {("i1", "ann", "x"), ("i2", "ann", "y")}
    assert found.unlabelled == 1
    assert found.votes.shape == (2, 1, 2)  # nothing that only such rows name
    assert [(row.line, row.reason) for row in found.broken] == [
        (3, "2 cells where the first line has 3"),
        (4, "it names no item"),
        (5, "it names no rater"),
        (7, f"its item has 1,001 characters, and {LONGEST_CELL:,} is the most"),
    ]


def test_a_cell_made_harmless_for_spreadsheets_is_read_as_it_was(tmp_path: Path) -> None:
    found = read_votes(file(tmp_path, "item,rater,label\n'=1+1,ann,'-1\n'quoted',ann,1\n"))
    assert told(found.votes) == {("=1+1", "ann", "-1"), ("'quoted'", "ann", "1")}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it has no line with anything in it"),
        (b" \n\n", "it has no line with anything in it"),
        (b"item,rater,label\n", "nothing stands below its first line"),
        (b"item,rater,label\na,b,\nc,d,\n", "none of its 2 rows has a label"),
        (b"item,rater,label\na,b\n", "none of its rows can be read; line 2: 2 cells"),
        (b"item,rater,remark\na,b,c\n", "names no column for label"),
        (b"a,b,c,d\n1,2,3,4\n", "has 4 columns and names none of item, rater, label"),
        (b"just one\n", "has 2 columns and names none"),
        (b'{"item": 1, "rater": 2}\n', "it names no column for label; it has 'item', 'rater'"),
        (b'{"item": 1,\n "rater": 2}\n', "not JSON"),
        (b'[{"item": 1, "rater": 2, "label": 3}]\n', "it is one JSON list"),
        (b"item,rater,label\na,b,\xff\n", "line 2 holds byte 0xff at position 5"),
        ("item,rater,label\n".encode("utf-16"), "it is UTF-16"),
        (b"PK\x03\x04\x00\x00\n", "bytes that are zero"),
        (b'item,rater,label\na,"b" c,d\n', "not CSV"),
        (b'item,rater,label\na,b,"c\n', "not CSV"),
        (b"item,rater,label\n" + b"a" * (1 << 20) + b",b,c\n", "longer than"),
        (gzip.compress(mtime=0, data=b"item,rater,label\na,b,c\n" * 99)[:-20], "damaged or cut off"),
    ],
)
def test_a_file_that_is_no_table_of_votes_says_why(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(DataError) as refused:
        read_votes(file(tmp_path, content))
    assert words in refused.value.why
    assert refused.value.fix


def test_a_place_that_is_no_file_is_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(DataError, match="cannot read"):
            read_votes(path)


def test_more_votes_than_the_memory_is_meant_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coded_tables, "MOST_ROWS", 9)
    read_votes(file(tmp_path, "".join(f"i{k} r x\n" for k in range(9))))
    with pytest.raises(DataError, match="more than 9 rows"):
        read_votes(file(tmp_path, "".join(f"i{k} r x\n" for k in range(10))))


def test_known_labels_are_read_and_may_not_contradict_each_other(tmp_path: Path) -> None:
    assert read_gold(file(tmp_path, "1 x\n2 y\n1 x\n")) == {"1": "x", "2": "y"}
    assert read_gold(file(tmp_path, "truth,task,by\nx,1,me\n")) == {"1": "x"}
    for text, words in (
        ("item,label\n1,x\n2,y\n1,y\n", "line 4"),
        ("item,label\n1\n2,y\n", "line 2"),
        ("item,label\n", "has no known label"),
        ("1,2,3\n", "has 3 columns"),
    ):
        with pytest.raises(DataError, match=words):
            read_gold(file(tmp_path, text))


GIVEN = Votes.of(["q1", "q1", "q2"], ["ann", "bob", "ann"], ["yes", "no", "no"])


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            "item,label\nq1,Yes\nq2,No\n",
            2,
            "'Yes', which item 'q1' has here; the nearest that was given is 'yes'. 2 of 2",
        ),
        ("item,label\nq2,no\nq1,yess\n", 3, "'yess', which item 'q1' has here; the nearest that was given is 'yes'."),
        ("q1 yes\nq2 purple\n", 2, "'purple', which item 'q2' has here; given were 'no', 'yes'."),
    ],
)
def test_a_known_label_that_nobody_gave_is_told_with_what_was_given(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    path = file(tmp_path, text)
    with pytest.raises(DataError) as refused:
        read_gold(path, GIVEN)
    assert refused.value.what.endswith(f", line {line}")
    assert words in refused.value.why
    assert refused.value.fix


def test_a_known_label_of_an_item_without_votes_may_be_any(tmp_path: Path) -> None:
    assert read_gold(file(tmp_path, "item,label\nq1,no\nq9,maybe\n"), GIVEN) == {"q1": "no", "q9": "maybe"}
    assert read_gold(file(tmp_path, "q9 no\nq1 yes\n"), GIVEN) == {"q9": "no", "q1": "yes"}


def test_a_first_line_of_unknown_names_is_no_vote_and_no_known_label(tmp_path: Path) -> None:
    rows = "q1,ann,yes\nq1,bob,no\nq2,ann,no\n"
    for text in (f"foo,bar,baz\n{rows}", f"\n\nfoo,bar,baz\n{rows}"):
        with pytest.raises(DataError, match="foo"):
            read_votes(file(tmp_path, text))
    with pytest.raises(DataError) as refused:
        read_votes(file(tmp_path, f"foo,bar,baz\n{rows}"))
    assert "'foo' and 'bar' and 'baz' occur nowhere else, as names of columns would" in refused.value.why
    assert "call them item,rater,label" in refused.value.fix
    with pytest.raises(DataError) as refused:
        read_gold(file(tmp_path, "foo,bar\nq1,no\n"), GIVEN)
    assert "'foo' and 'bar' occur nowhere else" in refused.value.why
    assert "call them item,label" in refused.value.fix
    # What the error says mends both cases.
    assert told(read_votes(file(tmp_path, f"item,rater,label\n{rows}")).votes) == told(GIVEN)
    assert told(read_votes(file(tmp_path, f"item,rater,label\nfoo,bar,baz\n{rows}")).votes) > told(GIVEN)


@pytest.mark.parametrize("first", ["q3,ann,baz", "q1,cem,baz", "q3,cem,yes"])
def test_a_first_vote_that_shares_anything_with_others_is_a_vote(tmp_path: Path, first: str) -> None:
    found = read_votes(file(tmp_path, f"{first}\nq1,ann,yes\nq1,bob,no\nq2,ann,no\n"))
    assert told(found.votes) == told(GIVEN) | {tuple(first.split(","))}


def test_where_no_label_comes_twice_nothing_tells_a_vote_from_names(tmp_path: Path) -> None:
    assert read_votes(file(tmp_path, "q1 ann x\nq2 bob y\nq3 cem z\n")).votes.size == 3


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_on_any_system(tmp_path: Path, end: str) -> None:
    rows = ["item,rater,label", "i1,ann,good", "", '"i1",bob,bad', "i2,ann,bad"]
    assert told(read_votes(file(tmp_path, end.join(rows))).votes) == VOTES
    assert (
        told(read_votes(file(tmp_path, end.join(row.replace(",", " ").replace('"', "") for row in rows))).votes)
        == VOTES
    )
    broken = read_votes(file(tmp_path, end.join([*rows, "i3,ann"]))).broken
    assert [row.line for row in broken] == [6]
    quoted = read_votes(file(tmp_path, f'item,rater,label{end}"i{end}1",ann,good{end}'))
    assert list(quoted.votes.items) == [f"i{end}1"]


def test_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = [f"i{i} r{r} {rng.choice('xyz')}\n" for i in range(30) for r in range(4)]
    first = read_votes(file(tmp_path, "".join(rows))).votes
    rng.shuffle(rows)
    second = read_votes(file(tmp_path, "".join(rows))).votes
    assert told(first) == told(second)
    assert list(first.labels) == list(second.labels)
