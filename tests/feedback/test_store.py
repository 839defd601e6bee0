"""The store, against real files, real killed processes and SQLite's own shell."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from heed.errors import DataError, ProjectError
from heed.feedback import database
from heed.feedback.kinds import (
    AnyFeedback,
    Comparison,
    Critique,
    Demonstration,
    Edit,
    Message,
    Ranking,
    Rating,
    Scale,
    Span,
    Thumb,
    completion_id,
)
from heed.feedback.schema import raters
from heed.feedback.store import AddResult, CompletionRecord, RaterRecord, Store
from heed.rater_settings import SimulatedRaterSettings
from heed.texts import name_fault, rater_name_fault

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'heed.db'}"


@pytest.fixture
def store(url):
    with Store.open(url) as opened:
        yield opened


def add_items(store: Store, prompts: int = 3, samples: int = 3) -> tuple[list[str], list[list[str]]]:
    """Prompts with completions of each; their ids."""
    ids = store.add_prompts([(f"prompt {number}", "train", "test") for number in range(prompts)])
    records = [
        [
            CompletionRecord(completion_id(prompt, f"answer {k}", "import"), prompt, f"answer {k}")
            for k in range(samples)
        ]
        for prompt in ids
    ]
    store.add_completions([record for row in records for record in row])
    return ids, [[record.id for record in row] for row in records]


def thumb(prompt: str, completion: str, *, up: bool = True, rater: str = "ann", at: int = 0, **more) -> Thumb:
    created = NOON + timedelta(seconds=at)
    return Thumb(rater=rater, prompt_id=prompt, completion_ids=(completion,), up=up, created=created, **more)


def every_kind(prompt: str, completions: list[str]) -> list[AnyFeedback]:
    common = {"rater": "ann", "prompt_id": prompt, "created": NOON, "seconds": 2.5, "confidence": 0.75, "source": "web"}
    one, two = {"completion_ids": (completions[0],)}, {"completion_ids": tuple(completions[:2])}
    scales = {"help": Scale(low=1, high=5, step=0.5), "tone": Scale(low=-1, high=1)}
    return [
        Comparison(choice="b", strength=2, shown_order=(1, 0), **two, **common),
        Rating(scores={"help": 4.5, "tone": 1 / 3}, scales=scales, **one, **common),
        Ranking(groups=((2,), (0, 1)), completion_ids=tuple(completions[:3]), **common),
        Thumb(up=False, **one, **common),
        Edit(edited="Grüße, 你好 👋\n\ttabs and \u2028 lines", **one, **common),
        Demonstration(text='quotes " \\ and braces {}', **common),
        Critique(defects=("rude",), spans=(Span(start=0, end=3, label="rude"),), note="see", **one, **common),
    ]


# What goes in comes out


def test_every_kind_of_feedback_is_stored_and_read_without_loss_in_the_order_given(url):
    with Store.open(url) as store:
        prompts, completions = add_items(store)
        said = every_kind(prompts[0], completions[0])
        assert store.add_feedback(said) == AddResult(7, 0, ("ann",))
    with Store.open(url) as again:
        stored = again.feedback()
    assert [entry.feedback for entry in stored] == said
    assert [entry.id for entry in stored] == [entry.id for entry in said]


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory):
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('db')}/heed.db") as opened:
        yield opened


@given(content=st.text(alphabet=st.characters(exclude_categories=["Cs"])))
@settings(max_examples=100, deadline=None)
@example(content="\x00")
def test_any_text_that_a_model_may_write_comes_back_even_nul(shared_store, content):
    prompt = shared_store.add_prompts([("hello", "train", "")])[0]
    record = CompletionRecord(completion_id(prompt, content, "x"), prompt, content, None, 3, 7, False, -1.25)
    shared_store.add_completions([record])
    assert shared_store.completions(ids=[record.id]) == [record]


def test_prompts_keep_text_and_messages_apart_and_their_order(store):
    chat = (Message(role="system", content="Be kind."), Message(role="user", content="hello"))
    single = (Message(role="user", content="hello"),)
    ids = store.add_prompts([("hello", "train", "a"), (chat, "test", "b"), (single, "test", "b")])
    assert len(set(ids)) == 3
    assert [(record.id, record.content) for record in store.prompts()] == list(
        zip(ids, ["hello", chat, single], strict=True)
    )
    assert [record.id for record in store.prompts(split="test", limit=1)] == [ids[1]]
    assert [record.id for record in store.prompts(ids=[ids[2], ids[0]])] == [ids[0], ids[2]]


def test_filters_meet_all_conditions_and_take_more_ids_than_sqlite_takes_variables(store):
    prompts, completions = add_items(store, prompts=1500, samples=1)
    said = [
        thumb(prompts[number], completions[number][0], rater=("ann", "bob")[number % 2], at=number)
        for number in range(1500)
    ]
    assert store.add_feedback(iter(said)).added == 1500
    ids = [entry.id for entry in said] + [f"f{number:016x}" for number in range(40_000)]
    found = store.feedback(ids=ids, raters=["bob"], kinds=["thumb", "edit"])
    assert [entry.id for entry in found] == [entry.id for entry in said[1::2]]
    assert store.feedback(kinds=["edit"]) == []
    assert store.feedback(ids=[]) == []
    assert len(store.completions(prompt_ids=prompts, ids=[row[0] for row in completions[:900]])) == 900


def test_counts_are_those_of_sqlite_itself(store, tmp_path):
    prompts, completions = add_items(store)
    first = thumb(prompts[0], completions[0][0])
    second = thumb(prompts[0], completions[0][0], up=False, supersedes=first.id)
    store.add_feedback([first, second])
    counts = store.counts()
    with closing(sqlite3.connect(tmp_path / "heed.db")) as shell:
        for table in ("prompts", "completions", "raters", "feedback", "runs"):
            assert counts[table] == shell.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
    assert counts == {"prompts": 3, "completions": 9, "raters": 1, "feedback": 2, "runs": 0, "superseded": 1}


# Nothing twice


@given(picks=st.lists(st.lists(st.integers(0, 11), max_size=8), max_size=6))
@settings(max_examples=25, deadline=None)
def test_whatever_is_added_in_whatever_portions_is_there_once(tmp_path_factory, picks):
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('db')}/heed.db") as store:
        prompts, completions = add_items(store)
        pool = [thumb(prompts[k % 3], completions[k % 3][k // 3 % 3], up=k % 2 == 0, at=k) for k in range(12)]
        seen: dict[str, None] = {}
        for portion in picks:
            before = len(seen)
            seen.update(dict.fromkeys(pool[k].id for k in portion))
            result = store.add_feedback([pool[k] for k in portion])
            assert (result.added, result.added + result.duplicates) == (len(seen) - before, len(portion))
        assert [entry.id for entry in store.feedback()] == list(seen)


def test_prompts_completions_and_raters_are_there_once(store):
    add_items(store)
    add_items(store)
    assert store.add_raters([("ann", "human", ""), ("ann", "human", "hurried")]) == AddResult(1, 1, ("ann",))
    assert store.add_raters([("ann", "human", "courteous")]).added == 0
    assert store.raters() == [RaterRecord("ann", "human", "courteous")]
    assert (store.counts()["prompts"], store.counts()["completions"]) == (3, 9)


# Append-only, in the database too


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE feedback SET rater = 'bob'",
        "UPDATE feedback SET record = '{}'",
        "DELETE FROM feedback",
        "DELETE FROM feedback_completions",
        "UPDATE feedback_completions SET place = 7",
        "INSERT OR REPLACE INTO feedback SELECT number, id, 'edit', rater, prompt_id, created, NULL, record FROM feedback",
        "INSERT OR REPLACE INTO feedback SELECT 99, id, 'edit', rater, prompt_id, created, NULL, record FROM feedback",
        "INSERT OR REPLACE INTO feedback SELECT 99, 'fx', kind, rater, prompt_id, created, supersedes, record FROM feedback",
        "INSERT OR REPLACE INTO feedback_completions SELECT feedback_id, place, 'c' FROM feedback_completions",
    ],
)
def test_feedback_cannot_be_changed_even_past_heed(store, tmp_path, statement):
    prompts, completions = add_items(store)
    first = thumb(prompts[0], completions[0][0])
    said = [first, thumb(prompts[0], completions[0][0], up=False, supersedes=first.id)]
    store.add_feedback(said)
    with closing(sqlite3.connect(tmp_path / "heed.db")) as shell:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            shell.execute(statement)
        shell.rollback()
    with pytest.raises(IntegrityError, match="append-only"):
        store.write(lambda connection: connection.execute(text(statement)))
    assert [entry.feedback for entry in store.feedback(include_superseded=True)] == said


def test_a_correction_supersedes_and_the_original_stays(store):
    prompts, completions = add_items(store)
    first = thumb(prompts[0], completions[0][0])
    second = thumb(prompts[0], completions[0][0], up=False, at=1, supersedes=first.id)
    third = thumb(prompts[0], completions[0][1], at=2, supersedes=second.id)
    store.add_feedback([first, second, third])
    assert [entry.id for entry in store.feedback()] == [third.id]
    assert [entry.id for entry in store.feedback(include_superseded=True)] == [first.id, second.id, third.id]
    assert store.add_feedback([second]).duplicates == 1


def compared(prompt: str, pair: list[str], choice: str = "a", at: int = 0, **more) -> Comparison:
    created = NOON + timedelta(seconds=at)
    values = {"rater": "ann", "prompt_id": prompt, "completion_ids": tuple(pair), "choice": choice} | more
    return Comparison(created=created, **values)


def test_a_question_is_answered_once_by_a_rater_and_corrected_by_who_knows_the_answer(store):
    prompts, completions = add_items(store)
    prompt, pair = prompts[0], completions[0][:2]
    first = compared(prompt, pair)
    assert store.add_answer(first) == first.id == store.add_answer(first)
    again, turned = compared(prompt, pair, "b", at=1), compared(prompt, pair[::-1], "tie", at=2)
    assert store.add_answer(again) == store.add_answer(turned) == first.id
    correction = compared(prompt, pair, "b", at=3, supersedes=first.id)
    assert store.add_answer(correction) == correction.id
    late = compared(prompt, pair, "tie", at=4, supersedes=first.id)
    assert store.add_answer(late) == correction.id
    assert [entry.id for entry in store.feedback(include_superseded=True)] == [first.id, correction.id]
    others = [
        compared(prompt, pair, at=5, rater="bob"),
        compared(prompt, completions[0][1:3], at=6),
        compared(prompts[1], completions[1][:2], at=7),
        thumb(prompt, pair[0], at=8),
    ]
    assert [store.add_answer(other) for other in others] == [other.id for other in others]
    with pytest.raises(DataError, match="is not in the store"):
        store.add_answer(compared(prompt, ["c0000000000000000", pair[0]], at=9))


def test_of_processes_that_answer_the_same_questions_at_once_one_answers_each(store, url):
    """Each answers all questions, as a rater would in a window of its own; the clocks differ, so the answers do."""
    add_items(store, prompts=30, samples=2)
    code = """
        import sys
        from datetime import UTC, datetime
        from heed.feedback.kinds import Comparison
        from heed.feedback.store import Store

        store = Store.open(sys.argv[1])
        items = {}
        for completion in store.completions():
            items.setdefault(completion.prompt_id, []).append(completion.id)
        print("ready", flush=True)
        sys.stdin.readline()
        stored = 0
        for prompt, pair in items.items():
            said = Comparison(rater="ann", prompt_id=prompt, completion_ids=tuple(pair), choice="a", created=datetime.now(UTC))
            stored += store.add_answer(said) == said.id
        print(stored)
    """
    windows = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for window in windows:
        assert window.stdout.readline() == "ready\n"
    for window in windows:
        window.stdin.write("go\n")
        window.stdin.flush()
    stored = [int(window.communicate(timeout=60)[0]) for window in windows]
    assert sum(stored) == 30
    assert len(store.feedback(raters=["ann"])) == 30


def test_corrections_that_make_no_sense_are_refused_and_nothing_of_them_goes_in(store):
    prompts, completions = add_items(store)
    first = thumb(prompts[0], completions[0][0])
    store.add_feedback([first, thumb(prompts[0], completions[0][0], up=False, at=1, supersedes=first.id)])
    for bad, reason in (
        (thumb(prompts[0], completions[0][0], at=2, supersedes=first.id), "superseded before"),
        (thumb(prompts[0], completions[0][0], at=2, rater="bob", supersedes=first.id), "by rater 'ann'"),
        (thumb(prompts[1], completions[1][0], at=2, supersedes=first.id), prompts[0]),
        (thumb(prompts[0], completions[0][0], at=2, supersedes="f0123456789abcdef"), "f0123456789abcdef"),
    ):
        with pytest.raises(DataError, match=reason):
            store.add_feedback([thumb(prompts[2], completions[2][2], at=9), bad])
    assert store.counts()["feedback"] == 2
    with pytest.raises(DataError, match="superseded before"):  # both in one portion
        store.add_feedback(
            [
                (new := thumb(prompts[1], completions[1][0])),
                thumb(prompts[1], completions[1][0], at=1, supersedes=new.id),
                thumb(prompts[1], completions[1][0], at=2, supersedes=new.id),
            ]
        )


# What does not fit together


def test_unknown_and_mismatched_items_are_named(store):
    prompts, completions = add_items(store)
    for bad, named in (
        (thumb("p0000000000000000", completions[0][0]), "p0000000000000000"),
        (thumb(prompts[0], "c0000000000000000"), "c0000000000000000"),
        (thumb(prompts[0], completions[1][0]), completions[1][0]),
    ):
        with pytest.raises(DataError, match=named):
            store.add_feedback([bad])
    with pytest.raises(DataError, match="prompt pX"):
        store.add_completions([CompletionRecord("c1", "pX", "text")])
    with pytest.raises(DataError, match="run sample-9"):
        store.add_completions([CompletionRecord("c1", prompts[0], "text", run_id="sample-9")])
    assert store.counts()["feedback"] == 0


def test_a_prompt_cannot_train_and_test(store):
    store.add_prompts([("a", "test", "")])
    with pytest.raises(DataError, match="'test' already"):
        store.add_prompts([("b", "train", ""), ("a", "train", "")])
    with pytest.raises(DataError, match="'train' already"):
        store.add_prompts([("c", "train", ""), ("c", "test", "")])
    store.add_prompts([("a", None, ""), ("d", None, "")])
    assert [(record.content, record.split) for record in store.prompts()] == [("a", "test"), ("d", "train")]
    with pytest.raises(DataError, match="empty"):
        store.add_prompts([(" \n", "train", "prompts.jsonl")])
    with pytest.raises(DataError, match="empty"):
        store.add_prompts([((), "train", "prompts.jsonl")])


@pytest.mark.parametrize(
    ("rater", "reason"),
    [
        (("", "human", ""), "name"),
        (("x", "robot", ""), "robot"),
        (("x" * 201, "human", ""), "201 characters"),
        (("a\tb", "human", ""), "cannot be printed"),
        (("\udcff", "human", ""), "cannot be printed"),
        (("x", "human", "g" * 201), "201 characters"),
        ((".", "human", ""), "step of the path"),
        ((" .. ", "simulated", ""), "step of the path"),
        (("\u2025", "human", ""), "step of the path"),
    ],
)
def test_raters_need_a_name_and_a_known_kind(store, rater, reason):
    with pytest.raises(DataError, match=reason):
        store.add_raters([rater])


def test_who_may_answer_may_be_entered_and_the_other_way_round():
    """One limit for a judgment, a rater of the store and one of heed.yaml: what passes here does not fail there."""

    def serves(make):
        try:
            make()
        except (DataError, ValidationError):
            return False
        return True

    with Store.open("sqlite://") as store:

        @given(st.text(max_size=4) | st.integers(198, 260).map("x".__mul__))
        def check(name):
            assume(rater_name_fault(name) == name_fault(name))  # a name that only newcomers may not have
            values = {"prompt_id": "p1", "completion_ids": ("c1",), "up": True, "created": NOON}
            answers = serves(lambda: Thumb(rater=name, **values))
            assert answers == serves(lambda: store.add_raters([(name, "human", "")]))
            assert answers == serves(lambda: SimulatedRaterSettings(name=name))

        check()


def test_who_is_called_like_a_step_of_a_path_already_is_read_and_heard_and_nobody_new_is(store):
    prompts, completions = add_items(store)
    with pytest.raises(DataError, match="step of the path"):
        store.add_feedback([thumb(prompts[0], completions[0][0], rater="..")])
    with store.engine.begin() as connection:
        connection.execute(raters.insert().values(name="..", kind="human", group_name=""))
    assert store.add_feedback([thumb(prompts[0], completions[0][0], rater="..")]) == AddResult(1, 0)
    assert store.add_raters([("..", "human", "south")]) == AddResult(0, 1)
    assert [entry.feedback.rater for entry in store.feedback()] == [".."]


def test_a_rater_does_not_change_kind(store):
    store.add_raters([("ann", "simulated", "")])
    with pytest.raises(DataError, match="'simulated', not 'human'"):
        store.add_raters([("ann", "human", "")])


def test_an_import_that_breaks_off_keeps_what_was_in_and_goes_on(store):
    prompts, completions = add_items(store)
    good = [thumb(prompts[0], completions[0][0], at=number) for number in range(2500)]
    with pytest.raises(DataError):
        store.add_feedback([*good[:2200], thumb("pX", "cX"), *good[2200:]])
    assert store.counts()["feedback"] == 2000
    assert store.add_feedback(good) == AddResult(500, 2000)
    assert [entry.id for entry in store.feedback()] == [entry.id for entry in good]


# Crashes and concurrency


WRITER = """
    import sys
    from datetime import UTC, datetime, timedelta
    from heed.feedback.kinds import Thumb
    from heed.feedback.store import Store
    url, prompt, completion, rater = sys.argv[1:]
    with Store.open(url) as store:
        for number in range(100_000):
            said = Thumb(rater=rater, prompt_id=prompt, completion_ids=(completion,), up=True,
                         created=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number))
            store.add_feedback([said])
            print(said.id, flush=True)
