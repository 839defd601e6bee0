"""What the browser shows of an error that the server told: in the language of the page, whole, and easy to put away."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import LARGE, SMALL, Served, person
from playwright.sync_api import Browser, expect
from work_screen import COMPARISON, ask, begin


@pytest.mark.slow
@pytest.mark.parametrize("size", [LARGE, SMALL], ids=["large", "small"])
@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "my items.csv holds no items: it is empty. Give JSON lines or CSV."),
        ("zh", "my items.csv 中没有条目：它是空的。请提供 JSON Lines 或 CSV。"),
    ],
)
def test_a_refused_upload_is_told_in_the_language_of_the_page(
    browser: Browser, served: Served, tmp_path: Path, language: str, told: str, size: tuple[int, int]
) -> None:
    ask(served, COMPARISON)
    file = tmp_path / "my items.csv"
    file.touch()
    with person(browser, served, "lea", "lead", language=language, size=size) as lea:
        lea.goto("/board/exchange")
        form = lea.page.locator("form[data-upload=items]")
        form.locator("input[type=file]").set_input_files(file)
        form.locator("button.primary").click()
        toast = lea.page.locator(".toast")
        expect(toast.locator("span")).to_have_text(told)
        lines = """(button) => {
          const words = document.createRange();
          words.selectNodeContents(button);
          return words.getClientRects().length;
        }"""
        assert toast.locator("button").evaluate(lines) == 1


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "the answer to 'colour': the question has no such field. It asks for better."),
        ("zh", "对“colour”的回答：问题没有这个字段。它问的是 better。"),
    ],
)
def test_the_item_screen_hears_errors_in_the_language_of_the_page(
    browser: Browser, served: Served, language: str, told: str
) -> None:
    question = ask(served, COMPARISON)
    with person(browser, served, "ann", language=language) as ann:
        begin(ann)
        said = ann.page.evaluate(
            """async (question) => {
              const source = document.querySelector("script[src$='studio/work.js']").src.replace("work.js", "api.js");
              const { request } = await import(source);
              const { data } = await request("POST", `/api/v1/questions/${question}/showings`, {});
              const path = `/api/v1/showings/${data.showings[0].id}/answer`;
              return request("POST", path, { answer: { colour: 1 } }).then(() => "", (error) => error.message);
            }""",
            question,
        )
        assert said == told
