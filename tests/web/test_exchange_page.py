"""Imports, exports and webhooks in a real browser: uploads show what became of them, and everybody can read the page."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from browser import LARGE, SMALL, Served, assert_accessible, overflow, person, screenshot
from playwright.sync_api import Browser, expect
from site_of_tests import copy_project

from heed.config import ServeSettings
from heed.feedback import asked
from heed.feedback.forms import default_form
from heed.feedback.item_files import ItemRow
from heed.feedback.items import add_items
from heed.project import Project
from heed.web.exchange import jobs, webhooks

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def busy(empty_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server where things went in and out, and one webhook waits."""
    with Project(copy_project(empty_project, tmp_path_factory.mktemp("exchange") / "project")) as project:
        project.settings.serve = ServeSettings(webhooks=True, webhook_hosts=["127.0.0.1:9"])
        made = Served(project)
        made.write(_fill)
        yield made
        made.stop()


def _fill(connection) -> None:
    question = asked.create_question(connection, "Which reply?", default_form(), "lea", NOW)
    add_items(connection, question.id, [ItemRow("p", ("x", "y"))], NOW, random.Random(1))
    webhook, _ = webhooks.create(
        connection, "https://example.org/hook", ["flag.raised", "answer.created"], [], "ada", NOW
    )
    webhooks.set_active(connection, webhook.id, False, "ada", NOW)
    webhooks.send_test(connection, webhook.id, NOW)
    named = [[3, "prompt is empty"], [7, "not JSON: expecting value at character 1 " + "x" * 120]]
    reports = {
        "done": {"added": 1200, "duplicates": 7, "broken": 2, "named": named, "ignored": {"model": 3}},
        "failed": {"added": 0, "duplicates": 0, "broken": 0, "named": [], "ignored": {}},
        "stopped": {"added": 400, "duplicates": 0, "broken": 0, "named": [], "ignored": {}},
    }
    for number, (state, report) in enumerate(reports.items()):
        job = f"j{number}"
        given = {"format": "auto", "question_id": question.id, "name": "support-desk-may.jsonl"}
        jobs.create(connection, job, "import_items", given, "lea", NOW, total=1209)
        values = {
            "state": state,
            "report": report,
            "done": 800,
            "error": "the file: gone." if state == "failed" else "",
        }
        connection.execute(jobs.jobs.update().where(jobs.jobs.c.id == job).values(values))
    jobs.create(connection, "j9", "export_feedback", {"format": "trl"}, "lea", NOW)
    report = {"written": 40, "left_out": {"TRL has no place for a rating": 12}, "dropped_fields": {"rater": 40}}
    connection.execute(jobs.jobs.update().where(jobs.jobs.c.id == "j9").values(state="done", done=40, report=report))


@pytest.mark.parametrize("size", [LARGE, SMALL], ids=["wide", "narrow"])
@pytest.mark.parametrize(("theme", "language"), [("light", "en"), ("dark", "zh")])
def test_the_page_fits_and_is_accessible(browser: Browser, busy: Served, size, theme: str, language: str) -> None:
    with person(browser, busy, "ada", "admin", size=size, theme=theme, language=language) as ada:
        ada.goto("/board/exchange")
        for details in ada.page.locator("details.more").all():
            details.evaluate("one => one.open = true")
        assert overflow(ada.page) == []
        assert_accessible(ada.page)
        assert ada.complaints == []
        if folder := os.environ.get("HEED_SCREENSHOTS"):
            screenshot(ada.page, Path(folder) / f"exchange-{language}-{theme}-{size[0]}.png")


def test_an_upload_by_keys_tells_what_became_of_it(browser: Browser, busy: Served, tmp_path: Path) -> None:
    file = tmp_path / "<b>items<b>.jsonl"
    rows = [json.dumps({"prompt": f"new {k}", "completions": ["x", "y"]}) for k in range(300)]
    file.write_text("\n".join([*rows, "{broken"]))
    with person(browser, busy, "lea", "lead") as lea:
        lea.goto("/board/exchange")
        form = lea.page.locator("form[data-upload=items]")
        form.locator("input[type=file]").set_input_files(file)
        form.get_by_role("button", name="Upload").focus()
        lea.press("Enter")
        expect(lea.page.locator("#toasts")).to_contain_text("reading it goes on by itself")
        row = lea.page.locator("#jobs tbody tr").first
        expect(row).to_contain_text("300 new", timeout=20_000)
        expect(row).to_contain_text("<b>items<b>.jsonl")
        row.get_by_text("1 broken row").click()
        expect(row).to_contain_text("line 301:")
        assert lea.complaints == []


def test_what_is_no_file_of_items_is_told_at_once(browser: Browser, busy: Served, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("name,text\nx,y\n")
    with person(browser, busy, "lea", "lead") as lea:
        lea.goto("/board/exchange")
        form = lea.page.locator("form[data-upload=items]")
        form.locator("input[type=file]").set_input_files(tmp_path / "x.csv")
        form.get_by_role("button", name="Upload").click()
        expect(lea.page.locator("#toasts")).to_contain_text("neither a column 'prompt'")
        assert [text for text in lea.complaints if not text.startswith("422")] == []


def test_an_export_is_begun_waited_for_and_fetched(browser: Browser, busy: Served) -> None:
    with person(browser, busy, "lea", "lead") as lea:
        lea.goto("/board/exchange")
        lea.page.get_by_label("What, and how").select_option("answers.csv")
        lea.page.get_by_role("button", name="Begin the export").click()
        link = lea.page.locator("#jobs tbody tr").first.get_by_role("link", name="Download")
        with lea.page.expect_download(timeout=20_000) as download:
            link.click()
        assert download.value.suggested_filename.endswith(".csv")
        assert Path(download.value.path()).read_bytes().startswith(b"answer_id,question_id,")
        assert lea.complaints == []


def test_a_webhook_is_made_and_its_secret_shown_once(browser: Browser, busy: Served) -> None:
    with person(browser, busy, "ada", "admin") as ada:
        ada.goto("/board/exchange")
        ada.page.get_by_label("Address").fill("https://hooks.example/new")
        ada.page.get_by_label("Somebody joined").check()
        ada.page.get_by_role("button", name="Make the webhook").click()
        expect(ada.page.get_by_text("heed_whs_")).to_be_visible()
        assert_accessible(ada.page)
        ada.goto("/board/exchange")
        expect(ada.page.get_by_text("heed_whs_")).to_have_count(0)
        row = ada.page.get_by_role("row", name="hooks.example/new")
        row.get_by_role("button", name="Delete").click()
        ada.page.locator("dialog[open]").get_by_role("button", name="Delete").click()
        expect(ada.page.get_by_text("hooks.example/new")).to_have_count(0)
        assert ada.complaints == []
