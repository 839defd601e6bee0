"""The board shows what can be counted by hand, to leads and admins alone."""

from __future__ import annotations

import re
from html import escape, unescape
from itertools import permutations
from statistics import mean

import pytest
from board_data import RATERS, SAID, Known, known_site
from site_of_tests import Site
from sqlalchemy import update

from heed.feedback import asked, schema
from heed.feedback.studio_schema import questions
from heed.people import accounts, exclusions
from heed.web.board.routes import ROUTES
from heed.web.permissions import administers, leads


@pytest.fixture
def known(site: Site) -> Known:
    return known_site(site)


def test_no_route_of_the_board_is_for_raters() -> None:
    assert {route.allow for route in ROUTES} == {leads, administers}


@pytest.mark.parametrize("path", ["", "/people", "/items", "/questions", "/audit", "/flags", "/gold", "/guidelines"])
def test_a_rater_gets_nothing_of_a_page(known: Known, path: str) -> None:
    answer = known.site.client("ann").get(f"/board{path}")
    assert answer.status_code == 403
    assert "bob" not in answer.text


def test_a_paused_lead_gets_nothing(known: Known) -> None:
    known.site.client("lea", "lead")
    admin = known.site.client("ada", "admin")
    account = known.site.account("lea").id
    assert admin.post("/board/acts/pause", data={"account": account, "reason": "away"}).status_code == 303
    assert known.site.client("lea").get("/api/v1/board/people").status_code in (401, 403)


# Numbers against the table in board_data


def equal_pairs(said: dict[str, dict[str, str]]) -> float:
    """Share of ordered pairs of answers to one item that are equal, an item weighing as many answers as it has."""
    shared = [list(one.values()) for one in said.values() if len(one) > 1]
    weights = [len(values) for values in shared]
    shares = [mean(x == y for x, y in permutations(values, 2)) for values in shared]
    return sum(w * s for w, s in zip(weights, shares, strict=True)) / sum(weights)


def test_progress_counts_items_and_answers(known: Known) -> None:
    (one,) = known.site.client("lea", "lead").get("/api/v1/board/overview").json()["overview"]["questions"]
    given = sum(len(said) for said in SAID.values())
    assert (one["items"], one["done"], one["open"]) == (6, 3, 3)
    assert (one["answers"], one["missing"], one["leased"]) == (given, 18 - given, 0)
    assert one["rate"] == pytest.approx(given / 2, rel=0.05)  # it began two hours ago
    assert one["hours"] == pytest.approx((18 - given) / one["rate"])


@pytest.mark.parametrize(
    ("state", "told"),
    [("open", "3 texts of a policy in training are left to rate"), ("paused", "its run cannot go on"), ("closed", "")],
)
def test_a_lead_is_told_what_a_run_wants_rated(known: Known, state: str, told: str) -> None:
    values = {"name": asked.TRAINING_QUESTION, "state": state}
    known.site.write(lambda c: c.execute(update(questions).values(values)))
    page = known.site.client("lea", "lead").get("/board").text
    assert told in page
    assert ("of a policy in training" in page.split('id="progress-title"')[0]) == bool(told)


def test_live_agreement_is_that_of_the_answers_and_leaves_out_the_excluded(known: Known) -> None:
    lead = known.site.client("lea", "lead")
    (before,) = lead.get("/api/v1/board/overview").json()["overview"]["agreement"]
    assert before["percent"]["estimate"] == pytest.approx(equal_pairs({k: dict(v) for k, v in SAID.items()}))
    body = {"name": "bob", "excluded": True, "reason": "answers by chance"}
    assert lead.post("/api/v1/board/exclusions", json=body).json() == {"name": "bob", "excluded": True}
    (after,) = lead.get("/api/v1/board/overview").json()["overview"]["agreement"]
    without = {item: {name: choice for name, choice in said.items() if name != "bob"} for item, said in SAID.items()}
    assert after["percent"]["estimate"] == pytest.approx(equal_pairs(without))
    assert lead.get("/api/v1/board/people/bob").json()["excluded"] is True


