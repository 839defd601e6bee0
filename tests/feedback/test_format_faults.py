"""Damaged files: every fault is reported with its line and reason, the good rows around it go in, memory stays small."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heed.errors import DataError
from heed.feedback.formats import MAX_ROW_BYTES, BrokenRow, Row, detect_format, read_rows, write_rows
from heed.feedback.formats.lines import load_object, read_lines
from heed.feedback.formats.rows import RowError
from heed.feedback.item_files import read_items

VOTE: dict[str, Any] = {"kind": "comparison", "rater": "r", "prompt": "p", "completions": ["x", "y"], "choice": "a"}
RATING: dict[str, Any] = {
    "kind": "rating",
    "prompt": "p",
    "completions": ["x"],
    "scores": {"polite": 3},
    "scales": {"polite": {"low": 1, "high": 5, "step": 1}},
}
GOOD_LINE = json.dumps(VOTE).encode()


def dumps(values: Any) -> bytes:
    return json.dumps(values).encode()


def outcome(path: Path, format: Any = "auto") -> tuple[list[int], dict[int, str]]:
    """Lines of the good rows, and reasons of the broken ones by line."""
    items = list(read_rows(path, format, "ann"))
    broken = {item.line: item.reason for item in items if isinstance(item, BrokenRow)}
    assert [item.line for item in items] == sorted(item.line for item in items)
    return [item.line for item in items if isinstance(item, Row)], broken


HEED_FAULTS = [
    (GOOD_LINE[:-9], "not JSON: "),
    (GOOD_LINE.replace(b'"x"', b'"\xff\xfe"'), "not UTF-8: byte 0xff at position"),
    (GOOD_LINE.replace(b'"x"', rb'"\ud83d"'), "completion 1: character 0 is a lone surrogate"),
    (GOOD_LINE.replace(b'"x"', rb'"\u0000"'), "NUL"),
    (b"[" * 100_000, "nested too deeply"),
    (b"[1, 2]", "a JSON list, not an object"),
    (b"null", "not an object"),
    (dumps({**VOTE, "seconds": float("nan")}), "NaN is not a number"),
    (GOOD_LINE[:-1] + b', "seconds": 1e999}', "seconds"),
    (GOOD_LINE[:-1] + b', "seconds": 1' + b"0" * 5000 + b"}", "not usable JSON"),
    (GOOD_LINE[:-1] + b', "choice": "b"}', "'choice' is given twice"),
    (dumps({**VOTE, "choice": 1}), "choice"),
    (dumps({**VOTE, "completions": ["x"]}), "at least 2"),
    (dumps({**VOTE, "completions": ["x", "x"]}), "the same text"),
    (dumps({**VOTE, "completions": [["x"], "y"]}), "completion 1 is a list, not text"),
    (dumps({**VOTE, "completions": "xy"}), "completions is not a list"),
    (dumps({**VOTE, "completion_ids": ["c1"]}), "at least 2"),
    (dumps({**VOTE, "completions": ["x", "y", "z"], "completion_ids": ["c1", "c2"]}), "2 completion ids for 3"),
    (dumps({**VOTE, "prompt": " "}), "prompt is empty"),
    (dumps({**VOTE, "prompt": []}), "prompt has no messages"),
    (dumps({**VOTE, "prompt": {"role": "user"}}), "prompt is an object"),
    (dumps({**VOTE, "prompt": [{"role": "user", "content": [{"type": "image"}]}]}), "multimodal"),
    (dumps({**VOTE, "prompt": [{"role": "tool", "content": "x"}]}), "prompt, message 1: role"),
    (dumps({**VOTE, "prompt": [{"role": "user", "content": "x", "name": "y"}]}), "unknown field 'name'"),
    (dumps({**VOTE, "prompt": ["x"]}), "prompt, message 1 is text"),
    (dumps({name: VOTE[name] for name in VOTE if name != "prompt"}), "'prompt' is missing"),
    (dumps({name: VOTE[name] for name in VOTE if name != "choice"}), "'choice' is missing"),
    (dumps({name: VOTE[name] for name in VOTE if name != "kind"}), "'kind' is missing"),
    (dumps({**VOTE, "prompt_id": "p1"}), "'prompt_id' follows"),
    (
        dumps({**VOTE, "id": "f0123456789abcdef"}),
        "id 'f0123456789abcdef' does not fit: by its content this judgment is f",
    ),
    (dumps({**VOTE, "id": 7}), "id is a number, not text"),
    (dumps({**VOTE, "rater": None}), "rater"),
    (dumps({**RATING, "scores": {"polite": 9}}), "polite 9 is off its scale 1 to 5"),
    (dumps({**VOTE, "kind": "edit", "completions": ["x"], "edited": "x"}), "unknown field 'choice'"),
    (dumps({"kind": "edit", "prompt": "p", "completions": ["x"], "edited": "x"}), "unchanged"),
    (
        dumps(
            {"kind": "critique", "prompt": "p", "completions": ["xy"], "spans": [{"start": 0, "end": 3, "label": "l"}]}
        ),
        "a span ends at 3, but the completion has 2 characters",
    ),
    (b'{"prompt": "' + b"x" * MAX_ROW_BYTES, f"longer than {MAX_ROW_BYTES} bytes"),
]


def test_every_fault_of_a_line_is_reported_and_the_rows_around_it_go_in(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"".join(fault + b"\n" + GOOD_LINE + b"\r\n" for fault, _ in HEED_FAULTS))
    good, broken = outcome(path)
    assert good == list(range(2, 2 * len(HEED_FAULTS) + 1, 2))
    assert len(broken) == len(HEED_FAULTS)
    for number, (_, reason) in enumerate(HEED_FAULTS):
        assert reason in broken[2 * number + 1]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"prompt": "p"}, "prompts, not feedback"),
        ({"text": "t"}, "language modelling"),
        ({"messages": [{"role": "user", "content": "x"}]}, "must end with an assistant's"),
        ({"prompt": "p", "completions": ["a"], "labels": [True]}, "stepwise supervision"),
        ({"prompt": "p", "chosen": "a"}, "'rejected' is missing"),
        ({"prompt": "p", "chosen": "a", "rejected": None}, "'rejected' is missing"),
        ({"prompt": "p", "chosen": "a", "rejected": "a"}, "the same text"),
        ({"prompt": "p", "chosen": "a", "rejected": ""}, "rejected is empty"),
        ({"prompt": "p", "chosen": "a", "rejected": 5}, "rejected is a number"),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "completion": "c"}, "which is meant?"),
        ({"chosen": "up it goes", "rejected": "down"}, "share no beginning"),
        ({"chosen": "same", "rejected": "same"}, "are the same"),
        ({"prompt": "p", "completion": "c", "label": "yes"}, "label is 'yes'"),
        ({"prompt": "p", "completion": "c", "label": 1}, "label is 1"),
        (
            {"prompt": [{"role": "user", "content": "x"}], "completion": [{"role": "user", "content": "x"}]},
            "one assistant message after the prompt; it is: user",
        ),
        (
            {"prompt": "p", "chosen": "a", "rejected": [{"role": "assistant", "content": "x"}]},
            "rejected is a list, not text",
        ),
        (
            {"prompt": [{"role": "user", "content": "x"}], "completion": [{"role": "assistant", "tool_calls": [1]}]},
            "completion, message 1",
        ),
        ({"question": "q"}, "no type of TRL has the columns ['question']"),
    ],
)
def test_what_trl_rows_cannot_be_feedback_and_why(tmp_path: Path, values: Any, reason: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(dumps({"prompt": "p", "completion": "c"}) + b"\n" + dumps(values) + b"\n")
    good, broken = outcome(path, "trl")
    assert good == [1]
    assert reason in broken[2]


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        ("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: z\n\nAssistant: c", "different prompts"),
        ("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: a\n\nAssistant: ", "last reply of rejected is empty"),
        ("\n\nHuman: a\n\nHuman: b", "\n\nHuman: a\n\nAssistant: c", "chosen ends with the human's turn"),
        ("\n\nAssistant: b", "\n\nAssistant: c", "no prompt"),
        ("Human: a\n\nAssistant: b", "\n\nHuman: a\n\nAssistant: c", "does not begin with"),
        ("\n\nHuman: a\n\nAssistant: b", 4, "rejected is a number"),
        ("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: a\n\nAssistant: b", "the same text"),
    ],
)
def test_what_hh_pairs_are_reported_and_why(tmp_path: Path, chosen: Any, rejected: Any, reason: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(dumps({"chosen": chosen, "rejected": rejected}))
    assert reason in outcome(path, "hh")[1][1]


def table(path: Path, *records: bytes) -> Path:
    path.write_bytes(b"prompt,a,b,choice,strength,up,kind\r\n" + b"\r\n".join(records))
    return path


GOOD_RECORD = b"p,x,y,a,,,"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"p,x,y,a,,", "6 cells under 7 columns"),
        (b"p,x,y,a,,,,", "8 cells under 7 columns"),
        (b'p,"x,y,a,,,', "not CSV"),
        (b'p,5" of snow,y,a,,,', "not CSV"),
        (b'p,"x"y,y,a,,,', "not CSV"),
        (b"p,\xff\xfe,y,a,,,", "a is not UTF-8"),
        (b"p,x,y,c,,,", "choice"),
        (b"p,x,y,a,2.5,,", "strength"),
        (b"p,x,y,a,nan,,", "strength is 'nan', not a number"),
        (b"p,x,y,a,1_0,,", "not a number"),
        (b"p,x,,,,1,thumb", "up is '1', not true or false"),
        (b"p,,y,a,,,", "completion a is empty, but b is given"),
        (b",x,y,a,,,", "prompt is empty"),
        (b"p,x,y,a,,,clap", "kind is 'clap'"),
        (b"p," + b"x" * MAX_ROW_BYTES + b",y,a,,,", "longer than"),
        (
            b"p,x,y,a,,,\rp,x,y,a,,,",
            "a carriage return stands in a cell that is not quoted; end every line with a line feed",
        ),
    ],
)
def test_a_broken_record_costs_no_other(tmp_path: Path, record: bytes, reason: str) -> None:
    quoted = b'"p","multi\r\nline ""x""","y",b,,,'
    path = table(tmp_path / "x.csv", GOOD_RECORD, record, GOOD_RECORD, quoted, record, GOOD_RECORD)
    good, broken = outcome(path, "csv")
    assert good == [2, 4, 5, 8]
    assert set(broken) == {3, 7}
    assert all(reason in broken[line] for line in broken)


