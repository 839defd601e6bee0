"""Signing in elsewhere, against a provider that runs here and tells the truth or lies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from identity_provider import CLIENT, SECRET, Provider, identity_provider
from joserfc.jwk import RSAKey
from site_of_tests import Site, make_project
from starlette.responses import Response
from starlette.testclient import TestClient

from heed.config import ServeSettings
from heed.people import accounts, invitations, managing
from heed.people.accounts import OPERATOR
from heed.people.secrets import SECRETS_FILE, SSO_VARIABLE
from heed.project import Project

ANN = {"sub": "7", "email": "Ann@Example.org", "email_verified": True, "name": "Ann Example"}


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with identity_provider() as provider:
        yield provider


@pytest.fixture
def provider(running: Provider) -> Provider:
    running.person, running.claims, running.header, running.document = dict(ANN), {}, {}, {}
    running.key = running.secret = None
    running.refused.clear()
    return running


@pytest.fixture
def site(provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv(SSO_VARIABLE, SECRET)
    settings = ServeSettings(sso_issuer=provider.issuer, sso_client_id=CLIENT, sso_domains=["allowed.example"])
    make_project(tmp_path / "project", settings)
    with Project(tmp_path / "project") as project:
        made = Site(project)
        yield made
        made.close()


def invite(site: Site, email: str = "ann@example.org", role: Any = "rater", name: str | None = None) -> None:
    now = datetime.now(UTC)
    site.write(lambda c: invitations.invite(c, role, "north", name, "", OPERATOR, now, email=email))


def go(client: TestClient, provider: Provider, **changed: str) -> Response:
    """A browser's whole way: there, agreed, and back."""
    begun = client.get("/sign-in/sso", params={"next": "/settings"})
    assert begun.status_code == 303, begun.text
    return client.get("/sign-in/sso/callback", params=provider.authorize(begun.headers["location"]) | changed)


def names(site: Site) -> list[str]:
    return [account.name for account in site.read(accounts.everybody)]


def test_who_was_invited_by_address_comes_in_and_is_known_from_then_on(site, provider):
    invite(site, role="lead")
    client = site._client()
    assert 'href="/sign-in/sso' in client.get("/sign-in").text
    done = go(client, provider)
    assert (done.status_code, done.headers["location"]) == (303, "/settings")
    mine = client.get("/api/v1/me").json()
    assert (mine["name"], mine["role"], mine["group"]) == ("Ann Example", "lead", "north")
    provider.person |= {"email": "new@address.example", "name": "Ann Married"}
    again = site._client()
    assert go(again, provider).status_code == 303
    assert again.get("/api/v1/me").json()["id"] == mine["id"]
    assert names(site) == ["Ann Example"]
    assert (site.project.folder / SECRETS_FILE).stat().st_mode & 0o777 == 0o600


def test_who_was_not_invited_stays_out(site, provider):
    client = site._client()
    assert go(client, provider).status_code == 403
    assert client.get("/api/v1/me").status_code == 401
    assert names(site) == []


def test_people_of_an_allowed_domain_come_in_as_raters(site, provider):
    provider.person |= {"email": "bob@allowed.example", "name": "Bob"}
    client = site._client()
    assert go(client, provider).status_code == 303
    assert client.get("/api/v1/me").json()["role"] == "rater"


@pytest.mark.parametrize("email", ["bob@notallowed.example", "bob@sub.allowed.example", "bob@allowed.example.evil"])
def test_domains_that_only_look_allowed_are_not(site, provider, email):
    provider.person |= {"email": email}
    assert go(site._client(), provider).status_code == 403


@pytest.mark.parametrize("verified", [False, None, "true", "false", 1])
def test_an_address_that_nobody_verified_is_no_address(site, provider, verified):
    invite(site)
    provider.person |= {"email_verified": verified}
    assert go(site._client(), provider).status_code == 403
    assert names(site) == []


def test_an_account_with_a_password_is_not_taken_over_by_its_name_or_address(site, provider):
    site.account("Ann Example", "admin")
    invite(site)
    client = site._client()
    assert go(client, provider).status_code == 303
    assert client.get("/api/v1/me").json()["name"] == "Ann Example 2"
    assert client.get("/api/v1/me").json()["role"] == "rater"


def test_an_invitation_is_taken_once_and_never_by_another_subject(site, provider):
    invite(site)
    assert go(site._client(), provider).status_code == 303
    provider.person |= {"sub": "8"}
    assert go(site._client(), provider).status_code == 403


