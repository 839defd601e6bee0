"""What every request must pass before anything else, and what every answer carries. One plain ASGI layer.

Refused here: hosts that are not ours (links and redirects are made from the host), addresses that are no text, forms and
scripts of other sites (after the algorithm of Filippo Valsorda's "Cross-Site Request Forgery",
2025, which Go's net/http and Datasette use), JSON in a disguise that browsers send to other sites without asking, and forms in
another encoding than UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heed.errors import DataError, HeedError, RefusedError
from heed.web.errors import StatusError, problem_response

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)

_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "cache-control": "no-store",
}
_HSTS = "max-age=31536000"
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_BODIES_OF_API = (
    "application/json",
    "multipart/form-data",
    "application/octet-stream",
    "application/gzip",
    "application/x-ndjson",
    "text/csv",
)
_FORMS = (b"multipart/form-data", b"application/x-www-form-urlencoded")
_UTF_8 = ("utf-8", "utf8")
_UPLOADS = "/api/v1/imports"
_IMPORTS = (_UPLOADS, "/board/exchange/items", "/board/exchange/feedback")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Address:
    """Where the server is reached.

    Attributes:
        public_url: as people write it, without a path; "" where it is reached on this machine alone.
        hosts: further hosts, without ports, that requests may name.
    """

    public_url: str = ""
    hosts: tuple[str, ...] = ()

    @property
    def secure(self) -> bool:
        """Whether people reach it by HTTPS, so that cookies may be kept from HTTP."""
        return self.public_url.startswith("https://")

    def knows(self, host: str) -> bool:
        """Whether a request's Host header names this server. Loopback names always do: no other site can be there."""
        name = host.rsplit(":", 1)[0] if re.search(r":\d+$", host) else host
        if name.lower() in (*_LOOPBACK, *(one.lower() for one in self.hosts)):
            return True
        return bool(self.public_url) and host.lower() == urlsplit(self.public_url).netloc.lower()

    def base(self, scheme: str, host: str) -> str:
        """Beginning of absolute links; ``host`` has passed :meth:`knows`."""
        return self.public_url.rstrip("/") or f"{scheme}://{host}"


class Gate:
    """The layer around the whole application.

    Args:
        app: what is inside.
        address: where the server is reached.
        tell_fault: answers a request that failed for a reason of our own.
    """

    def __init__(self, app: ASGIApp, address: Address, tell_fault: Callable[[Request], Awaitable[Response]]) -> None:
        self._app = app
        self._tell_fault = tell_fault
        self._address = address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        sender = _Sender(send, Request(scope), self._address.secure)
        fault = self._fault(scope, headers)
        if fault is not None:
            await problem_response(fault, Request(scope))(scope, receive, sender.send)
            return
        try:
            await self._app(scope, receive, sender.send)
        except ClientDisconnect:
            return  # whoever sent half a body is gone: nobody is left to be answered
        except Exception:
            if sender.started:
                raise
            response = await self._tell_fault(Request(scope, receive))
            await response(scope, receive, sender.send)

    def _fault(self, scope: MutableMapping[str, Any], headers: Headers) -> HeedError | None:
        """Why the request goes no further, or None."""
        host = headers.get("host", "")
        if not self._address.knows(host):
            return DataError(
                "the Host header",
                "it does not name this server.",
                "Open the address that heed serve printed, or give it with --public-url or serve.hosts in heed.yaml.",
            )
        if not _is_text(scope.get("raw_path", b"")) or not _is_text(scope.get("query_string", b"")):
            return DataError("the address", "it holds bytes that are no text.", "Correct the link.")
        if scope["method"] in _SAFE_METHODS:
            return None
        fault = _fault_of_kind(scope["path"], headers)
        if fault is not None:
            return fault
        if _is_cross_site(headers, host):
            return RefusedError(
                "this request", "it was sent by another site's page.", "Open heed in its own tab and try again."
            )
        return None


def _fault_of_kind(path: str, headers: Headers) -> HeedError | None:
    """What of the kind of its body lets a request go no further."""
    length = headers.get("content-length", "0")
    if path.startswith("/api/"):
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if (length != "0" or "transfer-encoding" in headers) and kind not in _BODIES_OF_API:
            return DataError(
                f"Content-Type '{kind[:60]}'",
                "the API does not read it.",
                "Send the file as application/octet-stream or text/csv, with its name as ?name=."
                if path == _UPLOADS
                else "Send JSON as application/json.",
            )
    # As the framework takes it apart, which then decodes a form by any codec of Python that it names.
    form, options = parse_options_header(headers.get("content-type"))
    if form in _FORMS and options.get(b"charset", b"utf-8").decode("latin-1").strip().lower() not in _UTF_8:
        return StatusError("this form", "its encoding is not UTF-8.", "Send it as UTF-8.", 415, "invalid")
    return None


def _is_text(raw: bytes) -> bool:
    plain = unquote_to_bytes(raw)
    if b"\x00" in plain:
        return False
    try:
        plain.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_cross_site(headers: Headers, host: str) -> bool:
    """Whether a browser sent this on behalf of another site, or may have."""
    if "authorization" in headers and "cookie" not in headers:
        return False  # a browser adds cookies by itself, but never this
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc.lower() != host.lower()
    # Every browser of the last years sends one of the two. Programs send neither, and no cookie either.
    return "cookie" in headers


class _Sender:
    """Passes an answer on, with the headers that every answer carries, and errors in the words of heed."""

    def __init__(self, send: Send, request: Request, secure: bool) -> None:
        self._send = send
        self._request = request
        self._secure = secure
        self._replaced = False
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 413 and not self._replaced:
            # The framework stops bodies that are too large with two words of its own.
            self._replaced = True
            await self._tell_too_large()
        elif not self._replaced:
            await self._pass(message)

    async def _pass(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if self._secure:
                headers.setdefault("strict-transport-security", _HSTS)
        await self._send(message)

    async def _tell_too_large(self) -> None:
        fix = (
            "Compress it (.gz), send it in parts, or raise serve.import_megabytes in heed.yaml."
            if self._request.url.path in _IMPORTS
            else "Send less at once."
        )
        told = StatusError("the request", "it is larger than this address takes.", fix, 413, "too_large")
        response = problem_response(told, self._request)
        await self._pass({"type": "http.response.start", "status": 413, "headers": response.raw_headers})
        await self._pass({"type": "http.response.body", "body": bytes(response.body)})


def cookie_flags(address: Address) -> dict[str, Any]:
    """Arguments of ``Response.set_cookie`` for every cookie that heed sets."""
    return {"httponly": True, "secure": address.secure, "samesite": "lax", "path": "/"}


def safe_target(target: str | None) -> str:
    """A path of this server to go on to; "/" for anything else.

    Args:
        target: as it came with the request.
    """
    if not target or not target.startswith("/") or target.startswith("//") or "\\" in target:
        return "/"
    return target if target.isprintable() else "/"
