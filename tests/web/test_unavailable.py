"""What the server says where it cannot serve, or where a header is not meant for it."""

from __future__ import annotations

from typing import Any

import pytest
from site_of_tests import Site

from heed.errors import ProjectError
from heed.web import guardian
from heed.web.identity import Identities


def test_a_header_for_the_proxy_before_heed_is_no_word_to_a_page_or_to_a_session(site: Site) -> None:
    basic = {"authorization": "Basic dTpw"}
    for header in (basic, {"authorization": "Bearer unknown"}):
        assert site.anonymous.get("/sign-in", headers=header).status_code == 200
    assert site.client("ann").get("/api/v1/me", headers=basic).json()["name"] == "ann"
    assert site.client("ann").get("/me", headers=basic).status_code == 200
    assert site.anonymous.get("/api/v1/me", headers=basic).status_code == 401


def test_nothing_is_taken_while_the_database_is_not_in_its_place(site: Site) -> None:
    ann, studio = site.client("ann"), site.app.state.studio
    path = site.project.folder / "heed.db"
    if site.project.store.engine.dialect.name != "sqlite":
        pytest.skip("the database is no file")
    path.rename(path.with_name("moved.db"))
    guardian.look(studio)
    refused = ann.patch("/api/v1/me", json={"theme": "dark"})
    assert refused.status_code == 503
    assert str(site.project.folder) not in refused.text
    path.with_name("moved.db").rename(path)
    guardian.look(studio)
    assert ann.patch("/api/v1/me", json={"theme": "dark"}).status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/me", "/me"])
def test_callers_are_not_told_where_the_database_is(
    site: Site, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    why = 'the server cannot be reached: connection to server at "10.9.8.7", port 5433 failed.'
    error = ProjectError("database postgresql://heed@10.9.8.7:5433/heed", why, "Check that it runs.")

    async def away(*_: Any) -> None:
        raise error

    ann = site.client("ann")
    monkeypatch.setattr(Identities, "caller", away)
    answer = ann.get(path)
    assert answer.status_code == 503
    assert "the database" in answer.text
    assert "10.9.8.7" not in answer.text
    assert "10.9.8.7" in caplog.text
