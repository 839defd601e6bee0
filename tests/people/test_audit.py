"""The audit log: whoever changes it behind heed's back is seen."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from townsfolk import NOON, later, person

from heed.errors import DataError, ProjectError
from heed.feedback.store import Store
from heed.people import audit, invitations
from heed.people.secrets import load_secrets


def fill(store: Store, count: int = 6) -> None:
    for number in range(count):
        store.write(
            lambda c, number=number: audit.record(
                c,
                "ann",
                "account.pause",
                f"rater {number}",
                {"reason": "späť ✓", "n": number, "x": 0.1},
                later(hours=number),
            )
        )


def faults(store: Store, noted: audit.Head | None = None) -> list[audit.Fault]:
    with store.reading() as connection:
        return audit.verify(connection, noted)


def tamper(store: Store, *statements: str) -> None:
    """What somebody does who can write to the database file and knows of the triggers."""
    with store.engine.execution_options(heed_writes=True).begin() as connection:
        if connection.dialect.name == "sqlite":
            for name in ("update", "delete", "replace"):
                connection.execute(text(f"DROP TRIGGER IF EXISTS audit_no_{name}"))
        else:
            connection.execute(text("ALTER TABLE audit DISABLE TRIGGER ALL"))
        for statement in statements:
            connection.execute(text(statement))


def test_a_log_that_nobody_touched_is_whole(store):
    assert faults(store) == []
    fill(store)
    assert faults(store) == []


def test_each_hash_is_that_of_its_content_computed_by_hand(store):
    fill(store, 2)
    with store.reading() as connection:
        second, first = audit.entries(connection)
    previous = "0" * 64
    for entry in (first, second):
        by_hand = {
            "action": entry.action,
            "actor": entry.actor,
            "created": entry.created.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00"),
            "details": entry.details,
            "previous": previous,
            "subject": entry.subject,
        }
        written = json.dumps(by_hand, sort_keys=True, separators=(",", ":"))
        assert entry.hash == hashlib.sha256(written.encode("ascii")).hexdigest()
        previous = entry.hash


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'eve'", "DELETE FROM audit"])
def test_the_database_itself_refuses_changes(store, statement):
    fill(store, 2)
    with pytest.raises(DBAPIError, match="append-only"), store.engine.begin() as connection:
        connection.execute(text(statement))
    assert faults(store) == []


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'eve'",
        "action = 'account.close'",
        "subject = 'someone else'",
        'details = \'{"reason": "none"}\'',
        "created = '2020-01-01 00:00:00.000000'",
        "hash = 'f000000000000000000000000000000000000000000000000000000000000000'",
    ],
)
@pytest.mark.parametrize("number", [1, 3, 6])
def test_a_changed_entry_is_found_where_it_stands(store, change, number):
    fill(store)
    tamper(store, f"UPDATE audit SET {change} WHERE number = {number}")  # noqa: S608
    assert number in {fault.number for fault in faults(store)}


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_removed_entry_is_found_at_the_one_after_it(store, number):
    fill(store)
    tamper(store, f"DELETE FROM audit WHERE number = {number}")  # noqa: S608
    assert [fault.number for fault in faults(store)] == [number + 1]


def test_entries_that_changed_places_are_found(store):
    fill(store)
    tamper(
        store,
        "UPDATE audit SET number = 99 WHERE number = 2",
        "UPDATE audit SET number = 2 WHERE number = 3",
        "UPDATE audit SET number = 3 WHERE number = 99",
    )
    assert {2, 3, 4} <= {fault.number for fault in faults(store)}


@pytest.mark.parametrize("number", [-5, 0, 100])
def test_an_entry_put_in_from_elsewhere_is_found(store, number):
    fill(store)
    tamper(
        store,
        "INSERT INTO audit (number, created, actor, action, subject, details, previous, hash) SELECT "  # noqa: S608
        f"{number}, created, 'eve', action, subject, details, 'a', 'b' FROM audit WHERE number = 2",
    )
    assert number in {fault.number for fault in faults(store)}


def test_a_cut_off_end_shows_only_against_a_head_that_was_noted(store, tmp_path):
    fill(store)
    with store.reading() as connection:
        audit.write_head(tmp_path, audit.head(connection))
    noted = audit.read_head(tmp_path)
    fill(store, 2)
    assert faults(store, noted) == []
    tamper(store, "DELETE FROM audit WHERE number > 4")
    assert faults(store) == []
    assert [fault.reason.split(":")[1].strip() for fault in faults(store, noted)] == ["the end was cut off"]


def test_a_chain_made_anew_shows_against_a_head_that_was_noted(store, tmp_path):
    fill(store)
    with store.reading() as connection:
        noted = audit.head(connection)
    tamper(store, "DELETE FROM audit")
    for number in range(7):
        store.write(lambda c, number=number: audit.record(c, "eve", "account.pause", f"rater {number}", {}, NOON))
    assert faults(store) == []
    assert "made anew" in faults(store, noted)[0].reason


@pytest.mark.parametrize(
    "tampering", ["DELETE FROM audit WHERE number > 4", "DELETE FROM audit WHERE number = 2", "DELETE FROM audit"]
)
def test_what_was_noted_stays_as_evidence_however_the_log_goes_on(store, tmp_path, tampering):
    assert note(store, tmp_path)
    fill(store)
    assert note(store, tmp_path)
    noted = audit.read_head(tmp_path)
    assert noted is not None
    assert noted.entries == 6
    tamper(store, tampering)
    assert not note(store, tmp_path)
    for number in range(8):
        store.write(lambda c, number=number: audit.record(c, "eve", "x", str(number), {}, NOON))
    assert not note(store, tmp_path)
    assert audit.read_head(tmp_path) == noted
    assert faults(store, noted) != []


def test_the_noted_head_never_goes_back_and_a_damaged_one_is_no_head(store, tmp_path):
    assert audit.read_head(tmp_path) is None
    audit.write_head(tmp_path, audit.Head(7, "a" * 64))
    audit.write_head(tmp_path, audit.Head(5, "b" * 64))
    assert audit.read_head(tmp_path) == audit.Head(7, "a" * 64)
    (tmp_path / audit.HEAD_FILE).write_text("no head\n")
    with pytest.raises(ProjectError, match="does not hold the head"):
        audit.read_head(tmp_path)


@pytest.mark.parametrize("key", ["password", "new_password", "Secret", "token", "password_hash", "cookie"])
def test_secrets_are_not_recorded(store, key):
    with pytest.raises(DataError, match="secrets are not recorded"):
        store.write(lambda c: audit.record(c, "ann", "account.credentials", "ann", {key: "hunter2"}, NOON))


def test_what_has_no_json_form_is_refused_and_long_subjects_are_cut(store):
    for odd in (float("nan"), object(), {1, 2}):
        with pytest.raises(DataError, match="JSON"):
            store.write(lambda c, odd=odd: audit.record(c, "ann", "x", "ann", {"value": odd}, NOON))
    store.write(lambda c: audit.record(c, "ann", "x", "y" * 900, {"pair": (1, 2)}, NOON))
    assert faults(store) == []


def test_many_at_once_make_one_chain(store):
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(10):
                store.write(lambda c, number=number: audit.record(c, name, "x", str(number), {}, later(seconds=number)))
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"rater {number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert faults(store) == []
    with store.reading() as connection:
        assert audit.head(connection).entries == 60


def test_pages_of_entries_are_newest_first_and_narrowed(store):
    fill(store)
    store.write(lambda c: audit.record(c, "bob", "account.role", "rater 2", {}, NOON))
    with store.reading() as connection:
        newest = audit.entries(connection, limit=2)
        older = audit.entries(connection, before=newest[-1].number, limit=100)
        assert [entry.number for entry in newest + older] == [7, 6, 5, 4, 3, 2, 1]
        assert [entry.actor for entry in audit.entries(connection, subject="rater 2")] == ["bob", "ann"]
        assert [entry.number for entry in audit.entries(connection, action="account.role")] == [7]
        assert len(audit.entries(connection, actor="ann")) == 6


def test_a_log_that_vanished_as_a_whole_shows_by_the_accounts_and_secrets_that_are_left(store, tmp_path):
    def gone() -> list[str]:
        with store.reading() as connection:
            return [fault.reason for fault in audit.gone(connection, tmp_path, audit.read_head(tmp_path))]

    assert gone() == []
    person(store, "ann")
    (emptied,) = gone()
    assert "accounts and not one entry" in emptied
    fill(store)
    assert gone() == []
    load_secrets(tmp_path)
    (headless,) = gone()
    assert audit.HEAD_FILE in headless
    with store.reading() as connection:
        audit.write_head(tmp_path, audit.head(connection))
    assert gone() == []


def check(store: Store, folder: Path) -> list[audit.Fault]:
    with store.reading() as connection:
        return audit.check(connection, folder)[1]


def note(store: Store, folder: Path) -> bool:
    with store.reading() as connection:
        return audit.note_head(connection, folder)


def test_a_missing_head_is_told_again_and_again_and_none_is_noted_in_its_place(store, tmp_path):
    assert note(store, tmp_path)  # as the first start does, before it makes the secrets
    load_secrets(tmp_path)
    fill(store)
    assert note(store, tmp_path)
    assert check(store, tmp_path) == []
    (tmp_path / audit.HEAD_FILE).unlink()
    for _ in range(2):
        assert not note(store, tmp_path)
        assert [fault.reason.partition(",")[0] for fault in check(store, tmp_path)] == [f"{audit.HEAD_FILE} is gone"]
    assert not (tmp_path / audit.HEAD_FILE).exists()


def test_who_takes_the_secrets_away_as_well_is_found_by_the_first_link(store, tmp_path):
    store.write(lambda c: invitations.first_invitation(c, NOON))
    assert not note(store, tmp_path)
    assert [fault.reason.partition(",")[0] for fault in check(store, tmp_path)] == [f"{audit.HEAD_FILE} is gone"]


def test_going_on_from_the_present_end_is_recorded_with_what_was_noted_before(store, tmp_path):
    fill(store)
    assert note(store, tmp_path)
    noted = audit.read_head(tmp_path)
    load_secrets(tmp_path)
    tamper(store, "DELETE FROM audit WHERE number > 4")
    found = check(store, tmp_path)
    assert "the end was cut off" in found[0].reason
    accepted = store.write(lambda c: audit.accept(c, tmp_path, "heed", found, NOON))
    assert check(store, tmp_path) != []
    audit.replace_head(tmp_path, accepted)
    with store.reading() as connection:
        assert audit.head(connection) == accepted
        newest = audit.entries(connection, limit=1)[0]
    assert (newest.actor, newest.action) == ("heed", "audit.accept")
    assert newest.details["noted"] == f"6 {noted.hash}"
    assert newest.details["faults"] == [f"entry 0: {fault.reason}" for fault in found]
    (left,) = check(store, tmp_path)
    assert "no longer refuses to change" in left.reason
    assert note(store, tmp_path)


def test_triggers_that_are_gone_or_refuse_nothing_are_named(store, tmp_path):
    assert check(store, tmp_path) == []
    with store.engine.execution_options(heed_writes=True).begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(text("DROP TRIGGER audit_no_delete"))
            connection.execute(text("DROP TRIGGER audit_no_update"))
            connection.execute(text("CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT 1; END"))
            expected = "it has lost audit_no_update, audit_no_delete"
        else:
            connection.execute(text("DROP TRIGGER audit_no_update ON audit"))
            connection.execute(text("ALTER TABLE audit DISABLE TRIGGER audit_no_truncate"))
            expected = "it has lost audit_no_update, audit_no_truncate"
    (fault,) = check(store, tmp_path)
    assert fault.reason.endswith(expected)


UNREADABLE = {
    "sqlite": [
        "details = 'not json'",
        "details = '[1]'",
        "details = '{\"x\": NaN}'",
        "details = x'ff'",
        "created = 'garbage'",
        "created = 7",
        "actor = x'ff'",
        "actor = CAST(x'ff' AS TEXT)",
        "subject = CAST(x'00ff' AS TEXT)",
        "hash = x'ff'",
        "previous = x'ff'",
    ],
    "postgresql": ["details = '[1]'", "created = 'infinity'", "created = '0044-03-15 BC'"],
}


@pytest.mark.parametrize("number", range(11))
@pytest.mark.parametrize("place", [4, 6])
def test_what_cannot_be_read_is_a_fault_and_listed_and_the_log_goes_on(store, tmp_path, number, place):
    changes = UNREADABLE[store.engine.dialect.name]
    if number >= len(changes):
        pytest.skip("this database refuses such values itself")
    fill(store)
    tamper(store, f"UPDATE audit SET {changes[number]} WHERE number = {place}")  # noqa: S608
    expected = audit.Fault(place, "its content is not what was recorded")
    assert expected in faults(store)
    with store.reading() as connection:
        listed = audit.entries(connection)
    assert [entry.number for entry in listed if not entry.readable] == [place]
    fill(store, 1)
    assert expected in faults(store)
    assert 7 not in {fault.number for fault in faults(store)}


def test_a_log_whose_table_is_gone_is_a_fault_in_words(store, tmp_path):
    fill(store)
    assert note(store, tmp_path)
    tamper(store, "DROP TABLE audit")
    assert "its table is gone" in check(store, tmp_path)[0].reason
    assert not note(store, tmp_path)
    with pytest.raises(ProjectError, match="its table is gone"), store.reading() as connection:
        audit.entries(connection)
    with pytest.raises(ProjectError, match="its table is gone"):
        store.write(lambda c: audit.accept(c, tmp_path, "heed", [], NOON))
