"""Personal data is found in its usual forms, checksums decide where there are any, and ordinary numbers stay what they are."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.train.personal_data import KINDS, iban_holds, luhn_holds, personal_data

DIGIT = st.sampled_from("0123456789")


def kinds_in(text: str) -> list[str]:
    return [found.kind for found in personal_data(text)]


def pieces(text: str) -> list[tuple[str, str]]:
    return [(found.kind, text[found.start : found.end]) for found in personal_data(text)]


# Cards. The oracle computes the check digit from the definition: doubled from the right, digit sums, to a multiple of ten.


def check_digit(payload: str) -> str:
    weights = [2 if place % 2 == 0 else 1 for place in range(len(payload))]
    total = sum(sum(map(int, str(int(digit) * w))) for digit, w in zip(reversed(payload), weights, strict=True))
    return str(-total % 10)


@st.composite
def cards(draw: st.DrawFn) -> str:
    length = draw(st.sampled_from([13, 14, 15, 16, 19]))
    payload = draw(st.sampled_from("3456")) + "".join(draw(st.lists(DIGIT, min_size=length - 2, max_size=length - 2)))
    return payload + check_digit(payload)


def in_groups(digits: str, sizes: list[int], between: str) -> str:
    parts, place = [], 0
    for size in sizes:
        parts.append(digits[place : place + size])
        place += size
    return between.join(part for part in parts if part)


GROUPS = {13: [4, 3, 3, 3], 14: [4, 6, 4], 15: [4, 6, 5], 16: [4, 4, 4, 4], 19: [4, 4, 4, 4, 3]}


@given(cards(), st.sampled_from(["", " ", "-"]))
def test_every_number_with_a_check_digit_is_found_as_a_card(card: str, between: str) -> None:
    assert luhn_holds(card)
    written = in_groups(card, GROUPS[len(card)], between)
    assert ("card", written) in pieces(f"Charge {written}, please.")
    assert ("card", written) in pieces(f"卡号{written}。")


@given(cards(), st.integers(1, 9), st.data())
def test_one_wrong_digit_makes_it_no_card(card: str, change: int, data: st.DataObject) -> None:
    place = data.draw(st.integers(1, len(card) - 1))
    wrong = card[:place] + str((int(card[place]) + change) % 10) + card[place + 1 :]
    assert not luhn_holds(wrong)
    assert "card" not in kinds_in(f"Charge {wrong}.")


@given(cards())
def test_a_card_is_found_beside_other_numbers(card: str) -> None:
    written = in_groups(card, GROUPS[len(card)], " ")
    # What stands before may make a longer number that happens to have a check digit of its own.
    found = [text for kind, text in pieces(f"{written} 12/27") if kind == "card"]
    assert found == [written]


@pytest.mark.parametrize(
    "number",
    ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005", "30569309025904", "6011111111111117"],
)
def test_the_test_numbers_of_the_card_companies(number: str) -> None:
    assert kinds_in(f"It is {number}.") == ["card"]


# Accounts. Examples of SWIFT's registry; the oracle makes check digits the way ISO 13616 says banks do.

REGISTRY = [
    "AL47 2121 1009 0000 0002 3569 8741",
    "BE68 5390 0754 7034",
    "BR18 0036 0305 0000 1000 9795 493C 1",
    "CH93 0076 2011 6238 5295 7",
    "DE89 3704 0044 0532 0130 00",
    "ES91 2100 0418 4502 0005 1332",
    "FR14 2004 1010 0505 0001 3M02 606",
    "GB29 NWBK 6016 1331 9268 19",
    "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
    "NL91 ABNA 0417 1643 00",
    "NO93 8601 1117 947",
    "SA03 8000 0000 6080 1016 7519",
    "TR33 0006 1005 1978 6457 8413 26",
]
LENGTHS = {"DE": 18, "GB": 18, "FR": 23, "NL": 14, "NO": 11, "MT": 27}
ALNUM = st.sampled_from("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@pytest.mark.parametrize("account", REGISTRY)
def test_the_examples_of_the_registry(account: str) -> None:
    for written in (account, account.replace(" ", ""), account.lower()):
        assert pieces(f"Pay to {written} today.") == [("iban", written)]


@st.composite
def accounts(draw: st.DrawFn) -> str:
    country = draw(st.sampled_from(sorted(LENGTHS)))
    own = "".join(draw(st.lists(ALNUM, min_size=LENGTHS[country], max_size=LENGTHS[country])))
    number = "".join(str("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ".index(sign)) for sign in f"{own}{country}00")
    return f"{country}{98 - int(number) % 97:02d}{own}"


@given(accounts())
def test_accounts_with_the_check_digits_of_their_bank_are_found(account: str) -> None:
    assert iban_holds(account)
    spaced = " ".join(account[place : place + 4] for place in range(0, len(account), 4))
    assert pieces(f"{spaced} or {account}") == [("iban", spaced), ("iban", account)]


@given(accounts(), st.data())
def test_two_characters_changed_places_make_it_no_account(account: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(4, len(account) - 2))
    left, right = account[place], account[place + 1]
    if left.isdigit() != right.isdigit() or left == right:
        return
    swapped = account[:place] + right + left + account[place + 2 :]
    assert "iban" not in kinds_in(f"to {swapped}.")


# Addresses


@given(st.ip_addresses())
def test_every_address_is_found_as_python_writes_it(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    text = str(address)
    known = not (address.is_loopback or address.is_unspecified) and any(sign.isdigit() for sign in text)
    assert (("ip", text) in pieces(f"It came from {text}.")) is known


LOCAL = st.from_regex(r"[a-z0-9]([a-z0-9._%+-]{0,30}[a-z0-9])?", fullmatch=True)
DOMAIN = st.from_regex(r"([a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?\.){1,3}[a-z]{2,10}", fullmatch=True)


@given(LOCAL, DOMAIN)
def test_mail_addresses_are_found(local: str, domain: str) -> None:
    address = f"{local}@{domain}"
    for text in (f"Write to {address}.", f"<{address}>", f"mailto:{address}", f"{address}, or call"):
        assert ("email", address) in pieces(text)


@pytest.mark.parametrize(
    "number",
    [
        *("+49 30 1234567", "+49 (0)30 123456", "+1-202-555-0143", "+44 20 7946 0958", "+8613812345678"),
        *("(202) 555-0143", "202-555-0143", "202.555.0143", "1-800-555-0199", "555-123-4567"),
        *("030 1234567", "020 7946 0958", "06 12 34 56 78", "0211/8765432", "13812345678"),
    ],
)
def test_phone_numbers_in_their_usual_forms(number: str) -> None:
    assert pieces(f"Call {number}, now.") == [("phone", number)]


@pytest.mark.parametrize(
    "text",
    [
        "Your order 48213 of 2026-01-31 comes on 01/02/2026 at 10:20:30.",
        "Version 2.10.3 of std::vector and a::b, aa:bb:cc:dd:ee:ff, 127.0.0.1.",
        "It costs 1,234,567.89 or 12 345 678, that is 3.1415926535 times 100000000000000.",
        "Table: 1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8",
        "ISBN 978-3-16-148410-0, DE12 is no account, and 4111 1111 1111 1112 no card.",
        "a@b, @home, user@localhost, 1 @ 2.50",
        "",
    ],
)
def test_what_is_nobodys(text: str) -> None:
    assert pieces(text) == []


def test_only_what_is_asked_for_is_found_and_nothing_twice() -> None:
    text = "me@example.org, DE89 3704 0044 0532 0130 00, 4111111111111111, 203.0.113.7, +49 30 1234567"
    assert kinds_in(text) == ["email", "iban", "card", "ip", "phone"]
    for kind in KINDS:
        assert [found.kind for found in personal_data(text, [kind])] == [kind]


@given(st.text(alphabet="0123456789 +-().:@abAB", max_size=200))
def test_pieces_lie_within_the_text_in_order_and_apart(text: str) -> None:
    found = personal_data(text)
    ends = [0, *(one.end for one in found)]
    assert all(end <= one.start < one.end <= len(text) for end, one in zip(ends, found, strict=False))


@pytest.mark.parametrize(
    "text",
    ["1" * 50_000, "1 " * 25_000, "a." * 25_000 + "@", ":" * 50_000, "(0" * 25_000, "DE89" * 12_500, "+1(" * 16_000],
)
def test_no_text_takes_long(text: str) -> None:
    """Patterns that track back over everything would run for hours here, and the test's time limit would end them."""
    assert re.match(".", text)
    assert isinstance(personal_data(text), list)
