"""The item screen in a real browser: nothing is lost or said twice, whatever the network, the clock and others do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from browser import Person, Served, assert_accessible, person
from playwright.sync_api import Browser, Route, expect
from work_screen import COMPARISON, ask, begin, prompt, sent, stored, waits_for_next

from heed.feedback.item_files import parse_item
from heed.feedback.items import add_items
from heed.feedback.studio_schema import showings


def test_a_draft_is_there_on_another_machine(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON, {"kind": "demonstration", "name": "own", "label": "Own", "required": False})
    with person(browser, served, "ann") as here:
        begin(here)
        here.press("2", "q", "i")
        here.page.keyboard.type("half a thou")
        expect(here.page.locator("#draft-state")).to_have_text("Draft saved")
        asked_of = prompt(here)
    with person(browser, served, "ann") as there:
        begin(there)
        assert prompt(there) == asked_of
        expect(there.page.locator("textarea.tall")).to_have_value("half a thou")
        assert there.page.locator("input:checked").evaluate_all("(all) => all.map((one) => one.value)") == [
            "right",
            "1",
        ]


def test_a_draft_survives_a_reload_without_the_network(browser: Browser, served: Served) -> None:
    ask(served, {"kind": "demonstration", "name": "own", "label": "Own"}, count=1)
    with person(browser, served, "ann") as ann:
        begin(ann)
        ann.page.route("**/draft", lambda route: route.abort())
        ann.press("i")
        ann.page.keyboard.type("only here")
        expect(ann.page.locator("#draft-state")).to_have_text("Draft kept on this device")
        ann.page.reload()
        expect(ann.page.locator("textarea.tall")).to_have_value("only here")


def test_two_windows_keep_both_drafts(browser: Browser, served: Served) -> None:
    ask(served, {"kind": "demonstration", "name": "own", "label": "Own"}, count=1)
    with person(browser, served, "ann") as one, person(browser, served, "ann") as other:
        begin(one)
        begin(other)
        for window, words in ((one, "from the desk"), (other, "from the phone")):
            window.press("i")
            window.page.keyboard.type(words)
            expect(window.page.locator("#draft-state")).to_have_text("Draft saved")
        banner = other.page.locator(".banner", has_text="another draft")
        expect(other.page.locator("textarea.tall")).to_have_value("from the phone")
        banner.get_by_role("button", name="Use the other draft").click()
        expect(other.page.locator("textarea.tall")).to_have_value("from the desk")


def test_answers_wait_while_the_network_is_down_and_go_out_once(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON)
    with person(browser, served, "ann") as ann:
        begin(ann)
        expect(ann.page.locator("#item")).to_have_attribute("aria-busy", "false")
        ann.page.wait_for_load_state("networkidle")
        ann.context.set_offline(True)
        first = prompt(ann)
        ann.press("1", "Enter")
        waits_for_next(ann, first)
        second = prompt(ann)
        ann.press("2", "Enter")
        waits_for_next(ann, second)
        ann.press("1", "Enter")
        expect(ann.page.locator("#work-state")).to_have_text("Offline: 3 answers wait")
        expect(ann.page.locator(".empty h2")).to_have_text("No connection")
        expect(ann.page.locator(".empty")).to_contain_text("Keep this page open")
        assert stored(served) == []
        ann.page.close()  # and the machine is switched off
        ann.context.set_offline(False)
        again = Person(ann.context.new_page(), served)
        begin(again)
        sent(again)
        rows = stored(served)
        assert [row.answer["better"]["choice"] for row in rows] == [
            "ab"[rows[0].shown_order[0]],
            "ab"[rows[1].shown_order[1]],
            "ab"[rows[2].shown_order[0]],
        ]
        assert prompt(again) != first


def test_an_answer_whose_receipt_is_lost_is_stored_once(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON)
    with person(browser, served, "ann") as ann:
        begin(ann)
        tries: list[str | None] = []

        def lose_the_first(route: Route) -> None:
            tries.append(route.request.headers.get("idempotency-key"))
            if len(tries) == 1:
                route.fetch()  # the server has it
                route.abort("connectionreset")
            else:
                route.continue_()

        ann.page.route("**/answer", lose_the_first)
        ann.press("1", "Enter")
        expect(ann.page.locator("#work-state")).to_have_text("Offline: 1 answer waits")
        sent(ann)
        assert len(stored(served)) == 1
        assert len(tries) == 2
        assert tries[0] == tries[1] is not None


def test_an_answer_that_comes_too_late_is_told_and_kept(browser: Browser, served: Served) -> None:
    ask(served, {"kind": "demonstration", "name": "own", "label": "Own"}, count=1, overlap=1)
    with person(browser, served, "ann") as ann:
        begin(ann)
        ann.press("i")
        ann.page.keyboard.type("a long answer")
        past = datetime.now(UTC) - timedelta(hours=1)
        served.write(lambda connection: connection.execute(showings.update().values(expires=past)))
        with person(browser, served, "bea") as bea:
            begin(bea)
            bea.press("i")
            bea.page.keyboard.type("quicker")
            bea.press("Control+Enter")
            sent(bea)
        ann.press("Control+Enter")
        expect(ann.page.locator(".banner")).to_contain_text("An answer was not taken. What you said is kept.")
        assert [row.rater for row in stored(served)] == ["bea"]
        kept = ann.page.evaluate("JSON.stringify({...localStorage})")
        assert "a long answer" in kept


def test_two_raters_in_two_browsers_never_get_the_same_last_place(browser: Browser, served: Served) -> None:
    question = ask(served, COMPARISON, count=1, overlap=1)
    with person(browser, served, "ann") as ann, person(browser, served, "bea") as bea:
        for rater in (ann, bea):
            rater.page.goto(f"{served.url}/work?question={question}", wait_until="commit")
        screens = ".item, .empty"
        for rater in (ann, bea):
            expect(rater.page.locator(screens)).to_be_visible()
        with_item = [rater for rater in (ann, bea) if rater.page.locator(".item").count()]
        (winner,) = with_item
        (other,) = [rater for rater in (ann, bea) if rater is not winner]
        expect(other.page.locator(".empty")).to_contain_text("Others are working on the last items.")
        winner.press("1", "Enter", "Enter")
        sent(winner)
        assert len(stored(served)) == 1


def test_a_key_held_down_answers_one_item(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON)
    with person(browser, served, "ann") as ann:
        begin(ann)
        first = prompt(ann)
        ann.press("1")
        for _ in range(5):
            ann.page.keyboard.down("Enter")
        ann.page.keyboard.up("Enter")
        waits_for_next(ann, first)
        sent(ann)
        assert len(stored(served)) == 1
        assert ann.page.locator(".field-error:visible").count() == 0


def test_the_end_of_a_lease_is_told_and_can_be_put_off(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON, count=1)
    with person(browser, served, "ann") as ann:
        ann.page.clock.install()
        # To scroll is to work, which renews the lease and takes the banner away: what the checks below scroll must not.
        ann.page.add_init_script("addEventListener('scroll', (event) => event.stopImmediatePropagation(), true)")
        begin(ann)
        assert ann.page.locator(".banner").count() == 0
        ann.page.clock.fast_forward("13:30")
        banner = ann.page.locator(".banner")
        expect(banner).to_contain_text("stays yours for 2 more minutes")
        assert_accessible(ann.page)
        # Whoever reads far below sees it too, and it hides nothing that has the focus.
        ann.page.set_viewport_size({"width": 320, "height": 640})
        ann.page.evaluate("scrollTo(0, document.body.scrollHeight)")
        expect(banner).to_be_in_viewport(ratio=1)
        ann.page.locator(".work-links a").last.focus()
        below = banner.evaluate(
            "(one) => document.activeElement.getBoundingClientRect().top - one.getBoundingClientRect().bottom"
        )
        above = banner.evaluate(
            "(one) => one.getBoundingClientRect().top - document.activeElement.getBoundingClientRect().bottom"
        )
        assert max(below, above) >= 0
        with ann.page.expect_response("**/renew") as renewed:
            banner.get_by_role("button", name="I need more time").click()
        assert renewed.value.ok
        expect(banner).to_have_count(0)  # only then has the page taken in how long it has
        ann.page.clock.fast_forward("03:00")
        ann.page.clock.fast_forward("12:30")
        expect(banner).to_contain_text("Your time for this item is over")


def test_a_changed_clock_ends_no_lease_and_makes_no_time(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON, count=1)
    with person(browser, served, "ann") as ann:
        begin(ann)
        ann.page.evaluate("() => { const real = Date.now; Date.now = () => real() + 400 * 86400e3; }")
        ann.press("1")
        expect(ann.page.locator("#draft-state")).to_have_text("Draft saved")
        assert ann.page.locator(".banner").count() == 0
        ann.press("Enter")
        sent(ann)
        assert stored(served)[0].seconds < 120


def test_time_away_from_the_item_is_not_active_time(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON, count=1, lease_minutes=60)
    with person(browser, served, "ann") as ann:
        ann.page.clock.install()
        begin(ann)
        ann.page.clock.fast_forward("20:00")
        ann.press("1", "Enter")
        sent(ann)
        (row,) = stored(served)
        assert row.seconds >= 1200
        assert row.active_seconds < 60


def test_work_renews_the_lease_once_a_minute_and_rest_does_not(browser: Browser, served: Served) -> None:
    ask(served, COMPARISON, count=1)
    with person(browser, served, "ann") as ann:
        ann.page.clock.install()
        begin(ann)
        renewals: list[str] = []
        ann.page.on("request", lambda request: renewals.append(request.url) if "/renew" in request.url else None)
        for _ in range(5):
            ann.press("1", "2")
            ann.page.clock.run_for(15_000)
        assert len(renewals) == 1
        with ann.page.expect_response("**/renew") as renewed:
            ann.page.clock.run_for(50_000)
            ann.press("1")
            ann.page.clock.run_for(2_000)
        assert renewed.value.ok
        ann.page.clock.fast_forward("05:00")
        assert len(renewals) == 2


def test_new_items_come_by_themselves(browser: Browser, served: Served) -> None:
    """A run that is trained on ratings asks for more whenever it has written something."""
    question = ask(served, COMPARISON, count=1)
    with person(browser, served, "ann") as ann:
        ann.page.clock.install()
        begin(ann)
        ann.press("1", "Enter")
        sent(ann)
        expect(ann.page.get_by_role("heading", name="Nothing to judge now")).to_be_visible()
        assert_accessible(ann.page)
        ann.page.get_by_role("button", name="Look again").focus()
        with ann.page.expect_response("**/showings"):
            ann.page.clock.run_for(20_000)
        expect(ann.page.get_by_role("button", name="Look again")).to_be_focused()
        with ann.page.expect_response("**/showings"):  # who comes back to the page does not wait
            ann.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        more = parse_item({"prompt": "A new one", "completions": ["this", "that"]})
        served.write(lambda connection: add_items(connection, question, [more], datetime.now(UTC), Random(2)))
        with ann.page.expect_response("**/showings"):
            ann.page.clock.run_for(20_000)
        ann.page.clock.resume()
        expect(ann.page.locator(".prompt .turn")).to_contain_text("A new one")
