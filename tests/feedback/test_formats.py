"""Import and export: what a format can carry comes back as it was, and what it cannot is counted."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heed.errors import DataError
from heed.feedback.formats import (
    MAX_ROW_BYTES,
    UNKNOWN_TIME,
    BrokenRow,
    Row,
    detect_format,
    read_rows,
    table,
    write_rows,
)
from heed.feedback.kinds import KINDS, Demonstration, Message, completion_id, parse_feedback, prompt_id

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

# Every character that can be stored; the second half is what breaks careless readers of lines and tables.
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\x00") | st.sampled_from(
    '\r\n",;\u2028\x85=\ufeff\t'
)
ANY = st.text(CHARACTERS, max_size=12)
FULL = ANY.filter(lambda text: bool(text.strip()))
NAMES = st.text(st.characters(categories=["L", "M", "N", "P", "S"]), min_size=1, max_size=12).filter(str.isprintable)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))
FORMULA = re.compile(r"'+[=+\-@\t\r\n＝＋－＠]")
"""A cell that a spreadsheet would run, behind the apostrophe that keeps it from that."""

CONVERSATIONS = st.lists(
    st.builds(Message, role=st.sampled_from(["system", "user", "assistant"]), content=FULL), min_size=1, max_size=4
).map(tuple)
PROMPTS = FULL | CONVERSATIONS


@st.composite
def rows(draw: st.DrawFn, kinds: tuple[str, ...] = tuple(KINDS), texts: st.SearchStrategy[str] = ANY) -> Row:
    kind = draw(st.sampled_from(kinds))
    sizes = {"comparison": (2, 2), "ranking": (2, 6), "demonstration": (0, 0)}.get(kind, (1, 1))
    prompt = draw(PROMPTS)
    completions = tuple(draw(st.lists(texts, min_size=sizes[0], max_size=sizes[1], unique=True)))
    origin = draw(st.sampled_from(["import", "sample-1#0"]))
    ids = [completion_id(prompt_id(prompt), text, origin) for text in completions]
    answer = draw(answers(kind, completions))
    common = {
        "rater": draw(NAMES),
        "prompt_id": prompt_id(prompt),
        "completion_ids": ids,
        "shown_order": draw(st.none() | st.permutations(range(len(ids)))) or None,
        "seconds": draw(st.none() | st.floats(0, 1e6)),
        "confidence": draw(st.none() | st.floats(0, 1)),
        "created": draw(TIMES),
        "source": draw(ANY),
        "supersedes": draw(st.none() | st.just("f0123456789abcdef")),
    }
    return Row(prompt, completions, parse_feedback({"kind": kind, **common, **answer}))


@st.composite
def answers(draw: st.DrawFn, kind: str, completions: tuple[str, ...]) -> dict[str, Any]:
    if kind == "comparison":
        choice = draw(st.sampled_from(["a", "b", "tie", "both_bad"]))
        return {"choice": choice, "strength": draw(st.none() | st.integers(1, 3)) if choice in "ab" else None}
    if kind == "rating":
        scales = draw(st.dictionaries(FULL, st.tuples(st.floats(-1e9, 0), st.floats(1, 1e9)), min_size=1, max_size=3))
        return {
            "scores": {name: draw(st.floats(low, high)) for name, (low, high) in scales.items()},
            "scales": {name: {"low": low, "high": high} for name, (low, high) in scales.items()},
        }
    if kind == "ranking":
        order = draw(st.permutations(range(len(completions))))[: draw(st.integers(2, len(completions)))]
        cut = draw(st.integers(1, len(order)))
        return {"groups": [group for group in (order[:cut], order[cut:]) if group]}
    if kind == "thumb":
        return {"up": draw(st.booleans())}
    if kind == "edit":
        return {"edited": draw(FULL.filter(lambda text: text != completions[0]))}
    if kind == "demonstration":
        return {"text": draw(FULL)}
    length = len(completions[0])
    span = st.tuples(st.integers(0, length), st.integers(0, length)).filter(lambda ends: ends[0] < ends[1])
    spans = draw(st.lists(span, max_size=2)) if length else []
    return {
        "defects": draw(st.lists(FULL, unique=True, max_size=3)),
        "spans": [{"start": start, "end": end, "label": draw(FULL), "note": draw(ANY)} for start, end in spans],
        "note": draw(ANY),
    }


def texts_of(row: Row) -> tuple[Any, ...]:
    return row.prompt, row.completions, row.feedback


@QUICK
@given(st.lists(rows(), max_size=4))
def test_heed_lines_lose_nothing_of_any_kind(tmp_path: Path, given_rows: list[Row]) -> None:
    report = write_rows(given_rows, tmp_path / "x.jsonl", "heed")
    assert (report.written, report.left_out, report.dropped_fields) == (len(given_rows), Counter(), Counter())
    again = list(read_rows(tmp_path / "x.jsonl", "heed", "nobody"))
    assert [texts_of(row) for row in again if isinstance(row, Row)] == [texts_of(row) for row in given_rows]
    assert [row.line for row in again] == list(range(1, len(given_rows) + 1))


@QUICK
@given(st.lists(rows(texts=FULL), max_size=4), st.booleans())
def test_csv_loses_nothing_of_any_kind(tmp_path: Path, given_rows: list[Row], byte_order_mark: bool) -> None:
    path = tmp_path / "x.csv"
    report = write_rows(given_rows, path, "csv")
    assert (report.written, report.left_out, report.dropped_fields) == (len(given_rows), Counter(), Counter())
    if byte_order_mark:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    again = list(read_rows(path, "csv", "nobody"))
    assert [texts_of(row) for row in again if isinstance(row, Row)] == [texts_of(row) for row in given_rows]
    assert len(again) == len(given_rows)


@QUICK
@given(rows(texts=FULL))
def test_another_csv_reader_sees_the_same_cells(tmp_path: Path, row: Row) -> None:
    """Python's own reader, over the whole file rather than record by record."""
    write_rows([row], tmp_path / "x.csv", "csv")
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        (cells,) = csv.DictReader(file, strict=True)
    cells = {name: guarded.removeprefix("'") if FORMULA.match(guarded) else guarded for name, guarded in cells.items()}
    assert cells["rater"] == row.feedback.rater
    assert tuple(cells[letter] for letter in "abcdefgh" if cells[letter]) == row.completions
    prompt = json.loads(cells["messages"]) if cells["messages"] else cells["prompt"]
    assert prompt == (row.prompt if isinstance(row.prompt, str) else [turn.model_dump() for turn in row.prompt])


