"""Leases end also while nobody asks: by the server itself, and when an account is paused or closed."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta

import pytest
from site_of_tests import Site, copy_project
from sqlalchemy import select

from heed.feedback import asked, queue
from heed.feedback.forms import default_form
from heed.feedback.item_files import ItemRow
from heed.feedback.items import add_items
from heed.feedback.showings import Rater
from heed.feedback.studio_schema import items, showings
from heed.people import accounts, managing
from heed.project import Project


def hold(project: Project, rater: str, since: datetime) -> str:
    """``rater`` holds the only item since then; the item."""

    def work(connection) -> str:
        if accounts.find(connection, rater) is None:
            accounts.create_account(connection, rater, "rater", "", since)
        question = asked.create_question(connection, "which", default_form(), "lea", since).id
        added = add_items(connection, question, [ItemRow("prompt", ("a", "b"))], since, random.Random(0))
        queue.claim(connection, Rater(rater), question, since, random.Random(0))
        return added.ids[0]

    return project.store.write(work)


def state(project: Project) -> tuple[str, int]:
    """State of the showing, and the level of its item."""
    with project.store.reading() as connection:
        row = connection.execute(
            select(showings.c.state, items.c.level).join(items, items.c.id == showings.c.item_id)
        ).one()
    return row.state, row.level


def test_the_server_ends_leases_though_nobody_asks_for_work(empty_project, tmp_path):
    with Project(copy_project(empty_project, tmp_path / "project")) as project:
        hold(project, "ann", datetime.now(UTC) - timedelta(hours=2))
        assert state(project) == ("leased", 1)
        site = Site(project)
        try:
            deadline = time.monotonic() + 20
            while state(project) != ("expired", 0) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert state(project) == ("expired", 0)
        finally:
            site.close()


@pytest.mark.parametrize("how", [managing.pause, managing.close])
def test_who_is_paused_or_closed_holds_nothing(site: Site, how):
    now = datetime.now(UTC)
    hold(site.project, "ann", now)
    account = site.account("ann")
    site.write(lambda connection: how(connection, account.id, "away", accounts.Operator(), now))
    assert state(site.project) == ("released", 0)
