"""Secrets that let somebody in, of which the database keeps only the hash."""

from __future__ import annotations

import hashlib
import re
import secrets

_BYTES = 32
_LONGEST = 200
_RANDOM = re.compile(r"[A-Za-z0-9_-]{43}")


def new_secret(prefix: str = "") -> str:
    """256 random bits as text that fits into a link, behind ``prefix``."""
    return prefix + secrets.token_urlsafe(_BYTES)


def may_be_secret(text: str, prefix: str = "") -> bool:
    """Whether :func:`new_secret` could have made ``text``: what cannot be one need not be looked up."""
    return text.startswith(prefix) and _RANDOM.fullmatch(text, len(prefix)) is not None


def new_id(letter: str) -> str:
    """A name that cannot be guessed and is no secret, such as ``u1f0c...``: 17 characters."""
    return letter + secrets.token_hex(8)


def hash_of(secret: str) -> str:
    """SHA-256 of a secret, in hexadecimal: what the database keeps and is asked for.

    A plain hash is enough, other than for passwords: 256 random bits cannot be tried out. The database finds the row by
    the hash, so how long it takes says nothing of the secret.
    """
    return hashlib.sha256(secret[:_LONGEST].encode("utf-8", errors="surrogatepass")).hexdigest()
