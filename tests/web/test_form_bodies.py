"""Bodies of forms: how large those with a file may be, and in which encoding any of them comes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from site_of_tests import Site, copy_project
from starlette.testclient import TestClient

from heed.config import ServeSettings
from heed.project import Project

MEGABYTE = 1 << 20


@pytest.fixture
def small(empty_project: Path, tmp_path: Path) -> Iterator[Site]:
    """A server that takes files of one megabyte."""
    with Project(copy_project(empty_project, tmp_path / "small")) as project:
        project.settings.serve = ServeSettings(import_megabytes=1)
        made = Site(project)
        yield made
        made.close()


def form(fields: dict[str, bytes], more: bytes = b"") -> bytes:
    parts = (
        b'--xx\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (k.encode(), v) for k, v in fields.items()
    )
    return b"".join(parts) + more + b"--xx--\r\n"


def file(size: int) -> bytes:
    head = b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    return head + b"x" * size + b"\r\n"


UPLOADS = ("/api/v1/imports?kind=items", "/board/exchange/items", "/board/exchange/feedback")


@pytest.mark.parametrize("path", UPLOADS)
@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_form_with_a_file_is_read_no_further_than_a_file_may_reach(small: Site, path: str, in_pieces: bool) -> None:
    body = form({}, file(3 * MEGABYTE))
    lead = small.client("lea", "lead")
    headers = {"content-type": "multipart/form-data; boundary=xx"}
    answer = lead.post(path, content=iter([body]) if in_pieces else body, headers=headers)
    assert answer.status_code == 413
    assert "raise serve.import_megabytes in heed.yaml" in answer.text
    just_more = lead.post(path, content=form({}, file(MEGABYTE + 1)), headers=headers)
    assert just_more.status_code == 422
    assert "1,048,576" in just_more.text
    assert list((small.project.folder / "exchange").iterdir()) == []


def sent(client: TestClient, path: str, kind: str) -> int:
    fields = {"key-submit": b"\\ud800x", "what": b"\\ud800", "name": b"+2AA-", "password": b"x", "language": b"zh"}
    content = form(fields) if kind.startswith("multipart") else b"name=x&password=x"
    return client.post(path, content=content, headers={"content-type": kind}).status_code


FORMS = ("/settings/keys", "/settings/tokens", "/board/exchange/exports", "/sign-in")
CODECS = (
    "unicode_escape",
    "raw_unicode_escape",
    "utf-7",
    "undefined",
    "punycode",
    "idna",
    "utf-16",
    "rot13",
    "x" * 300,
    "",
)


@pytest.mark.parametrize("path", FORMS)
def test_a_form_in_another_encoding_than_utf_8_is_refused(site: Site, path: str) -> None:
    admin = site.client("ada", "admin")
    for codec in CODECS:
        for kind in ("multipart/form-data; boundary=xx", "application/x-www-form-urlencoded"):
            for said in (f"{kind}; charset={codec}", f'{kind};charset="{codec}"'):
                assert sent(admin, path, said) == 415, said


@pytest.mark.parametrize("path", FORMS)
def test_a_form_in_utf_8_passes_whether_it_says_so_or_not(site: Site, path: str) -> None:
    admin = site.client("ada", "admin")
    for more in ("", "; charset=utf-8", "; charset=UTF-8", '; charset="utf8"', "; charset*=utf-8''utf-7"):
        assert sent(admin, path, f"multipart/form-data; boundary=xx{more}") in (200, 303, 401, 422)


def test_the_api_refuses_it_too_in_words(site: Site) -> None:
    lead = site.client("lea", "lead")
    headers = {"content-type": "multipart/form-data; boundary=xx; charset=utf-7", "accept-language": "zh"}
    answer = lead.post("/api/v1/media", content=form({}, file(10)), headers=headers)
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "invalid"
