"""Passwords: what may be one, and argon2id hashes of them.

A password is normalised to NFKC before it is checked or hashed: an accent typed as one character or as two, or a digit of
full width, is the same password on every keyboard. Nothing else is changed: case, spaces and their number count.
"""

from __future__ import annotations

import threading
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Literal

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

from heed.errors import DataError
from heed.texts import text_fault

SHORTEST = 10
LONGEST_BYTES = 1024

_FEWEST_DIFFERENT = 5

Fault = Literal["odd", "long", "short", "common", "same", "name"]
_FAULTS: dict[Fault, str] = {
    "odd": "it holds a character that cannot be kept",
    "long": f"it has more than {LONGEST_BYTES:,} bytes",
    "short": f"it has fewer than {SHORTEST} characters",
    "common": "it is one of the first that anybody would try",
    "same": f"it has fewer than {_FEWEST_DIFFERENT} different characters",
    "name": "it is little more than the name",
}
_COMMON = frozenset(
    """
    1234567890 0123456789 0987654321 9876543210 12345678910 123456789a 1234567890a 1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx3edc
    qwertyuiop qwerty1234 qwerty12345 qwerty123456 asdfghjkl; zxcvbnm123 password12 password123 password1234 passw0rd123
    p@ssw0rd123 passwordpassword iloveyou12 iloveyou123 letmein123 welcome123 welcome1234 administrator admin12345
    admin123456 changeme123 abcdefghij abcdefghijk abcd123456 abc1234567 correcthorsebatterystaple
    """.split()  # noqa: SIM905  one a line would be a page of them
)

# 19 MiB and two passes are the least that OWASP advises; more would let a few sign-ins at once fill a small machine.
_HASHER = PasswordHash((Argon2Hasher(time_cost=2, memory_cost=19_456, parallelism=1),))
_AT_ONCE = threading.BoundedSemaphore(4)


@dataclass(frozen=True)
class HashedPassword:
    """A password that was accepted, as the database keeps it. Made outside a transaction: it takes its time on purpose."""

    text: str

    def __repr__(self) -> str:
        return "HashedPassword(...)"


def hash_password(password: str, name: str) -> HashedPassword:
    """Check and hash what ``name`` has chosen.

    Raises:
        DataError: too short, too long, much like the name, or among the first that anybody would try.
    """
    fault = password_fault(password, name)
    if fault:
        raise DataError(
            "this password", f"{_FAULTS[fault]}.", "Choose another one; a few random words are good and easy to type."
        )
    with _AT_ONCE:
        return HashedPassword(_HASHER.hash(_normal(password)))


def verify_password(password: str, stored: str | None) -> bool:
    """Whether ``password`` is the one that was stored.

    Without a stored one (nobody of that name, or no password) it takes as long as with one and says no.
    """
    possible = stored is not None and len(password) <= LONGEST_BYTES and not _length_fault(password)
    with _AT_ONCE:
        try:
            fits = _HASHER.verify(_normal(password) if possible else "", stored if possible and stored else _nobodys())
        except UnknownHashError:
            fits = _HASHER.verify("", _nobodys())
            possible = False
    return fits and possible


def password_fault(password: str, name: str) -> Fault | None:
    """Why ``password`` cannot be the password of ``name``, or None."""
    if fault := _length_fault(password):
        return fault
    plain, own = _normal(password).casefold(), _normal(name).casefold()
    if plain in _COMMON:
        return "common"
    if len(set(plain)) < _FEWEST_DIFFERENT:
        return "same"
    if own and len(plain.replace(own, "")) < SHORTEST - 4 and own in plain:
        return "name"
    return None


def _length_fault(password: str) -> Fault | None:
    if text_fault(password):
        return "odd"
    if len(password.encode()) > LONGEST_BYTES or len(_normal(password).encode()) > LONGEST_BYTES:
        return "long"
    if len(_normal(password)) < SHORTEST:
        return "short"
    return None


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


@cache
def _nobodys() -> str:
    """The hash of a password that nobody knows, to be checked where there is none."""
    return _HASHER.hash("\x00 nobody has this password")
