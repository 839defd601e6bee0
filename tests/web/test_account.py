"""Signing in, invitations and settings, as a browser without scripts uses them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from site_of_tests import Site
from starlette.testclient import TestClient

from heed.people import accounts, guidelines, invitations, managing, sessions
from heed.people.accounts import OPERATOR
from heed.people.limits import SIGN_IN_ADDRESS, SIGN_IN_NAME
from heed.people.passwords import hash_password
from heed.web.identity import SECURE_SESSION_COOKIE, SESSION_COOKIE
from heed.web.security import Address

PASSWORD = "seven green bottles"
OTHER = "nine yellow buckets"


def now() -> datetime:
    return datetime.now(UTC)


def person(site: Site, name: str = "ann", role: Any = "rater") -> accounts.Account:
    hashed = hash_password(PASSWORD, name)
    return site.write(lambda c: accounts.create_account(c, name, role, "", now(), hashed))


def browser(site: Site) -> TestClient:
    return site._client()


def sign_in(client: TestClient, name: str = "ann", password: str = PASSWORD, **more: str) -> Any:
    return client.post("/sign-in", data={"name": name, "password": password, **more})


def link(site: Site, role: Any = "rater", name: str | None = None, **more: Any) -> str:
    made = site.write(lambda c: invitations.invite(c, role, "", name, "", OPERATOR, now(), **more))
    return f"/invitation/{made}"


# Signing in


def test_who_signs_in_gets_a_cookie_that_scripts_and_other_sites_cannot_use(site):
    person(site)
    client = browser(site)
    assert client.get("/settings").headers["location"] == "/sign-in?next=/settings"
    assert 'autocomplete="current-password"' in client.get("/sign-in").text
    response = sign_in(client, next="/settings")
    assert (response.status_code, response.headers["location"]) == (303, "/settings")
    cookie = response.headers["set-cookie"].lower()
    assert cookie.startswith(f"{SESSION_COOKIE}=")
    assert all(flag in cookie for flag in ("httponly", "samesite=lax", "path=/", "max-age=5184000"))
    assert client.get("/settings").status_code == 200
    assert client.get("/sign-in").headers["location"] == "/"
    assert client.post("/sign-out").headers["location"] == "/sign-in"
    assert client.get("/settings").status_code == 303


def test_behind_https_the_cookie_is_for_this_host_over_https_alone(empty_project, tmp_path):
    from site_of_tests import copy_project

    from heed.project import Project

    with Project(copy_project(empty_project, tmp_path / "project")) as project:
        site = Site(project, Address("https://feedback.example.org"))
        ann = person(site)
        response = sign_in(browser(site))
        assert response.headers["set-cookie"].startswith(f"{SECURE_SESSION_COOKIE}=")
        assert "secure" in response.headers["set-cookie"].lower()
        secret = site.write(lambda c: sessions.begin(c, ann.id, "", now()))
        for name, status in ((SESSION_COOKIE, 401), (SECURE_SESSION_COOKIE, 200)):
            got = site.anonymous.get("/api/v1/me", headers={"cookie": f"{name}={secret}"})
            assert got.status_code == status
        site.close()


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_nobody_is_sent_elsewhere_after_signing_in(site, target):
    person(site)
    assert "evil" not in browser(site).get("/sign-in", params={"next": target}).text
    assert sign_in(browser(site), next=target).headers["location"] == "/"


def test_a_wrong_password_and_an_unknown_name_look_the_same(site):
    person(site)
    paused = person(site, "eve")
    site.write(lambda c: managing.close(c, paused.id, "", OPERATOR, now()))
    site.write(lambda c: accounts.create_account(c, "elsewhere", "rater", "", now(), subject="https://id|1"))
    said = set()
    for name, password in (
        ("ann", OTHER),
        ("nobody", OTHER),
        ("eve", PASSWORD),
        ("elsewhere", PASSWORD),
        ("\x00", "x"),
    ):
        response = sign_in(browser(site), name, password)
        assert "set-cookie" not in response.headers
        said.add((response.status_code, re.sub(r'value="[^"]*"', "", response.text)))
    assert len(said) == 1
    assert said.pop()[0] == 401


def test_a_session_that_was_planted_before_is_worth_nothing_after(site):
    ann, mallory = person(site), site.account("mallory")
    planted = site.write(lambda c: sessions.begin(c, mallory.id, "", now()))
    for cookie in (planted, "chosen-by-somebody-else"):
        values = {"name": "ann", "password": PASSWORD}
        response = browser(site).post("/sign-in", data=values, headers={"cookie": f"{SESSION_COOKIE}={cookie}"})
        secret = response.cookies[SESSION_COOKIE]
        assert secret != cookie
        found = site.read(lambda c, secret=secret: sessions.who(c, secret, now()))
        assert found is not None
        assert found.id == ann.id
    assert site.read(lambda c: sessions.who(c, planted, now())) is None


def test_guessing_at_one_name_is_stopped_and_others_still_get_in(site):
    person(site)
    person(site, "bob")
    statuses = [sign_in(browser(site), "ann", OTHER).status_code for _ in range(int(SIGN_IN_NAME.capacity) + 2)]
    assert statuses == [401] * int(SIGN_IN_NAME.capacity) + [429] * 2
    assert sign_in(browser(site), "ANN", PASSWORD).status_code == 429
    assert sign_in(browser(site), "bob").status_code == 303


def test_guessing_elsewhere_does_not_shut_out_who_has_signed_in_here_before(site):
    ann = person(site)
    hers, elsewhere = browser(site), browser(site)
    assert sign_in(hers, "ann").status_code == 303
    hers.post("/sign-out")
    for _ in range(int(SIGN_IN_NAME.capacity) + 1):
        sign_in(elsewhere, "ann", OTHER)
    assert sign_in(elsewhere, "ann").status_code == 429
    assert sign_in(hers, "ann").status_code == 303
    # The cookie is no way round the limit: it has one of its own, is of one account, and ends with the password.
    statuses = [sign_in(hers, "ann", OTHER).status_code for _ in range(int(SIGN_IN_NAME.capacity) + 1)]
    assert statuses[-1] == 429
    (cookie,) = [value for name, value in hers.cookies.items() if name.endswith("heed_browser")]
    for forged in (cookie[:-1] + "x", cookie.partition(".")[0], "." + cookie.partition(".")[2], ".", "é.é"):
        headers = {"cookie": f"heed_browser={forged}".encode()}
        values = {"name": "ann", "password": PASSWORD}
        assert browser(site).post("/sign-in", data=values, headers=headers).status_code == 429
    changed = hash_password(OTHER, "ann")
    site.write(lambda c: accounts.change_password(c, ann.id, changed, now()))
    values = {"name": "ann", "password": OTHER}
    headers = {"cookie": f"heed_browser={cookie}"}
    assert browser(site).post("/sign-in", data=values, headers=headers).status_code == 429


def test_guessing_from_one_address_is_stopped_whatever_the_names(site, monkeypatch):
    monkeypatch.setattr("heed.web.account.entry.verify_password", lambda *_: False)
    statuses = [sign_in(browser(site), f"name {n}").status_code for n in range(int(SIGN_IN_ADDRESS.capacity) + 1)]
    assert statuses == [401] * int(SIGN_IN_ADDRESS.capacity) + [429]


def test_who_signs_in_often_is_not_stopped(site):
    person(site)
    assert {sign_in(browser(site)).status_code for _ in range(int(SIGN_IN_NAME.capacity) + 3)} == {303}


def test_a_name_with_markup_is_shown_as_text_everywhere(site):
    name = "<img src=x onerror=alert(1)>"
    person(site, name)
    client = browser(site)
    assert sign_in(client, name).status_code == 303
    for response in (
        client.get("/settings"),
        sign_in(browser(site), name, OTHER),
        sign_in(browser(site), '"><script>', "x"),
    ):
        assert "<img src=x" not in response.text
        assert "<script>" not in response.text
        assert "unsafe" not in response.headers["content-security-policy"]


# Invitations


def test_a_guest_chooses_name_and_password_and_is_signed_in(site):
    place = link(site, "lead")
    client = browser(site)
    page = client.get(place)
    assert page.status_code == 200
    assert 'autocomplete="new-password"' in page.text
    assert page.headers["referrer-policy"] in ("same-origin", "no-referrer")
    response = client.post(place, data={"name": "Ann", "password": PASSWORD})
    assert (response.status_code, response.headers["location"]) == (303, "/")
    assert client.get("/api/v1/me").json()["role"] == "lead"
    for again in (browser(site).get(place), browser(site).post(place, data={"name": "bob", "password": PASSWORD})):
        assert again.status_code == 404
        assert "set-cookie" not in again.headers
    assert sign_in(browser(site), "ann").status_code == 303


@pytest.mark.parametrize(
    ("name", "password", "status", "place"),
    [
        ("bob", "s7!rt", 422, "password"),
        ("bob", "bobbobbobbob", 422, "password"),
        ("bob", "1234567890", 422, "password"),
        ("ANN", PASSWORD, 409, "name"),
        ("eve", PASSWORD, 409, "name"),
        ("heed", PASSWORD, 422, "name"),
        ("a\nb", PASSWORD, 422, "name"),
        ("", PASSWORD, 422, "name"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_the_invitation_stays_good(site, name, password, status, place):
    person(site)
    site.project.store.add_raters([("eve", "simulated", "")])
    secret = link(site)
    client = browser(site)
    response = client.post(secret, data={"name": name, "password": password})
    assert response.status_code == status
    assert re.search(
        rf'name="{place}"[^>]*aria-invalid="true"[^>]*aria-describedby="[^"]*field-{place}-error"', response.text
    )
    assert f'id="field-{place}-error"' in response.text
    assert password not in response.text
    assert client.post(secret, data={"name": "bob", "password": PASSWORD}).status_code == 303


def test_a_guest_takes_no_more_than_was_meant(site):
    place = link(site, name="Ann")
    for extra in ({"role": "admin"}, {"account_id": "x"}, {"group": "y"}):
        assert browser(site).post(place, data={"name": "x", "password": PASSWORD, **extra}).status_code == 422
    client = browser(site)
    assert client.post(place, data={"name": "boss", "password": PASSWORD}).status_code == 303
    mine = client.get("/api/v1/me").json()
    assert (mine["name"], mine["role"]) == ("Ann", "rater")


def test_a_link_to_set_a_password_ends_what_was_open(site):
    ann = person(site)
    before = browser(site)
    sign_in(before)
    secret = site.write(lambda c: invitations.reset_link(c, ann.id, OPERATOR, now()))
    client = browser(site)
    assert 'value="ann"' in client.get(f"/invitation/{secret}").text
    assert client.post(f"/invitation/{secret}", data={"password": OTHER}).status_code == 303
    assert client.get("/api/v1/me").json()["name"] == "ann"
    assert before.get("/api/v1/me").status_code == 401
    assert sign_in(browser(site)).status_code == 401
    assert sign_in(browser(site), password=OTHER).status_code == 303


def test_trying_links_is_stopped(site):
    client = browser(site)
    statuses = [client.get(f"/invitation/guess-{n}").status_code for n in range(40)]
    assert statuses.count(404) == 30
    assert set(statuses[30:]) == {429}
    assert client.get(link(site)).status_code == 200


@pytest.mark.parametrize("header", ["x-forwarded-host", "x-host", "forwarded", "x-original-host"])
def test_links_name_this_server_whatever_the_headers_say(site, header):
    boss = site.client("boss", "admin")
    ann = site.account("ann")
    headers = {header: "evil.example" if header != "forwarded" else "host=evil.example"}
    for path, body in (("/api/v1/invitations", {}), (f"/api/v1/people/{ann.id}/reset-link", None)):
        made = boss.post(path, json=body, headers=headers).json()["link"]
        assert made.startswith("http://localhost/invitation/")
    assert boss.post("/api/v1/invitations", json={}, headers={"host": "evil.example"}).status_code == 422


def test_links_name_the_address_that_is_configured(empty_project, tmp_path):
    from site_of_tests import copy_project

    from heed.project import Project

    with Project(copy_project(empty_project, tmp_path / "project")) as project:
        site = Site(project, Address("http://feedback.example.org:8080"))
        made = site.client("boss", "admin").post("/api/v1/invitations", json={}).json()["link"]
        assert made.startswith("http://feedback.example.org:8080/invitation/")
        site.close()


# Preferences


def test_language_and_colours_are_switched_before_signing_in_and_after(site):
    client = browser(site)
    assert 'lang="en"' in client.get("/sign-in").text
    assert client.post("/preferences", data={"language": "zh", "next": "/sign-in"}).headers["location"] == "/sign-in"
    client.post("/preferences", data={"theme": "dark"})
    page = client.get("/sign-in").text
    assert 'lang="zh-Hans"' in page
    assert 'data-theme="dark"' in page
    ann = site.client("ann")
    ann.post("/preferences", data={"language": "zh"})
    assert ann.get("/api/v1/me").json()["language"] == "zh"
    for odd in ({"language": "xx"}, {"theme": '"><script>'}, {"next": "https://evil.example"}):
        response = ann.post("/preferences", data=odd)
        assert response.headers["location"] == "/"
        assert "set-cookie" not in response.headers


# Settings


def test_every_section_of_the_settings_saves_by_a_plain_form(site):
    person(site)
    client = browser(site)
    sign_in(client)
    revision = client.get("/api/v1/me").json()["revision"]
    forms = (
        ("preferences", {"language": "zh", "theme": "dark", "revision": str(revision)}),
        ("keys", {"enabled": "on", "key-left": "A", "key-skip": "", "key-right": "2"}),
        ("sessions", {}),
    )
    for section, values in forms:
        response = client.post(f"/settings/{section}", data=values)
        assert response.headers["location"] == f"/settings?done={section}", response.text
        assert 'class="notice good"' in client.get(response.headers["location"]).text
    mine = client.get("/api/v1/me").json()
    assert (mine["language"], mine["theme"]) == ("zh", "dark")
    assert mine["keys_in_use"]["left"] == "a"
    assert mine["keys_in_use"]["skip"] == ""


def test_a_stale_form_changes_nothing_and_says_so(site):
    client = site.client("ann")
    revision = client.get("/api/v1/me").json()["revision"]
    client.patch("/api/v1/me", json={"theme": "light"})
    values = {"language": "zh", "theme": "dark", "revision": str(revision)}
    response = client.post("/settings/preferences", data=values)
    assert response.status_code == 409
    assert 'class="notice bad"' in response.text
    assert client.get("/api/v1/me").json()["theme"] == "light"


def test_keys_that_cannot_be_are_shown_again_as_text(site):
    client = site.client("ann")
    response = client.post("/settings/keys", data={"enabled": "on", "key-left": "<img src=x>"})
    assert response.status_code == 422
    assert "<img src=x" not in response.text
    assert client.post("/settings/keys", data={"key-fly": "x"}).status_code == 422
    assert client.get("/api/v1/me").json()["keys"] == {}
    assert client.post("/settings/keys", data={}).status_code == 303
    assert set(client.get("/api/v1/me").json()["keys_in_use"].values()) == {""}
    assert client.post("/settings/keys", data={"usual": "on"}).status_code == 303
    assert client.get("/api/v1/me").json()["keys_in_use"]["left"] == "1"


def test_a_new_password_needs_the_old_one_and_ends_all_other_sessions(site):
    person(site)
    client, other = browser(site), browser(site)
    sign_in(client)
    sign_in(other)
    for current, password, status in ((OTHER, OTHER, 422), (PASSWORD, "short", 422)):
        response = client.post("/settings/password", data={"current": current, "password": password})
        assert response.status_code == status
        assert re.search(r'aria-invalid="true"[^>]* autofocus="autofocus"', response.text)  # and so in view
    done = client.post("/settings/password", data={"username": "ann", "current": PASSWORD, "password": OTHER})
    assert done.headers["location"] == "/settings?done=password"
    assert client.get("/api/v1/me").status_code == 200
    assert other.get("/api/v1/me").status_code == 401
    assert sign_in(browser(site), password=OTHER).status_code == 303


def test_guessing_the_current_password_is_stopped(site):
    person(site)
    client = browser(site)
    sign_in(client)
    values = {"current": OTHER, "password": OTHER}
    statuses = [client.post("/settings/password", data=values).status_code for _ in range(7)]
    assert statuses == [422] * 5 + [429] * 2


def test_a_token_is_shown_once_and_works_until_it_is_ended(site):
    client = site.client("ann")
    made = client.post("/settings/tokens", data={"name": "<b>script</b>", "scopes": "read", "days": "7"})
    secret = re.search(r"heed_[\w-]{43}", made.text)
    assert secret
    assert "<b>script" not in made.text
    assert secret[0] not in client.get("/settings").text
    program = browser(site)
    program.headers["authorization"] = f"Bearer {secret[0]}"
    assert program.get("/api/v1/me").json()["name"] == "ann"
    token = client.get("/api/v1/me/tokens").json()["tokens"][0]["id"]
    assert client.post("/settings/tokens/revocation", data={"token": token}).status_code == 303
    assert program.get("/api/v1/me").status_code == 401
    for odd in ({"scopes": "manage"}, {"days": "400"}, {"name": " "}):
        values = {"name": "x", "scopes": "read", "days": "7"} | odd
        assert client.post("/settings/tokens", data=values).status_code == 422


def test_browsers_are_signed_out_from_another(site):
    client, other = site.client("ann"), site.client("ann")
    listed = client.get("/api/v1/me/sessions").json()["sessions"]
    assert [one["current"] for one in listed].count(True) == 1
    (theirs,) = [one["id"] for one in listed if not one["current"]]
    assert client.post("/settings/sessions", data={"session": theirs}).status_code == 303
    assert other.get("/api/v1/me").status_code == 401
    assert client.get("/api/v1/me").status_code == 200


# Guidelines


def save(site: Site, text: str, note: str, version: int) -> None:
    site.write(lambda c: guidelines.save(c, text, note, "the lead's name", version, now()))


def test_guidelines_are_read_acknowledged_and_read_again_when_they_change(site):
    client = site.client("ann")
    assert client.get("/guidelines").status_code == 200
    save(site, "# Be kind\n\n<script>alert(1)</script> and **brief**", "", 0)
    page = client.get("/guidelines?next=/work").text
    assert "<strong>brief</strong>" in page
    assert "<script>alert" not in page
    assert "the lead&#39;s name" not in page
    assert client.post("/guidelines", data={"version": "1", "next": "/work"}).headers["location"] == "/work"
    assert client.get("/api/v1/guidelines").json()["acknowledged"] is True
    assert 'action="/guidelines"' not in client.get("/guidelines").text
    save(site, "# Be kinder", "kindness <i>first</i>", 1)
    page = client.get("/guidelines").text
    assert "kindness &lt;i&gt;first" in page
    assert client.post("/guidelines", data={"version": "1"}).status_code == 409
    assert client.post("/guidelines", data={"version": "2", "next": "//evil.example"}).headers["location"] == "/"


def test_expired_links_and_sessions_are_worth_nothing(site):
    ann = person(site)
    long_ago = now() - timedelta(days=100)
    old = site.write(lambda c: invitations.invite(c, "rater", "", None, "", OPERATOR, long_ago))
    assert browser(site).get(f"/invitation/{old}").status_code == 404
    secret = site.write(lambda c: sessions.begin(c, ann.id, "", long_ago))
    assert browser(site).get("/api/v1/me", headers={"cookie": f"{SESSION_COOKIE}={secret}"}).status_code == 401