def test_each_person_is_compared_with_the_others_on_the_same_items(known: Known) -> None:
    people = known.site.client("lea", "lead").get("/api/v1/board/people").json()["people"]
    statistics = {one["name"]: one["statistics"] for one in people}
    for name in RATERS:
        shares = [
            mean(choice == said[name] for other, choice in said.items() if other != name)
            for said in SAID.values()
            if name in said and len(said) > 1
        ]
        assert statistics[name]["agreement"]["estimate"] == pytest.approx(mean(shares))
        assert statistics[name]["answers"] == sum(name in said for said in SAID.values())
        assert statistics[name]["skips"] == 6 - statistics[name]["answers"]
        assert statistics[name]["speed"]["median"] == (10.0 if statistics[name]["answers"] >= 5 else None)
    assert statistics["ann"]["gold"]["estimate"] is None
    assert statistics["ann"]["gold"]["reason"]


def test_disputed_items_are_those_whose_answers_differ_the_most_disputed_first(known: Known) -> None:
    found = known.site.client("lea", "lead").get("/api/v1/board/disagreements").json()
    assert [(one["id"], pytest.approx(one["disagreement"])) for one in found["items"]] == [
        (known.items["item 3"], 1.0),
        (known.items["item 1"], 2 / 3),
    ]
    assert found["total"] == 2


def test_days_add_up_to_all_answers(known: Known) -> None:
    days = known.site.client("lea", "lead").get("/api/v1/board/overview").json()["days"]
    assert len(days) == 14
    assert sum(day["answers"] for day in days) == sum(len(said) for said in SAID.values())


def test_what_is_answered_after_the_first_look_is_counted_too(known: Known) -> None:
    lead = known.site.client("lea", "lead")
    lead.get("/api/v1/board/overview")
    known.site.write(lambda c: exclusions.exclude(c, "cy", "test", "lea", known.begun))
    item = known.items["item 5"]
    body = {"answer": {"better": {"choice": "a"}}, "note": "plain"}
    assert lead.post(f"/api/v1/board/items/{item}/decision", json=body).status_code == 200
    # A page that says what was done shows the numbers as they are now.
    assert "adjudicated" not in lead.get("/board/people?done=included").text
    (one,) = lead.get("/api/v1/board/overview").json()["overview"]["questions"]
    # The answers of who is excluded no longer count: their places are to be given again.
    assert one["answers"] == sum(rater != "cy" for said in SAID.values() for rater in said)
    assert lead.get("/api/v1/board/people/cy").json()["excluded"] is True


# Finding


@pytest.mark.parametrize(
    "path",
    [
        "/board/items?state=anything",
        "/board/items?purpose=repeat",
        "/board/items?before=x",
        "/board/people?sort=password_hash",
        "/board/people?order=random",
        "/board/people?done=everything",
        "/board/flags?state=all",
        "/api/v1/board/items?limit=100000",
        "/api/v1/board/items?state=1%3D1",
        "/api/v1/board/disagreements?start=-1",
        "/api/v1/board/audit?before=0",
    ],
)
def test_filters_and_orders_that_there_are_not_are_refused(known: Known, path: str) -> None:
    assert known.site.client("lea", "lead").get(path).status_code == 422


def ids_of(known: Known, query: str) -> list[str]:
    found = known.site.client("lea", "lead").get(f"/api/v1/board/items?{query}").json()
    prompts = {item: prompt for prompt, item in known.items.items()}
    return [prompts[one["id"]] for one in found["items"]]