def test_a_mark_that_nothing_closes_costs_one_line(tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv", GOOD_RECORD, b'p,"x,y,a,,,', *[GOOD_RECORD] * 50)
    good, broken = outcome(path)
    assert good == [2, *range(4, 54)]
    assert broken == {3: "not CSV: a quotation mark opens a cell that nothing closes"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80), st.sampled_from(["heed", "trl", "hh", "csv"]), st.integers(0, 200))
def test_no_bytes_whatever_break_the_reading(tmp_path: Path, junk: bytes, format: Any, at: int) -> None:
    """Bytes put anywhere into a good file: every item is a row or a reason, and the first row, before them, is good."""
    path = tmp_path / "x"
    start = table(path, GOOD_RECORD).read_bytes() + b"\r\n" if format == "csv" else GOOD_LINE + b"\n"
    rest = GOOD_RECORD * 3 if format == "csv" else GOOD_LINE
    path.write_bytes(start + rest[:at] + junk + rest[at:])
    items = list(read_rows(path, format))
    assert all(isinstance(item, Row) or item.reason for item in items)
    if format in ("heed", "csv"):
        assert isinstance(items[0], Row)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"\n\n", "it is empty"),
        (b"\xff\xfe{\x00", "not UTF-8"),
        (b'[{"prompt": "p"}]', "one JSON list.*jq -c"),
        (b'[\n{"prompt": "p"},\n{"prompt": "q"},\n]', "one JSON list.*jq -c"),
        (b"question;good;bad\nq;a;b\n", "columns are 'question', 'good', 'bad'. Name them prompt, chosen and rejected"),
        (b'{"question": "q", "answer": "a"}', r"\['answer', 'question'\]"),
        (b"name,age\r\nann,7", "has no column 'prompt'.*'name', 'age'"),
        (b"just words\n", "not JSON"),
        (b'{"prompt": "p"}', "prompts, not feedback"),
        (b'{"text": "t"}', "language modelling"),
        (b'{"prompt": "p", "kind": "thumb", "completion": "c", "label": true}', "could be heed or trl"),
        (b'{"chosen": "\\n\\nHuman: a", "rejected": "b"}', "could be hh or trl"),
    ],
)
def test_a_file_of_no_or_two_formats_is_an_error_that_says_what_was_seen(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_rows(tmp_path / "x")


def test_the_first_good_row_decides_not_the_first(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b'{"prom\n{"note": "no feedback"}\n' + GOOD_LINE)
    assert detect_format(tmp_path / "x") == "heed"
    good, broken = outcome(tmp_path / "x")
    assert (good, set(broken)) == ([3], {1, 2})


@pytest.mark.parametrize(
    ("header", "message"),
    [(b"a,b,choice\r\n", "neither a column 'prompt'"), (b"prompt,a,a\r\n", "'a' is there twice"), (b"", "no header")],
)
def test_a_table_without_usable_header_is_an_error(tmp_path: Path, header: bytes, message: str) -> None:
    (tmp_path / "x.csv").write_bytes(header)
    with pytest.raises(DataError, match=message):
        read_rows(tmp_path / "x.csv", "csv")


@pytest.mark.parametrize("read", [read_rows, read_items])
@pytest.mark.parametrize("format", ["auto", "csv"])
def test_a_header_of_very_many_columns_is_refused(tmp_path: Path, read: Any, format: Any) -> None:
    few, many = tmp_path / "few.csv", tmp_path / "many.csv"
    few.write_bytes(b"prompt," + b",".join(b"c%d" % k for k in range(999)) + b"\n")
    assert list(read(few, format)) == []
    many.write_bytes(b"prompt" + b",c" * 400_000 + b"\n")  # to compare each with each would take many minutes
    with pytest.raises(DataError, match="400,001 columns, and 1,000 is the most"):
        read(many, format)


@pytest.mark.parametrize("read", [read_rows, read_items])
def test_what_is_wrong_with_a_header_is_told_where_the_format_is_told_by_it(tmp_path: Path, read: Any) -> None:
    (tmp_path / "x.csv").write_bytes(b"prompt,a,b,a,b\r\n")
    with pytest.raises(DataError, match="column 'a' is there twice"):
        read(tmp_path / "x.csv")


def test_the_field_given_twice_is_found_among_very_many() -> None:
    # To compare each with each would take many minutes.
    row = "{" + ", ".join(f'"k{k}": 1' for k in range(300_000)) + ', "k299998": 1, "k299999": 1}'
    with pytest.raises(RowError, match="'k299998' is given twice"):
        load_object(row.encode())


@pytest.mark.parametrize("read", [read_rows, read_items])
@pytest.mark.parametrize("format", ["auto", "csv"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("prompt,a\r\nx,y\r\n".encode("utf-16"), "it is UTF-16"),
        ('{"prompt": "x"}\n'.encode("utf-16-be"), "bytes that are zero"),
        (bytes(100), "bytes that are zero"),
        (bytes(3 * MAX_ROW_BYTES), "bytes that are zero"),
        ("prompt,caf\u00e9\r\nx,y\r\n".encode("latin-1"), "none of UTF-8"),
    ],
    ids=["utf-16", "utf-16 without its mark", "zeros", "many zeros", "latin-1"],
)
def test_a_file_that_is_not_utf_8_text_is_said_to_be_none(
    tmp_path: Path, read: Any, format: Any, content: bytes, why: str
) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(DataError, match=why) as caught:
        read(tmp_path / "x.csv", format)
    assert caught.value.what == "x.csv is not UTF-8 text"
    assert "UTF-8" in caught.value.fix


def test_a_picture_is_no_table_of_items(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    with pytest.raises(DataError, match="none of UTF-8"):
        read_items(tmp_path / "x.png")


def test_a_number_that_is_too_long_is_told_in_words_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"prompt": "p", "priority": ' + "1" * 6000 + "}\n")
    (row,) = read_items(tmp_path / "x.jsonl")
    assert isinstance(row, BrokenRow)
    assert row.reason == "not usable JSON: a number in it is too long"


ROW_OF_JSON = b'{"kind": "x"}\n'


@pytest.mark.parametrize(
    ("more", "error"),
    [
        (b"\n" * (2 << 20), "line 262146 of x.gz: more than 262,144 bytes of blank lines"),
        (b" " * 300_000, "line 2 of x.gz: more than 262,144 bytes of blank lines"),
        (b"x" * (257 << 20), "line 2 of x.gz: it goes on for more than 268,435,456 bytes"),
    ],
    ids=["line ends", "spaces", "one line"],
)
def test_a_small_file_that_unpacks_to_nothing_but_more_of_it_ends_in_an_error(
    tmp_path: Path, more: bytes, error: str
) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(ROW_OF_JSON + more, 1))
    lines = read_lines(tmp_path / "x.gz")
    assert next(lines).data == ROW_OF_JSON
    with pytest.raises(DataError, match=error):
        list(lines)


@pytest.mark.parametrize(
    "packed", [gzip.compress(b"") * 250_000, b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (5 << 20)], ids=["members", "name"]
)
def test_a_gzip_file_that_is_large_and_holds_nothing_is_damaged(tmp_path: Path, packed: bytes) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(ROW_OF_JSON) + packed + gzip.compress(ROW_OF_JSON))
    first, second = read_lines(tmp_path / "x.gz")
    assert first.data == ROW_OF_JSON
    assert "damaged" in (second.fault or "")


