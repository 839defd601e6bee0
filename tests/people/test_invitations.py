"""Invitations: one guest each, for as long as they hold, to no more than was meant."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from townsfolk import NOON, PASSWORD, all_rows, later, person

from heed.errors import ConflictError, DataError, MissingError, RefusedError
from heed.feedback import studio_schema as tables
from heed.people import accounts, audit, invitations, managing, sessions
from heed.people.accounts import OPERATOR
from heed.people.passwords import hash_password, verify_password

HASHED = hash_password(PASSWORD, "somebody")


def invite(store, role="rater", group="", name=None, actor=OPERATOR, **more) -> str:
    return store.write(lambda c: invitations.invite(c, role, group, name, "note", actor, NOON, **more))


def accept(store, secret, name="ann", now=NOON, **more):
    return store.write(lambda c: invitations.accept(c, secret, name, HASHED, now, **more))


def test_a_guest_gets_the_role_and_group_of_the_invitation(store):
    made = accept(store, invite(store, "lead", "north"), language="zh")
    assert (made.name, made.role, made.group, made.language) == ("ann", "lead", "north", "zh")
    with store.reading() as connection:
        stored = accounts.stored_password(connection, "ann")
    assert stored is not None
    assert verify_password(PASSWORD, stored[1])


def test_it_is_taken_once(store):
    secret = invite(store)
    accept(store, secret, "ann")
    with pytest.raises(MissingError):
        accept(store, secret, "bob")
    with store.reading() as connection:
        assert invitations.look_up(connection, secret, NOON) is None
        assert accounts.find(connection, "bob") is None
        (kept,) = invitations.invitations_made(connection, NOON, still_open=False)
    assert kept.used_by == "ann"


def test_of_guests_at_once_one_gets_in(store):
    secret = invite(store)

    def take(number: int) -> bool:
        try:
            accept(store, secret, f"guest {number}")
        except MissingError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(8))) == 1
    with store.reading() as connection:
        assert len(accounts.everybody(connection)) == 1


def test_a_guest_whose_name_is_taken_can_try_again(store):
    person(store, "ann")
    secret = invite(store)
    with pytest.raises(ConflictError):
        accept(store, secret, "Ann")
    assert accept(store, secret, "another ann").name == "another ann"


def test_it_expires_and_can_be_revoked(store):
    short, revoked = invite(store, days=1), invite(store)
    with pytest.raises(MissingError):
        accept(store, short, now=later(hours=25))
    with store.reading() as connection:
        listed = invitations.invitations_made(connection, NOON)
    store.write(lambda c: invitations.revoke(c, listed[0].id, OPERATOR, NOON))
    store.write(lambda c: invitations.revoke(c, listed[1].id, OPERATOR, NOON))
    for secret in (short, revoked):
        with pytest.raises(MissingError):
            accept(store, secret)


def test_every_link_that_opens_nothing_says_the_same(store):
    used, expired = invite(store), invite(store, days=1)
    accept(store, used)
    said = set()
    for secret in (used, expired, "never", ""):
        with pytest.raises(MissingError) as caught:
            accept(store, secret, "bob", later(days=2))
        said.add(str(caught.value))
    assert len(said) == 1


def test_the_name_that_it_fixes_is_taken_whatever_the_guest_says(store):
    store.add_raters([("Old Hand", "human", "")])
    assert accept(store, invite(store, name="Old Hand"), "admin").name == "Old Hand"


def test_two_invitations_to_one_name_make_one_account(store):
    first, second = invite(store, name="ann"), invite(store, name="Ann ")
    accept(store, first)
    with pytest.raises(ConflictError):
        accept(store, second)


@pytest.mark.parametrize(
    "values",
    [
        {"role": "owner"},
        {"name": "a\x00"},
        {"name": "heed"},
        {"group": "a\nb"},
        {"days": 0},
        {"days": 91},
        {"days": float("nan")},
        {"email": "no address"},
        {"email": "a@b c"},
    ],
)
def test_invitations_that_cannot_be(store, values):
    with pytest.raises(DataError):
        invite(store, **values)


def test_leads_invite_raters_and_admins_everybody(store):
    lead, rater, admin = person(store, "l", "lead"), person(store, "r"), person(store, "a", "admin")
    for actor, role, allowed in (
        (rater, "rater", False),
        (lead, "rater", True),
        (lead, "lead", False),
        (lead, "admin", False),
        (admin, "admin", True),
    ):
        if allowed:
            invite(store, role, actor=actor)
        else:
            with pytest.raises(RefusedError):
                invite(store, role, actor=actor)


def test_the_secret_is_nowhere_in_the_database(store):
    secret = invite(store, name="ann", email="ann@example.org")
    stored = all_rows(store, tables.invitations, tables.audit)
    assert secret not in stored
    assert len(secret) >= 43


# The first admin


def test_the_first_admin_is_invited_until_there_is_one(store):
    first = store.write(lambda c: invitations.first_invitation(c, NOON))
    second = store.write(lambda c: invitations.first_invitation(c, later(seconds=1)))
    assert first
    assert second
    with pytest.raises(MissingError):
        accept(store, first)
    assert accept(store, second, "boss").role == "admin"
    assert store.write(lambda c: invitations.first_invitation(c, NOON)) is None


def test_a_first_invitation_is_worth_nothing_once_there_is_an_admin(store):
    secret = store.write(lambda c: invitations.first_invitation(c, NOON))
    person(store, "boss", "admin")
    with pytest.raises(MissingError):
        accept(store, secret, "second boss")


def test_of_many_first_starts_at_once_one_link_holds(store):
    with ThreadPoolExecutor(6) as pool:
        links = list(pool.map(lambda _: store.write(lambda c: invitations.first_invitation(c, NOON)), range(6)))
    with store.reading() as connection:
        assert sum(invitations.look_up(connection, link, NOON) is not None for link in links) == 1


# Setting a new password


def test_a_reset_link_sets_the_password_and_ends_what_was_open(store):
    ann = person(store, "ann", password="the one before this")
    session = store.write(lambda c: sessions.begin(c, ann.id, "", NOON))
    earlier = store.write(lambda c: invitations.reset_link(c, ann.id, OPERATOR, NOON))
    link = store.write(lambda c: invitations.reset_link(c, ann.id, OPERATOR, NOON))
    with pytest.raises(MissingError):
        accept(store, earlier)
    assert accept(store, link, "somebody else").id == ann.id
    with store.reading() as connection:
        assert sessions.who(connection, session, NOON) is None
        stored = accounts.stored_password(connection, "ann")
        assert len(accounts.everybody(connection)) == 1
    assert stored is not None
    assert verify_password(PASSWORD, stored[1])
    with pytest.raises(MissingError):
        accept(store, link)


def test_a_lead_makes_no_reset_link_for_an_admin(store):
    lead, admin = person(store, "l", "lead"), person(store, "a", "admin")
    with pytest.raises(RefusedError):
        store.write(lambda c: invitations.reset_link(c, admin.id, lead, NOON))


def test_a_reset_link_of_an_account_that_is_closed_opens_nothing(store):
    person(store, "boss", "admin")
    ann = person(store, "ann")
    link = store.write(lambda c: invitations.reset_link(c, ann.id, OPERATOR, NOON))
    store.write(lambda c: managing.close(c, ann.id, "", OPERATOR, NOON))
    with pytest.raises(MissingError):
        accept(store, link)
    with pytest.raises(ConflictError):
        store.write(lambda c: invitations.reset_link(c, ann.id, OPERATOR, NOON))


# Signing in elsewhere


def test_who_owns_the_address_takes_the_invitation_and_only_once(store):
    invite(store, "lead", email="Ann@Example.org")
    with store.reading() as connection:
        found = invitations.for_email(connection, "ANN@example.org", NOON)
        assert invitations.for_email(connection, "bob@example.org", NOON) is None
    assert found is not None
    made = store.write(lambda c: invitations.accept_elsewhere(c, found, "ann", "https://id|7", NOON))
    assert (made.role, made.has_password) == ("lead", False)
    with pytest.raises(MissingError):
        store.write(lambda c: invitations.accept_elsewhere(c, found, "bob", "https://id|8", NOON))


def test_the_log_tells_who_invited_whom_and_is_whole(store):
    boss = person(store, "boss", "admin")
    accept(store, invite(store, actor=boss))
    with store.reading() as connection:
        assert [entry.action for entry in audit.entries(connection)] == ["account.make", "invitation.make"]
        assert audit.entries(connection)[0].details["by"] == "boss"
        assert audit.verify(connection) == []


def test_a_reset_link_opens_nothing_once_its_owner_has_another_password(store):
    ann = person(store, "ann", password=PASSWORD)
    secret = store.write(lambda c: invitations.reset_link(c, ann.id, OPERATOR, NOON))
    store.write(
        lambda c: accounts.change_password(c, ann.id, hash_password("another one entirely", "ann"), later(hours=1))
    )
    with pytest.raises(MissingError):
        accept(store, secret, now=later(hours=2))


@pytest.mark.parametrize("act", ["close", "demote"])
def test_links_end_with_the_right_to_make_them(store, act):
    lea = person(store, "lea", "admin")
    person(store, "zoe", "admin")

    def made(role: str, name: str) -> str:
        return store.write(lambda c: invitations.invite(c, role, "", name, "", lea, NOON))

    rater, admin = made("rater", "rob"), made("admin", "adam")
    if act == "close":
        store.write(lambda c: managing.close(c, lea.id, "left", OPERATOR, later(hours=1)))
    else:
        store.write(lambda c: managing.set_role(c, lea.id, "lead", OPERATOR, later(hours=1)))
    with store.reading() as connection:
        still = [invitations.look_up(connection, secret, later(hours=2)) is not None for secret in (rater, admin)]
        (entry,) = audit.entries(connection, action="invitation.revoke")
    assert still == [act == "demote", False]
    assert (entry.subject, len(entry.details["ids"])) == ("lea", 2 - still.count(True))
