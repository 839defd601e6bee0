"""What people read when something cannot be done: in their language, with a way on; programs get what they ask for."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from site_of_tests import Site
from starlette.testclient import TestClient

from heed.people import accounts, guidelines
from heed.web.permissions import rates, signed_in
from heed.web.routes import all_routes

ENGLISH, CHINESE = "there is no such question.", "没有这个问题。"
NOT_FOR_PAUSED = sorted(
    (route.method, route.path)
    for route in all_routes()
    if route.kind == "page" and route.allow.__name__ in ("rates", "leads", "administers")
)


def speaking(site: Site, language: str, name: str = "ann", role: Any = "rater") -> TestClient:
    """A browser of ``name``, whose account is in ``language``."""
    client = site.client(name, role)
    account = site.account(name).id
    site.write(lambda connection: accounts.set_preferences(connection, account, language=language))
    return client


def test_pages_that_paused_people_may_not_open_are_known() -> None:
    assert rates is not signed_in
    assert {("GET", "/board"), ("GET", "/qualification/{question_id}")} <= set(NOT_FOR_PAUSED)


@pytest.mark.parametrize("role", ["rater", "admin"])
def test_who_is_paused_reads_so_on_every_page_and_can_sign_out(site: Site, role: str) -> None:
    client = site.client("ann", role)
    site.account("boss", "admin")
    site.pause("ann")
    for method, path in NOT_FOR_PAUSED:
        answer = client.request(method, re.sub(r"\{\w+\}", "q", path))
        assert answer.status_code == 403, path
        assert "Your account is paused: you can read, but not answer" in answer.text, path
        assert "a test" in answer.text, path
        assert answer.text.count('action="/sign-out"') == 2, path  # in the head of the page, and below the words
        assert "This did not work" not in answer.text, path
    assert client.post("/sign-out").headers["location"] == "/sign-in"


def test_who_is_paused_reads_so_in_chinese(site: Site) -> None:
    client = speaking(site, "zh")
    site.pause("ann")
    page = client.get("/board")
    assert page.status_code == 403
    assert "您的账号已暂停：可以查看，但不能作答" in page.text
    answer = client.post("/guidelines", data={"version": 1})
    assert (answer.status_code, "您的账号已暂停：" in answer.text) == (403, True)


def test_the_api_tells_the_browser_of_who_is_paused_why(site: Site) -> None:
    client = site.client("ann")
    site.pause("ann")
    told = client.post("/api/v1/questions/q/showings").json()["error"]
    assert (told["what"], told["code"]) == ("your account", "refused")


def test_an_error_page_speaks_the_language_of_its_reader(site: Site) -> None:
    chinese = speaking(site, "zh", "li").get("/qualification/none")
    assert chinese.status_code == 404
    assert '<p class="break" dir="auto">问题“none”：没有这个问题。</p>' in chinese.text
    assert "请从列表中选择。" in chinese.text
    assert 'lang="en" dir' not in chinese.text
    english = speaking(site, "en", "ann").get("/qualification/none")
    assert "question &#39;none&#39;: there is no such question." in english.text


@pytest.mark.parametrize(
    ("method", "path", "body", "told"),
    [
        ("GET", "/nothing-here", None, "这个地址：这里什么也没有。"),
        ("POST", "/settings/preferences", {"x": "1"}, "'language'：此项必填。"),
        ("GET", "/board", None, "此页面仅限负责人使用。"),
        ("POST", "/guidelines", {"version": "x"}, "'version'：应为整数。"),
    ],
)
def test_error_pages_that_raters_meet_are_chinese_to_chinese_readers(
    site: Site, method: str, path: str, body: Any, told: str
) -> None:
    answer = speaking(site, "zh").request(method, path, data=body)
    assert answer.status_code >= 400
    assert told in answer.text.replace("&#39;", "'")


def test_the_api_speaks_to_a_browser_in_the_language_of_the_account(site: Site) -> None:
    path = "/api/v1/questions/none/showings"
    chinese = speaking(site, "zh", "li").post(path, headers={"accept-language": "en"})
    english = speaking(site, "en", "ann").post(path, headers={"accept-language": "zh"})
    assert (chinese.json()["error"]["why"], chinese.headers["content-language"]) == (CHINESE, "zh")
    assert (english.json()["error"]["why"], english.headers["content-language"]) == (ENGLISH, "en")
    assert chinese.json()["error"]["code"] == english.json()["error"]["code"] == "missing"


def test_the_api_speaks_english_to_programs_that_do_not_ask_for_more(site: Site) -> None:
    speaking(site, "zh")
    program, path = site.program("ann"), "/api/v1/questions/none/showings"
    told = [
        program.post(path, headers=headers).json()["error"]["why"]
        for headers in ({}, {"accept-language": "*"}, {"accept-language": "zh-CN,zh"})
    ]
    assert told == [ENGLISH, ENGLISH, CHINESE]


def test_before_anybody_is_known_the_language_of_the_machine_counts(site: Site) -> None:
    for headers in ({"accept-language": "zh"}, {"cookie": "heed_language=zh"}):
        answer = site.anonymous.get("/api/v1/me", headers=headers)
        assert (answer.status_code, answer.json()["error"]["why"]) == (401, "您尚未登录。")
        other_site = {**headers, "sec-fetch-site": "cross-site"}
        assert "这个请求：它来自另一个网站的页面。" in site.anonymous.post("/sign-in", headers=other_site).text


def test_what_is_too_large_is_told_in_the_language_of_who_sent_it(site: Site) -> None:
    client = speaking(site, "zh")
    answer = client.patch("/api/v1/me", json={"language": "zh" * 2_000_000})
    assert answer.status_code == 413
    assert answer.json()["error"]["why"] == "它超过了此处允许的大小。"


def test_a_wrong_question_and_wrong_guidelines_are_told_to_the_lead_in_chinese(site: Site) -> None:
    client = speaking(site, "zh", "lea", "lead")
    question = client.post("/board/questions/new", data={"do": "save", "question_name": "q", "title": "t"})
    assert 'role="alert" dir="auto">问题：fields：至少应有 1 项，而不是 0 项。请更正这个值。</div>' in question.text
    guidelines = client.post("/board/guidelines", data={"do": "save", "text": "", "note": "", "version": "0"})
    assert "标注指南：内容是空的。请写明评判者应遵守的内容。" in guidelines.text
    assert (question.status_code, guidelines.status_code) == (422, 422)


def test_guidelines_too_long_to_be_formatted_say_so_below_themselves(site: Site) -> None:
    client = speaking(site, "zh")
    now = datetime.now(UTC)
    site.write(lambda connection: guidelines.save(connection, "**fair** " * 5000, "", "lea", 0, now))
    told = '</div><p class="help">内容过长或嵌套过深，未作排版，按纯文本显示。</p>'
    assert told in client.get("/guidelines").text
    site.write(lambda connection: guidelines.save(connection, "**fair**", "shorter", "lea", 1, now))
    assert told not in client.get("/guidelines").text


def test_what_is_shown_once_is_not_left_by_switching_the_language(site: Site) -> None:
    """The page that answers a form has no address that can be read again."""
    lead = site.client("lea", "lead")
    assert 'action="/preferences"' in lead.get("/board/people").text
    shown = lead.post("/board/acts/invite", data={"role": "rater"})
    assert "/invitation/" in shown.text
    assert 'action="/preferences"' not in shown.text
    read = lead.get("/board/acts/invite", headers={"accept": "text/html"})
    assert read.status_code == 405
    assert "it only takes what a form sends." in read.text
    assert "begin at the first page" in read.text


def test_a_body_that_is_no_json_is_told_as_that(site: Site) -> None:
    headers = {"content-type": "application/json"}
    answer = site.client("lea", "lead").post("/api/v1/board/exclusions", content=b"{bad", headers=headers)
    assert answer.status_code == 422
    assert answer.json()["error"]["what"] == "the request's body"
    assert answer.json()["error"]["why"] == "it is not valid JSON."
