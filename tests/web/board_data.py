"""A small site on which everything that the board counts is known by heart."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from site_of_tests import Site

from heed.feedback import answers, asked, items, leases, queue
from heed.feedback.forms import Form, parse_form
from heed.feedback.item_files import parse_item
from heed.feedback.showings import Rater
from heed.people import audit

RATERS = ("ann", "bob", "cy")
SAID: Mapping[str, Mapping[str, str]] = {
    "item 0": {"ann": "a", "bob": "a", "cy": "a"},
    "item 1": {"ann": "a", "bob": "b", "cy": "a"},
    "item 2": {"ann": "b", "bob": "b", "cy": "b"},
    "item 3": {"ann": "a", "bob": "tie"},
    "item 4": {"ann": "b"},
}
"""What each rater says of each item, in item order; nobody was asked about the sixth."""


@dataclass
class Known:
    """The site and the ids of what is on it; items by their prompts."""

    site: Site
    question: str
    items: dict[str, str]
    begun: datetime


def comparison_form(**settings: object) -> Form:
    field = {"kind": "comparison", "name": "better", "label": "Which is better?"}
    still = {"gold_rate": 0.0, "repeat_rate": 0.0, "overlap": 3, "lease_minutes": 600.0}
    return parse_form({"title": "Compare", "fields": [field], **still, **settings})


def ask(known: Known, rater: str, now: datetime) -> None:
    """Let a rater answer everything as ``SAID`` has it, in whatever order the queue hands it out."""
    rng, who = random.Random(rater), Rater(rater)
    prompts = {item: prompt for prompt, item in known.items.items()}
    for minute in range(len(prompts)):
        then = now + timedelta(minutes=minute)
        got = known.site.write(lambda c, t=then: queue.claim(c, who, known.question, t, rng, 1))
        if isinstance(got, queue.Nothing):
            return
        showing = got.showings[0]
        choice = SAID.get(prompts[showing.item_id], {}).get(rater)
        if choice is None:
            known.site.write(lambda c, s=showing.id, t=then: leases.skip(c, who, s, "no idea", t))
            continue
        places = {"a": "left", "b": "right"} if showing.shown_order[0] == 0 else {"a": "right", "b": "left"}
        wire = {"better": {"choice": places.get(choice, choice), "strength": None}}
        known.site.write(
            lambda c, s=showing.id, w=wire, t=then: answers.answer(
                c, who, s, w, None, 20.0, 10.0, "", t + timedelta(seconds=20)
            )
        )


def known_site(site: Site) -> Known:
    """Fill an empty site."""
    begun = datetime.now(UTC) - timedelta(hours=2)
    question = site.write(lambda c: asked.create_question(c, "Compare", comparison_form(), "lea", begun))
    texts = [f"item {number}" for number in range(6)]
    rows = [parse_item({"prompt": text, "completions": [f"{text}: one", f"{text}: two"]}) for text in texts]
    added = site.write(lambda c: items.add_items(c, question.id, rows, begun, random.Random(0)))
    known = Known(site, question.id, dict(zip(texts, added.ids, strict=True)), begun)
    for name in RATERS:
        site.account(name)
        ask(known, name, begun)
    return known


def entries(known: Known) -> list[tuple[str, str, str]]:
    """(actor, action, subject) of the log, newest first; the chain is whole."""

    def read(connection: Any) -> list[tuple[str, str, str]]:
        assert audit.verify(connection) == []
        return [(one.actor, one.action, one.subject) for one in audit.entries(connection)]

    return known.site.read(read)


def as_inputs(form: dict[str, Any]) -> dict[str, str]:
    """The inputs of the editor for a form with one comparison."""
    (field,) = form["fields"]
    texts = {f"fields.0.{name}": field[name] for name in ("kind", "name", "label", "help")}
    flags = {f"fields.0.{name}": "on" for name in ("required", "tie", "both_bad", "strength") if field[name]}
    shares = {name: f"{100 * form[name]:g}" for name in ("gold_rate", "repeat_rate", "chance_share")}
    plain = {name: f"{form[name]}" for name in ("title", "overlap", "lease_minutes", "selector", "reading")}
    return texts | flags | shares | plain | {"instructions": form["instructions"], "do": "save", "note": "n"}
