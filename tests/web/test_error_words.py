"""What errors say in the languages of the interface: every sentence of the source is there, and none that nobody says."""

from __future__ import annotations

import re
from typing import Any

import pytest
from error_texts import SPELLED_OUT, says_something, spoken, written
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from site_of_tests import Site

from heed.errors import DataError, HeedError
from heed.feedback.forms import default_form, parse_form
from heed.people.accounts import set_preferences
from heed.web.error_words import catalogue_of_errors, in_language, line_in_language, tell
from heed.web.errors import of_validation
from heed.web.exchange.address import check_url
from heed.web.language import DEFAULT_LANGUAGE, LANGUAGES

OTHERS = sorted(set(LANGUAGES) - {DEFAULT_LANGUAGE})
COMPOSED = {
    "language {1}",
    "theme {1}",
    "Give a public one like https://example.org/heed; for a host of your own network let whoever runs the server "
    "add '{1}' to serve.webhook_hosts in heed.yaml.",
}
"""Sentences that the source puts together from parts, each raised by a test below."""

VALUE = re.compile(r"\{\d\}")
FROM_OUTSIDE = re.compile(
    r"^(input|string|list|tuple) should |^field required$|^JSON decode error$"  # pydantic
    r"|^Expecting |^Unterminated string starting$|^Invalid (control character|\\\w+( escape)?)$|^Extra data$"  # json
    r"|^unexpected end of data$|^',' expected after '\"'$|^new-line character seen in unquoted field "  # csv
)


@pytest.mark.parametrize("language", OTHERS)
def test_everything_that_an_error_says_is_known_in_every_language(language: str) -> None:
    known = catalogue_of_errors(language)
    missing = {text: sorted(files) for text, files in spoken().items() if says_something(text) and text not in known}
    assert not missing, f"put these into src/heed/web/texts/errors/{language}.json"


@pytest.mark.parametrize("language", OTHERS)
def test_nothing_is_kept_that_no_error_says_any_more(language: str) -> None:
    said = written() | COMPOSED
    left_over = [text for text in catalogue_of_errors(language) if text not in said and not FROM_OUTSIDE.search(text)]
    assert not left_over


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_has_the_values_of_the_english_one(language: str) -> None:
    wrong = {
        english: elsewhere
        for english, elsewhere in catalogue_of_errors(language).items()
        if set(VALUE.findall(english)) != set(VALUE.findall(elsewhere))
    }
    assert not wrong


def test_the_source_is_read_as_it_is_written() -> None:
    said = spoken()
    assert said["version {1} has been saved meanwhile."] == {"people/guidelines.py"}
    assert {"they do not fit.", "you have skipped it.", "it has fewer than {1} characters", "{1} is empty"} <= set(said)
    assert {one for ways in SPELLED_OUT.values() for one in ways} <= set(said)


@pytest.mark.parametrize(
    ("what", "why", "fix", "told"),
    [
        (
            "this question",
            "it is closed, or there is none.",
            "Choose one from the list.",
            "这个问题：它已关闭，或者不存在。请从列表中选择。",
        ),
        (
            "the answer to 'better'",
            "nothing was answered.",
            "Answer it; it is required.",
            "对“better”的回答：没有回答。此项必填，请回答。",
        ),
        (
            "the answer to 'score'",
            "completion 2: helpful: it takes a number, not 'x: y'.",
            "Correct the answer.",
            "对“score”的回答：回复 2：helpful：它需要数字，而不是 'x: y'。请更正回答。",
        ),
        ("'name'", "string should have at least 1 character.", "Correct it.", "'name'：至少应有 1 个字符。请更正。"),
        ("the name '李 {1}'", "it is taken.", "Choose another name.", "用户名 '李 {1}'：它已被使用。请换一个名称。"),
    ],
)
def test_an_error_is_told_in_chinese_with_its_values(what: str, why: str, fix: str, told: str) -> None:
    said = tell(DataError(what, why, fix), "zh")
    assert (said.line, said.language) == (told, "zh")
    assert tell(DataError(what, why, fix), "en").line == f"{what}: {why} {fix}"


def test_what_is_not_known_is_told_whole_in_english() -> None:
    said = tell(HeedError("this question", "the moon is full.", "Choose one from the list."), "zh")
    assert said.line == "this question: the moon is full. Choose one from the list."
    assert said.language == "en"


def test_a_long_or_tangled_text_is_told_as_it_is() -> None:
    for text in ("the answer to '" * 100_000, "': ': " * 400, ": " * 1_000, "it is " + "." * 1_990):
        assert in_language(text, "zh") is None


def test_a_line_that_was_stored_is_told_in_the_language_of_whoever_reads_it() -> None:
    line = "x.y. csv holds no items: it is empty. Give JSON lines or CSV."
    assert line_in_language(line, "zh") == "x.y. csv 中没有条目：它是空的。请提供 JSON Lines 或 CSV。"
    assert line_in_language(line, "en") == line
    assert line_in_language("not usable JSON: nested too deeply", "zh") == "JSON 无法使用：嵌套过深"
    assert line_in_language("no such sentence. At all.", "zh") == "no such sentence. At all."


class _Given(BaseModel):
    name: str = Field(min_length=2, max_length=3, pattern="^[a-z]+$")
    share: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    count: int = Field(1, gt=0, lt=5)
    rows: list[str] = Field([""], min_length=1, max_length=2)
    pair: tuple[str, ...] = Field(("",), min_length=1, max_length=2)
    sure: bool = False
    more: dict[str, str] = {}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"name": 1},
        {"name": "a"},
        {"name": "abcd"},
        {"name": "AB"},
        {"name": "ab", "share": 2},
        {"name": "ab", "share": -1},
        {"name": "ab", "share": "x"},
        {"name": "ab", "share": None},
        {"name": "ab", "share": float("nan")},
        {"name": "ab", "count": 0},
        {"name": "ab", "count": 7},
        {"name": "ab", "count": 1.5},
        {"name": "ab", "count": "x"},
        {"name": "ab", "count": None},
        {"name": "ab", "rows": []},
        {"name": "ab", "rows": ["", "", ""]},
        {"name": "ab", "rows": 1},
        {"name": "ab", "pair": []},
        {"name": "ab", "pair": ["", "", ""]},
        {"name": "ab", "pair": 1},
        {"name": "ab", "sure": "perhaps"},
        {"name": "ab", "sure": []},
        {"name": "ab", "more": 1},
    ],
    ids=str,
)
def test_what_pydantic_says_is_known(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        _Given.model_validate(given)
    error = of_validation(RequestValidationError(caught.value.errors()))
    assert tell(error, "zh").language == "zh", str(error)


@pytest.mark.parametrize(
    "change", [{"title": ""}, {"fields": []}, {"overlap": 99}, {"x": 1}, {"gold_rate": "x"}], ids=str
)
def test_what_is_wrong_in_a_question_is_known(change: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        parse_form(default_form().model_dump(mode="json") | change)
    assert tell(caught.value, "zh").language == "zh", str(caught.value)


def test_sentences_put_together_from_parts_are_known(site: Site) -> None:
    errors = []
    with pytest.raises(DataError) as caught:
        check_url("https://127.0.0.1/heed")
    errors.append(caught.value)
    ann = site.account("ann").id
    for change in ({"language": "xx"}, {"theme": "xx"}):
        with pytest.raises(DataError) as caught:
            site.write(lambda connection, change=change: set_preferences(connection, ann, **change))
        errors.append(caught.value)
    assert [tell(error, "zh").language for error in errors] == ["zh"] * 3
