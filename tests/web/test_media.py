"""Pictures and videos: what is taken, what is not, and how they are served."""

from __future__ import annotations

import base64
import hashlib
import stat
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from site_of_tests import Site

from heed.web import media
from heed.web.media import FORMATS

# Eight by six points, or a third of a second, as Chromium's canvas and recorder write them (colour profiles removed).
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAGCAYAAAD+Bd/7AAAAI0lEQVR4AczKMQ0AAAwCwQYbdVZxtQoOYOWT3w57Tzcm1AAEAAD//zrBL4MAAAAG"
    "SURBVAMAuS0QnSLxQmUAAAAASUVORK5CYII="
)
WEBM = base64.b64decode(
    "GkXfo59ChoEBQveBAULygQRC84EIQoKEd2VibUKHgQRChYECGFOAZwEAAAAAAAGfEU2bdLlNu4tTq4QVSalmU6yBbk27i1OrhBZUrmtTrIGTTbuLU6uE"
    "H0O2dVOsgdRNu4xTq4QcU7trU6yCAY3srgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAVSalmoCrXsYMPQkBEiYRD"
    "lpCkTYCGQ2hyb21lV0GGQ2hyb21lFlSua7yuuteBAXPFh2SGuxbunW+DgQFV7oEBhoVWX1ZQOOCdsIFAuoEwU8CBAVWwkFWxgQFVuYECVbqBDVW7gQEf"
    "Q7Z1AQAAAAAAAK3ngQCg4aGygQAAANACAJ0BKkAAMAAKhwiFhYiZhIg4AgJ08ma6NHm/FnfA/uLgSMNGv7U/Kz3fcAB1oaqmqO6BAaWjsAIAnQEqQAAw"
    "AAqHCIWFiJmEiDgCAAaOT8zHm/FYAP7rrgCgxaGkgQEtABECACoRwAAYABpP9AwAEQwFU4D+y7d7lopFa4ubIbwAdaGZppfugQGlktEBACoRwAAYABhY"
    "L/QACIwAAPuBABxTu2uNu4uzgQC3hveBAfGB1A=="
)
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
WEBP = base64.b64decode("UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA")
JPEG = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    b"\xff\xc2\x00\x0b\x08\x00\x06\x00\x08\x01\x01\x11\x00"  # progressive, 8 by 6, one component
    b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00ab\xff\x00c\xff\xd0d"
    b"\xff\xc4\x00\x03\x00\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00more\xff\xd9"
)


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


MP4 = box(b"ftyp", b"isom\x00\x00\x02\x00isommp41") + box(b"moov", box(b"mvhd", bytes(100))) + box(b"mdat", b"frames")
SAMPLES = {"png": PNG, "jpg": JPEG, "gif": GIF, "webp": WEBP, "mp4": MP4, "webm": WEBM}


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def after_first_chunk(chunk: bytes) -> bytes:
    return PNG[:33] + chunk + PNG[33:]


@pytest.mark.parametrize("ending", SAMPLES)
def test_each_format_is_known_by_its_bytes_and_by_nothing_else(ending: str) -> None:
    content = SAMPLES[ending]
    assert [name for name, form in FORMATS.items() if form.fits(content)] == [ending]


@pytest.mark.parametrize("ending", SAMPLES)
def test_a_file_with_anything_around_it_or_cut_off_is_none(ending: str) -> None:
    content = SAMPLES[ending]
    page = b"<html><script>alert(1)</script></html>"
    archive = b"PK\x03\x04" + bytes(26) + b"PK\x05\x06" + bytes(18)
    for odd in (content + page, content + archive, content + b"\x00", page + content, b"\n" + content, content[:-1]):
        assert not any(form.fits(odd) for form in FORMATS.values())


@pytest.mark.parametrize("ending", SAMPLES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_files_are_judged_without_an_error(ending: str, data: st.DataObject) -> None:
    content = bytearray(SAMPLES[ending])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))])
    for form in FORMATS.values():
        assert form.fits(cut) in (True, False)


REFUSED = {
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "svg with a declaration": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "html": b"<!doctype html><script>alert(1)</script>",
    "html that begins as a gif": b"GIF89a/*<html><script>alert(1)</script>*/=1;",
    "a gif and a script at once": b"GIF89a=1;alert(1)//" + bytes(20) + b";",
    "pdf": b"%PDF-1.7\n%%EOF",
    "zip": b"PK\x03\x04" + bytes(40),
    "nothing": b"",
    "text": b"hello",
    "bmp": b"BM" + bytes(60),
    "a matroska that is no webm": WEBM.replace(b"\x82\x84webm", b"\x82\x84mkvv"),
    "a quicktime film": MP4.replace(b"isom", b"qt  ", 1),
    "a webm with an attachment": WEBM[:-1] + b"\x19\x41\xa4\x69\x81x",
    "a picture that would fill the memory": PNG[:8]
    + png_chunk(b"IHDR", struct.pack(">II", 60_000, 60_000) + b"\x08\x06\x00\x00\x00")
    + PNG[33:],
    "a png with a page in its text": after_first_chunk(png_chunk(b"tEXt", b"Comment\x00<script>alert(1)</script>")),
    "a jpeg with a page in its comment": JPEG[:2] + b"\xff\xfe\x00\x12<html><body>hi" + JPEG[2:],
    "a gif with php in its comment": GIF[:-1] + b"\x21\xfe\x0f<?php echo 1; ?>\x00\x3b"[:18] + b"\x00\x3b",
}