@pytest.mark.parametrize("format", ["auto", "heed", "csv"])
def test_what_cannot_be_opened_is_an_error_at_once(tmp_path: Path, format: Any) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(DataError, match="cannot read"):
            read_rows(path, format)
    with pytest.raises(DataError, match="rater"):
        read_rows(tmp_path / "missing", format, " ")


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_gzip_file_gives_what_it_still_holds(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "x.gz"
    content = b"".join(dumps({**VOTE, "prompt": f"{k * 7919 % 10007}"}) + b"\n" for k in range(20_000))
    packed = bytearray(gzip.compress(content))
    if damage == "cut":
        del packed[-len(packed) // 3 :]
    else:
        packed[-6] ^= 0xFF  # the check sum
    path.write_bytes(packed)
    good, broken = outcome(path)
    assert len(good) > 5_000
    assert len(broken) == 1
    assert "damaged or cut off" in next(iter(broken.values()))
    assert min(broken) == max(good) + 1


@pytest.mark.parametrize("format", ["heed", "csv"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, format: Any) -> None:
    """64 MiB without a line end, then a good row: a reader that holds a line whole would need all of them."""
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.write(b"prompt,a,b,choice\r\n" if format == "csv" else b"")
        for _ in range(64):
            file.write(b"x" * (1 << 20))
        file.write(b"\n" + (b"p,x,y,a" if format == "csv" else GOOD_LINE))
    tracemalloc.start()
    items = list(read_rows(path, format))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [type(item) for item in items] == [BrokenRow, Row]
    assert peak < 8 << 20


WRITE_FOR_EVER = """
import itertools, sys
from heed.feedback.formats import read_rows, write_rows
(row,) = list(read_rows(sys.argv[1], "heed"))
print("ready", flush=True)
write_rows(itertools.repeat(row), sys.argv[1], "heed")
"""


def test_a_writer_killed_on_the_way_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(GOOD_LINE)
    with subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while not any(other.stat().st_size > 1 << 16 for other in tmp_path.iterdir() if other != path):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert path.read_bytes() == GOOD_LINE


WRITE_WITHOUT_ROOM = """
import itertools, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from heed.errors import DataError
from heed.feedback.formats import read_rows, write_rows
(row,) = list(read_rows(sys.argv[1], "heed"))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_rows(itertools.repeat(row, 100_000), sys.argv[1], "heed")
except DataError as error:
    print(error)
"""


def test_a_place_without_room_is_an_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(GOOD_LINE)
    command = [sys.executable, "-c", WRITE_WITHOUT_ROOM, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert [other.name for other in tmp_path.iterdir()] == ["x.jsonl"]
    assert path.read_bytes() == GOOD_LINE


def test_a_folder_that_is_not_there_and_a_format_that_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        write_rows([], tmp_path / "missing" / "x", "heed")
    unknown: Any = "parquet"
    with pytest.raises(DataError, match="heed, trl, hh, csv"):
        write_rows([], tmp_path / "x", unknown)
    with pytest.raises(DataError, match="heed, trl, hh, csv"):
        read_rows(tmp_path / "x", unknown)
