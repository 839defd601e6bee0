"""Errors put together as the program puts them together are told as both of their sentences are, values as they were."""

from __future__ import annotations

import csv
import random
import re

import pytest
from error_texts import parts, says_something, spoken
from hypothesis import given
from hypothesis import strategies as st

from heed.feedback.formats.lines import load_object
from heed.feedback.formats.rows import RowError, read_messages, read_text
from heed.web.error_words import catalogue_of_errors, in_language, line_in_language

CHINESE = catalogue_of_errors("zh")
TEXTS = ["a", "it is empty.", "doc: 5", "o'brien", "the note: it is taken.", "7", "{1}", "李: 王"]
"""Values such as people choose them, some of which look like sentences."""
BARE = ["3", "1,000", "word", *map(repr, TEXTS)]
FILES = ["x.csv", "my: x.csv", "it is empty"]
OF_FILES = {"{1} has no header", "{1} has no usable header", "{1} holds no feedback", "{1} holds no items"}
WORDS = {"an object": "对象", "a list": "列表", "a number": "数字", "null": "null"}
KINDS = {word: CHINESE[word] for word in ("comparison", "thumb", "demonstration", "standard", "conversational")}
OF_KINDS = "a {1} {2} does not fit a TRL file of {3} {4}s"
OF_WORDS = {
    "{1} is {2}, not text": "2",
    "{1} is {2}, not a list of messages": "2",
    "{1} is {2}, not an object with role and content": "2",
    "HH-RLHF has no place for a {1}": "1",
    "TRL has no place for a {1}": "1",
    "{1} has no place for a comparison without winner ('{2}')": "2",
    "completion {1}: {2}": "2",
    "not CSV: {1}": "1",
    "not JSON: {1} at character {2}": "1",
}
FIX = "Look it up in the list of people."


def with_values(english: str, choose: random.Random) -> tuple[str, str]:
    """A sentence with values of the kinds that the program puts there, in English and in Chinese."""
    values = {}
    for quote, number in re.findall(r"('?)\{(\d)\}", english):
        given = choose.choice(TEXTS) if quote else choose.choice(BARE)
        if not quote and english.replace(f"{{{number}}}", f"'{{{number}}}'") in CHINESE:
            given = choose.choice(["3", "word"])  # in quotation marks it is another sentence
        if english == OF_KINDS:
            given = choose.choice(sorted(KINDS))
        elif number in OF_WORDS.get(english, ""):
            given = choose.choice(sorted(WORDS))
        elif english in OF_FILES:
            given = choose.choice(FILES)
        elif english == "{1} has its content in parts (multimodal); heed reads text only":
            given = "chosen"
        elif english == "{1} is {2}, not an object with role and content":
            given = "prompt"
        values[number] = given
    elsewhere = {number: (WORDS | KINDS).get(value, value) for number, value in values.items()}

    def filled(text: str, by: dict[str, str]) -> str:
        return re.sub(r"\{(\d)\}", lambda place: by[place[1]], text)

    return filled(english, values), filled(CHINESE[english], elsewhere)


def test_every_pair_of_sentences_is_told_as_both_are() -> None:
    assert OF_FILES | set(OF_WORDS) <= set(CHINESE)
    choose = random.Random(7)
    whats, whys = ([one for one in some if one in CHINESE] for some in parts())
    assert len(whats) > 90
    assert len(whys) > 100
    for what in whats:
        for why in whys:
            (about, about_zh), (reason, reason_zh) = with_values(what, choose), with_values(why, choose)
            assert in_language(f"{about}: {reason}", "zh") == f"{about_zh}：{reason_zh}"


@given(
    st.sampled_from([one for one in parts()[0] if one in CHINESE]),
    st.sampled_from(sorted(CHINESE)),
    st.integers(0, 1 << 30),
)
def test_a_line_is_told_with_its_stop_and_without_and_with_what_to_do(what: str, why: str, seed: int) -> None:
    (about, about_zh), (reason, reason_zh) = (with_values(one, random.Random(seed)) for one in (what, why))
    line, told = f"{about}: {reason}", f"{about_zh}：{reason_zh}"
    assert line_in_language(line, "zh") == told
    if why.endswith(".") and not why.endswith("..."):
        assert line_in_language(line[:-1], "zh") == told.removesuffix("。")
        assert line_in_language(f"{line} {FIX}", "zh") == told + CHINESE[FIX]
    elif not why.endswith((".", "?")):
        assert line_in_language(f"{line}.", "zh") == f"{told}。"


