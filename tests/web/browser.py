"""A real browser against a real server: Debian's Chromium, a server on a port of its own, people who are signed in."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Response, expect, sync_playwright
from sqlalchemy import Connection

from heed.people import accounts, sessions
from heed.people.accounts import Account
from heed.project import Project
from heed.web.app import create_app
from heed.web.identity import SESSION_COOKIE

T = TypeVar("T")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = "no Chromium: install Debian's package chromium (apt install chromium) to run the tests in a real browser"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
STARTED_WITHIN = 20.0
"""Seconds after which a server that has not started never will."""

LARGE, SMALL = (1280, 800), (320, 640)
"""Widths and heights of windows (CSS pixels): a desk, and the narrowest screen that must work."""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; the test is skipped with one clear line where there is none."""
    if CHROMIUM is None:
        pytest.skip(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@dataclass
class Served:
    """A project, and the server of it that runs in a thread until :meth:`stop`.

    Attributes:
        project: open; the caller closes it afterwards.
        app: what is served; ``create_app(project)`` where None.
        url: where, without a slash at the end.
    """

    project: Project
    app: Any = None
    port: int = 0
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", self.port))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(self.app or create_app(self.project), log_level="warning", timeout_graceful_shutdown=2)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        waiting = threading.Event()
        for _ in range(int(STARTED_WITHIN * 100)):
            if self._server.started or not self._thread.is_alive():
                break
            waiting.wait(0.01)
        assert self._server.started, "the server did not start"

    def stop(self) -> None:
        """End the server and wait for it."""
        self._server.should_exit = True
        self._thread.join(STARTED_WITHIN)
        self._socket.close()
        assert not self._thread.is_alive(), "the server did not end"

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` in a transaction."""
        return self.project.store.write(work)

    def account(self, name: str, role: Any = "rater", group: str = "") -> Account:
        """The account ``name``, made if there is none."""
        now = datetime.now(UTC)

        def made(connection: Connection) -> Account:
            found = accounts.find(connection, name)
            return found or accounts.create_account(connection, name, role, group, now)

        return self.write(made)

    def session(self, name: str, role: Any = "rater", language: str = "en", theme: str = "light") -> str:
        """The secret of a new session of ``name``, whose account gets these settings."""
        account = self.account(name, role)

        def begun(connection: Connection) -> str:
            accounts.set_preferences(connection, account.id, language=language, theme=theme)
            return sessions.begin(connection, account.id, "Chromium", datetime.now(UTC))

        return self.write(begun)


@dataclass
class Person:
    """Somebody at a browser window of their own.

    Attributes:
        page: the window.
        served: the server that ``goto`` goes to.
        complaints: what the browser complained about: errors in scripts, refused by the policy, not found.
    """

    page: Page
    served: Served
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        self.page.on("response", self._response)
        self.page.on("dialog", lambda dialog: (self.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    @property
    def context(self) -> BrowserContext:
        """Cookies and storage of this person."""
        return self.page.context

    def goto(self, path: str) -> Response | None:
        """Open a page of the server."""
        return self.page.goto(self.served.url + path)

    def press(self, *keys: str) -> None:
        """Press keys one after another."""
        for key in keys:
            self.page.keyboard.press(key)

    def _console(self, message: ConsoleMessage) -> None:
        # A failed request is told again by its response, with its address.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(f"console: {message.text}")

    def _response(self, response: Response) -> None:
        if response.status >= 400 and response.request.resource_type != "document":
            self.complaints.append(f"{response.status}: {response.request.method} {response.url}")


@contextlib.contextmanager
def person(
    browser: Browser,
    served: Served,
    name: str | None = None,
    role: Any = "rater",
    *,
    size: tuple[int, int] = LARGE,
    language: str = "en",
    theme: str = "light",
    **options: Any,
) -> Iterator[Person]:
    """A new window with cookies of its own, in which ``name`` is signed in (None: nobody).

    Args:
        browser: from :func:`chromium`.
        served: the server.
        name: account, made if there is none.
        role: of a new account.
        size: width and height (CSS pixels).
        language: of the account, and what the browser asks for.
        theme: of the account, and the colour scheme of the system.
        options: more, for Playwright's ``new_context``.
    """
    if language == "zh" and not has_chinese_font():
        pytest.skip("no Chinese font: install Debian's package fonts-noto-cjk to look at pages in Chinese")
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        locale={"zh": "zh-CN"}.get(language, language),
        color_scheme=theme if theme in ("light", "dark") else None,  # type: ignore[arg-type]
        **options,
    )
    if name is not None:
        secret = served.session(name, role, language, theme)
        context.add_cookies([{"name": SESSION_COOKIE, "value": secret, "url": served.url}])
    try:
        yield Person(context.new_page(), served)
    finally:
        context.close()


@lru_cache
def has_chinese_font() -> bool:
    """Whether Chinese is seen as such: in its place boxes of another width would be measured."""
    if shutil.which("fc-list") is None:
        return False
    return bool(subprocess.run(["fc-list", ":lang=zh"], capture_output=True, check=True).stdout.strip())


def assert_accessible(page: Page, *but: str) -> None:
    """axe-core finds nothing on the page as it stands.

    Args:
        page: to look at.
        but: ids of rules that cannot hold here; say why where you name one.
    """
    # Between two colours of a button the contrast is that of neither.
    page.evaluate(
        """() => Promise.allSettled(document.getAnimations()
          .filter((one) => one.effect.getComputedTiming().endTime !== Infinity).map((one) => one.finished))"""
    )
    options = {"resultTypes": ["violations"], "rules": {rule: {"enabled": False} for rule in but}}
    found = Axe().run(page, options=options).response["violations"]
    told = [
        f"{one['id']} ({one['impact']}): {one['help']}: " + "; ".join(node["html"][:160] for node in one["nodes"][:4])
        for one in found
    ]
    assert not told, f"{page.url}:\n" + "\n".join(told)


def settled(page: Page) -> None:
    """Wait until nothing on the page says that it is busy.

    Playwright's ``wait_for_function`` cannot be used: it evaluates strings, which the Content-Security-Policy refuses.
    """
    expect(page.locator("[aria-busy=true]")).to_have_count(0)


def overflow(page: Page) -> list[str]:
    """What makes the page wider than its window; empty where it fits."""
    found: list[str] = page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= width) return [];
          const scrolls = (one) => one && one !== document.body
            && (getComputedStyle(one).overflowX !== "visible" || scrolls(one.parentElement));
          return [...document.body.querySelectorAll("*")]
            .filter((one) => one.getBoundingClientRect().right > width + 1 && !scrolls(one.parentElement))
            .slice(0, 5).map((one) => one.outerHTML.slice(0, 160)).concat(["wider than " + width]);
        }"""
    )
    return found


def screenshot(page: Page, path: Path) -> None:
    """Save the whole page as a picture, as a window that is tall enough shows it."""
    size = page.viewport_size
    assert size is not None
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": max(height, size["height"])})
    page.screenshot(path=path, animations="disabled", caret="hide")
    page.set_viewport_size(size)
