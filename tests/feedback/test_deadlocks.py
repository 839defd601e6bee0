"""Two transactions that wait for each other on PostgreSQL: both are done in the end."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, update
from sqlalchemy.exc import IntegrityError

from heed.feedback.schema import raters
from heed.feedback.store import Store


def test_transactions_that_wait_for_each_other_are_both_done(postgresql_url: Callable[[], str]) -> None:
    with Store.open(postgresql_url()) as store:
        store.add_raters([("ann", "human", ""), ("bob", "human", "")])
        both_hold_one = threading.Barrier(2, timeout=30)
        tries: list[str] = []

        def cross(first: str, second: str) -> None:
            def work(connection: Connection) -> None:
                tries.append(first)
                connection.execute(update(raters).where(raters.c.name == first).values(group_name=f"by {first}"))
                if tries.count(first) == 1:
                    both_hold_one.wait()
                connection.execute(update(raters).where(raters.c.name == second).values(group_name=f"by {first}"))

            store.write(work)

        threads = [threading.Thread(target=cross, args=names) for names in (("ann", "bob"), ("bob", "ann"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        # One of the two was stopped and did it again; on a busy machine it may be back at its row before the other one wakes,
        # and they wait for each other once more.
        assert 3 <= len(tries) <= 5
        groups = {record.group for record in store.raters()}
        assert groups in ({"by ann"}, {"by bob"})  # whoever was last changed both


def test_what_can_never_go_in_is_told_after_a_few_tries(tmp_path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'heed.db'}") as store:
        tries = []

        def work(connection: Connection) -> None:
            tries.append(1)
            row = {"name": "ann", "kind": "human", "group_name": ""}
            connection.execute(raters.insert(), [row, row])

        with pytest.raises(IntegrityError):
            store.write(work)
        assert 1 < len(tries) < 10
        assert store.raters() == []
