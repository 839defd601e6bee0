"""Personal data in a text: e-mail addresses, phone numbers, payment cards, bank accounts, IP addresses.

Numbers that carry a checksum are believed only where it holds, so that order numbers and years stay what they are. What has
none, phone numbers and e-mail addresses, goes by its usual forms. Nothing here proves a text free of personal data: names
and streets have no form.

Every pattern is of bounded length and without nested repeats, so that no text of a model's takes long.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from heed.constraint_settings import PersonalKind

KINDS: tuple[PersonalKind, ...] = ("iban", "card", "email", "ip", "phone")
"""In the order in which a stretch of text is taken for one of them."""


class Found(NamedTuple):
    """A piece of personal data: what it is, and the half-open span of characters."""

    kind: PersonalKind
    start: int
    end: int


def personal_data(text: str, kinds: Sequence[PersonalKind] = KINDS) -> list[Found]:
    """The pieces of personal data in ``text``, in their order; no two overlap.

    Args:
        text: any text.
        kinds: which to look for.
    """
    found: list[Found] = []
    for kind in KINDS:
        if kind not in kinds:
            continue
        for start, end in _DETECTORS[kind](text):
            if all(end <= other.start or start >= other.end for other in found):
                found.append(Found(kind, start, end))
    return sorted(found, key=lambda one: one.start)


# Checksums


def luhn_holds(digits: str) -> bool:
    """Whether the last of ``digits`` is the check digit of the others by Luhn's formula (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if place % 2 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def iban_holds(account: str) -> bool:
    """Whether ``account``, without spaces and in capitals, has its country's length and a right checksum (ISO 13616-1).

    The first four characters go to the end, letters become numbers from A = 10 on, and the whole is 1 modulo 97.
    """
    if len(account) != _IBAN_LENGTHS.get(account[:2]):
        return False
    number = "".join(str(int(character, 36)) for character in account[4:] + account[:4])
    return int(number) % 97 == 1


_IBAN_LENGTHS = {
    entry[:2]: int(entry[2:])
    for entry in [
        "AD24",
        "AE23",
        "AL28",
        "AT20",
        "AZ28",
        "BA20",
        "BE16",
        "BG22",
        "BH22",
        "BI27",
        "BR29",
        "BY28",
        "CH21",
        "CR22",
        "CY28",
        "CZ24",
        "DE22",
        "DJ27",
        "DK18",
        "DO28",
        "EE20",
        "EG29",
        "ES24",
        "FI18",
        "FK18",
        "FO18",
        "FR27",
        "GB22",
        "GE22",
        "GI23",
        "GL18",
        "GR27",
        "GT28",
        "HN28",
        "HR21",
        "HU28",
        "IE22",
        "IL23",
        "IQ23",
        "IS26",
        "IT27",
        "JO30",
        "KW30",
        "KZ20",
        "LB28",
        "LC32",
        "LI21",
        "LT20",
        "LU20",
        "LV21",
        "LY25",
        "MC27",
        "MD24",
        "ME22",
        "MK19",
        "MN20",
        "MR27",
        "MT31",
        "MU30",
        "NI28",
        "NL18",
        "NO15",
        "OM23",
        "PK24",
        "PL28",
        "PS29",
        "PT25",
        "QA29",
        "RO24",
        "RS22",
        "RU33",
        "SA24",
        "SC31",
        "SD18",
        "SE24",
        "SI19",
        "SK24",
        "SM27",
        "SO23",
        "ST25",
        "SV28",
        "TL23",
        "TN24",
        "TR26",
        "UA29",
        "VA22",
        "VG24",
        "XK20",
    ]
}
"""Characters of an account number by country, as SWIFT's registry of ISO 13616 has them."""


# Detectors: half-open spans of what they take for one

Spans = Iterator[tuple[int, int]]

