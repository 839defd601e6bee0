"""Who calls is looked up by secrets that can be some, and only those who are there are remembered, briefly."""

from __future__ import annotations

from typing import Any

import pytest
from site_of_tests import Site
from starlette.testclient import TestClient

from heed.people import sessions, tokens
from heed.people.hidden import may_be_secret, new_secret
from heed.web import identity
from heed.web.identity import SESSION_COOKIE

NO_SECRETS = ["", "x", "a" * 42, "a" * 44, "a" * 42 + "é", "a" * 42 + ".", "a" * 43 + "\n", "a" * 60_000]


def remembered(site: Site) -> dict[str, Any]:
    kept: dict[str, Any] = site.app.state.studio.identities._kept
    return kept


def status(client: TestClient, **headers: str) -> int:
    return client.get("/api/v1/me", headers=headers).status_code


def test_secrets_are_told_from_what_cannot_be_one() -> None:
    assert all(may_be_secret(new_secret()) for _ in range(100))
    assert may_be_secret(new_secret(tokens.PREFIX), tokens.PREFIX)
    assert not may_be_secret(new_secret(), tokens.PREFIX)
    assert not any(may_be_secret(text) or may_be_secret(f"heed_{text}", "heed_") for text in NO_SECRETS)


def test_what_cannot_be_a_secret_is_not_looked_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (sessions, tokens):
        monkeypatch.setattr(room, "find", lambda *_: pytest.fail("it was looked up"))
    for text in (one for one in NO_SECRETS if one.isascii() and one.isprintable()):
        assert status(site.anonymous, cookie=f"{SESSION_COOKIE}={text}") == 401
        assert status(site.anonymous, authorization=f"Bearer heed_{text}") == 401


def test_nobody_is_not_remembered_and_no_secret_is(site: Site) -> None:
    for _ in range(5):
        assert status(site.anonymous, cookie=f"{SESSION_COOKIE}={new_secret()}") == 401
        assert status(site.anonymous, authorization=f"Bearer {new_secret(tokens.PREFIX)}") == 401
    assert not remembered(site)
    ann = site.client("ann")
    assert status(ann) == 200
    assert len(remembered(site)) == 1
    assert ann.cookies[SESSION_COOKIE] not in remembered(site)


def test_whoever_comes_lets_those_be_forgotten_who_were_long_ago(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_KEPT_SECONDS", 0.0)
    for name in ("ann", "bob", "cem"):
        assert status(site.client(name)) == 200
        assert len(remembered(site)) == 1


def test_the_secret_of_a_session_is_no_token_not_even_just_after_it_was_used(site: Site) -> None:
    ann = site.client("ann")
    assert status(ann) == 200
    assert status(site.anonymous, authorization=f"Bearer {ann.cookies[SESSION_COOKIE]}") == 401
