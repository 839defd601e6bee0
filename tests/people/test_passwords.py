"""What may be a password, and that only the same one opens."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pwdlib.hashers.argon2 import Argon2Hasher

from heed.errors import DataError
from heed.people import passwords
from heed.people.passwords import hash_password, password_fault, verify_password


def test_a_password_opens_with_itself_and_with_nothing_else():
    stored = hash_password("seven green bottles", "ann").text
    assert verify_password("seven green bottles", stored)
    for other in ("seven green bottle", "Seven green bottles", "seven green bottles ", "", "x" * 2000):
        assert not verify_password(other, stored)


def test_it_is_stored_as_argon2id_with_a_salt_of_its_own_and_no_trace_of_the_words():
    one, two = (hash_password("seven green bottles", "ann") for _ in range(2))
    assert one.text.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert one.text != two.text
    assert "bottles" not in one.text
    assert "argon2" not in repr(one)


@pytest.mark.parametrize(
    ("password", "sign"),
    [
        ("short", "short"),
        ("123456789", "short"),
        ("éééééé" * 100, "long"),
        ("a" * 1025, "long"),
        ("aaaaaaaaaaaaaaa", "same"),
        ("1234567890", "common"),
        ("PASSWORD123", "common"),
        ("anneliese weber", "name"),
        ("Anneliese Weber1", "name"),
        ("eleven\x00bytes", "odd"),
        ("eleven\ud800bytes", "odd"),
    ],
)
def test_what_can_be_guessed_or_not_be_kept_is_no_password(password, sign):
    assert password_fault(password, "Anneliese Weber") == sign
    with pytest.raises(DataError, match="this password"):
        hash_password(password, "Anneliese Weber")


@pytest.mark.parametrize(
    "password",
    [
        "correct horse 1",
        "密码不应该太短的吧啊",
        "  spaces count  ",
        "ann likes nine apples",
        "x" * 5 + "abcdefgh!" * 100,
    ],
)
def test_long_ones_of_any_script_may_be(password):
    assert password_fault(password, "ann") is None


def test_the_same_word_typed_on_another_keyboard_is_the_same():
    composed, full_width = "café au lait 123", "café au lait １２３"
    stored = hash_password(composed, "ann").text
    assert verify_password(unicodedata.normalize("NFD", composed), stored)
    assert verify_password(full_width, stored)


@pytest.mark.parametrize("stored", [None, "", "plain text", "$argon2id$broken"])
def test_where_there_is_no_hash_the_answer_is_no_after_the_same_work(stored, monkeypatch):
    """The work is what is counted: one verification of argon2 with the same parameters, whoever is asked for."""
    seen: list[str] = []
    original = Argon2Hasher.verify

    def watched(self, password, hash):
        seen.append(hash)
        return original(self, password, hash)

    monkeypatch.setattr(Argon2Hasher, "verify", watched)
    assert not verify_password("seven green bottles", stored)
    assert verify_password("seven green bottles", hash_password("seven green bottles", "ann").text)
    assert len(seen) == 2
    nobodys, anns = (hash.rsplit("$", 2)[0] for hash in seen)
    assert nobodys == anns


def test_nobody_gets_in_with_the_password_of_nobody():
    assert not verify_password("\x00 nobody has this password", None)
    assert not verify_password("", None)


@given(st.text(max_size=60))
@settings(deadline=None)
def test_whatever_is_typed_gets_an_answer(text):
    fault = password_fault(text, "ann")
    if fault is None:
        assert len(unicodedata.normalize("NFKC", text)) >= passwords.SHORTEST