_EMAIL = re.compile(
    r"(?<![\w.+%-])[^\W_][\w.+%'-]{0,63}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w-]|\.\w)"
)
# Groups of at least three digits, a space or hyphen apart: single digits in a row are a table, not a card.
_DIGITS = re.compile(r"(?<!\w)(?<!\d[.-])\d{3,19}(?:[ -]\d{3,19}){0,12}(?!\w|-\d)", re.ASCII)
_FEWEST_DIGITS, _MOST_DIGITS = 13, 19
# A lookahead takes nothing away: one account may begin right behind another.
_IBAN = re.compile(r"(?<![A-Za-z0-9])(?=([A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){11,35}))")
_IPV4 = re.compile(r"(?<!\w)(?<!\w\.)\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\w)", re.ASCII)
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{2,39}(?:\.\d{1,3}){0,3}(?!\w)", re.ASCII)


def _phone(form: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w+])(?<!\w[.-])(?:{form})(?!\w|-\d)", re.ASCII)


_PHONES = (
    _phone(r"\+[1-9](?:[ ()./-]{0,2}\d){7,14}"),  # international: a plus, then 8 to 15 digits (ITU-T E.164)
    _phone(r"(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])\d{3}[ .-]\d{4}"),  # North America
    _phone(r"1[3-9]\d{9}"),  # mobiles of mainland China
)
# With a trunk prefix: a zero, then more digits in at least two groups; with fewer digits it could be a date.
_NATIONAL = _phone(r"\(?0\d{1,4}\)?[ /-]\d{2,8}(?:[ -]\d{2,6}){0,3}")
_NATIONAL_DIGITS = range(9, 13)


def _emails(text: str) -> Spans:
    for match in _EMAIL.finditer(text):
        yield match.span()


def _cards(text: str) -> Spans:
    for run in _DIGITS.finditer(text):
        groups = [(run.start() + group.start(), group[0]) for group in re.finditer(r"\d+", run[0])]
        place = 0
        while place < len(groups):
            length = next((n for n in range(len(groups) - place, 0, -1) if _is_card(groups[place : place + n])), 0)
            if length:
                last, digits = groups[place + length - 1]
                yield groups[place][0], last + len(digits)
            place += max(length, 1)


def _is_card(groups: Sequence[tuple[int, str]]) -> bool:
    """Of a length that cards have, from an industry that issues them (first digit 2 to 6), and with its check digit."""
    digits = "".join(group for _, group in groups)
    return _FEWEST_DIGITS <= len(digits) <= _MOST_DIGITS and digits[0] in "23456" and luhn_holds(digits)


def _ibans(text: str) -> Spans:
    for match in _IBAN.finditer(text):
        # What follows may look like more of it: as many characters as the country has, and then an end.
        wanted = _IBAN_LENGTHS.get(match[1][:2].upper(), 0)
        places = [place for place, character in enumerate(match[1]) if character != " "][:wanted]
        end = match.start() + max(places, default=0) + 1
        account = "".join(match[1][place] for place in places).upper()
        if iban_holds(account) and not text[end : end + 1].isalnum():
            yield match.start(), end


def _addresses(text: str) -> Spans:
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(text):
            written = match[0] if match[0].endswith("::") else match[0].removesuffix(":")
            if _names_a_machine(written):
                yield match.start(), match.start() + len(written)


def _names_a_machine(written: str) -> bool:
    if not any(character.isdigit() for character in written):
        return False  # a::b is code
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)


def _phones(text: str) -> Spans:
    for pattern in _PHONES:
        for match in pattern.finditer(text):
            yield match.span()
    for match in _NATIONAL.finditer(text):
        if sum(character.isdigit() for character in match[0]) in _NATIONAL_DIGITS:
            yield match.span()


_DETECTORS: dict[PersonalKind, Callable[[str], Spans]] = {
    "email": _emails,
    "phone": _phones,
    "card": _cards,
    "iban": _ibans,
    "ip": _addresses,
}
