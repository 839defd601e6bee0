"""Answers that a reward model contradicts stand in the board's queue until somebody decides, corrects, or a newer one does not."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from board_data import SAID, Known, known_site
from site_of_tests import Site
from sqlalchemy import insert, select

from heed.feedback.contested import STAGE, contested_elsewhere, contested_items, contested_judgments
from heed.feedback.kinds import Comparison
from heed.feedback.schema import runs
from heed.feedback.studio_schema import answer_feedback, answers
from heed.people import exclusions


@pytest.fixture
def known(site: Site) -> Known:
    return known_site(site)


def judgment_of(known: Known, prompt: str, rater: str) -> tuple[str, str]:
    """Ids of the judgment and the answer that a rater gave to an item."""
    query = select(answer_feedback.c.feedback_id, answers.c.id).join(
        answers, answers.c.id == answer_feedback.c.answer_id
    )
    row = known.site.read(
        lambda c: c.execute(query.where(answers.c.item_id == known.items[prompt], answers.c.rater == rater)).one()
    )
    return row.feedback_id, row.id


def diagnose(known: Known, number: int, contested: dict[str, float], state: str = "done") -> None:
    """A run that held a reward model against the judgments."""
    now = datetime.now(UTC)
    values: dict[str, Any] = {"id": f"{STAGE}-{number}", "stage": STAGE, "ordinal": number, "fingerprint": str(number)}
    values |= {
        "config": {},
        "seed": 0,
        "round": 0,
        "version": "0",
        "state": state,
        "owner": "",
        "labels": 0,
        "tokens": 0,
    }
    values |= {"seconds": 1.0, "error": "", "started": now, "ended": now}
    values["metrics"] = {"contested": [{"feedback": name, "probability": p} for name, p in contested.items()]}
    known.site.write(lambda c: c.execute(insert(runs).values(values)))


def queue(known: Known) -> list[tuple[str, float, float]]:
    """The queue as (prompt, disagreement, contested)."""
    prompts = {item: prompt for prompt, item in known.items.items()}
    client = known.site.client("lea", "lead")
    client.get("/board/disagreements?done=saved")  # which looks anew
    found = client.get("/api/v1/board/disagreements").json()
    assert found["total"] == len(found["items"])
    return [(prompts[one["id"]], pytest.approx(one["disagreement"]), one["contested"]) for one in found["items"]]


DISPUTED = [("item 3", 1.0, 0.0), ("item 1", 2 / 3, 0.0)]


def test_what_is_contradicted_comes_among_the_disputed_the_surest_first(known: Known) -> None:
    assert queue(known) == DISPUTED
    one, _ = judgment_of(known, "item 2", "ann")
    two, _ = judgment_of(known, "item 1", "bob")
    diagnose(known, 1, {one: 0.9, two: 0.95, "f0000000000000000": 0.99})
    assert queue(known) == [("item 3", 1.0, 0.0), ("item 1", 2 / 3, 0.95), ("item 2", 0.0, 0.9)]
    overview = known.site.client("lea", "lead").get("/api/v1/board/overview").json()["overview"]
    assert overview["disputed"] == 3


def test_the_newest_diagnosis_that_is_done_counts(known: Known) -> None:
    one, _ = judgment_of(known, "item 2", "ann")
    diagnose(known, 1, {one: 0.9})
    diagnose(known, 2, {}, "failed")
    assert known.site.read(contested_judgments) == {one: 0.9}
    diagnose(known, 3, {})
    assert known.site.read(contested_items) == ()
    assert queue(known) == DISPUTED


def test_the_page_says_which_answer_and_a_decision_takes_the_item_out(known: Known) -> None:
    one, answer = judgment_of(known, "item 2", "ann")
    other, _ = judgment_of(known, "item 2", "bob")
    diagnose(known, 1, {one: 0.97, other: 0.6})
    (found,) = known.site.read(contested_items)
    assert (found.item, found.probability, len(found.answers)) == (known.items["item 2"], 0.97, 2)
    assert found.answers[answer] == 0.97
    lead, item = known.site.client("lea", "lead"), known.items["item 2"]
    page = lead.get(f"/board/disagreements?item={item}&done=saved")
    assert page.status_code == 200
    assert re.findall(r"the reward model contradicts: (\d+)\s%", page.text) == ["97", "60"]
    body = {"answer": {"better": {"choice": SAID["item 2"]["ann"]}}, "note": "they are right"}
    assert lead.post(f"/api/v1/board/items/{item}/decision", json=body).status_code == 200
    assert queue(known) == DISPUTED


def test_answers_of_who_is_excluded_since_wait_for_nobody(known: Known) -> None:
    one, _ = judgment_of(known, "item 2", "ann")
    diagnose(known, 1, {one: 0.9})
    known.site.write(lambda c: exclusions.exclude(c, "ann", "a test", "lea", datetime.now(UTC)))
    assert known.site.read(contested_items) == ()


def test_what_is_no_answer_of_the_studio_is_counted_and_said_to_be_left_out(known: Known) -> None:
    store = known.site.project.store
    prompt = next(iter(store.prompts()))
    completions = [one.id for one in store.completions() if one.prompt_id == prompt.id][:2]
    store.add_raters([("robot", "simulated", ""), ("elsewhere", "human", "")])
    said = {"prompt_id": prompt.id, "completion_ids": completions, "choice": "a", "created": known.begun}
    judgments = [Comparison(rater=name, **said) for name in ("robot", "elsewhere")]
    store.add_feedback(judgments)
    ids = [one.id for one in judgments]
    own, _ = judgment_of(known, "item 2", "ann")
    diagnose(known, 1, dict.fromkeys([*ids, own], 0.9))
    assert known.site.read(contested_elsewhere) == {"simulated": 1, "human": 1}
    page = known.site.client("lea", "lead").get("/board/disagreements?done=saved").text
    assert "Not listed: 2 answers that the newest reward model contradicts" in page
    assert "1 of people, from a file or the terminal, 1 of simulated raters" in page
    assert known.items["item 2"] in page  # the answer of a person here is listed
    known.site.write(lambda c: exclusions.exclude(c, "robot", "a test", "lea", datetime.now(UTC)))
    assert known.site.read(contested_elsewhere) == {"human": 1}


def test_raters_learn_nothing_of_it(known: Known) -> None:
    one, _ = judgment_of(known, "item 2", "ann")
    diagnose(known, 1, {one: 0.9731})
    for path in ("/", "/me", "/api/v1/questions", "/api/v1/me"):
        assert "0.97" not in known.site.client("ann").get(path).text
    assert known.site.client("ann").get("/api/v1/board/disagreements").status_code == 403
