"""A rater receives no other's answer, no known answer, no name of a model or a run, no id that could be recognised: looked
for in every byte that the server sends to a rater, over everything a rater can ask for."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from site_of_tests import Site
from sqlalchemy import Connection, select
from starlette.testclient import TestClient

from heed.feedback import answers, asked, items, leases, queue, schema, studio_schema
from heed.feedback.forms import parse_form
from heed.feedback.item_files import ItemRow
from heed.feedback.kinds import completion_id
from heed.feedback.records import CompletionRecord
from heed.feedback.showings import Rater
from heed.people import audit, exclusions, guidelines
from heed.web.permissions import Caller
from heed.web.routes import all_routes
from heed.web.studio import api as studio_api

OTHERS = ("marker-other-one", "marker-other-two")
FIELDS = [
    {"kind": "comparison", "name": "better", "label": "Which is better?"},
    {"kind": "demonstration", "name": "own", "label": "Your own", "required": False},
]
FORM = {"title": "Which?", "fields": FIELDS, "overlap": 3, "gold_rate": 0.5, "repeat_rate": 0.0}


def fill(site: Site) -> str:
    """A question with work, gold and training items, and two others who have been at work; the question's id."""
    begin = datetime.now(UTC) - timedelta(hours=2)
    rng = random.Random(0)
    for name in OTHERS:
        site.account(name, group="marker-group")
    site.account("marker-lead", "lead")
    store = site.project.store
    run = site.project.begin_run("sample", {"model": "marker-model"}, 0)
    prompts = store.add_prompts([(f"Sampled {n}?", "train", "marker-source") for n in range(4)])
    sampled = [
        CompletionRecord(completion_id(prompt, f"reply {k}", f"{run.id}/{k}"), prompt, f"reply {k}", run.id, k)
        for prompt in prompts
        for k in (0, 1)
    ]
    store.add_completions(sampled)

    def make(connection: Connection) -> str:
        guidelines.save(connection, "Be fair.", "first", "marker-lead", 0, begin)
        question = asked.create_question(connection, "which", parse_form(FORM), "marker-lead", begin).id
        rows = [
            ItemRow(
                f"Ask {n}?", (f"one {n}", f"two {n}"), external_id=f"marker-external-{n}", priority=987_654,
                purpose=purpose, source="marker-source", explanation=f"marker-explanation-{n}",
                expected={"better": {"choice": "a"}, "own": "marker-expected"} if purpose != "work" else None,
            )
            for n, purpose in enumerate(["work"] * 4 + ["gold"] * 4 + ["training"])
        ]  # fmt: skip
        items.add_items(connection, question, rows, begin, rng)
        pairs = zip(sampled[::2], sampled[1::2], strict=True)
        new = [items.NewItem(a.prompt_id, (a.id, b.id), "search", "marker-source") for a, b in pairs]
        items.add_known_items(connection, question, new, begin, rng)
        exclusions.exclude(connection, OTHERS[1], "marker-reason", "marker-lead", begin)
        audit.record(connection, "marker-lead", "marker-action", "marker-subject", {}, begin)
        return question

    question = site.write(make)
    for turn in range(10):
        site.write(lambda connection, turn=turn: work(connection, question, turn, begin, rng))
    return question


def work(connection: Connection, question: str, turn: int, now: datetime, rng: random.Random) -> None:
    """One of the others answers, flags, or leaves a draft."""
    rater = Rater(OTHERS[turn % 2], "marker-group")
    claimed = queue.claim(connection, rater, question, now, rng, ahead=1)
    assert isinstance(claimed, queue.Claimed)
    showing = claimed.showings[0].id
    if turn == 4:
        leases.flag(connection, rater, showing, "marker-flag", now)
    if turn == 5:
        leases.skip(connection, rater, showing, "marker-skip", now)
        return
    said = {"better": {"choice": "tie"}, "own": "marker-demonstration"}
    answers.answer(connection, rater, showing, said, 0.123454321, 4321.5, 4321.25, "marker-note", now)


def secrets_of(site: Site) -> set[str]:
    """Every identity in the database that a rater could use to recognise something."""
    loop = (schema.prompts, schema.completions, schema.runs, schema.feedback)
    studio = (studio_schema.items, studio_schema.answers, studio_schema.flags)
    found = {"marker-", "0.123454321", "4321.25", "987654", "random_key"}
    with site.project.store.reading() as connection:
        for table in (*loop, *studio):
            found |= set(connection.scalars(select(table.c.id)))
    return found


def wire_of(response: Any) -> str:
    """What went over the wire: status line's headers and body."""
    return "\n".join(f"{name}: {value}" for name, value in response.headers.items()) + "\n" + response.text


@pytest.fixture
def question(site, monkeypatch):
    # Enough of everything comes: by chance there would now and then be hardly any gold among so few.
    monkeypatch.setattr(studio_api, "_chance", random.Random(4))
    return fill(site)


@pytest.fixture
def rater(site, question) -> TestClient:
    return site.client("ann")


def assert_blind(site: Site, wire: str, allowed: frozenset[str] = frozenset()) -> None:
    leaked = {secret for secret in secrets_of(site) - allowed if secret in wire}
    assert not leaked, f"{leaked} in {wire[:3000]}"


