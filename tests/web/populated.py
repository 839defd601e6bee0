"""A project in which people have been at work for days: something to see on every screen."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from heed.feedback import answers, asked, items, queue
from heed.feedback import studio_schema as schema
from heed.feedback.forms import Form, parse_form
from heed.feedback.item_files import parse_item
from heed.feedback.showings import Rater
from heed.feedback.store import Store
from heed.people import accounts, guidelines, invitations, tokens
from heed.people.accounts import Account

RATERS = ("Ann", "李雷", "محمد", "Zoë O’Neill <b>")
TEXTS = (
    "Here is how:\n\n```python\ndef area(r: float) -> float:\n    return 3.14159 * r**2  # a line that is long enough to be wider than a small screen\n```\n\nThe area is $\\pi r^2$, so it costs $5.",
    "| City | People |\n|:--|--:|\n| 上海 | 24,870,895 |\n| Lagos | 15,388,000 |\n\nBoth are large.",
    "مرحبا، هذه إجابة قصيرة من اليمين إلى اليسار مع English inside.",
    "1. First, switch it *off*.\n2. Wait **ten** seconds.\n3. Switch it on.\n\n- [x] done",
    "对不起，我不太明白。您能再说一遍吗？👍",
    "\\[ \\sum_{i=1}^n i = \\frac{n(n+1)}{2} \\]\n\nThat is all there is to it.",
    "averyveryverylongwordwithoutanyplacetobreakit" * 4,
    "# Answer\n\nNo. <script>alert(1)</script> [a link](https://example.org/) ![far](https://example.org/a.png)",
)
COMPARISON: dict[str, Any] = {
    "title": "Which reply would you rather have received?",
    "instructions": "Read **both** replies to the end.",
    "fields": [{"kind": "comparison", "name": "better", "label": "Which is better?"}],
    "gold_rate": 0.1,
    "repeat_rate": 0.05,
}
EVERYTHING: dict[str, Any] = {
    "title": "Everything about two replies",
    "fields": [
        {"kind": "comparison", "name": "better", "label": "Which is better?"},
        {
            "kind": "rating",
            "name": "scores",
            "label": "How good is each?",
            "attributes": [
                {"name": "helpful", "label": "Helpful", "low_label": "not at all", "high_label": "very"},
                {"name": "kind", "label": "Kind", "low": 0, "high": 100, "step": None, "style": "slider"},
            ],
        },
        {"kind": "ranking", "name": "order", "label": "Put them in order", "required": False},
        {"kind": "thumb", "name": "thumb", "label": "Would you send it?", "required": False},
        {"kind": "edit", "name": "better_text", "label": "Mend it", "required": False},
        {"kind": "demonstration", "name": "own", "label": "Write your own", "required": False},
        {
            "kind": "critique",
            "name": "faults",
            "label": "What is wrong with it?",
            "required": False,
            "defects": ["wrong", "rude"],
            "spans": True,
            "note": True,
        },
    ],
    "ask_confidence": True,
}
EXAMINED: dict[str, Any] = COMPARISON | {"title": "With a test before it", "qualification": {"pass_mark": 0.5}}


def populate(store: Store) -> dict[str, str]:
    """Fill the database of ``store``; ids by name: "question", "everything", "examined", "item", "secret", "ann", ..."""
    begin = datetime.now(UTC) - timedelta(days=3)
    rng = random.Random(1)
    names: dict[str, str] = {}

    def people(connection: Connection) -> list[Account]:
        made = [
            accounts.create_account(connection, name, "rater", "east" if n % 2 else "west", begin)
            for n, name in enumerate(RATERS)
        ]
        made.append(accounts.create_account(connection, "Lea", "lead", "", begin))
        made.append(accounts.create_account(connection, "Root", "admin", "", begin))
        guidelines.save(connection, "# How to judge\n\nBe fair.", "first", "Lea", 0, begin)
        guidelines.save(
            connection, "# How to judge\n\nBe fair, and *quick*.\n\n```\ncode\n```", "quicker", "Lea", 1, begin
        )
        for name in (*RATERS[:3], "Lea", "Root"):
            guidelines.acknowledge(connection, name, 2, begin)
        root, now = made[-1], datetime.now(UTC)
        tokens.make(connection, made[0], "the script that reads what I have answered", ["rate"], 30, now)
        names["secret"] = invitations.invite(connection, "rater", "west", None, "for the new one", root, now)
        return made

    def ask(connection: Connection) -> None:
        for key, values in (("question", COMPARISON), ("everything", EVERYTHING), ("examined", EXAMINED)):
            form: Form = parse_form(values)
            names[key] = asked.create_question(connection, key, form, "Lea", begin).id
            items.add_items(connection, names[key], [_row(n, key) for n in range(14)], begin, rng)

    for account in store.write(people):
        names[account.name.split()[0].lower()] = account.id
    store.write(ask)
    of_question = select(schema.items.c.id).where(schema.items.c.question_id == names["question"])
    with store.reading() as connection:
        names["item"] = str(connection.scalar(of_question.order_by(schema.items.c.number).offset(2)))
    for turn in range(40):
        name = RATERS[turn % 3]
        now = begin + timedelta(minutes=7 * turn)
        store.write(
            lambda connection, name=name, now=now: _answer(connection, Rater(name, ""), names["question"], now, rng)
        )
    return names


def _row(number: int, key: str) -> Any:
    prompt: Any = f"Question {number} of {key}: what do you say to {TEXTS[(number + 3) % len(TEXTS)]}"
    values: dict[str, Any] = {
        "completions": [TEXTS[number % len(TEXTS)], TEXTS[(number + 1) % len(TEXTS)] + f" ({number})"]
    }
    if number % 3 == 1:
        turns = [
            ("system", "You are kind."),
            ("user", prompt),
            ("assistant", "Tell me more."),
            ("user", "请用中文回答。"),
        ]
        values["messages"] = [{"role": role, "content": content} for role, content in turns]
    else:
        values["prompt"] = prompt
    if number in (0, 5):
        purpose = "qualification" if key == "examined" else "gold" if number else "training"
        values |= {"purpose": purpose, "expected": {"better": {"choice": "a"}}, "explanation": "The first one answers."}
    return parse_item(values)


def _answer(connection: Connection, rater: Rater, question_id: str, now: datetime, rng: random.Random) -> None:
    claimed = queue.claim(connection, rater, question_id, now, rng, ahead=1)
    if isinstance(claimed, queue.Claimed):
        choice = rng.choice(["left", "left", "right", "right", "tie", "both_bad"])
        said = {"better": {"choice": choice, "strength": 2 if choice in ("left", "right") else None}}
        seconds = rng.uniform(5, 60)
        answers.answer(connection, rater, claimed.showings[0].id, said, None, seconds, seconds * 0.8, "", now)