"""


def start_writer(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(WRITER), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def test_what_two_writers_acknowledged_is_there_after_they_are_killed(url):
    with Store.open(url) as store:
        prompts, completions = add_items(store)
    writers = [start_writer(url, prompts[0], completions[0][0], rater) for rater in ("ann", "bob")]
    acknowledged: list[str] = []
    for writer in writers:
        assert writer.stdout is not None
        acknowledged += [writer.stdout.readline().strip() for _ in range(30)]
    for writer in writers:
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate()
        # The last line may be cut short by the kill: only a whole one was acknowledged.
        acknowledged += rest[: rest.rfind("\n") + 1].split()
        assert writer.returncode == -signal.SIGKILL
    with Store.open(url) as store:
        stored = {entry.id for entry in store.feedback()}
        assert set(acknowledged) <= stored
        assert len(stored) <= len(acknowledged) + 2  # at most one each was stored and not yet reported
        with store.reading() as connection:
            assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"


def test_connections_are_set_so_that_an_acknowledged_transaction_is_on_the_disk(store):
    with store.reading() as connection:
        values = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert values == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_a_full_disk_is_told_and_loses_nothing(url):
    with Store.open(url) as store:
        prompts, completions = add_items(store)
        said = [thumb(prompts[0], completions[0][0], at=number) for number in range(3000)]
        store.add_feedback(said[:1000])
        # SQLite itself says "database or disk is full" at its limit of pages, as it does on a full disk.
        with store.engine.connect() as connection:
            pages = connection.execute(text("PRAGMA page_count")).scalar()
            connection.execute(text(f"PRAGMA max_page_count = {pages}"))
            connection.rollback()
        with pytest.raises(ProjectError, match="disk is full"):
            store.add_feedback(said)
        assert [entry.feedback for entry in store.feedback()] == said[:1000]


def test_a_read_only_database_can_be_read_and_says_so_when_written(url, tmp_path):
    with Store.open(url) as store:
        add_items(store)
    with Store.open(f"sqlite:///file:{tmp_path}/heed.db?mode=ro&uri=true") as store:
        assert len(store.prompts()) == 3
        with pytest.raises(ProjectError, match=r"read-only.*chmod"):
            store.add_raters([("ann", "human", "")])


def test_a_database_kept_busy_by_another_process_is_named(url, tmp_path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with Store.open(url) as store, closing(sqlite3.connect(tmp_path / "heed.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert store.prompts() == []  # readers go on
        with pytest.raises(ProjectError, match="another process"):
            store.add_raters([("ann", "human", "")])