@QUICK
@given(rows(kinds=("comparison", "thumb", "demonstration", "rating", "edit"), texts=FULL))
def test_trl_carries_the_answer_and_counts_what_it_cannot(tmp_path: Path, row: Row) -> None:
    report = write_rows([row], tmp_path / "x.jsonl", "trl")
    answer = row.feedback.model_dump()
    if row.feedback.kind in ("rating", "edit") or answer.get("choice") in ("tie", "both_bad"):
        assert (report.written, report.left_out.total()) == (0, 1)
        assert (tmp_path / "x.jsonl").read_bytes() == b""
        return
    assert report.written == 1
    expected = {"rater", "created"} | {
        name
        for name in ("shown_order", "seconds", "confidence", "supersedes", "strength")
        if answer.get(name) is not None
    }
    assert set(report.dropped_fields) == expected - ({"created"} if row.feedback.created == UNKNOWN_TIME else set())
    (again,) = read_rows(tmp_path / "x.jsonl", "trl", "ann")
    assert isinstance(again, Row)
    assert again.prompt == row.prompt
    assert again.feedback.kind == row.feedback.kind
    if row.feedback.kind == "comparison":
        assert again.completions == (row.completions if answer["choice"] == "a" else row.completions[::-1])
        assert again.feedback.model_dump()["choice"] == "a"
    else:
        assert again.completions == row.completions
        for name in ("up", "text"):
            assert again.feedback.model_dump().get(name) == answer.get(name)


