"""The application around the surfaces: limits of bodies, errors as people and programs see them, files."""

from __future__ import annotations

import asyncio
import json

import pytest
from fastapi import Request, UploadFile

from heed.errors import HeedError, ProjectError
from heed.web import app as application
from heed.web.call import Called
from heed.web.errors import STATUS
from heed.web.pages import static_url
from heed.web.permissions import anyone, leads
from heed.web.routing import Route


async def swallow(call: Called, request: Request) -> dict[str, int]:
    return {"bytes": len(await request.body())}


async def swallow_json(call: Called, body: dict[str, object]) -> dict[str, int]:
    return {"keys": len(body)}


async def stumble(call: Called) -> None:
    raise ZeroDivisionError("the secret is 42")


async def unavailable(call: Called) -> None:
    raise ProjectError("the disk", "it is full.", "Free some space.")


async def unguarded(call: Called) -> dict[str, str]:
    return {"account": str(call.caller.account)}


async def for_leads(call: Called, body: dict[str, object]) -> dict[str, int]:
    return {"keys": len(body)}


async def upload_for_leads(call: Called, file: UploadFile) -> dict[str, int]:
    return {"bytes": file.size or 0}


ROUTES = (
    Route("POST", "/api/v1/leads-json", for_leads, leads, body_limit=10_000_000),
    Route(
        "POST", "/api/v1/leads-upload", upload_for_leads, leads, body_limit=lambda settings: settings.media_megabytes
    ),
    Route("POST", "/api/v1/small", swallow, anyone),
    Route("POST", "/api/v1/json", swallow_json, anyone),
    Route("POST", "/api/v1/large/{name}", swallow, anyone, body_limit=5_000_000),
    Route("GET", "/api/v1/stumble", stumble, anyone),
    Route("GET", "/stumble", stumble, anyone, kind="page"),
    Route("GET", "/api/v1/full", unavailable, anyone),
)


@pytest.fixture(autouse=True)
def few_routes(monkeypatch):
    monkeypatch.setattr(application, "first_routes", lambda: ROUTES)
    monkeypatch.setattr(application, "later_routes", lambda: ())


BYTES = {"content-type": "application/octet-stream"}
LIMIT = 2 * 1024 * 1024


def test_bodies_stop_at_the_limit_of_their_route(site):
    client = site.anonymous
    assert client.post("/api/v1/small", content=b"x" * LIMIT, headers=BYTES).json() == {"bytes": LIMIT}
    refused = client.post("/api/v1/small", content=b"x" * (LIMIT + 1), headers=BYTES)
    assert refused.status_code == 413
    assert set(refused.json()["error"]) == {"what", "why", "fix", "code"}
    assert client.post("/api/v1/large/a", content=b"x" * (LIMIT + 1), headers=BYTES).status_code == 200
    assert client.post("/api/v1/large/a", content=b"x" * 5_000_001, headers=BYTES).status_code == 413


def test_a_body_without_a_length_is_counted_as_it_comes(site):
    pieces = (b"x" * 100_000 for _ in range(30))
    assert site.anonymous.post("/api/v1/small", content=pieces, headers=BYTES).status_code == 413


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"[" * 200_000 + b"]" * 200_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a": ' + b"9" * 10_000 + b"}x",
    ],
)
def test_malformed_json_is_the_senders_fault(site, body):
    response = site.anonymous.post("/api/v1/json", content=body, headers=JSON)
    assert response.status_code in (400, 422)
    assert response.json()["error"]["code"] == "invalid"


def test_a_fault_inside_tells_a_number_and_nothing_of_itself(site, caplog):
    response = site.anonymous.get("/api/v1/stumble")
    assert response.status_code == 500
    assert "42" not in response.text.replace(response.json()["error"]["why"], "")
    number = response.json()["error"]["why"].split("fault ")[1].split(")")[0]
    assert number in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "ZeroDivisionError" not in response.text


def test_people_get_a_page_and_programs_get_json(site):
    page = site.anonymous.get("/stumble")
    assert page.status_code == 500
    assert page.headers["content-type"].startswith("text/html")
    assert "<h1" in page.text
    assert "secret" not in page.text
    for response in (page, site.anonymous.get("/api/v1/stumble")):
        assert "default-src 'none'" in response.headers["content-security-policy"]


def test_what_the_project_cannot_do_now_is_unavailable(site):
    response = site.anonymous.get("/api/v1/full")
    assert response.status_code == 503
    assert response.json() == {
        "error": {"what": "the disk", "why": "it is full.", "fix": "Free some space.", "code": "unavailable"}
    }


def test_a_wrong_method_and_a_wrong_address_are_told_apart(site):
    assert site.anonymous.get("/api/v1/small").status_code == 405
    assert site.anonymous.get("/api/v1/nowhere").status_code == 404


def test_a_handler_that_no_guard_stands_before_gets_no_call(site):
    site.app.add_api_route("/api/v1/unguarded", unguarded)
    response = site.client("ann", "admin").get("/api/v1/unguarded")
    assert response.status_code == 500


def test_static_files_may_be_kept_and_lie_nowhere_else(site):
    style = site.anonymous.get(static_url("base.css"))
    assert style.status_code == 200
    assert "immutable" in style.headers["cache-control"]
    assert style.headers["x-content-type-options"] == "nosniff"
    root = static_url("").rstrip("/")
    for path in (
        "/../app.py",
        "/%2e%2e/app.py",
        "/..%2fapp.py",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/../../heed.yaml",
    ):
        assert site.anonymous.get(root + path).status_code == 404


def test_every_kind_of_error_has_a_status():
    kinds = [kind for kind in HeedError.__subclasses__() if kind.__module__ == "heed.errors"]
    # Models and training are no part of a request.
    assert {kind.__name__ for kind in kinds} - {kind.__name__ for kind in STATUS} == {
        "ModelError",
        "TrainingError",
    }


def test_errors_are_json_that_every_program_reads(site):
    for path in ("/api/v1/nowhere", "/api/v1/full", "/api/v1/stumble"):
        assert json.loads(site.anonymous.get(path).content)["error"]["what"]


async def read_nothing(sent: list[bytes], site, path: str, headers: dict[str, str]) -> int:
    """Status of a request whose body is counted as the server reads it."""
    status = 0

    async def receive() -> dict[str, object]:
        sent.append(b"x" * 1000)
        return {"type": "http.request", "body": sent[-1], "more_body": True}

    async def send(message) -> None:
        nonlocal status
        status = message.get("status", status)

    raw = [(name.encode(), value.encode()) for name, value in ({"host": "localhost"} | headers).items()]
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": raw,
        "scheme": "http", "server": ("localhost", 80), "client": ("127.0.0.1", 1), "http_version": "1.1", "root_path": "",
        "state": {},
    }  # fmt: skip
    await site.app(scope, receive, send)
    return status


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x"])
def test_what_somebody_may_not_send_is_not_read(site, kind):
    sent: list[bytes] = []
    path = "/api/v1/leads-json" if kind == "application/json" else "/api/v1/leads-upload"
    assert asyncio.run(read_nothing(sent, site, path, {"content-type": kind})) == 401
    assert sent == []