@given(st.sampled_from([one for one in parts()[0] if one in CHINESE]), st.integers(0, 1 << 30))
def test_an_error_of_which_a_part_is_not_known_is_wholly_english(what: str, seed: int) -> None:
    about, _ = with_values(what, random.Random(seed))
    for reason in (
        "the moon is full",
        "the moon is full, not 'x'",
        "there are 'a' moons: x",
        "the moon: it is empty",
        "not JSON: full moon at character 7",
        "completion 2: the moon is full",
        "prompt is full moon, not text",
    ):
        for line in (f"{about}: {reason}", f"{about}: {reason}.", f"{about}: {reason}. {FIX}"):
            assert line_in_language(line, "zh") == line
    assert line_in_language(f"{about}: it is empty. Shoot the moon.", "zh").endswith("it is empty. Shoot the moon.")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("the answer to 'better': it takes an object, not 'a'", "对“better”的回答：它需要对象，而不是 'a'"),
        ("the answer to 'better': it compares 2 completions, not 1", "对“better”的回答：它比较 2 个回复，而不是 1 个"),
        ("the answer to 'a': 'choice' is missing", "对“a”的回答：缺少“choice”"),
        (
            "external_id 'doc: 5': it belongs to another item of this question",
            "external_id 'doc: 5'：它属于这个问题的另一个条目",
        ),
        (
            "rater 'a: it is empty.': there is none of this name. Look it up in the list of people.",
            "评判者“a: it is empty.”：没有这个名称的人。请在人员列表中查找。",
        ),
        (
            "it is empty holds no items: it is empty. Give JSON lines or CSV.",
            "it is empty 中没有条目：它是空的。请提供 JSON Lines 或 CSV。",
        ),
        (
            "the gzip file is damaged or cut off here; nothing after it can be read",
            "gzip 文件在此处损坏或被截断，之后的内容无法读取",
        ),
        ("not CSV: a quotation mark opens a cell that nothing closes", "不是 CSV：有单元格的引号没有闭合"),
    ],
)
def test_a_value_stays_a_value_and_a_reason_a_reason(line: str, told: str) -> None:
    assert line_in_language(line, "zh") == told


@pytest.mark.parametrize(
    "line",
    [
        *('{"a', "{", '{"a"', '{"a": 1 "b"}', '{"a":"x', '{"a":"\x01"}', '{"a":"\\q"}', '{"a":"\\u12"}', "{} x"),
        *('{"a":NaN}', "[1]", '"x"', '{"a":1,"a":2}', "", f'{{"a":{"1" * 5000}}}', "[" * 100_000),
    ],
    ids=lambda line: str(line)[:20],
)
def test_what_is_wrong_with_a_line_of_json_is_known(line: str) -> None:
    with pytest.raises(RowError) as caught:
        load_object(line.encode())
    assert in_language(str(caught.value), "zh") is not None, str(caught.value)


@pytest.mark.parametrize("record", ['"a"b"c"', '"a', "a\rb"])
def test_what_is_wrong_with_a_record_of_csv_is_known(record: str) -> None:
    with pytest.raises(csv.Error) as caught:
        list(csv.reader([record], strict=True))
    assert in_language(f"not CSV: {caught.value}", "zh") is not None, str(caught.value)


@pytest.mark.parametrize("value", [None, True, 1, 1.5, {}, [1], [None], [{"content": []}], [{}], [], ()], ids=repr)
def test_what_a_row_holds_instead_of_text_or_messages_is_known(value: object) -> None:
    told = []
    for read in (read_text, read_messages):
        with pytest.raises(RowError) as caught:
            read(value, "prompt")
        told.append((str(caught.value), in_language(str(caught.value), "zh")))
    assert [english for english, chinese in told if chinese is None] == []
    assert not re.search(r" a | an |something", " ".join(str(chinese) for _, chinese in told))


def test_reasons_that_wait_before_they_are_told_are_read_from_the_source() -> None:
    said = {text for text in spoken() if says_something(text)}
    assert {
        "the gzip file is damaged or cut off here; nothing after it can be read",
        "not CSV: a quotation mark opens a cell that nothing closes",
        "not CSV: a quotation mark opens a cell that nothing closes within {1} bytes",
        "a quotation mark stands inside a cell that is not quoted",
        "the column '{1}' is there twice",
        "it is prompts, not feedback: nobody judged an answer to them",
        "longer than {1} bytes",
    } <= said
