"""Webhooks: every event arrives at least once, signed; what fails is tried again; nothing leads where it should not."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from site_of_tests import Site
from sqlalchemy import select

from heed.config import ServeSettings
from heed.errors import DataError
from heed.feedback import answers as answering
from heed.feedback import asked, queue
from heed.feedback.forms import default_form
from heed.feedback.item_files import ItemRow
from heed.feedback.items import add_items
from heed.feedback.showings import Rater
from heed.feedback.studio_schema import deliveries
from heed.people import exclusions, guidelines
from heed.people.audit import entries
from heed.web.exchange import delivery, events, webhooks

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def everything_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's rows wait until no earlier transaction can still bring some of before, by the real clock; the tests' clock
    stands still, long before it. That wait is tested in ``test_exchange_on_postgresql``."""
    monkeypatch.setattr(events, "_SETTLED", timedelta(days=-36_500))


class Receiver(ThreadingHTTPServer):
    """Somebody else's server: keeps what it gets and answers as it is told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[dict[str, str], bytes, str]] = []
        self.statuses: list[int] = []
        self.location = ""
        self.slow = 0.0

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body, self.path))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 204)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Not into the test's output."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


def hook(site: Site, receiver: Receiver, *wanted: str) -> tuple[str, str]:
    """A webhook to the receiver: its id and its secret. What is there already is told to nobody."""

    def work(connection: Any) -> tuple[str, str]:
        url = f"http://{receiver.place}/hook?x=1"
        made, secret = webhooks.create(connection, url, wanted or webhooks.EVENTS, [receiver.place], "ada", NOW)
        return made.id, secret

    made = site.write(work)
    assert site.write(lambda connection: events.collect(connection, NOW)) == 0
    return made


def collect(site: Site) -> None:
    while site.write(lambda connection: events.collect(connection, NOW)):
        pass


def deliver(site: Site, receiver: Receiver, now: datetime = NOW) -> int:
    return delivery.deliver_due(site.write, [receiver.place], lambda: now, threading.Event())


def owed(site: Site) -> list[tuple[str, dict[str, Any]]]:
    rows = site.read(lambda connection: connection.execute(select(deliveries).order_by(deliveries.c.number)).all())
    return [(row.event, row.payload) for row in rows]


def question_with_items(site: Site, number: int) -> str:
    def work(connection: Any) -> str:
        made = asked.create_question(connection, "Which?", default_form(), "lea", NOW)
        rows = [ItemRow(f"p{k}", ("x", "y"), external_id=f"e{k}") for k in range(number)]
        add_items(connection, made.id, rows, NOW, random.Random(1))
        return made.id

    return site.write(work)


def judge(site: Site, question: str, rater: str, choices: dict[str, str]) -> None:
    """Answer every item that there is; ``choices`` by external id, "x" or "y"."""
    site.account(rater)

    def work(connection: Any) -> bool:
        claimed = queue.claim(connection, Rater(rater), question, NOW, random.Random(2))
        if isinstance(claimed, queue.Nothing):
            return False
        (showing, *_) = claimed.showings
        external = next(
            row.external_id for row in connection.execute(select(events.items)) if row.id == showing.item_id
        )
        side = ["left", "right"][showing.shown_order.index("xy".index(choices[external]))]
        wire = {"better": {"choice": side, "strength": None}}
        answering.answer(connection, Rater(rater), showing.id, wire, None, 1.0, 1.0, "", NOW)
        return True

    while site.write(work):
        pass


# What is told


def test_what_happens_is_told_once_and_in_order(site: Site, receiver: Receiver) -> None:
    question = question_with_items(site, 2)
    site.account("ann"), site.account("bob")
    hook(site, receiver)
    judge(site, question, "ann", {"e0": "x", "e1": "x"})
    judge(site, question, "bob", {"e0": "x", "e1": "y"})
    collect(site)
    site.write(lambda connection: guidelines.save(connection, "Be kind.", "", "lea", 0, NOW))
    site.write(lambda connection: exclusions.exclude(connection, "bob", "a robot", "lea", NOW))
    site.account("cyd")
    collect(site)
    collect(site)
    told = owed(site)
    counted = [event for event, _ in told]
    assert counted == [
        "answer.created",
        "item.completed",
        *([] if told[2][0] == "item.completed" else ["disagreement.found"]),
        "item.completed",
        *(["disagreement.found"] if told[2][0] == "item.completed" else []),
        "question.completed",
        "person.joined",
        "person.excluded",
        "guidelines.changed",
    ]
    data = dict(told)
    assert len(data["answer.created"]["answers"]) == 4
    assert (data["disagreement.found"]["external_id"], data["disagreement.found"]["fields"]) == ("e1", ["better"])
    assert data["question.completed"] == {"question_id": question}
    assert (data["person.joined"]["name"], data["person.excluded"]["rater"]) == ("cyd", "bob")
    assert data["guidelines.changed"]["version"] == 1


def test_an_item_is_completed_by_its_last_place_and_never_again(site: Site, receiver: Receiver) -> None:
    question = question_with_items(site, 1)
    hook(site, receiver, "item.completed", "question.completed")
    judge(site, question, "ann", {"e0": "x"})
    collect(site)
    assert owed(site) == []
    judge(site, question, "bob", {"e0": "x"})
    collect(site)
    assert [event for event, _ in owed(site)] == ["item.completed", "question.completed"]
    # More answers than places, as after a change of the question's overlap, complete nothing anew.
    site.write(lambda connection: connection.execute(events.items.update().values(overlap=1)))
    collect(site)
    assert len(owed(site)) == 2


def test_only_those_who_asked_are_told_and_nobody_of_the_past(site: Site, receiver: Receiver) -> None:
    site.account("before")
    webhook, _ = hook(site, receiver, "flag.raised")
    site.account("after")
    collect(site)
    assert owed(site) == []
    site.write(lambda connection: webhooks.set_active(connection, webhook, False, "ada", NOW))
    collect(site)
    question_with_items(site, 1)
    site.account("meanwhile")
    hook(site, receiver, "person.joined")
    site.account("last")
    collect(site)
    assert [payload["name"] for _, payload in owed(site)] == ["last"]


# How it is sent


def test_a_delivery_is_signed_and_names_itself(site: Site, receiver: Receiver) -> None:
    webhook, secret = hook(site, receiver, "person.joined")
    site.account("cyd")
    collect(site)
    assert deliver(site, receiver) == 1
    ((headers, body, path),) = receiver.got
    assert path == "/hook?x=1"
    assert headers["host"] == receiver.place
    said = json.loads(body)
    assert (said["event"], said["data"]["name"], said["id"]) == ("person.joined", "cyd", headers["heed-delivery"])
    sent, mac = (part.partition("=")[2] for part in headers["heed-signature"].split(","))
    assert int(sent) == int(NOW.timestamp())
    assert mac == hmac.new(secret.encode(), sent.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert secret not in body.decode() + str(headers)
    (record,) = site.read(webhooks.recent_deliveries)
    assert (record.state, record.status, record.attempts, record.webhook_id) == ("delivered", 204, 1, webhook)
    assert deliver(site, receiver, NOW + HOUR) == 0


def test_what_fails_is_tried_again_under_the_same_id_less_and_less_often(site: Site, receiver: Receiver) -> None:
    hook(site, receiver, "person.joined")
    site.account("cyd")
    collect(site)
    receiver.statuses = [500, 404, 200]
    now, waits = NOW, []
    while deliver(site, receiver, now):
        (record,) = site.read(webhooks.recent_deliveries)
        if record.state == "waiting":
            waits.append((record.next_try - now).total_seconds())
            assert deliver(site, receiver, record.next_try - timedelta(seconds=1)) == 0
        now = record.next_try
    assert waits == [10, 40]
    assert len({headers["heed-delivery"] for headers, _, _ in receiver.got}) == 1
    assert len(receiver.got) == 3


def test_it_gives_up_in_the_end_and_can_be_told_to_begin_anew(site: Site, receiver: Receiver) -> None:
    hook(site, receiver, "person.joined")
    site.account("cyd")
    collect(site)
    receiver.statuses = [503] * delivery.ATTEMPTS
    now = NOW
    for _ in range(delivery.ATTEMPTS):
        assert deliver(site, receiver, now) == 1
        (record,) = site.read(webhooks.recent_deliveries)
        now = record.next_try
    assert (record.state, record.attempts, record.error) == ("failed", delivery.ATTEMPTS, "the receiver answered 503")
    assert deliver(site, receiver, now + 1000 * HOUR) == 0
    site.write(lambda connection: webhooks.send_again(connection, record.id, now))
    assert deliver(site, receiver, now) == 1
    assert site.read(webhooks.recent_deliveries)[0].state == "delivered"


def test_a_process_that_dies_while_it_sends_leaves_the_delivery_to_the_next(site: Site, receiver: Receiver) -> None:
    hook(site, receiver, "person.joined")
    site.account("cyd")
    collect(site)
    assert len(site.write(lambda connection: delivery.claim_due(connection, NOW))) == 1
    assert deliver(site, receiver, NOW + timedelta(seconds=59)) == 0
    assert deliver(site, receiver, NOW + timedelta(seconds=61)) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(site: Site, receiver: Receiver, status: int) -> None:
    hook(site, receiver, "person.joined")
    site.account("cyd")
    collect(site)
    receiver.location, receiver.statuses = f"http://{receiver.place}/elsewhere", [status]
    deliver(site, receiver)
    (record,) = site.read(webhooks.recent_deliveries)
    assert (record.state, record.error) == ("waiting", "redirects are not followed")
    assert [path for _, _, path in receiver.got] == ["/hook?x=1"]


def test_an_address_inside_gets_nothing_where_heed_yaml_does_not_name_it(site: Site, receiver: Receiver) -> None:
    hook(site, receiver, "person.joined")
    site.account("cyd")
    collect(site)
    delivery.deliver_due(site.write, [], lambda: NOW, threading.Event())
    assert receiver.got == []
    assert "80 nor 443" in site.read(webhooks.recent_deliveries)[0].error


def test_a_receiver_that_drips_is_cut_off(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte would begin a socket's own time limit anew."""
    monkeypatch.setattr(delivery, "SECONDS_IN_ALL", 0.3)
    over = threading.Event()

    def drip(self: Handler) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        for _ in range(600):
            try:
                self.wfile.write(b"X-A: b\r\n")
                self.wfile.flush()
            except OSError:
                break
            time.sleep(0.05)
        over.set()

    monkeypatch.setattr(Handler, "do_POST", drip)
    one = delivery.Delivery("d1", "w1", f"http://{receiver.place}/", "s", "x", {}, 1, NOW)
    outcome = delivery.send(one, [receiver.place], NOW)
    assert (outcome.status, outcome.error[:21]) == (None, "the connection failed")
    assert over.wait(20)


