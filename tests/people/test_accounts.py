"""Accounts: names that cannot be confused, and nobody locked out of their own project."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from townsfolk import NOON, PASSWORD, later, person

from heed.errors import ConflictError, DataError, HeedError, MissingError, RefusedError
from heed.people import accounts, audit, managing, sessions, tokens
from heed.people.accounts import OPERATOR
from heed.people.passwords import hash_password
from heed.people.shortcuts import DEFAULT_KEYS, checked_keys, keys_of


def actions(store) -> list[tuple[str, str, str]]:
    with store.reading() as connection:
        return [(entry.actor, entry.action, entry.subject) for entry in reversed(audit.entries(connection))]


def test_an_account_is_a_human_rater_of_its_group(store):
    made = person(store, "Ann", group="north")
    assert (made.name, made.role, made.state, made.group) == ("Ann", "rater", "active", "north")
    assert [(r.name, r.kind, r.group) for r in store.raters()] == [("Ann", "human", "north")]


@pytest.mark.parametrize("typed", ["Ann", "ann", "ANN", "  ann ", "Ａｎｎ"])
def test_people_are_found_by_their_name_however_it_is_typed(store, typed):
    person(store, "Ann")
    with store.reading() as connection:
        found = accounts.find(connection, typed)
    assert found is not None
    assert found.name == "Ann"


@pytest.mark.parametrize("name", ["ann", "ANN", "Ａnn", " Ann "])
def test_names_that_look_the_same_are_taken(store, name):
    person(store, "Ann")
    with pytest.raises(ConflictError, match="taken"):
        person(store, name)


def test_the_names_of_those_who_judged_before_are_taken_unless_the_name_was_meant_for_them(store):
    store.add_raters([("eve", "simulated", ""), ("Bob", "human", "south")])
    for name in ("eve", "EVE", "Bob", "bob"):
        with pytest.raises(ConflictError):
            person(store, name)
    with pytest.raises(ConflictError):
        store.write(lambda c: accounts.create_account(c, "eve", "rater", "", NOON, known_rater=True))
    made = store.write(lambda c: accounts.create_account(c, "Bob", "rater", "north", NOON, known_rater=True))
    assert (made.name, made.group) == ("Bob", "north")


@pytest.mark.parametrize(
    "name", ["", "   ", "a\x00b", "a\u202eb", "a\nb", "x" * 201, "\ufdfa" * 60, "heed", "Heed", ".", "..", "．．", "‥"]
)
def test_what_cannot_be_a_name(store, name):
    with pytest.raises(DataError):
        person(store, name)


def test_reserved_names_are_refused(store):
    with pytest.raises(DataError, match="reserved"):
        store.write(lambda c: accounts.create_account(c, "Gauge", "rater", "", NOON, reserved=["gauge"]))


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", "Zoë", "王小明", "O'Brien", "محمد", "a" * 200])
def test_names_of_any_script_are_kept_as_they_are(store, name):
    assert person(store, name).name == name


def test_of_two_who_take_one_name_at_once_one_gets_it(store):
    def take(name: str) -> bool:
        try:
            person(store, name)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(take, ["Ann", "ann", "ANN", "aNn", "Ann", "anN"])) == 1


# Preferences


def test_preferences_change_one_by_one_and_a_stale_window_is_told(store):
    ann = person(store)
    first = store.write(lambda c: accounts.set_preferences(c, ann.id, ann.revision, language="zh"))
    assert (first.language, first.theme, first.revision) == ("zh", "auto", ann.revision + 1)
    with pytest.raises(ConflictError):
        store.write(lambda c: accounts.set_preferences(c, ann.id, ann.revision, theme="dark"))
    second = store.write(lambda c: accounts.set_preferences(c, ann.id, theme="dark"))
    assert (second.language, second.theme) == ("zh", "dark")


@pytest.mark.parametrize("values", [{"language": "xx"}, {"theme": "<b>"}, {"keys": {"keys": {"fly": "x"}}}])
def test_preferences_that_cannot_be(store, values):
    ann = person(store)
    with pytest.raises(DataError):
        store.write(lambda c: accounts.set_preferences(c, ann.id, **values))


def test_keys_can_be_moved_removed_and_turned_off():
    kept = checked_keys({"keys": {"left": "A", "skip": ""}})
    assert kept == {"enabled": True, "keys": {"left": "a", "skip": ""}}
    assert keys_of(kept) == {**DEFAULT_KEYS, "left": "a", "skip": ""}
    assert set(keys_of(checked_keys({"enabled": False})).values()) == {""}
    assert keys_of({}) == DEFAULT_KEYS


@pytest.mark.parametrize(
    "values",
    [
        {"keys": {"left": "<img src=x onerror=alert(1)>"}},
        {"keys": {"left": "ab"}},
        {"keys": {"left": "<"}},
        {"keys": {"left": '"'}},
        {"keys": {"left": " "}},
        {"keys": {"left": "\u202e"}},
        {"keys": {"left": 1}},
        {"keys": {"left": "x", "right": "X"}},
        {"keys": {"left": DEFAULT_KEYS["right"]}},
        {"keys": {"__proto__": "x"}},
        {"keys": ["x"]},
        {"enabled": "no"},
        {"role": "admin"},
    ],
)
def test_keys_are_single_keys_of_known_actions_and_each_is_used_once(values):
    with pytest.raises(DataError):
        checked_keys(values)


# Passwords


def test_a_new_password_ends_all_other_sessions_and_all_tokens(store):
    ann, bob = person(store, "ann", password=PASSWORD), person(store, "bob")
    mine, other, bobs = (store.write(lambda c, who=who: sessions.begin(c, who.id, "", NOON)) for who in (ann, ann, bob))
    token = store.write(lambda c: tokens.make(c, ann, "script", ["rate"], 30, NOON)).secret
    with store.reading() as connection:
        kept = sessions.find(connection, mine, NOON)
    assert kept is not None
    changed = hash_password("another fine password", "ann")
    store.write(lambda c: accounts.change_password(c, ann.id, changed, NOON, kept.id))
    with store.reading() as connection:
        assert sessions.who(connection, mine, NOON) is not None
        assert sessions.who(connection, other, NOON) is None
        assert sessions.who(connection, bobs, NOON) is not None
        assert tokens.who(connection, token, NOON) is None
        assert accounts.stored_password(connection, "ANN") == (ann.id, changed.text)
    assert actions(store)[-1] == ("ann", "account.credentials", "ann")


# What leads and admins do


def test_leads_manage_raters_and_admins_everybody(store):
    admin, lead, rater = person(store, "a", "admin"), person(store, "l", "lead"), person(store, "r")
    for actor, target, allowed in (
        (rater, rater, False),
        (rater, lead, False),
        (lead, rater, True),
        (lead, lead, False),
        (lead, admin, False),
        (admin, lead, True),
        (OPERATOR, lead, True),
    ):
        for change in (
            lambda c, who, by: managing.set_group(c, who.id, f"group of {by.name}", by, NOON),
            lambda c, who, by: managing.pause(c, who.id, "", by, NOON),
            lambda c, who, by: managing.resume(c, who.id, by, NOON),
        ):
            try:
                store.write(lambda c, change=change, who=target, by=actor: change(c, who, by))
                done = True
            except RefusedError:
                done = False
            assert done is allowed, (actor.name, target.name)


def test_only_admins_give_roles(store):
    lead, rater, admin = person(store, "l", "lead"), person(store, "r"), person(store, "a", "admin")
    with pytest.raises(RefusedError):
        store.write(lambda c: managing.set_role(c, rater.id, "admin", lead, NOON))
    with pytest.raises(DataError):
        store.write(lambda c: managing.set_role(c, rater.id, "owner", admin, NOON))  # type: ignore[arg-type]
    assert store.write(lambda c: managing.set_role(c, rater.id, "lead", admin, NOON)).role == "lead"
    assert actions(store) == [("a", "account.role", "r")]


@pytest.mark.parametrize(
    "change",
    [
        lambda c, a, by: managing.pause(c, a.id, "", by, NOON),
        lambda c, a, by: managing.close(c, a.id, "", by, NOON),
        lambda c, a, by: managing.set_role(c, a.id, "rater", by, NOON),
    ],
    ids=["pause", "close", "role"],
)
def test_the_last_active_admin_stays(store, change):
    first, second = person(store, "a", "admin"), person(store, "b", "admin")
    store.write(lambda c: managing.pause(c, second.id, "", first, NOON))
    with pytest.raises(ConflictError, match="last active admin"):
        store.write(lambda c: change(c, first, OPERATOR))
    store.write(lambda c: managing.resume(c, second.id, first, NOON))
    store.write(lambda c: change(c, first, OPERATOR))


def test_admins_who_stop_each_other_at_once_leave_one(store):
    admins = [person(store, f"admin {n}", "admin") for n in range(6)]

    def stop(number: int) -> None:
        with suppress(HeedError):
            store.write(lambda c: managing.close(c, admins[number].id, "", admins[number - 1], NOON))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(stop, range(6)))
    with store.reading() as connection:
        left = [account for account in accounts.everybody(connection) if account.state == "active"]
    assert len(left) == 1


def test_who_is_paused_may_read_and_whose_account_is_closed_is_out(store):
    admin, ann = person(store, "a", "admin"), person(store, "ann", password=PASSWORD)
    session = store.write(lambda c: sessions.begin(c, ann.id, "", NOON))
    token = store.write(lambda c: tokens.make(c, ann, "script", ["rate"], 30, NOON)).secret
    store.write(lambda c: managing.pause(c, ann.id, "on leave", admin, NOON))
    with store.reading() as connection:
        seen = sessions.who(connection, session, NOON)
        assert seen is not None
        assert (seen.state, seen.state_reason) == ("paused", "on leave")
        assert tokens.who(connection, token, NOON) is None
    store.write(lambda c: managing.resume(c, ann.id, admin, NOON))
    with store.reading() as connection:
        assert tokens.who(connection, token, NOON) is not None
    store.write(lambda c: managing.close(c, ann.id, "left", admin, NOON))
    with store.reading() as connection:
        assert sessions.who(connection, session, NOON) is None
        assert tokens.who(connection, token, NOON) is None
        assert accounts.stored_password(connection, "ann") is None
        assert accounts.get(connection, ann.id).has_password is False
    for change in (managing.resume, lambda c, i, by, now: managing.set_role(c, i, "lead", by, now)):
        with pytest.raises(ConflictError, match="closed"):
            store.write(lambda c, change=change: change(c, ann.id, admin, NOON))
    assert [action for _, action, _ in actions(store)] == [
        "token.make",
        "account.pause",
        "account.resume",
        "account.close",
    ]


def test_an_account_that_is_not_there(store):
    with pytest.raises(MissingError):
        store.write(lambda c: managing.pause(c, "u" + "0" * 16, "", OPERATOR, later(days=1)))