def judge(rater: TestClient, question: str, wires: list[str]) -> list[dict[str, Any]]:
    """Answer whatever comes until nothing is left; what was shown."""
    shown = []
    acknowledged = rater.post("/api/v1/guidelines/acknowledgements", json={"version": 1})
    wires.append(wire_of(acknowledged))
    for _ in range(30):
        response = rater.post(f"/api/v1/questions/{question}/showings", json={})
        wires.append(wire_of(response))
        showings = response.json()["showings"]
        if not showings:
            return shown
        one = showings[0]
        path = f"/api/v1/showings/{one['id']}"
        wires.append(wire_of(rater.put(f"{path}/draft", json={"draft": {"own": "mine"}, "revision": 0})))
        wires.append(wire_of(rater.post(f"{path}/renew", json={"active_seconds": 1.0})))
        if len(shown) == 2:
            wires.append(wire_of(rater.post(f"{path}/flag", json={"note": "odd"})))
        said = {"answer": {"better": {"choice": "left"}}, "confidence": None, "seconds": 3.0, "active_seconds": 2.0}
        given = rater.post(f"{path}/answer", json={**said, "note": ""})
        assert given.status_code == 200, given.text
        one["given"] = given
        shown.append(one)
        wires.append("" if one["training"] else wire_of(given))
        wires.append(wire_of(rater.post(f"{path}/answer", json={**said, "note": "another"})))
    raise AssertionError("the queue never ends")


def test_nothing_that_a_rater_receives_while_working_tells_more_than_the_item(site, question, rater):
    wires: list[str] = []
    shown = judge(rater, question, wires)
    assert len(shown) >= 12  # work, gold and training have all been there
    wires.append(wire_of(rater.post(f"/api/v1/questions/{question}/undo", json={})))
    for wire in wires:
        assert_blind(site, wire)


def test_after_a_training_item_its_own_explanation_is_told_and_nothing_else(site, question, rater):
    shown = judge(rater, question, [])
    (training,) = [one for one in shown if one["training"]]
    told = training["given"].json()["feedback"]
    assert "marker-explanation-8" in told["explanation_html"]
    rest = wire_of(training["given"]).replace("marker-explanation-8", "").replace("marker-expected", "")
    assert_blind(site, rest)


def test_gold_looks_like_work_in_every_way(site, question, rater):
    shown = judge(rater, question, [])
    query = select(studio_schema.showings.c.id, studio_schema.showings.c.purpose)
    with site.project.store.reading() as connection:
        purposes = {row.id: row.purpose for row in connection.execute(query)}
    kinds = {purpose: [one for one in shown if purposes[one["id"]] == purpose] for purpose in ("work", "gold")}
    assert min(len(ones) for ones in kinds.values()) >= 3

    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shape(inner) for key, inner in value.items() if key != "html"}
        return [shape(inner) for inner in value] if isinstance(value, list) else type(value).__name__

    def shapes(ones: list[dict[str, Any]]) -> set[str]:
        first = {str(shape({key: value for key, value in one.items() if key != "given"})) for one in ones}
        given = {str(sorted(one["given"].headers.items())) + one["given"].text for one in ones}
        return first | given

    assert shapes(kinds["work"]) == shapes(kinds["gold"])


def test_every_address_that_a_rater_may_ask_for_keeps_the_secrets(site, question, rater):
    judge(rater, question, [])
    account = site.account("ann")
    mine = Caller(account)
    values = {
        "question_id": question,
        "question": question,
        "secret": "x",
        "medium_id": "m0",
        "session_id": "s",
        "token_id": "t",
    }
    asked_for = 0
    for route in all_routes():
        if route.method != "GET" or not route.allow(mine):
            continue
        path = re.sub(r"\{([^}:]*)[^}]*\}", lambda match: values.get(match[1], "x"), route.path)
        assert_blind(site, wire_of(rater.get(path)))
        asked_for += 1
    assert asked_for > 10


def test_what_is_not_for_raters_says_nothing_when_it_refuses(site, question, rater):
    with site.project.store.reading() as connection:
        item = connection.scalar(select(studio_schema.items.c.id))
        showing = connection.scalar(
            select(studio_schema.showings.c.id).where(studio_schema.showings.c.rater == OTHERS[0])
        )
    for route in all_routes():
        if route.allow(Caller(site.account("ann"))) or route.method != "GET":
            continue
        path = re.sub(r"\{[^}]*\}", str(item), route.path)
        wire = wire_of(rater.get(path)).replace(str(item), "")
        assert_blind(site, wire)
    body = {
        "answer": {"better": {"choice": "left"}},
        "confidence": None,
        "seconds": 1.0,
        "active_seconds": 1.0,
        "note": "",
    }
    others = rater.post(f"/api/v1/showings/{showing}/answer", json=body)
    nobodys = rater.post(f"/api/v1/showings/{'s' + '0' * 32}/answer", json=body)
    assert others.status_code == nobodys.status_code == 404
    assert others.text.replace(str(showing), "") == nobodys.text.replace("s" + "0" * 32, "")


def test_the_live_numbers_of_the_board_are_not_for_raters(site, question, rater):
    assert rater.get("/api/v1/board/events").status_code == 403
