"""Sessions and tokens: what opens, for how long, and what is kept of it."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from townsfolk import NOON, all_rows, later, person

from heed.errors import DataError, LimitError, MissingError, SignInError
from heed.feedback import studio_schema as tables
from heed.people import managing, sessions, tokens
from heed.people.accounts import OPERATOR


def begin(store, account, now=NOON, agent="Browser/1.0") -> str:
    return store.write(lambda c: sessions.begin(c, account.id, agent, now))


def opens(store, secret: str, now=NOON) -> bool:
    with store.reading() as connection:
        return sessions.who(connection, secret, now) is not None


def everything_stored(store) -> str:
    return all_rows(store, tables.sessions, tables.tokens, tables.audit)


def test_every_sign_in_has_a_secret_of_its_own_and_none_is_stored(store):
    ann = person(store)
    secrets = {begin(store, ann) for _ in range(3)}
    assert len(secrets) == 3
    stored = everything_stored(store)
    for secret in secrets:
        assert opens(store, secret)
        assert len(secret) >= 43
        assert secret not in stored


@pytest.mark.parametrize("secret", ["", "x", "0" * 64, "\ud800", "a" * 100_000])
def test_what_was_never_given_opens_nothing(store, secret):
    begin(store, person(store))
    assert not opens(store, secret)


def test_a_stored_hash_opens_nothing(store):
    begin(store, person(store))
    with store.reading() as connection:
        stored = connection.scalar(select(tables.sessions.c.hash))
    assert not opens(store, stored)


def test_a_session_ends_after_a_fortnight_unused_and_sixty_days_in_any_case(store):
    secret = begin(store, person(store))
    assert opens(store, secret, later(days=13, hours=23))
    assert not opens(store, secret, later(days=14, seconds=1))
    for day in range(10, 61, 10):
        with store.reading() as connection:
            found = sessions.find(connection, secret, later(days=day, seconds=-1))
        assert found is not None
        assert found.stale
        store.write(lambda c, day=day, found=found: sessions.touch(c, found.id, later(days=day, seconds=-1)))
    assert not opens(store, secret, later(days=60, seconds=1))


def test_its_use_is_written_down_once_a_minute(store):
    secret = begin(store, person(store))
    for seconds, stale in ((0, False), (59, False), (60, True)):
        with store.reading() as connection:
            found = sessions.find(connection, secret, later(seconds=seconds))
        assert found is not None
        assert found.stale is stale


def test_sessions_are_ended_one_by_one_or_all_but_one(store):
    ann, bob = person(store, "ann"), person(store, "bob")
    one, two, three, bobs = begin(store, ann), begin(store, ann), begin(store, ann), begin(store, bob)
    store.write(lambda c: sessions.end(c, one, NOON))
    assert [opens(store, s) for s in (one, two, three, bobs)] == [False, True, True, True]
    with store.reading() as connection:
        keep = sessions.find(connection, two, NOON)
    assert keep is not None
    assert store.write(lambda c: sessions.end_all(c, ann.id, NOON, keep.id)) == 1
    assert [opens(store, s) for s in (one, two, three, bobs)] == [False, True, False, True]


def test_nobody_ends_the_session_of_another(store):
    ann, bob = person(store, "ann"), person(store, "bob")
    secret = begin(store, ann)
    with store.reading() as connection:
        (listed,) = sessions.sessions_of(connection, ann.id, NOON)
        assert sessions.sessions_of(connection, bob.id, NOON) == []
    with pytest.raises(MissingError):
        store.write(lambda c: sessions.end_one(c, bob.id, listed.id, NOON))
    assert opens(store, secret)
    store.write(lambda c: sessions.end_one(c, ann.id, listed.id, NOON))
    assert not opens(store, secret)


def test_no_session_begins_for_a_closed_account(store):
    person(store, "boss", "admin")
    ann = person(store)
    store.write(lambda c: managing.close(c, ann.id, "", OPERATOR, NOON))
    with pytest.raises(SignInError):
        begin(store, ann)
    with pytest.raises(SignInError):
        store.write(lambda c: sessions.begin(c, "u" + "0" * 16, "", NOON))


def test_what_a_browser_calls_itself_is_cut_and_printable(store):
    ann = person(store)
    begin(store, ann, agent="a\x00b\x1b[31m" + "x" * 1000)
    with store.reading() as connection:
        (listed,) = sessions.sessions_of(connection, ann.id, NOON)
    assert len(listed.agent) == 255
    assert listed.agent.isprintable()


def test_ended_sessions_are_forgotten_after_a_month(store):
    secret = begin(store, person(store))
    store.write(lambda c: sessions.end(c, secret, NOON))
    assert store.write(lambda c: sessions.forget(c, later(days=29))) == 0
    assert store.write(lambda c: sessions.forget(c, later(days=31))) == 1


# Tokens


def make(store, account, scopes=("rate",), days=30.0, name="script"):
    return store.write(lambda c: tokens.make(c, account, name, scopes, days, NOON))


def scopes_of(store, secret, now=NOON):
    with store.reading() as connection:
        found = tokens.who(connection, secret, now)
    return None if found is None else found[1]


def test_a_token_is_told_once_and_known_by_its_beginning(store):
    ann = person(store)
    made = make(store, ann)
    assert made.secret.startswith("heed_")
    assert made.secret.startswith(made.record.prefix)
    assert made.secret not in everything_stored(store)
    assert scopes_of(store, made.secret) == {"rate"}
    with store.reading() as connection:
        assert tokens.tokens_of(connection, ann.id, NOON) == [made.record]


def test_it_holds_until_its_end_or_until_it_is_revoked(store):
    ann = person(store)
    made, other = make(store, ann, days=1), make(store, ann, days=365)
    assert scopes_of(store, made.secret, later(hours=23)) is not None
    assert scopes_of(store, made.secret, later(hours=25)) is None
    store.write(lambda c: tokens.revoke(c, ann, other.record.id, NOON))
    assert scopes_of(store, other.secret) is None


def test_nobody_revokes_the_token_of_another(store):
    ann, bob = person(store, "ann"), person(store, "bob", "admin")
    made = make(store, ann)
    with pytest.raises(MissingError):
        store.write(lambda c: tokens.revoke(c, bob, made.record.id, NOON))
    assert scopes_of(store, made.secret) == {"rate"}


@pytest.mark.parametrize(
    ("role", "scopes", "days", "name"),
    [
        ("rater", ["manage"], 30, "x"),
        ("rater", ["rate", "manage"], 30, "x"),
        ("admin", ["root"], 30, "x"),
        ("admin", [], 30, "x"),
        ("rater", ["rate"], 0, "x"),
        ("rater", ["rate"], 366, "x"),
        ("rater", ["rate"], float("nan"), "x"),
        ("rater", ["rate"], 30, " "),
        ("rater", ["rate"], 30, "x" * 201),
        ("rater", ["rate"], 30, "a\x00b"),
    ],
)
def test_tokens_that_may_too_much_or_for_too_long_are_refused(store, role, scopes, days, name):
    with pytest.raises(DataError):
        make(store, person(store, role=role), scopes, days, name)


def test_who_loses_a_role_loses_its_scopes(store):
    person(store, "boss", "admin")
    lead = person(store, "lead", "lead")
    made = make(store, lead, ("rate", "read", "manage"))
    assert scopes_of(store, made.secret) == {"rate", "read", "manage"}
    store.write(lambda c: managing.set_role(c, lead.id, "rater", OPERATOR, NOON))
    assert scopes_of(store, made.secret) == {"rate", "read"}


def test_there_are_not_too_many(store):
    ann = person(store)
    for _ in range(tokens.MOST_TOKENS):
        make(store, ann)
    with pytest.raises(LimitError):
        make(store, ann)


def test_a_session_is_no_token_and_a_token_no_session(store):
    ann = person(store)
    assert scopes_of(store, begin(store, ann)) is None
    assert not opens(store, make(store, ann).secret)
