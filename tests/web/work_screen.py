"""The item screen as a rater's hands and eyes know it: what is asked, what is seen, what was stored."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

from browser import Person, Served
from playwright.sync_api import expect
from sqlalchemy import select

from heed.feedback import asked, items
from heed.feedback.forms import parse_form
from heed.feedback.item_files import parse_item
from heed.feedback.schema import completions
from heed.feedback.studio_schema import answers, showings
from heed.feedback.studio_schema import items as items_table

COMPARISON = {"kind": "comparison", "name": "better", "label": "Which is better?"}
RATING = {
    "kind": "rating",
    "name": "score",
    "label": "How good?",
    "attributes": [
        {"name": "helpful", "label": "Helpful"},
        {"name": "kind", "label": "Kind", "low": 0, "high": 10, "step": 1, "style": "slider"},
    ],
}
CRITIQUE = {"kind": "critique", "name": "wrong", "label": "What is wrong?", "defects": ["rude", "false"], "spans": True}


def ask(served: Served, *fields: dict[str, Any], count: int = 6, texts: tuple[str, ...] = (), **changes: Any) -> str:
    """A question with items whose completions say which they are; its id."""
    form = {"title": "The question", "fields": fields, "gold_rate": 0, "repeat_rate": 0, **changes}
    now = datetime.now(UTC)
    rows = [
        parse_item({"prompt": f"Prompt {n}", "completions": list(texts) or [f"first of {n}", f"second of {n}"]})
        for n in range(count)
    ]
    if texts:
        rows = rows[:1]

    def made(connection: Any) -> str:
        question = asked.create_question(connection, "question", parse_form(form), "lea", now)
        items.add_items(connection, question.id, rows, now, random.Random(1))
        return question.id

    served.account("lea", "lead")
    return served.write(made)


def stored(served: Served) -> list[Any]:
    """Every answer in the database, oldest first."""
    with served.project.store.reading() as connection:
        query = (
            select(answers, showings.c.shown_order, showings.c.state, items_table.c.completion_ids)
            .join(showings, showings.c.id == answers.c.showing_id)
            .join(items_table, items_table.c.id == answers.c.item_id)
        )
        return list(connection.execute(query.order_by(answers.c.number)))


def text_of(served: Served, completion: str) -> str:
    with served.project.store.reading() as connection:
        return str(connection.scalar(select(completions.c.text).where(completions.c.id == completion)))


def begin(rater: Person, question: str = "") -> None:
    """Open the item screen and wait for an item."""
    rater.goto("/work" + (f"?question={question}" if question else ""))
    expect(rater.page.locator(".item")).to_be_visible()


def prompt(rater: Person) -> str:
    return rater.page.locator(".prompt .turn").inner_text().splitlines()[-1]


def places(rater: Person) -> list[str]:
    """What the completions on the screen say, from the left."""
    return [text.strip() for text in rater.page.locator(".completion .rendered").all_inner_texts()]


def sent(rater: Person) -> None:
    """Wait until nothing is under way any more."""
    expect(rater.page.locator("#work-state")).to_have_text("All saved")


def waits_for_next(rater: Person, before: str) -> None:
    expect(rater.page.locator(".prompt .turn")).not_to_contain_text(before)