@QUICK
@given(rows(kinds=("comparison",), texts=FULL))
def test_hh_transcripts_come_back_as_the_same_conversation(tmp_path: Path, row: Row) -> None:
    report = write_rows([row], tmp_path / "x.jsonl", "hh")
    winner = row.feedback.model_dump()["choice"]
    talk = not isinstance(row.prompt, str) and all(turn.role != "system" for turn in row.prompt)
    assert report.written == int(talk and winner in "ab")
    if report.written:
        (again,) = read_rows(tmp_path / "x.jsonl", "auto", "ann")
        assert isinstance(again, Row)
        assert again.prompt == row.prompt
        assert again.completions == (row.completions if winner == "a" else row.completions[::-1])


def lines(path: Path, *values: Any) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


ASK = {"role": "user", "content": "What color is the sky?"}
BLUE, GREEN = ({"role": "assistant", "content": f"It is {color}."} for color in ("blue", "green"))
TALK = (Message(role="user", content="What color is the sky?"),)


@pytest.mark.parametrize(
    ("values", "prompt", "completions", "answer"),
    [
        ({"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}, "The sky is", (" blue.", " green."), "a"),
        ({"chosen": "The sky is blue.", "rejected": "The sky is green."}, "The sky is", (" blue.", " green."), "a"),
        ({"chosen": "The sky is blue.", "rejected": "The sky is black."}, "The sky is", (" blue.", " black."), "a"),
        ({"chosen": "the sky is", "rejected": "the skyline"}, "the", (" sky is", " skyline"), "a"),
        ({"chosen": "天空是蓝色。", "rejected": "天空是绿色。"}, "天空是", ("蓝色。", "绿色。"), "a"),
        ({"prompt": [ASK], "chosen": [BLUE], "rejected": [GREEN]}, TALK, ("It is blue.", "It is green."), "a"),
        ({"chosen": [ASK, BLUE], "rejected": [ASK, GREEN]}, TALK, ("It is blue.", "It is green."), "a"),
        (
            {"prompt": ASK["content"], "chosen": [ASK, BLUE], "rejected": [ASK, GREEN]},
            TALK,
            ("It is blue.", "It is green."),
            "a",
        ),
        ({"prompt": "The sky is", "completion": " blue.", "label": True}, "The sky is", (" blue.",), True),
        ({"prompt": [ASK], "completion": [GREEN], "label": False}, TALK, ("It is green.",), False),
        ({"prompt": "The sky is", "completion": " blue."}, "The sky is", (), " blue."),
        ({"prompt": [ASK], "completion": [BLUE]}, TALK, (), "It is blue."),
        ({"prompt": [{**ASK, "name": None}], "completion": [BLUE], "label": None}, TALK, (), "It is blue."),
    ],
)
@pytest.mark.parametrize("format", ["auto", "trl"])
def test_every_type_and_form_that_trl_documents(
    tmp_path: Path, values: Any, prompt: Any, completions: tuple[str, ...], answer: Any, format: Any
) -> None:
    (row,) = read_rows(lines(tmp_path / "x.jsonl", values), format, "ann")
    assert isinstance(row, Row), row
    assert (row.prompt, row.completions) == (prompt, completions)
    feedback = row.feedback.model_dump()
    kind = {str: "comparison" if answer == "a" else "demonstration", bool: "thumb"}[type(answer)]
    assert feedback["kind"] == kind
    assert feedback[{"comparison": "choice", "thumb": "up", "demonstration": "text"}[kind]] == answer
    assert (row.feedback.rater, row.feedback.created, row.feedback.source) == ("ann", UNKNOWN_TIME, "x.jsonl:1")


def test_heed_lines_name_each_judgment_so_that_a_correction_points_to_one(tmp_path: Path) -> None:
    first = Demonstration(rater="r", prompt_id=prompt_id("p"), text="one", created=UNKNOWN_TIME)
    second = first.model_copy(update={"text": "two", "supersedes": first.id})
    write_rows([Row("p", (), first), Row("p", (), second)], tmp_path / "x", "heed")
    written = [json.loads(line) for line in (tmp_path / "x").read_text().splitlines()]
    assert [line["id"] for line in written] == [first.id, second.id]
    assert written[1]["supersedes"] == written[0]["id"]
    # Lines without ids, and with none told, are the same judgments.
    without = [{name: value for name, value in line.items() if name != "id"} for line in written]
    for told in (written, without, [{**line, "id": None} for line in written]):
        read = [row.feedback.id for row in read_rows(lines(tmp_path / "y", *told))]
        assert read == [first.id, second.id]


def test_a_line_that_was_changed_under_its_id_is_broken_and_says_why(tmp_path: Path) -> None:
    said = Demonstration(rater="r", prompt_id=prompt_id("p"), text="one", created=UNKNOWN_TIME)
    write_rows([Row("p", (), said)], tmp_path / "x", "heed")
    changed = {**json.loads((tmp_path / "x").read_text()), "text": "two"}
    (broken,) = read_rows(lines(tmp_path / "y", changed))
    meant = said.model_copy(update={"text": "two"}).id
    assert isinstance(broken, BrokenRow)
    assert said.id in broken.reason
    assert meant in broken.reason


def test_columns_that_heed_does_not_know_are_named(tmp_path: Path) -> None:
    (row,) = read_rows(lines(tmp_path / "x", {"prompt": "p", "chosen": "a", "rejected": "b", "margin": 3, "id": 7}))
    assert isinstance(row, Row)
    assert row.ignored == ("id", "margin")


def test_one_trl_file_has_one_type_and_one_form(tmp_path: Path) -> None:
    pair = {"prompt": "p", "chosen": "a", "rejected": "b"}
    mixed = lines(tmp_path / "x", pair, {"prompt": "p", "completion": "c", "label": True}, {**pair, "chosen": "z"})
    report = write_rows((row for row in read_rows(mixed) if isinstance(row, Row)), tmp_path / "y", "trl")
    assert report.written == 2
    assert report.left_out == {"a standard thumb does not fit a TRL file of standard comparisons": 1}


def test_hh_by_hand(tmp_path: Path) -> None:
    start = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: \n\nhow are you\n\nAssistant:"
    path = lines(tmp_path / "x", {"chosen": start + "  Well.\n\nYou?", "rejected": start + "Bad."})
    (row,) = read_rows(path)
    assert isinstance(row, Row)
    assert [(turn.role, turn.content) for turn in row.prompt if isinstance(turn, Message)] == [
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "\n\nhow are you"),
    ]
    assert row.completions == (" Well.\n\nYou?", "Bad.")


@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_a_table_may_have_semicolons_or_tabs_and_names_in_capitals(tmp_path: Path, separator: str) -> None:
    rows = [
        ["Prompt", " chosen", "Rejected", "Note, if any"],
        ["p, or q;", '"x\ny"', "z\tz", ""],
        ["p2", "a", "b", "n"],
    ]
    with (tmp_path / "pairs.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter=separator).writerows(rows)
    found = list(read_rows(tmp_path / "pairs.csv"))
    assert [(row.prompt, row.completions, row.feedback.choice, row.ignored) for row in found] == [
        ("p, or q;", ('"x\ny"', "z\tz"), "a", ()),
        ("p2", ("a", "b"), "a", ("Note, if any",)),
    ]


def test_a_plain_table_as_a_person_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text(
        "rater,prompt,a,b,c,choice,kind,ranking,up,scores,scales,comment\r\n"
        'ann,Say hi,Hi!,"No, ""never""",,a,,,,,,\r\n'
        ",Say hi,Hi!,,,,thumb,,TRUE,,,nice\r\n"
        "bob,Say hi,x,y,z,,ranking,c>a=b,,,,\r\n"
        'bob,Say hi,x,,,,rating,,,"{""polite"": 4}","{""polite"": {""low"": 1, ""high"": 5, ""step"": 1}}",\r\n',
        newline="",
    )
    first, second, third, fourth = (row for row in read_rows(path, rater="crowd") if isinstance(row, Row))
    assert (first.feedback.rater, first.completions, first.line) == ("ann", ("Hi!", 'No, "never"'), 2)
    assert first.feedback.model_dump()["choice"] == "a"
    assert (second.feedback.rater, second.feedback.model_dump()["up"], second.ignored) == ("crowd", True, ("comment",))
    assert third.feedback.model_dump()["groups"] == ((2,), (0, 1))
    assert fourth.feedback.model_dump()["scores"] == {"polite": 4.0}


def test_the_same_file_read_twice_gives_the_same_ids_and_so_do_two_equal_rows(tmp_path: Path) -> None:
    vote = {"prompt": "p", "chosen": "a", "rejected": "b"}
    path = lines(tmp_path / "x", vote, {**vote, "rejected": "c"}, vote)
    ids = [[row.feedback.id for row in read_rows(path) if isinstance(row, Row)] for _ in range(2)]
    assert ids[0] == ids[1]
    assert ids[0][0] == ids[0][2] != ids[0][1]
    other = [row.feedback.id for row in read_rows(path, rater="ann") if isinstance(row, Row)]
    assert not set(ids[0]) & set(other)


def test_gzip_is_written_by_name_read_by_content_and_repeats_bit_for_bit(tmp_path: Path) -> None:
    path = lines(tmp_path / "x", {"prompt": "p", "completion": "a"})
    given_rows = [row for row in read_rows(path) if isinstance(row, Row)]
    write_rows(given_rows, tmp_path / "y.csv.gz", "csv")
    write_rows(given_rows, tmp_path / "z.csv.gz", "csv")
    packed = (tmp_path / "y.csv.gz").read_bytes()
    assert packed == (tmp_path / "z.csv.gz").read_bytes()
    assert gzip.decompress(packed).startswith(b"kind,rater,prompt,")
    (tmp_path / "plainly_named").write_bytes(packed)
    assert detect_format(tmp_path / "plainly_named") == "csv"
    assert [row.feedback.id for row in read_rows(tmp_path / "plainly_named") if isinstance(row, Row)] == [
        row.feedback.id for row in given_rows
    ]


def piped(path: Path, content: bytes, **how: Any) -> list[Row | BrokenRow]:
    """What is read of ``content`` through a pipe at ``path``, which gives each byte once."""
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    found = list(read_rows(path, **how))
    writer.join()
    path.unlink()
    return found


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("format", ["heed", "trl", "hh", "csv"])
def test_a_pipe_gives_what_a_file_gives(tmp_path: Path, format: Any, packed: bool) -> None:
    talk = "\n\nHuman: hi\n\nAssistant: "
    first = {
        "heed": {"kind": "thumb", "prompt": "p", "completions": ["a"], "up": True},
        "trl": {"prompt": "p", "chosen": "a", "rejected": "b"},
        "hh": {"chosen": f"{talk}a", "rejected": f"{talk}b"},
    }
    table = b"prompt,a,b,choice\r\np,x,y,a\r\nq,x,y\r\np,x,z,b\r\n"
    row = json.dumps(first.get(format)).encode()
    content = (
        table if format == "csv" else b"{not yet\n\n" + row + b"\n" + row[:9] + b"\n" + row.replace(b'"a"', b'"c"')
    )
    content = gzip.compress(content) if packed else content
    (tmp_path / "file").write_bytes(content)
    expected = [
        item.reason if isinstance(item, BrokenRow) else item.feedback.id for item in read_rows(tmp_path / "file")
    ]
    for how in ({}, {"format": format}):
        items = piped(tmp_path / "pipe", content, **how)
        assert [item.reason if isinstance(item, BrokenRow) else item.feedback.id for item in items] == expected
    assert sum(isinstance(item, Row) for item in items) == 2


def test_an_empty_pipe_is_an_error_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it is empty"):
        piped(tmp_path / "pipe", b"")


@pytest.mark.parametrize("name", ["", " ", "x" * 201, "a\nb", "\udcff"])
def test_a_name_that_no_rater_can_have_is_refused_before_the_first_row(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"^rater '"):
        read_rows(lines(tmp_path / "x", {"prompt": "p", "completion": "a"}), rater=name)


def test_ids_that_no_database_would_hold_are_broken_rows(tmp_path: Path) -> None:
    row = {"kind": "thumb", "prompt": "p", "completions": ["a"], "up": True}
    path = lines(tmp_path / "x", {**row, "completion_ids": ["c" * 18]}, {**row, "supersedes": "f" * 300}, row)
    broken, other, good = read_rows(path)
    assert isinstance(good, Row)
    assert isinstance(broken, BrokenRow)
    assert "completion_ids.0: string should have at most 17" in broken.reason
    assert isinstance(other, BrokenRow)
    assert "supersedes" in other.reason


def test_what_a_table_has_no_place_for_is_counted(tmp_path: Path) -> None:
    base = {"kind": "ranking", "rater": "r", "prompt": "p"}
    path = lines(
        tmp_path / "x",
        {**base, "completions": list("abcdefghi"), "groups": [[0], [1]]},
        {**base, "completions": ["a", ""], "groups": [[0], [1]]},
        {**base, "completions": ["a", "b"], "groups": [[0], [1]]},
    )
    report = write_rows((row for row in read_rows(path) if isinstance(row, Row)), tmp_path / "y.csv", "csv")
    assert report.written == 1
    assert report.left_out == {
        "CSV has no place for more than 8 completions": 1,
        "an empty completion is a missing one to CSV": 1,
    }


def test_a_row_too_long_to_be_read_again_is_counted_not_written(tmp_path: Path) -> None:
    path = lines(tmp_path / "x", {"prompt": "p", "completion": "short"})
    (row,) = read_rows(path)
    assert isinstance(row, Row)
    long = Row(row.prompt, (), row.feedback.model_copy(update={"text": "é" * (MAX_ROW_BYTES // 2)}))
    report = write_rows([row, long], tmp_path / "y", "heed")
    assert (report.written, report.left_out) == (1, {f"longer than {MAX_ROW_BYTES} bytes": 1})
    assert [type(item) for item in read_rows(tmp_path / "y")] == [Row]


def test_texts_of_another_item_are_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    path = lines(tmp_path / "x", {"prompt": "p", "completion": "a", "label": True})
    before = path.read_bytes()
    (row,) = read_rows(path)
    assert isinstance(row, Row)
    with pytest.raises(DataError, match="not the ones that it is about"):
        write_rows([row, Row("another", row.completions, row.feedback)], path, "heed")
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x"]


def test_hh_harmless_imports_whole_or_says_why(tmp_path: Path) -> None:
    data = Path(os.environ.get("HEED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    pairs = data / "hh_harmless" / "pairs.jsonl.gz"
    if not pairs.exists():
        pytest.skip(f"{pairs} is not there; set HEED_DATA to the folder of data sets")
    items = list(read_rows(pairs, "auto", "crowd"))
    good = [item for item in items if isinstance(item, Row)]
    reasons = Counter(item.reason for item in items if isinstance(item, BrokenRow))
    assert detect_format(pairs) == "hh"
    assert len(items) == 1650
    assert reasons == {
        "the last reply of chosen is empty": 4,
        "the transcripts differ before the last reply, so they answer different prompts": 4,
    }
    assert len({row.feedback.id for row in good}) == 1642
    write_rows(good, tmp_path / "again.jsonl", "hh")
    # Not splitlines: it would take other separators within the texts for the end of a line.
    originals = [json.loads(line) for line in gzip.decompress(pairs.read_bytes()).split(b"\n") if line]
    again = [json.loads(line) for line in (tmp_path / "again.jsonl").read_bytes().split(b"\n") if line]
    assert again == [originals[row.line - 1] for row in good]


def test_a_conversation_answered_by_a_plain_text_is_a_demonstration(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"prompt": [{"role": "user", "content": "Hello"}], "completion": "Hi!"}) + "\n")
    (row,) = read_rows(file)
    assert isinstance(row, Row)
    assert isinstance(row.feedback, Demonstration)
    assert (row.feedback.text, row.prompt[0].content) == ("Hi!", "Hello")  # type: ignore[union-attr]


def test_a_pipe_or_a_device_is_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match="no ordinary file"):
        write_rows([], pipe, "heed")
    assert pipe.is_fifo()


def test_a_conversation_of_trl_shows_how_its_last_message_answers(tmp_path: Path) -> None:
    asked = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi?"}]
    path = tmp_path / "talks.jsonl"
    path.write_text(json.dumps({"messages": [*asked, {"role": "assistant", "content": "Hello!"}]}) + "\n")
    assert detect_format(path) == "trl"
    (row,) = read_rows(path)
    assert isinstance(row, Row)
    assert row.prompt == tuple(Message(**message) for message in asked)
    assert (row.completions, row.feedback.kind, row.feedback.model_dump()["text"]) == ((), "demonstration", "Hello!")


def test_a_table_may_have_the_columns_of_trl(tmp_path: Path) -> None:
    def read(header: str, *lines: str) -> list[Row]:
        path = tmp_path / "table.csv"
        path.write_text("\r\n".join([header, *lines]) + "\r\n", encoding="utf-8")
        rows = list(read_rows(path))
        assert all(isinstance(row, Row) for row in rows), rows
        return rows  # type: ignore[return-value]

    (pair,) = read("prompt,chosen,rejected,id", "p,good,bad,7")
    assert (pair.completions, pair.feedback.model_dump()["choice"], pair.ignored) == (("good", "bad"), "a", ("id",))
    shown, other = read("prompt,completion", "p,one", "q,two")
    assert [row.feedback.model_dump()["text"] for row in (shown, other)] == ["one", "two"]
    up, down = read("prompt,completion,label", "p,one,True", "p,two,false")
    assert [(row.completions, row.feedback.model_dump()["up"]) for row in (up, down)] == [
        (("one",), True),
        (("two",), False),
    ]
    path = tmp_path / "half.csv"
    path.write_text("prompt,chosen,rejected\np,good,\n")
    (broken,) = read_rows(path, "csv")
    assert isinstance(broken, BrokenRow)
    assert broken.reason == "'rejected' is empty"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_csv_has_no_cell_that_a_spreadsheet_runs(tmp_path: Path, start: str) -> None:
    text = f'{start}HYPERLINK("http://evil.example","x")'
    prompt = prompt_id(text)
    answer = Demonstration(rater="r", prompt_id=prompt, text=f"'{text}", created=UNKNOWN_TIME, source=text)
    write_rows([Row(text, (), answer)], tmp_path / "x.csv", "csv")
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(start)]
    (again,) = read_rows(tmp_path / "x.csv", "csv")
    assert isinstance(again, Row)
    assert texts_of(again) == (text, (), answer)


def test_a_cell_that_somebody_else_wrote_with_an_apostrophe_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("prompt,completion\n'tis so?,'Tis.\n", encoding="utf-8")
    (row,) = read_rows(tmp_path / "x.csv", "csv")
    assert isinstance(row, Row)
    assert (row.prompt, row.feedback.text) == ("'tis so?", "'Tis.")


@pytest.mark.parametrize(
    "cell", [" =1+1", "  @SUM(A1)", "\u00a0+1", "\u3000-1", "\n =1", "' =1", " a", "''  =x", "' a"]
)
def test_no_cell_is_a_formula_behind_blanks_either_and_all_are_read_as_they_were(cell: str) -> None:
    written = table.harmless(cell)
    assert written.lstrip()[:1] not in "=+-@"
    assert table.as_written(written) == cell