def test_items_are_found_by_state_rater_and_words(known: Known) -> None:
    assert ids_of(known, "state=done") == ["item 2", "item 1", "item 0"]
    assert ids_of(known, "rater=cy") == ["item 2", "item 1", "item 0"]
    assert ids_of(known, "text=ITEM%205") == ["item 5"]
    assert ids_of(known, "text=%25") == []
    assert ids_of(known, f"question={known.question}&state=open") == ["item 5", "item 4", "item 3"]
    assert ids_of(known, "question=q0000000000000000") == []


def test_pages_of_items_follow_each_other_without_a_gap(known: Known) -> None:
    lead = known.site.client("lea", "lead")
    seen, query = [], "limit=4"
    while query:
        page = lead.get(f"/api/v1/board/items?{query}").json()
        seen += [one["id"] for one in page["items"]]
        query = f"limit=4&before={page['next']}" if page["next"] else ""
    assert seen == list(reversed(known.items.values()))


def test_an_item_shows_all_that_happened_to_it(known: Known) -> None:
    item = known.items["item 1"]
    found = known.site.client("lea", "lead").get(f"/api/v1/board/items/{item}").json()["item"]
    assert {one["rater"]: one["answer"]["better"]["choice"] for one in found["answers"]} == SAID["item 1"]
    assert {one["rater"] for one in found["showings"]} == set(RATERS)
    assert all(0 < one["probability"] <= 1 for one in found["showings"])
    assert all(len(one["feedback_ids"]) == 1 for one in found["answers"])
    page = known.site.client("lea").get(f"/board/items/{item}")
    assert page.status_code == 200
    assert all(f"heed trace {one['feedback_ids'][0]}" in page.text for one in found["answers"])


def test_what_is_not_there_is_not_found(known: Known) -> None:
    lead = known.site.client("lea", "lead")
    for path in ("/board/items/i0", "/board/people/nobody", "/board/questions/q0", "/api/v1/board/items/i0"):
        assert lead.get(path).status_code == 404


def test_who_is_called_like_a_step_of_a_path_has_a_page_all_the_same(known: Known) -> None:
    lead = known.site.client("lea", "lead")
    add = schema.raters.insert().values(
        name="..", kind="human", group_name=""
    )  # as an older heed let somebody be called
    known.site.write(lambda connection: connection.execute(add))
    assert 'href="/board/people?name=.."' in lead.get("/board/people?done=paused").text
    page = lead.get("/board/people?name=..")
    assert page.status_code == 200
    assert "<h1><bdi>..</bdi></h1>" in page.text
    done = lead.post("/board/acts/exclude", data={"name": "..", "reason": "spam"})
    assert done.headers["location"] == "/board/people?name=..&done=excluded"
    assert "spam" in lead.get(done.headers["location"]).text
    assert lead.get("/board/people?name=nobody").status_code == 404


def test_names_with_signs_of_an_address_keep_their_pages(known: Known) -> None:
    lead = known.site.client("lea", "lead")
    for name in ("a/b", "../x", "é?#%", "a&b"):
        known.site.account(name)
        found = re.findall(r'href="(/board/people/[^"]*)"><bdi>([^<]*)<', lead.get("/board/people?done=paused").text)
        (address,) = [to for to, shown in found if unescape(shown) == name]
        assert f"<h1><bdi>{escape(name)}</bdi></h1>" in lead.get(address).text


def test_every_page_is_shown_in_both_languages(known: Known) -> None:
    known.site.client("lea", "lead")
    pages = ("", "/people", "/people/ann", "/disagreements", "/gold", "/items", "/questions", "/questions/new")
    more = ("/guidelines", "/flags", "/audit?verify=true", f"/items/{known.items['item 0']}")
    for language, words in (("en", "Overview"), ("zh", "概览")):
        account = known.site.account("lea").id
        known.site.write(lambda c, a=account, to=language: accounts.set_preferences(c, a, language=to))
        lead = known.site.client("lea")
        for path in (*pages, *more, f"/questions/{known.question}"):
            page = lead.get(f"/board{path}")
            assert page.status_code == 200, path
            assert words in page.text
            assert "style=" not in page.text
