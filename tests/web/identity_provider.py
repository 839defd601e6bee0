"""A small OpenID Connect provider on this machine, which can be told to lie."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "heed at home", "a client secret"


@dataclass
class Provider:
    """Who is signed in there, and what is wrong with what it says.

    Attributes:
        person: claims about whoever is signed in.
        claims: what replaces claims of the token.
        key: what tokens are signed with; the published one is that of ``published``.
        secret: what tokens are signed with instead, as HS256 does; empty: they are not signed.
        header: what replaces the header of the token.
        document: what replaces parts of the discovery document.
    """

    issuer: str = ""
    person: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    published: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    key: Any = None
    secret: bytes | None = None
    header: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def authorize(self, url: str) -> dict[str, str]:
        """What a browser that goes to ``url`` comes back with, once the person has agreed."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return {"state": asked["state"], "code": code}

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
        } | self.document

    def token(self, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """The answer to a code; None, and the reason kept, where it does not fit."""
        asked = self.codes.pop(form.get("code", ""), None)
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        expected = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        for reason, fits in (
            ("code", asked is not None),
            ("client", authorization == expected),
            ("redirect_uri", asked is not None and form.get("redirect_uri") == asked["redirect_uri"]),
            ("verifier", asked is not None and _unpadded(verifier) == asked["code_challenge"]),
        ):
            if not fits:
                self.refused.append(reason)
                return None
        assert asked is not None
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        claims |= self.person | self.claims
        header = {"alg": "RS256", "kid": "one"} | self.header
        kept = {name: value for name, value in claims.items() if value is not None}
        if self.secret is not None:
            signed = _signed_by_hand(header, kept, self.secret)
        else:
            signed = jwt.encode(header, kept, self.key or self.published)
        return {"access_token": "x", "token_type": "Bearer", "id_token": signed}


def _signed_by_hand(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    """What no library makes: signed with a secret, or not at all where that is empty."""
    parts = ".".join(_unpadded(json.dumps(part).encode()) for part in (header, claims))
    return f"{parts}.{_unpadded(hmac.digest(secret, parts.encode(), 'sha256')) if secret else ''}"


def _unpadded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@contextmanager
def identity_provider() -> Iterator[Provider]:
    """A provider that answers on a port of its own until the block ends."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/.well-known/openid-configuration":
                self.answer(provider.discovery())
            elif self.path == "/keys":
                self.answer({"keys": [provider.published.as_dict(private=False)]})
            else:
                self.answer(None)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self.answer(provider.token(form, self.headers.get("authorization", "")))

        def answer(self, value: dict[str, Any] | None) -> None:
            content = json.dumps(value or {"error": "invalid_grant"}).encode()
            self.send_response(200 if value is not None else 400)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
