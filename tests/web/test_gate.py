"""What every request must pass before any handler sees it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route as PlainRoute
from starlette.testclient import TestClient

from heed.web.security import Address, Gate, safe_target


async def echo(request: Request) -> JSONResponse:
    return JSONResponse({"bytes": len(await request.body())})


@pytest.fixture(params=["", "https://feedback.example.org"])
def address(request):
    return Address(request.param, ("heed.internal",))


def client_of(address: Address) -> TestClient:
    inner = Starlette(
        routes=[PlainRoute("/{rest:path}", echo, methods=["GET", "POST", "PUT", "DELETE", "HEAD"])],
    )

    async def tell_fault(request: Request) -> PlainTextResponse:
        return PlainTextResponse("a fault", 500)

    return TestClient(Gate(inner, address, tell_fault), base_url="http://localhost:8000")


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "heed.internal"])
def test_names_of_this_machine_and_those_of_the_settings_are_known(address, host):
    assert client_of(address).get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "localhost@evil.example",
        "evil.example:8000",
        "",
        "127.0.0.1.evil",
        "*",
    ],
)
def test_other_hosts_are_refused_whatever_the_proxy_headers_say(address, host):
    headers = {"host": host, "x-forwarded-host": "localhost", "forwarded": "host=localhost"}
    response = client_of(address).get("/", headers=headers)
    assert response.status_code == 422
    assert "evil" not in response.text


def test_the_public_name_is_known_with_its_own_port_only():
    address = Address("https://feedback.example.org:8443")
    assert address.knows("feedback.example.org:8443")
    assert address.knows("Feedback.Example.org:8443")
    assert not address.knows("feedback.example.org:9999")


def test_links_are_made_from_the_public_url_or_from_the_host_that_was_checked():
    assert Address("https://a.example/").base("http", "localhost:1") == "https://a.example"
    assert Address().base("http", "localhost:8000") == "http://localhost:8000"


CROSS_SITE = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "origin": "http://localhost:8000"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:9999"},
    {"cookie": "heed_session=x"},
    {"cookie": "heed_session=x", "authorization": "Bearer x"},
]


@pytest.mark.parametrize("headers", CROSS_SITE)
@pytest.mark.parametrize("path", ["/sign-in", "/api/v1/me"])
def test_what_another_site_may_have_sent_is_refused(address, headers, path):
    response = client_of(address).post(path, json={}, headers=headers)
    assert response.status_code == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_every_method_that_changes_something_is_checked_and_no_header_renames_it(address, method):
    headers = {"sec-fetch-site": "cross-site", "x-http-method-override": "GET"}
    assert client_of(address).request(method, "/", headers=headers).status_code == 403


OWN = [
    {"sec-fetch-site": "same-origin", "cookie": "heed_session=x"},
    {"sec-fetch-site": "none"},
    {"origin": "http://localhost:8000", "cookie": "heed_session=x"},
    {"authorization": "Bearer x"},
    {},
]


@pytest.mark.parametrize("headers", OWN)
def test_our_own_pages_and_programs_pass(address, headers):
    assert client_of(address).post("/api/v1/me", json={}, headers=headers).status_code == 200


def test_reading_passes_from_anywhere(address):
    assert client_of(address).get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "text/html", "", "application/jsonx"]
)
def test_json_in_a_disguise_that_needs_no_permission_is_refused(address, kind):
    response = client_of(address).post("/api/v1/me", content=b"{}", headers={"content-type": kind})
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "invalid"


@pytest.mark.parametrize("path", ["/%00", "/a?b=%00", "/%ff", "/a?b=%c3%28"])
def test_addresses_that_are_no_text_are_refused(address, path):
    assert client_of(address).get(path).status_code == 422


def test_whoever_goes_in_the_middle_of_a_body_is_no_fault():
    came: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"x", "more_body": True},
        {"type": "http.disconnect"},
    ]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"localhost")]}

    async def receive() -> dict[str, Any]:
        return came.pop(0)

    async def nothing(*_: Any) -> Any:
        pytest.fail("there is nobody to be answered, and nothing to be told")

    async def swallow(scope: Any, receive: Any, send: Any) -> None:
        await Request(scope, receive).body()

    asyncio.run(Gate(swallow, Address(), nothing)(scope, receive, nothing))
    assert came == []


def test_every_answer_carries_the_headers_and_refusals_too(address):
    client = client_of(address)
    for response in (client.get("/"), client.get("/", headers={"host": "evil.example"})):
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "same-origin"
        assert response.headers["cache-control"] == "no-store"
        assert ("strict-transport-security" in response.headers) == address.secure


@pytest.mark.parametrize(
    ("target", "safe"),
    [
        ("/board/items?x=1", "/board/items?x=1"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x=1", "/"),
        ("", "/"),
        (None, "/"),
    ],
)
def test_only_paths_of_this_server_are_gone_on_to(target, safe):
    assert safe_target(target) == safe
