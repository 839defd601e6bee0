"""Many requests share one transaction on SQLite: what is acknowledged is stored, and nobody pays for another's error."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import OperationalError

from heed.errors import DataError, ProjectError
from heed.feedback.store import Store
from heed.web.desk import Desk


@pytest.fixture
def store(tmp_path):
    with Store.open(f"sqlite:///{tmp_path / 'heed.db'}") as opened:
        yield opened


@pytest.fixture
def desk(store):
    made = Desk(store)
    yield made
    made.close()


def add(name: str):
    def work(connection: Connection) -> str:
        row = {"name": name}
        connection.execute(text("INSERT INTO raters (name, kind, group_name) VALUES (:name, 'human', '')"), row)
        return name

    return work


def names(path: Path) -> set[str]:
    """As another program reads the file: what is not committed is not there."""
    with sqlite3.connect(path) as other:
        return {row[0] for row in other.execute("SELECT name FROM raters")}


def held_up(desk: Desk) -> threading.Event:
    """Keep the writer busy until the event is set, so that what is asked for meanwhile goes together."""
    go, started = threading.Event(), threading.Event()

    def wait(_: Connection) -> None:
        started.set()
        go.wait(30)

    desk.submit(wait)
    assert started.wait(30)
    return go


def commits_of(store: Store) -> list[object]:
    seen: list[object] = []
    event.listen(store.engine, "commit", seen.append)
    return seen


def test_pieces_that_came_in_together_are_one_transaction_and_stored_when_they_are_acknowledged(store, desk, tmp_path):
    go = held_up(desk)
    futures = [desk.submit(add(f"rater {number}")) for number in range(50)]
    commits = commits_of(store)
    go.set()
    assert [future.result(30) for future in futures] == [f"rater {number}" for number in range(50)]
    assert names(tmp_path / "heed.db") == {f"rater {number}" for number in range(50)}
    assert len(commits) == 2  # of the one that held it up, and of all fifty


def test_an_error_takes_back_its_own_piece_and_no_other(store, desk, tmp_path):
    def half(connection: Connection) -> None:
        add("half")(connection)
        raise DataError("this", "is wrong.", "Mend it.")

    go = held_up(desk)
    first, bad, double, last = (desk.submit(work) for work in (add("first"), half, add("first"), add("last")))
    go.set()
    assert first.result(30) == "first"
    with pytest.raises(DataError, match="is wrong"):
        bad.result(30)
    with pytest.raises(Exception, match="UNIQUE"):
        double.result(30)
    assert last.result(30) == "last"
    assert names(tmp_path / "heed.db") == {"first", "last"}


def test_a_commit_that_fails_acknowledges_nobody(store, desk, tmp_path):
    go = held_up(desk)
    futures = [desk.submit(add(f"rater {number}")) for number in range(3)]

    def refuse(_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    event.listen(store.engine, "commit", refuse)
    go.set()
    for future in futures:
        with pytest.raises(Exception, match="disk"):
            future.result(30)
    event.remove(store.engine, "commit", refuse)
    assert names(tmp_path / "heed.db") == set()


def test_a_request_that_was_given_up_before_it_began_is_not_done(store, desk, tmp_path):
    go = held_up(desk)
    given_up, kept = desk.submit(add("given up")), desk.submit(add("kept"))
    assert given_up.cancel()
    go.set()
    assert kept.result(30) == "kept"
    assert names(tmp_path / "heed.db") == {"kept"}


def test_closing_finishes_what_was_asked_for(store, tmp_path):
    desk = Desk(store)
    futures = [desk.submit(add(f"rater {number}")) for number in range(20)]
    desk.close()
    assert all(future.done() for future in futures)
    assert len(names(tmp_path / "heed.db")) == 20


def test_the_event_loop_goes_on_while_the_database_works(store, desk):
    async def both() -> list[str]:
        order: list[str] = []
        go = held_up(desk)
        writing = asyncio.create_task(desk.write(add("slow")))

        async def other() -> None:
            order.append("other")
            go.set()

        await asyncio.gather(other(), writing)
        order.append(writing.result())
        return order

    assert asyncio.run(both()) == ["other", "slow"]


def test_a_reader_sees_one_state_and_cannot_be_seen_writing(store, desk):
    async def look() -> tuple[int, int]:
        def count(connection: Connection) -> tuple[int, int]:
            query = text("SELECT count(*) FROM raters")
            before = connection.execute(query).scalar_one()
            desk.submit(add("meanwhile")).result(30)
            return before, connection.execute(query).scalar_one()

        return await desk.read(count)

    assert asyncio.run(look()) == (0, 0)


def filling(connection: Connection) -> None:
    """Meets a full disk inside a statement; SQLite then takes back the whole transaction by itself."""
    connection.execute(text("CREATE TABLE ballast (page BLOB)"))
    for _ in range(200):
        connection.execute(text("INSERT INTO ballast VALUES (zeroblob(100000))"))


def limit_pages(store: Store, more: int) -> None:
    """Let the file grow by ``more`` pages and no further, as a full disk does."""

    def limit(connection, *_: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + more}")

    event.listen(store.engine, "connect", limit)
    store.engine.dispose()


def test_a_full_disk_fails_everybody_whose_work_it_took_back_and_nobody_else(tmp_path):
    with Store.open(f"sqlite:///{tmp_path / 'heed.db'}") as store:
        limit_pages(store, 500)
        desk = Desk(store)
        go = held_up(desk)
        before, full, after = desk.submit(add("before")), desk.submit(filling), desk.submit(add("after"))
        go.set()
        for future in (before, full, after):
            with pytest.raises(ProjectError, match="disk is full"):
                future.result(30)
        assert names(tmp_path / "heed.db") == set()
        assert desk.submit(add("next")).result(30) == "next"
        assert names(tmp_path / "heed.db") == {"next"}
        desk.close()


def test_a_full_disk_that_the_work_passes_over_is_not_taken_for_success(tmp_path):
    def careless(connection: Connection) -> None:
        try:
            filling(connection)
        except OperationalError:
            return

    with Store.open(f"sqlite:///{tmp_path / 'heed.db'}") as store:
        limit_pages(store, 500)
        desk = Desk(store)
        go = held_up(desk)
        futures = [desk.submit(add("before")), desk.submit(careless)]
        go.set()
        for future in futures:
            with pytest.raises(ProjectError, match="took back"):
                future.result(30)
        assert names(tmp_path / "heed.db") == set()
        desk.close()
