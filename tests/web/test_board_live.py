"""The board stays up to date by itself, and looks at the database once for all who watch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from board_data import Known, known_site
from site_of_tests import Site

from heed.people import exclusions, managing
from heed.people.accounts import OPERATOR
from heed.web.board import overview, watch
from heed.web.desk import Desk
from heed.web.identity import Identities


@pytest.fixture
def known(site: Site) -> Known:
    return known_site(site)


def events_of(known: Known) -> list[dict[str, Any]]:
    answer = known.site.client("lea", "lead").get("/api/v1/board/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    return [json.loads(line[6:]) for line in answer.text.split("\n") if line.startswith("data: ")]


def test_a_stream_begins_with_what_stands_and_says_nothing_while_nothing_changes(
    known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "STREAM_SECONDS", 0.2)
    monkeypatch.setattr(overview, "POLL_SECONDS", 0.01)
    (event,) = events_of(known)
    now = known.site.client("lea").get("/api/v1/board/overview").json()["overview"]
    assert event == now


def test_a_rater_gets_no_stream(known: Known) -> None:
    assert known.site.client("ann").get("/api/v1/board/events").status_code == 403


def test_who_is_paused_is_not_at_work_now(known: Known) -> None:
    def active() -> list[str]:
        desk = Desk(known.site.project.store)
        try:
            return list(asyncio.run(watch.Watch(desk).numbers(known.begun)).overview.active)
        finally:
            desk.close()

    before = active()
    assert {"ann", "bob"} <= set(before)
    known.site.pause("ann")
    assert active() == [name for name in before if name != "ann"]


class CountingDesk(Desk):
    reads = 0

    async def read(self, work: Callable[[Any], Any]) -> Any:
        self.reads += 1
        return await super().read(work)


def test_many_who_watch_cost_one_look_and_a_change_a_new_revision(
    known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "POLL_SECONDS", 3600.0)
    desk = CountingDesk(known.site.project.store)
    seen = watch.Watch(desk)

    async def watching() -> None:
        now = datetime.now(UTC)
        first = await asyncio.gather(*(seen.numbers(now) for _ in range(20)))
        reads = desk.reads
        assert len({id(numbers) for numbers in first}) == 1
        await seen.numbers(now)
        assert desk.reads == reads
        known.site.write(lambda c: exclusions.exclude(c, "cy", "test", "lea", now))
        assert (await seen.numbers(now)).overview.revision == first[0].overview.revision
        fresh = await seen.numbers(now, fresh=True)
        assert fresh.overview.revision == first[0].overview.revision + 1
        assert fresh.excluded == {"cy"}
        same = await seen.numbers(now, fresh=True)
        assert same.overview.revision == fresh.overview.revision

    try:
        asyncio.run(watching())
    finally:
        desk.close()


def test_a_stream_ends_with_the_account_that_opened_it(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    lead = known.site.client("lea", "lead")
    account = known.site.account("lea")
    looks = []
    caller = Identities.caller

    async def closing(self: Identities, *given: Any) -> Any:
        looks.append(given)
        if len(looks) == 4:  # while the stream goes on
            close = managing.close
            known.site.write(lambda c: close(c, account.id, "left", OPERATOR, known.begun))
            self.forget()
        return await caller(self, *given)

    monkeypatch.setattr(Identities, "caller", closing)
    monkeypatch.setattr(overview, "POLL_SECONDS", 0.01)
    # It comes back at all, long before a stream is over by itself.
    monkeypatch.setattr(overview, "STREAM_SECONDS", 3600.0)
    assert lead.get("/api/v1/board/events").text.count("event: overview") == 1
    assert len(looks) == 4
