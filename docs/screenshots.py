"""Write the pictures of docs/images/: every screen of a studio with invented people: ``python docs/screenshots.py``."""

from __future__ import annotations

import base64
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright
from sqlalchemy import select

from heed.config import ProjectSettings
from heed.feedback.studio_schema import items, questions
from heed.people import accounts, invitations, sessions
from heed.project import Project
from heed.sandbox import studio_world
from heed.web import media
from heed.web.app import create_app
from heed.web.identity import SESSION_COOKIE

IMAGES = Path(__file__).parent / "images"
DESK, PHONE = (1200, 860), (390, 780)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

Act = Callable[[Page], None]


@dataclass(frozen=True)
class Shot:
    """One picture.

    Attributes:
        name: of the file.
        path: of the page; names in braces are looked up among those of the studio.
        who: is signed in; None for nobody.
        act: what is done on the page first.
        size: of the window (CSS pixels).
        whole: whether the page is shown to its end.
    """

    name: str
    path: str
    who: str | None = studio_world.LEAD
    act: Act | None = None
    size: tuple[int, int] = DESK
    language: str = "en"
    theme: str = "light"
    whole: bool = False


def press(*keys: str) -> Act:
    """Press keys, one after another."""

    def act(page: Page) -> None:
        for key in keys:
            page.keyboard.press(key)

    return act


def prefer(words: str) -> Act:
    """Choose the one of two answers in which ``words`` stand, wherever it is shown, and say "clearly"."""

    def act(page: Page) -> None:
        texts = page.locator(".completion").all_inner_texts()
        press("1" if words in texts[0] else "2", "w")(page)

    return act


ROBIN = studio_world.RATER
SHOTS = (
    Shot("sign-in", "/sign-in", None),
    Shot("invitation", "/invitation/{invitation}", None),
    Shot("guidelines", "/guidelines", ROBIN),
    Shot("test", "/qualification/{Which reply?}", ROBIN),
    Shot("work", "/work?question={Which reply?}", ROBIN, prefer("I am sorry")),
    Shot("work-rating", "/work?question={How good is it?}", ROBIN, press("4", "j", "5")),
    Shot("work-ranking", "/work?question={Best first}", ROBIN, whole=True),
    Shot("work-mending", "/work?question={Keep or mend}", ROBIN, press("n"), whole=True),
    Shot("work-writing", "/work?question={Write it yourself}", ROBIN),
    Shot("work-mixed", "/work?question={Everything at once}", ROBIN, whole=True),
    Shot("work-pictures", "/work?question={Pictures and clips}", ROBIN),
    Shot("work-keys", "/work?question={Which reply?}", ROBIN, press("?")),
    Shot("work-dark", "/work?question={Which reply?}", ROBIN, prefer("I am sorry"), language="zh", theme="dark"),
    Shot("work-phone", "/work?question={Which reply?}", ROBIN, size=PHONE),
    Shot("me", "/me", ROBIN, whole=True),
    Shot("settings", "/settings", ROBIN),
    Shot("board", "/board", size=(1200, 1300)),
    Shot("board-dark", "/board", language="zh", theme="dark"),
    Shot("board-phone", "/board", size=PHONE),
    Shot("people", "/board/people"),
    Shot("person", "/board/people/{person}"),
    Shot("trust", "/board/trust", size=(1200, 1300)),
    Shot("disagreements", "/board/disagreements", size=(1200, 1300)),
    Shot("items", "/board/items"),
    Shot("item", "/board/items/{item}", whole=True),
    Shot("gold", "/board/gold"),
    Shot("questions", "/board/questions"),
    Shot("question", "/board/questions/{Everything at once}"),
    Shot("guidelines-editor", "/board/guidelines"),
    Shot("flags", "/board/flags"),
    Shot("exchange", "/board/exchange", studio_world.ADMIN),
    Shot("audit", "/board/audit", studio_world.ADMIN),
)


class Studio:
    """The studio to try, served in a thread of this process."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.server = uvicorn.Server(uvicorn.Config(create_app(project), log_level="warning"))
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.names = self._names()

    def _names(self) -> dict[str, str]:
        store, now = self.project.store, datetime.now(UTC)
        with store.reading() as connection:
            found = {row.name: row.id for row in connection.execute(select(questions.c.name, questions.c.id))}
            answered = select(items.c.id).where(items.c.question_id == found["Which reply?"], items.c.purpose == "work")
            found["item"] = str(connection.scalar(answered.order_by(items.c.number)))
            raters = [one for one in accounts.everybody(connection) if one.role == "rater" and one.name != ROBIN]
            found["person"] = raters[0].name
            admin = accounts.find(connection, studio_world.ADMIN)
        assert admin is not None
        found["invitation"] = store.write(lambda c: invitations.invite(c, "rater", "", None, "", admin, now))
        return found

    def session(self, name: str, language: str, theme: str) -> str:
        """Sign ``name`` in; the secret for the cookie."""
        store, now = self.project.store, datetime.now(UTC)
        with store.reading() as connection:
            account = accounts.find(connection, name)
        assert account is not None, name
        store.write(lambda c: accounts.set_preferences(c, account.id, language=language, theme=theme))
        return store.write(lambda c: sessions.begin(c, account.id, "Firefox on Linux", now))

    def stop(self) -> None:
        """End the server."""
        self.server.should_exit = True
        self.thread.join()


@contextmanager
def studio() -> Iterator[Studio]:
    """A studio in a folder of its own that is deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "studio"
        with Project.create(root, ProjectSettings(name=studio_world.NAME, model="none")) as project:
            studio_world.fill(project.store, lambda content: media.keep(root, content).id, datetime.now(UTC))
            served = Studio(project)
            acknowledge(served)
            yield served
            served.stop()