# Over HTTP


@pytest.fixture
def allowed(site: Site, receiver: Receiver) -> Site:
    site.project.settings.serve = ServeSettings(webhooks=True, webhook_hosts=[receiver.place])
    return site


def test_an_admin_makes_tries_pauses_and_deletes_one(allowed: Site, receiver: Receiver) -> None:
    admin = allowed.client("ada", "admin")
    given = {"url": f"http://{receiver.place}/", "events": ["person.joined"]}
    made = admin.post("/api/v1/webhooks", json=given)
    assert made.status_code == 201
    secret, address = made.json()["secret"], f"/api/v1/webhooks/{made.json()['id']}"
    assert secret not in admin.get("/api/v1/webhooks").text
    assert secret not in admin.get("/board/exchange").text
    assert secret not in str(allowed.read(entries))
    assert admin.post(f"{address}/test").status_code == 202
    assert deliver(allowed, receiver, datetime.now(UTC)) == 1
    assert json.loads(receiver.got[0][1])["event"] == "webhook.test"
    assert admin.patch(address, json={"active": False}).json()["active"] is False
    assert admin.delete(address).json() == {"done": True}
    assert admin.get("/api/v1/webhooks").json()["webhooks"] == []
    assert admin.get("/api/v1/deliveries").json()["deliveries"] == []


