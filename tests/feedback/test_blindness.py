"""Texts that tell who wrote them, and texts that only look so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.feedback.blindness import NAMES, tells_its_author


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("As ChatGPT, I cannot say.", "ChatGPT"),
        ("I was trained by OpenAI.", "OpenAI"),
        ("llama2 says hello", "llama"),
        ("Ask gpt-4o instead.", "gpt-4"),
        ("(Claude)", "Claude"),
        ("I am Nova, a language model.", "I am Nova, a language model"),
        ("I am Nova language model.", "I am Nova language model"),
        ("I'm an AI assistant and here to help.", "I'm an AI assistant"),
        ("我是通义千问。", "通义千问"),
        ("我是一个大型语言模型", "我是一个大型语言模型"),
        ("Claudette went to the bar.", None),
        ("The falcon is a bird; the koala is not.", None),
        ("A chatbot would say so.", None),
        ("", None),
    ],
)
def test_names_and_introductions_are_found_and_common_words_are_not(text, told):
    assert tells_its_author(text) == told


def test_the_projects_own_model_is_a_name_too():
    assert tells_its_author("Here speaks stories260K.", ["stories260K"]) == "stories260K"
    assert tells_its_author("Here speaks stories260K.") is None
    assert tells_its_author("Here speaks a.b", ["a.b", ""]) == "a.b"
    assert tells_its_author("Here speaks aXb", ["a.b"]) is None


@given(st.sampled_from(NAMES), st.sampled_from(["{}", "so {} said", "({}),", "«{}»", "{}!"]))
def test_every_name_is_found_wherever_it_stands(name, frame):
    assert tells_its_author(frame.format(name.upper())) is not None


@given(st.text(max_size=2000))
def test_any_text_can_be_looked_at(text):
    told = tells_its_author(text)
    assert told is None or told