@pytest.mark.parametrize("what", REFUSED)
def test_pages_programs_and_what_is_two_things_at_once_are_refused(site: Site, what: str) -> None:
    response = site.client("lea", "lead").post("/api/v1/media", files={"file": ("cat.png", REFUSED[what], "image/png")})
    assert response.status_code == 422, response.text
    assert not list((site.project.folder / media.FOLDER).glob("*"))


@pytest.mark.parametrize("ending", SAMPLES)
def test_a_medium_is_kept_under_a_name_of_its_own_and_served_as_what_it_is(site: Site, ending: str) -> None:
    lead = site.client("lea", "lead")
    content = SAMPLES[ending]
    made = lead.post("/api/v1/media", files={"file": ("../../evil.html", content, "text/html")})
    assert made.status_code == 201, made.text
    facts = made.json()
    assert facts["id"] == f"{hashlib.sha256(content).hexdigest()[:32]}.{ending}"
    assert facts["reference"] == f"![](media:{facts['id']})"
    shown = site.client("ann").get(f"/media/{facts['id']}")
    assert shown.content == content
    assert shown.headers["content-type"] == FORMATS[ending].media_type == facts["media_type"]
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert shown.headers["content-disposition"].startswith("attachment")
    assert "evil" not in shown.headers["content-disposition"]
    assert "sandbox" in shown.headers["content-security-policy"]
    assert shown.headers["cache-control"].startswith("private")
    assert [one["id"] for one in lead.get("/api/v1/media").json()["media"]] == [facts["id"]]


def test_the_same_content_is_kept_once_and_only_its_owner_can_read_it(site: Site) -> None:
    lead = site.client("lea", "lead")
    for _ in range(2):
        lead.post("/api/v1/media", files={"file": ("a.png", PNG)})
    (file,) = (site.project.folder / media.FOLDER).iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_player_may_ask_for_a_part(site: Site) -> None:
    made = media.keep(site.project.folder, WEBM)
    part = site.client("ann").get(f"/media/{made.id}", headers={"range": "bytes=4-9"})
    assert part.status_code == 206
    assert part.content == WEBM[4:10]
    assert part.headers["content-range"] == f"bytes 4-9/{len(WEBM)}"
    assert site.client("ann").head(f"/media/{made.id}").headers["content-length"] == str(len(WEBM))


@pytest.mark.parametrize(
    "name",
    ["..%2f..%2fheed.yaml", "../heed.yaml", "%2e%2e%2fheed.yaml", "heed.db", ".heed-secrets", "a" * 32 + ".png/..",
     "a" * 32 + ".svg", "A" * 32 + ".png", "a" * 32 + ".png%00.html", "a" * 32 + ".png%0a", "a" * 32 + ".png"],
)  # fmt: skip
def test_no_other_file_is_ever_served(site: Site, name: str) -> None:
    assert site.client("ann").get(f"/media/{name}").status_code in (404, 422)


def test_a_link_in_the_folder_is_not_followed(site: Site) -> None:
    made = media.keep(site.project.folder, PNG)
    name = "b" * 32 + ".png"
    (site.project.folder / media.FOLDER / name).symlink_to(site.project.folder / "heed.yaml")
    client = site.client("ann")
    assert client.get(f"/media/{name}").status_code == 404
    assert client.get(f"/media/{made.id}").status_code == 200


def test_who_is_not_signed_in_sees_nothing_and_a_rater_adds_nothing(site: Site) -> None:
    made = media.keep(site.project.folder, PNG)
    assert site.anonymous.get(f"/media/{made.id}").status_code in (303, 401)
    assert site.client("ann").post("/api/v1/media", files={"file": ("a.png", PNG)}).status_code == 403
    assert site.client("ann").delete(f"/api/v1/media/{made.id}").status_code == 403


def test_what_is_removed_is_gone(site: Site) -> None:
    lead = site.client("lea", "lead")
    made = media.keep(site.project.folder, PNG)
    assert lead.delete(f"/api/v1/media/{made.id}").status_code == 204
    assert lead.get(f"/media/{made.id}").status_code == 404
    assert lead.delete(f"/api/v1/media/{made.id}").status_code == 404


def test_a_file_beyond_the_projects_limit_is_refused(site: Site) -> None:
    site.project.settings.serve.media_megabytes = 1
    large = MP4 + box(b"free", bytes(1_000_000))
    response = site.client("lea", "lead").post("/api/v1/media", files={"file": ("a.mp4", large)})
    assert response.status_code == 422
    assert "1 MB" in response.text


@pytest.mark.parametrize("form", [{"other": "x"}, {"file": "a text, no file"}])
def test_a_form_without_a_file_is_told_so(site: Site, form: dict[str, str]) -> None:
    assert site.client("lea", "lead").post("/api/v1/media", data=form).status_code == 422


def test_a_lead_adds_and_deletes_by_the_page(site: Site) -> None:
    lead = site.client("lea", "lead")
    added = lead.post("/board/media", files={"file": ("holiday <b>.png", PNG, "text/html")})
    assert (added.status_code, added.headers["location"]) == (303, "/board/media")
    (one,) = lead.get("/api/v1/media").json()["media"]
    page = lead.get("/board/media").text
    assert one["reference"] in page
    assert f'src="/media/{one["id"]}"' in page
    assert "holiday" not in page
    assert lead.post("/board/media", files={"file": ("a.png", b"<svg>", "image/png")}).status_code == 422
    assert lead.post(f"/board/media/{one['id']}").status_code == 303
    assert lead.get("/api/v1/media").json()["media"] == []