def test_whose_account_is_closed_stays_out(site, provider):
    site.account("boss", "admin")
    invite(site)
    client = site._client()
    go(client, provider)
    account = client.get("/api/v1/me").json()["id"]
    site.write(lambda c: managing.close(c, account, "", OPERATOR, datetime.now(UTC)))
    assert go(site._client(), provider).status_code == 403


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "王小明", "a\x00b\u202e", " "])
def test_whatever_the_provider_calls_somebody_is_text(site, provider, name):
    invite(site)
    provider.person |= {"name": name}
    client = site._client()
    assert go(client, provider).status_code == 303
    assert client.get("/api/v1/me").json()["name"] in (name, "Ann@Example.org")
    assert "<script>alert" not in client.get("/settings").text


LIES: dict[str, dict[str, Any]] = {
    "of another issuer": {"claims": {"iss": "https://evil.example"}},
    "for another client": {"claims": {"aud": "another"}},
    "for several clients, not asked for by this one": {"claims": {"aud": [CLIENT, "another"], "azp": "another"}},
    "expired": {"claims": {"exp": int(time.time()) - 3600}},
    "without an end": {"claims": {"exp": None}},
    "without a subject": {"claims": {"sub": None}},
    "with the nonce of another attempt": {"claims": {"nonce": "another"}},
    "without a nonce": {"claims": {"nonce": None}},
    "signed with a key that is not published": {"key": RSAKey.generate_key(2048, {"kid": "one"})},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_token_is_not_believed_that_is(site, provider, lie):
    invite(site)
    for name, value in LIES[lie].items():
        setattr(provider, name, value)
    client = site._client()
    response = go(client, provider)
    assert response.status_code == 502
    assert provider.refused == []
    assert client.get("/api/v1/me").status_code == 401
    assert names(site) == []


@pytest.mark.parametrize("algorithm", ["HS256", "none"])
def test_a_token_signed_with_what_everybody_knows_is_not_believed(site, provider, algorithm):
    invite(site)
    provider.header = {"alg": algorithm}
    provider.secret = provider.published.as_pem(private=False) if algorithm == "HS256" else b""
    assert go(site._client(), provider).status_code == 502
    assert provider.refused == []


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": None},
    ],
)
def test_a_provider_that_describes_itself_oddly_is_not_asked(site, provider, document):
    provider.document = document
    response = site._client().get("/sign-in/sso")
    assert response.status_code == 502
    assert "evil" not in response.text


def test_an_answer_to_another_browser_or_to_nobody_is_refused(site, provider):
    invite(site)
    mallory, victim = site._client(), site._client()
    begun = mallory.get("/sign-in/sso")
    answer = provider.authorize(begun.headers["location"])
    assert victim.get("/sign-in/sso/callback", params=answer).status_code == 400
    victim.get("/sign-in/sso")
    assert victim.get("/sign-in/sso/callback", params=answer).status_code == 400
    assert victim.get("/api/v1/me").status_code == 401
    assert go(site._client(), provider, state="another").status_code == 400
    assert go(site._client(), provider, error="access_denied").status_code == 400
    assert go(site._client(), provider, state="\u1234").status_code == 400
    assert names(site) == []


def test_the_cookie_of_the_way_is_sealed(site, provider):
    client = site._client()
    begun = client.get("/sign-in/sso")
    cookie = begun.cookies["heed_sso"]
    content, _, seal = cookie.rpartition(".")
    for forged in (content, f"{content}.{'0' * 64}", f"x{content}.{seal}", "", "..", f"{content}.\u00e9"):
        answer = provider.authorize(begun.headers["location"])
        headers = {"cookie": f"heed_sso={forged}".encode()}
        assert site._client().get("/sign-in/sso/callback", params=answer, headers=headers).status_code == 400


def test_a_code_works_once_and_only_with_its_verifier(site, provider):
    invite(site)
    client = site._client()
    answer = provider.authorize(client.get("/sign-in/sso").headers["location"])
    client.get("/sign-in/sso")  # another attempt takes the place of the first
    assert client.get("/sign-in/sso/callback", params=answer).status_code == 400
    begun = client.get("/sign-in/sso")
    state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
    stolen = {"state": state, "code": answer["code"]}
    assert client.get("/sign-in/sso/callback", params=stolen).status_code == 502
    assert provider.refused == ["verifier"]


def test_the_way_back_is_to_this_server_whatever_the_headers_say(site, provider):
    begun = site._client().get("/sign-in/sso", headers={"x-forwarded-host": "evil.example"})
    asked = parse_qs(urlsplit(begun.headers["location"]).query)
    assert asked["redirect_uri"] == ["http://localhost/sign-in/sso/callback"]
    assert SECRET not in begun.headers["location"]


def test_without_an_issuer_there_is_nothing(empty_project, tmp_path):
    from site_of_tests import copy_project

    with Project(copy_project(empty_project, tmp_path / "project")) as project:
        site = Site(project)
        for path in ("/sign-in/sso", "/sign-in/sso/callback?state=x&code=y"):
            assert site.anonymous.get(path).status_code == 404
        assert "/sign-in/sso" not in site.anonymous.get("/sign-in").text
        site.close()
