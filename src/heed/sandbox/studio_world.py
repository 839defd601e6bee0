"""A studio with something on every screen: invented items of every kind, people with faults, and a week of their answers.

Nothing here is real, and everything goes through the functions that the studio itself uses.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select

from heed.feedback import answers, asked, leases, queue, schema
from heed.feedback.adjudication import adjudicate
from heed.feedback.fields.comparison import ComparisonField
from heed.feedback.fields.critique import CritiqueField
from heed.feedback.fields.ranking import RankingField
from heed.feedback.fields.rating import Attribute, RatingField
from heed.feedback.fields.thumb import ThumbField
from heed.feedback.fields.written import DemonstrationField, EditField
from heed.feedback.forms import Form, Qualification
from heed.feedback.item_files import ItemRow
from heed.feedback.items import add_items
from heed.feedback.showings import Rater
from heed.feedback.store import Store
from heed.feedback.studio_schema import items
from heed.people import accounts, exclusions, guidelines, qualification
from heed.sandbox import grammar, studio_texts, utility
from heed.sandbox.pictures import bar_chart, bouncing_ball
from heed.sandbox.studio_raters import CHARACTERS, Character, answer_of, seconds_of
from heed.sandbox.studio_texts import Shown

ADMIN, LEAD, RATER = "Ada", "Lea", "Robin"
"""The people whom a newcomer can be; Robin has rated before, and has new guidelines to read."""

NAME = "a studio to try"

_NEWCOMER = Character(RATER, "north", 0.1, seconds=27)
_DAYS = 6
_DESK_ITEMS = 60
_BEST_REPLY = 7.0
"""Utility of the best reply that the support desk knows; see ``heed.sandbox.utility``."""
_FRESH = 2

FORMS: dict[str, Form] = {
    "Which reply?": Form(
        title="Which reply would you rather have received?",
        instructions="Read both before you choose. The **guidelines** say what counts.",
        fields=(ComparisonField(name="better", label="Which is better?"),),
        overlap=3,
        gold_rate=0.08,
        repeat_rate=0.04,
        ask_confidence=True,
        qualification=Qualification(pass_mark=0.6, attempts=3, explain=True),
    ),
    "How good is it?": Form(
        title="How good is this reply?",
        fields=(
            RatingField(
                name="score",
                label="Rate the reply",
                attributes=(
                    Attribute(name="right", label="Right", low_label="wrong", high_label="right"),
                    Attribute(name="clear", label="Clear", low_label="muddled", high_label="clear"),
                    Attribute(
                        name="tone",
                        label="Tone",
                        low=0,
                        high=100,
                        step=None,
                        style="slider",
                        low_label="cold",
                        high_label="warm",
                    ),
                ),
            ),
        ),
        overlap=3,
    ),
    "Best first": Form(
        title="Put the replies in order, best first",
        fields=(RankingField(name="order", label="Best first; equals may share a place"),),
    ),
    "Keep or mend": Form(
        title="Is it good as it is? If not, mend it",
        fields=(
            ThumbField(name="good", label="Good as it is?"),
            EditField(name="mended", label="As you would have written it", required=False),
        ),
    ),
    "Write it yourself": Form(
        title="What would you answer?", fields=(DemonstrationField(name="reply", label="Your reply"),)
    ),
    "Everything at once": Form(
        title="Compare, rate, and say what is wrong",
        fields=(
            ComparisonField(name="better", label="Which is better?"),
            RatingField(name="score", label="How helpful?", attributes=(Attribute(name="helpful", label="Helpful"),)),
            CritiqueField(
                name="faults", label="What is wrong with it?", defects=studio_texts.DEFECTS, spans=True, required=False
            ),
        ),
    ),
    "Pictures and clips": Form(
        title="Which one shows what was asked for?",
        fields=(ComparisonField(name="better", label="Which is better?", strength=False),),
    ),
}


@dataclass
class _World:
    """What is being made.

    Attributes:
        rng: where chance comes from.
        now: the time at the end.
        questions: ids by name.
        worths: of completions (0 to 1), by id.
        texts: of completions, by id.
    """

    rng: random.Random
    now: datetime
    questions: dict[str, str] = field(default_factory=dict)
    worths: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


def fill(store: Store, keep_medium: Callable[[bytes], str], now: datetime, seed: int = 0) -> None:
    """Fill an empty store.

    Args:
        store: of a new project.
        keep_medium: keeps a picture or clip in the project and returns its id.
        now: the time (UTC); the answers are of the days before it.
        seed: of everything random.
    """
    world = _World(random.Random(seed), now)
    store.write(lambda connection: _people(connection, world))
    clips = _clips(keep_medium)
    store.write(lambda connection: _ask(connection, world))
    store.write(lambda connection: _add_work(connection, world, clips, fresh=False))
    for day in range(_DAYS, 0, -1):
        store.write(lambda connection, day=day: _work(connection, world, now - timedelta(days=day)))  # type: ignore[misc]
    store.write(lambda connection: _add_work(connection, world, clips, fresh=True))
    store.write(lambda connection: _lead(connection, world))
    store.write(lambda connection: _learned(connection, world))


def _people(connection: Connection, world: _World) -> None:
    long_ago = world.now - timedelta(days=_DAYS + 3)
    accounts.create_account(connection, ADMIN, "admin", "", long_ago)
    accounts.create_account(connection, LEAD, "lead", "", long_ago)
    for one in (*CHARACTERS, _NEWCOMER):
        accounts.create_account(connection, one.name, "rater", one.group, long_ago)
    first, second = studio_texts.GUIDELINES
    guidelines.save(connection, first, "", LEAD, 0, long_ago)
    for one in (*CHARACTERS, _NEWCOMER):
        guidelines.acknowledge(connection, one.name, 1, long_ago + timedelta(hours=1))
    lately = world.now - timedelta(days=2, hours=4)
    guidelines.save(
        connection, second, "What belongs to other people stays with them; a table of the rare cases.", LEAD, 1, lately
    )
    for one in CHARACTERS:
        guidelines.acknowledge(connection, one.name, 2, lately + timedelta(hours=1))


# What is asked


def _ask(connection: Connection, world: _World) -> None:
    then = world.now - timedelta(days=_DAYS + 2)
    for name, form in FORMS.items():
        world.questions[name] = asked.create_question(connection, name, form, LEAD, then).id
    _add(connection, world, "Which reply?", list(_desk_pairs(world.rng)), name="desk")
    for purpose, known in (
        ("gold", studio_texts.GOLD_PAIRS),
        ("training", studio_texts.TRAINING_PAIRS),
        ("qualification", studio_texts.TEST_PAIRS),
    ):
        _add(connection, world, "Which reply?", known, purpose, purpose)


def _add_work(connection: Connection, world: _World, clips: Sequence[Shown], fresh: bool) -> None:
    """The first items of each kind, or the last two, which nobody has seen when the newcomer comes."""
    kinds: dict[str, Sequence[Shown]] = {
        "Which reply?": studio_texts.PAIRS,
        "How good is it?": studio_texts.RATED,
        "Best first": studio_texts.RANKED,
        "Keep or mend": studio_texts.MENDED,
        "Write it yourself": [Shown(prompt, ()) for prompt in studio_texts.ASKED],
        "Everything at once": studio_texts.WHOLE,
        "Pictures and clips": clips,
    }
    for question, shown in kinds.items():
        held_back = len(shown) - max(_FRESH, len(shown) // 3)
        part = shown[held_back:] if fresh else shown[:held_back]
        _add(connection, world, question, part, name="fresh" if fresh else "item", priority=1)


def _add(
    connection: Connection,
    world: _World,
    question: str,
    shown: Sequence[Shown],
    purpose: str = "work",
    name: str = "item",
    priority: int = 0,
) -> None:
    rows = [
        ItemRow(
            one.prompt,
            tuple(text for text, _ in one.completions),
            external_id=f"{name}-{place}",
            priority=priority,
            purpose=purpose,
            expected=one.expected or None,
            explanation=one.explanation,
            source="invented",
        )
        for place, one in enumerate(shown, 1)
    ]
    then = world.now - timedelta(days=_DAYS + 2)
    added = add_items(connection, world.questions[question], rows, then, world.rng)
    found = {row.id: row for row in connection.execute(select(items).where(items.c.id.in_(added.ids)))}
    for identity, one in zip(added.ids, shown, strict=True):
        for completion, (text, worth) in zip(found[identity].completion_ids, one.completions, strict=True):
            world.worths[completion], world.texts[completion] = worth, text


def _desk_pairs(rng: random.Random) -> Iterator[Shown]:
    """Messages to the support desk of the built-in world, each with two replies and their true utility."""
    for prompt in grammar.prompts("train", rng.randrange(1 << 16), _DESK_ITEMS):
        replies: dict[str, float] = {}
        while len(replies) < 2:
            text = grammar.reply(grammar.parse(prompt), grammar.mixture_dials(rng), rng)
            replies[text] = min(1.0, max(0.0, utility.support_desk(prompt, text) / _BEST_REPLY))
        yield Shown(prompt, tuple(replies.items()))


def _clips(keep: Callable[[bytes], str]) -> list[Shown]:
    def picture(content: bytes, words: str) -> str:
        return f"![{words}](media:{keep(content)})"

    rising, flat = (0.2, 0.35, 0.5, 0.75, 0.95), (0.5, 0.52, 0.48, 0.51, 0.5)
    return [
        Shown(
            "Draw a chart of sales that rise all year.",
            (
                (picture(bar_chart(rising), "five bars, each higher than the one before"), 0.9),
                (picture(bar_chart(flat, colour=3), "five bars of about the same height"), 0.1),
            ),
        ),
        Shown(
            "Show a rubber ball that falls on the floor.",
            (
                (picture(bouncing_ball(bounces=True), "a ball falls and comes up again"), 0.9),
                (picture(bouncing_ball(bounces=False), "a ball falls and stays down"), 0.2),
            ),
        ),
        Shown(
            f"{picture(bar_chart((0.9, 0.6, 0.4, 0.3)), 'four bars, each lower than the one before')}\n\nWhat does this say?",
            (("It falls, quickly at first and then more slowly.", 0.9), ("It goes up.", 0.0)),
        ),
    ]


# What people said of it


def _work(connection: Connection, world: _World, day: datetime) -> None:
    morning = day.replace(hour=9, minute=0, second=0, microsecond=0)
    for place, who in enumerate((_NEWCOMER, *CHARACTERS)):
        moment = morning + timedelta(minutes=7 * place)
        for name in FORMS:
            if who is _NEWCOMER and name != "How good is it?":
                continue  # left for the newcomer: the training, the test, and something of every kind
            if name == "Which reply?":
                moment = _take_test(connection, world, name, who, moment)
            moment = _answer_some(connection, world, name, who, moment, _share(name, who, world.rng))


def _share(name: str, who: Character, rng: random.Random) -> int:
    """How many items of a question somebody does on a day."""
    most = {"Which reply?": 9, "How good is it?": 2}.get(name, 1)
    return rng.randint(most // 2, most)


def _take_test(connection: Connection, world: _World, name: str, who: Character, moment: datetime) -> datetime:
    question = world.questions[name]
    standing = qualification.state_of(connection, who.name, question)
    if standing.may_work:
        return moment
    if standing.may_begin:
        qualification.begin(connection, who.name, question, moment)
        while showing := qualification.claim(connection, _rater(who), question, moment, world.rng):
            moment = _answer(connection, world, FORMS[name], showing, who, moment)
        standing = qualification.finish(connection, who.name, question, moment)
    if not standing.may_work:
        qualification.grant(connection, who.name, question, accounts.OPERATOR, moment)
    return moment


def _answer_some(
    connection: Connection, world: _World, name: str, who: Character, moment: datetime, count: int
) -> datetime:
    for _ in range(count):
        claimed = queue.claim(connection, _rater(who), world.questions[name], moment, world.rng, ahead=1)
        if isinstance(claimed, queue.Nothing):
            break
        showing = claimed.showings[0]
        if world.rng.random() < 0.02:
            leases.flag(connection, _rater(who), showing.id, "The question itself seems odd to me.", moment)
        if world.rng.random() < 0.02:
            leases.skip(connection, _rater(who), showing.id, "I do not know enough about it.", moment)
            continue
        moment = _answer(connection, world, FORMS[name], showing, who, moment)
    return moment


def _answer(
    connection: Connection, world: _World, form: Form, showing: Any, who: Character, moment: datetime
) -> datetime:
    ids = [showing.completion_ids[place] for place in showing.shown_order]
    said = answer_of(form, [world.worths[one] for one in ids], [world.texts[one] for one in ids], who, world.rng)
    seconds = seconds_of(who, world.rng)
    confidence = round(world.rng.uniform(0.4, 1.0), 1) if form.ask_confidence else None
    moment += timedelta(seconds=seconds)
    answers.answer(connection, _rater(who), showing.id, said, confidence, seconds, 0.9 * seconds, "", moment)
    return moment + timedelta(seconds=2)


def _rater(who: Character) -> Rater:
    return Rater(who.name, who.group)


# What the lead made of it


def _lead(connection: Connection, world: _World) -> None:
    yesterday = world.now - timedelta(hours=20)
    question = world.questions["Which reply?"]
    done = select(items).where(
        items.c.question_id == question, items.c.answers >= items.c.overlap, items.c.purpose == "work"
    )
    decided = connection.execute(done.order_by(items.c.number).limit(1)).first()
    if decided is not None:
        better = max(range(2), key=lambda place: world.worths[decided.completion_ids[place]])
        said = {"better": {"choice": ("left", "right")[better], "strength": 2}}
        adjudicate(connection, Rater(LEAD), decided.id, said, "The other one does not answer the question.", yesterday)
    exclusions.exclude(
        connection, "Sam", "Four seconds an answer, and no better than chance on known ones.", LEAD, yesterday
    )


def _learned(connection: Connection, world: _World) -> None:
    """A turn of the loop that learned from these answers, so that raters see what became of theirs."""
    begun = world.now - timedelta(hours=18)
    verdict = {"sentence": "The new policy is better than the one before.", "by": "judged"}
    judged = {"estimate": 0.61, "low": 0.55, "high": 0.67}
    stages: tuple[tuple[str, dict[str, Any]], ...] = (
        ("reward", {}),
        ("policy", {}),
        ("evaluate", {"verdict": verdict, "judged": judged}),
    )
    before = None
    for hours, (stage, metrics) in enumerate(stages):
        run_id = f"{stage}-1"
        values = {
            "id": run_id,
            "stage": stage,
            "ordinal": 1,
            "fingerprint": run_id,
            "config": {},
            "seed": 0,
            "round": 1,
        }
        values |= {"version": "0", "state": "done", "owner": "", "metrics": metrics, "labels": 0, "tokens": 0}
        values |= {"seconds": 600.0, "error": "", "started": begun + timedelta(hours=hours)}
        values["ended"] = begun + timedelta(hours=hours, minutes=10)
        connection.execute(insert(schema.runs).values(values))
        if before is not None:
            connection.execute(insert(schema.run_parents).values(run_id=run_id, parent_id=before))
        before = run_id
    learned = select(schema.feedback.c.id).where(schema.feedback.c.created < begun, schema.feedback.c.rater != "Sam")
    rows = [{"run_id": "reward-1", "feedback_id": identity} for identity in connection.scalars(learned)]
    connection.execute(insert(schema.run_feedback), rows)
