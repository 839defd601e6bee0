"""OpenID Connect: what is asked of an issuer, and what of its answer is believed. Needs the extra ``sso``.

The code flow with PKCE, a state that is bound to the browser and a nonce that is bound to the token. The issuer stands in
``heed.yaml``; nothing that a request says decides where this server connects to.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from heed.errors import ConfigError, SignInError

if TYPE_CHECKING:
    import httpx

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
"""Signatures with a key of the issuer; never "none", and never one with a secret that both know."""

_TIMEOUT = 10.0
_LEEWAY = 60
_LARGEST = 1_000_000


@dataclass(frozen=True)
class Client:
    """This server, as the issuer knows it."""

    issuer: str
    client_id: str
    secret: str | None


@dataclass(frozen=True)
class Attempt:
    """One way to the issuer and back, kept by the browser that goes it."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> Attempt:
        """Random in all parts."""
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))


@dataclass(frozen=True)
class Identity:
    """Whom the issuer has signed in.

    Attributes:
        subject: issuer and subject, which never change.
        email: only where the issuer has verified it.
        names: what the person may be called, the best first.
    """

    subject: str
    email: str | None
    names: tuple[str, ...]


async def authorization_url(client: Client, attempt: Attempt, redirect_uri: str) -> str:
    """Where the browser goes to be signed in.

    Raises:
        SignInError: the issuer does not answer as one.
    """
    async with _connection() as http:
        found = await _discover(http, client.issuer)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": redirect_uri,
        "scope": "openid email profile",
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    endpoint = found["authorization_endpoint"]
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"


async def identity_of(client: Client, attempt: Attempt, code: str, redirect_uri: str, now: datetime) -> Identity:
    """Whom the code that came back stands for.

    Raises:
        SignInError: the issuer does not know the code, or its token cannot be believed.
        ConfigError: the extra is not installed.
    """
    async with _connection() as http:
        found = await _discover(http, client.issuer)
        asked = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": client.client_id,
            "code_verifier": attempt.verifier,
        }
        auth = (client.client_id, client.secret) if client.secret else None
        answer = await _json(http, "POST", found["token_endpoint"], data=asked, auth=auth)
        keys = await _json(http, "GET", found["jwks_uri"])
    return _identity(client, _claims(client, attempt, answer.get("id_token"), keys, now))


def _claims(client: Client, attempt: Attempt, token: Any, keys: dict[str, Any], now: datetime) -> dict[str, Any]:
    try:
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet
    except ImportError:
        raise ConfigError(
            "serve.sso_issuer", "signing in elsewhere needs another package.", "Run: pip install 'heed[sso]'"
        ) from None
    try:
        claims = jwt.decode(str(token), KeySet.import_key_set(keys), algorithms=ALGORITHMS).claims  # type: ignore[arg-type]
        jwt.JWTClaimsRegistry(
            now=int(now.timestamp()),
            leeway=_LEEWAY,
            iss={"essential": True, "value": client.issuer},
            aud={"essential": True, "value": client.client_id},
            exp={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": attempt.nonce},
        ).validate(claims)
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise _distrusted(f"its token is not to be believed ({type(error).__name__})") from None
    audience = claims["aud"]
    if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != client.client_id:
        raise _distrusted("its token was made for another client")
    return dict(claims)


def _identity(client: Client, claims: dict[str, Any]) -> Identity:
    subject = f"{client.issuer} {claims['sub']}"
    if len(subject) > 255:
        subject = f"sha256 {hashlib.sha256(subject.encode()).hexdigest()}"
    email = claims.get("email")
    # Only true itself: some issuers let people claim any address, and say "false" as a text.
    verified = isinstance(email, str) and claims.get("email_verified") is True
    named = [claims.get(key) for key in ("name", "preferred_username", "nickname", "email")]
    names = tuple(name for name in named if isinstance(name, str) and name.strip())
    return Identity(subject, email.strip().lower() if verified and isinstance(email, str) else None, names)


def _connection() -> httpx.AsyncClient:
    import httpx  # a tenth of a second of the server's start, and most servers have no issuer

    return httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False)


async def _discover(http: httpx.AsyncClient, issuer: str) -> dict[str, Any]:
    if not _is_safe(issuer):
        raise _distrusted("it is no https address")
    found = await _json(http, "GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if found.get("issuer") != issuer:
        raise _distrusted("it calls itself otherwise than heed.yaml does")
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        if not isinstance(found.get(name), str) or not _is_safe(found[name]):
            raise _distrusted(f"its {name} is no https address")
    return found


async def _json(http: httpx.AsyncClient, method: str, url: str, **values: Any) -> dict[str, Any]:
    import httpx

    try:
        response = await http.request(method, url, headers={"accept": "application/json"}, **values)
        response.raise_for_status()
        if len(response.content) > _LARGEST:
            raise _distrusted("its answer is too large")
        answer = response.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise _distrusted(f"it did not answer as it should ({type(error).__name__})") from None
    if not isinstance(answer, dict):
        raise _distrusted("its answer is no object")
    return answer


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    return parts.scheme == "https" or (parts.scheme == "http" and local)


def _distrusted(why: str) -> SignInError:
    return SignInError("the sign-in service", f"{why}.", "Try again; if it stays, check serve.sso_issuer in heed.yaml.")
