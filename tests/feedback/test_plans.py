"""How much PostgreSQL reads for what is asked often: plans that it makes once and keeps must not read whole tables later."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from judged_studio import Studio, row
from sqlalchemy import text

from heed.feedback import queue
from heed.feedback.census import Census
from heed.feedback.store import Store
from heed.feedback.upkeep import _LOCK, refresh_statistics

_ROWS_READ = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'items'"
_ENTRIES_READ = "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'items'"


@pytest.fixture
def growing(postgresql_url) -> Iterator[Studio]:
    """A studio whose database gathers no statistics by itself: as in the first minute after a large import."""
    with Store.open(postgresql_url()) as store:
        for table in ("items", "showings", "answers", "prompts", "completions"):
            store.write(lambda c, t=table: c.execute(text(f"ALTER TABLE {t} SET (autovacuum_enabled = false)")))
        yield Studio(store)


def rows_read(studio: Studio, query: str = _ROWS_READ) -> int:
    """Rows of items that have been read so far."""
    with studio.store.reading() as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush()"))  # what this connection did is told when it ends
    with studio.store.reading() as connection:
        return int(connection.scalar(text(query)))


def test_a_rater_is_given_the_next_item_without_all_others_being_read(growing: Studio) -> None:
    question = growing.ask(2000)
    ann, census = growing.rater("ann"), Census()
    # It now knows that all items are work; that a few are asked for of which there is none must not make it read all.
    growing.store.write(lambda c: c.execute(text("ANALYZE items")))

    def work(count: int) -> None:
        for _ in range(count):
            claimed = growing.store.write(lambda c: queue.claim(c, ann, question, growing.now, growing.rng, 1, census))
            growing.answer(ann, claimed.showings[0].id)

    work(15)  # the statements are prepared by now, and planned for all values alike
    before = rows_read(growing)
    work(10)
    assert rows_read(growing) - before < 10 * 200


def test_an_import_does_not_read_what_was_imported_before(growing: Studio) -> None:
    question, rng = growing.ask(), random.Random(0)
    numbers = iter(range(1_000_000))

    def add(count: int) -> None:
        growing.add(
            question, [row(n, external_id=f"x{n}-{rng.random()}") for n in (next(numbers) for _ in range(count))]
        )

    for _ in range(8):
        add(100)
    add(3000)
    before = rows_read(growing, _ENTRIES_READ)
    for _ in range(5):
        add(100)
    assert rows_read(growing, _ENTRIES_READ) - before < 5 * 400


def test_tables_that_were_just_filled_are_counted_anew_by_one_process_at_a_time(growing: Studio) -> None:
    growing.ask(2000)
    rows_read(growing)
    counted = "SELECT reltuples FROM pg_class WHERE relname = 'items'"
    with growing.store.reading() as connection:
        assert connection.scalar(text(counted)) < 2000
    with growing.store.reading() as other:
        assert other.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK})
        assert growing.store.write(refresh_statistics) == 0, "another process is at it"
    assert growing.store.write(refresh_statistics) > 0
    with growing.store.reading() as connection:
        assert connection.scalar(text(counted)) == 2000
    rows_read(growing)
    assert growing.store.write(refresh_statistics) == 0, "nothing has changed since"


def test_sqlite_needs_no_counts(sqlite_url) -> None:
    with Store.open(sqlite_url()) as store:
        assert store.write(refresh_statistics) == 0
