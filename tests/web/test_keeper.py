"""What is kept while the server runs, and what is forgotten."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from site_of_tests import Site
from sqlalchemy import func, select, text

from heed.feedback.studio_schema import rate_limits, replays, sessions
from heed.people import audit
from heed.web.account.keeper import keep_house


def rows(site: Site) -> list[int]:
    tables = (rate_limits, replays, sessions)
    return [site.read(lambda c, t=table: c.scalar(select(func.count()).select_from(t))) for table in tables]


def keep(site: Site, days: float) -> None:
    asyncio.run(keep_house(site.app.state.studio, datetime.now(UTC) + timedelta(days=days)))


def test_what_can_still_be_needed_is_kept_and_the_rest_forgotten(site):
    client = site.client("ann")
    body, key = {"name": "script", "scopes": ["read"]}, {"idempotency-key": "k1"}
    first = client.post("/api/v1/me/tokens", json=body, headers=key)
    site.anonymous.get("/invitation/nothing")
    assert rows(site) == [1, 1, 1]
    keep(site, 0.5)
    assert rows(site) == [1, 1, 1]
    assert client.post("/api/v1/me/tokens", json=body, headers=key).json()["id"] == first.json()["id"]
    keep(site, 8)
    assert rows(site) == [0, 0, 1]
    keep(site, 100)
    assert rows(site) == [0, 0, 0]


def test_the_head_of_the_log_is_noted_and_a_log_that_was_cut_is_told_of(site, caplog):
    boss = site.client("boss", "admin")
    boss.post("/api/v1/invitations", json={})
    keep(site, 0)
    assert audit.read_head(site.project.folder) == site.read(audit.head)
    with site.project.store.engine.begin() as connection:
        sqlite = connection.dialect.name == "sqlite"
        connection.execute(text("DROP TRIGGER audit_no_delete" if sqlite else "ALTER TABLE audit DISABLE TRIGGER ALL"))
        connection.execute(text("DELETE FROM audit"))
    with caplog.at_level(logging.WARNING):
        keep(site, 0)
    assert "heed audit verify" in caplog.text
    assert audit.read_head(site.project.folder).entries == 1


def test_pages_of_a_log_that_was_tampered_with_say_what_is_wrong(site):
    boss = site.client("boss", "admin")
    boss.post("/api/v1/invitations", json={})
    sqlite = site.project.store.engine.dialect.name == "sqlite"

    def tamper(statement: str) -> None:
        with site.project.store.engine.begin() as connection:
            drop = "DROP TRIGGER IF EXISTS audit_no_update" if sqlite else "ALTER TABLE audit DISABLE TRIGGER ALL"
            connection.execute(text(drop))
            connection.execute(text(statement))

    tamper(f"UPDATE audit SET details = '{'no json' if sqlite else '[]'}' WHERE number = 1")  # noqa: S608
    pages = ("/board/audit", "/board/audit?verify=true", "/api/v1/board/audit", "/api/v1/board/audit/check")
    page, verified, listed, checked = (boss.get(path) for path in pages)
    assert [one.status_code for one in (page, verified, listed, checked)] == [200] * 4
    assert "it cannot be read" in page.text
    assert "Entry 1:" in verified.text
    assert "Entry 0:" not in verified.text
    assert listed.json()["entries"][-1]["readable"] is False
    told = [(fault["number"], fault["reason"]) for fault in checked.json()["faults"]]
    assert told[0] == (1, "its content is not what was recorded")
    assert "no longer refuses to change entries" in told[1][1]
    tamper("DROP TABLE audit")
    page, verified, listed, checked = (boss.get(path) for path in pages)
    assert [one.status_code for one in (page, verified, listed, checked)] == [503, 503, 503, 200]
    assert "its table is gone" in page.text
    assert "its table is gone" in checked.json()["faults"][0]["reason"]