def acknowledge(served: Studio) -> None:
    """Robin has read the newest guidelines, as everybody has who judges."""
    from heed.people import guidelines

    store = served.project.store
    with store.reading() as connection:
        version = guidelines.current_version(connection)
    store.write(lambda connection: guidelines.acknowledge(connection, ROBIN, version, datetime.now(UTC)))


def take(browser: Browser, served: Studio, shot: Shot) -> bytes:
    """The picture as PNG."""
    context = browser.new_context(
        viewport={"width": shot.size[0], "height": shot.size[1]},
        locale={"zh": "zh-CN"}.get(shot.language, "en-GB"),
        color_scheme="dark" if shot.theme == "dark" else "light",
        timezone_id="Europe/Berlin",
    )
    if shot.who is not None:
        secret = served.session(shot.who, shot.language, shot.theme)
        context.add_cookies([{"name": SESSION_COOKIE, "value": secret, "url": served.url}])
    page = context.new_page()
    path = shot.path
    for name, value in served.names.items():
        path = path.replace(f"{{{name}}}", value)
    page.goto(served.url + path)
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    if shot.act:
        shot.act(page)
    if shot.whole:
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": shot.size[0], "height": max(shot.size[1], height)})
    taken = page.screenshot(animations="disabled", caret="hide")
    context.close()
    return taken


def pixels(page: Page, png: bytes) -> np.ndarray:
    """A picture as rows of (red, green, blue), decoded by the browser."""
    packed = page.evaluate(
        """async (address) => {
          const picture = new Image();
          picture.src = address;
          await picture.decode();
          const canvas = new OffscreenCanvas(picture.width, picture.height);
          const pen = canvas.getContext("2d");
          pen.drawImage(picture, 0, 0);
          const bytes = pen.getImageData(0, 0, picture.width, picture.height).data;
          let text = "";
          for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
          return [picture.width, picture.height, btoa(text)];
        }""",
        "data:image/png;base64," + base64.b64encode(png).decode(),
    )
    width, height, content = packed
    return np.frombuffer(base64.b64decode(content), np.uint8).reshape(height, width, 4)[:, :, :3]


def palette_png(rows: np.ndarray) -> bytes:
    """A PNG of at most 256 colours: the most frequent ones and one of each rarer shade; others become the nearest of them."""
    height, width, _ = rows.shape
    colours, places, counts = np.unique(rows.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
    colours = colours[np.argsort(-counts)]
    places = np.argsort(np.argsort(-counts))[places.reshape(-1)]
    shades = (colours.astype(np.int32) >> 4) @ [256, 16, 1]
    rarer = np.sort(np.unique(shades, return_index=True)[1])
    kept = colours[np.concatenate([np.arange(min(96, len(colours))), rarer[rarer >= 96]])[:256]].astype(np.int32)
    nearest = np.empty(len(colours), np.uint8)
    for begin in range(0, len(colours), 4096):
        some = colours[begin : begin + 4096].astype(np.int32)
        nearest[begin : begin + 4096] = ((some[:, None] - kept[None]) ** 2).sum(axis=2).argmin(axis=1)
    indexed = nearest[places].reshape(height, width)
    lines = np.hstack([np.zeros((height, 1), np.uint8), indexed])

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    table = kept.astype(np.uint8).tobytes()
    body = zlib.compress(lines.tobytes(), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"PLTE", table) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def main(wanted: list[str]) -> None:
    """Take all pictures, or those that are named."""
    if CHROMIUM is None:
        sys.exit("no Chromium: install Debian's package chromium (apt install chromium)")
    IMAGES.mkdir(exist_ok=True)
    with studio() as served, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        decoder = browser.new_page()
        for shot in SHOTS:
            if not wanted or shot.name in wanted:
                picture = palette_png(pixels(decoder, take(browser, served, shot)))
                (IMAGES / f"{shot.name}.png").write_bytes(picture)
                print(f"{shot.name}.png {len(picture):,} bytes")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