def test_by_the_page_the_secret_is_shown_once(allowed: Site, receiver: Receiver) -> None:
    admin = allowed.client("ada", "admin")
    form = {"url": f"http://{receiver.place}/", "events": ["flag.raised", "person.joined"]}
    shown = admin.post("/board/exchange/webhooks", data=form)
    assert shown.status_code == 201
    assert "heed_whs_" in shown.text
    assert "heed_whs_" not in admin.get("/board/exchange").text
    (webhook,) = allowed.read(webhooks.all_webhooks)
    assert webhook.events == ("flag.raised", "person.joined")
    for do, active in (("pause", False), ("resume", True)):
        assert admin.post(f"/board/exchange/webhooks/{webhook.id}", data={"do": do}).status_code == 303
        assert allowed.read(webhooks.all_webhooks)[0].active is active


@pytest.mark.parametrize(
    "given",
    [
        {"url": "http://127.0.0.1/", "events": []},
        {"url": "http://2130706433/", "events": ["flag.raised"]},
        {"url": "https://example.org/", "events": ["*"]},
        {"url": "https://example.org/", "events": ["flag.raised"], "secret": "mine"},
        {"url": "javascript:alert(1)", "events": ["flag.raised"]},
    ],
)
def test_what_is_no_webhook_is_refused(allowed: Site, given: dict[str, Any]) -> None:
    assert allowed.client("ada", "admin").post("/api/v1/webhooks", json=given).status_code == 422


def test_leads_may_look_and_nobody_makes_one_where_they_are_off(site: Site) -> None:
    given = {"url": "https://example.org/", "events": ["flag.raised"]}
    lead = site.client("lea", "lead")
    assert lead.get("/api/v1/webhooks").json()["enabled"] is False
    assert lead.post("/api/v1/webhooks", json=given).status_code == 403
    assert site.client("ada", "admin").post("/api/v1/webhooks", json=given).status_code == 409
    assert site.client("rae", "rater").get("/api/v1/webhooks").status_code == 403


def test_there_is_an_end_to_their_number(site: Site) -> None:
    def work(connection: Any) -> None:
        for _ in range(51):
            webhooks.create(connection, "https://example.org/", ["flag.raised"], [], "ada", NOW)

    with pytest.raises(Exception, match="50"):
        site.write(work)
    with pytest.raises(DataError):
        site.write(lambda c: webhooks.create(c, "https://example.org/", ["x"], [], "ada", NOW))
