"""Guidelines: versions that nobody loses, and who has read which."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from townsfolk import NOON, person

from heed.errors import ConflictError, DataError
from heed.people import accounts, guidelines, managing
from heed.people.accounts import OPERATOR


def save(store, text="Be kind.", note="first", expected=0, author="boss"):
    return store.write(lambda c: guidelines.save(c, text, note, author, expected, NOON))


def read(store, work):
    with store.reading() as connection:
        return work(connection)


def test_before_the_first_version_nothing_needs_to_be_read(store):
    person(store)
    assert read(store, guidelines.current) is None
    assert read(store, guidelines.current_version) == 0
    assert not read(store, lambda c: guidelines.needs_acknowledgement(c, "ann"))
    assert read(store, guidelines.missing) == []


def test_each_version_is_acknowledged_anew_and_all_are_kept(store):
    person(store)
    save(store, note="")
    assert read(store, lambda c: guidelines.needs_acknowledgement(c, "ann"))
    for _ in range(2):
        store.write(lambda c: guidelines.acknowledge(c, "ann", 1, NOON))
    assert not read(store, lambda c: guidelines.needs_acknowledgement(c, "ann"))
    save(store, "Be kind and brief.", "brevity", 1)
    assert read(store, lambda c: guidelines.needs_acknowledgement(c, "ann"))
    assert read(store, lambda c: guidelines.acknowledged_version(c, "ann")) == 1
    assert [(g.version, g.text, g.note) for g in read(store, guidelines.versions)] == [
        (2, "Be kind and brief.", "brevity"),
        (1, "Be kind.", ""),
    ]


@pytest.mark.parametrize("version", [0, 1, 3, -1])
def test_only_the_newest_version_can_be_acknowledged(store, version):
    person(store)
    save(store)
    save(store, "Two.", "more", 1)
    with pytest.raises(ConflictError):
        store.write(lambda c: guidelines.acknowledge(c, "ann", version, NOON))


def test_an_editor_who_comes_second_is_told_and_nothing_is_lost(store):
    save(store)
    save(store, "Mine.", "mine", 1)
    with pytest.raises(ConflictError, match="version 2"):
        save(store, "Yours.", "yours", 1)
    assert read(store, guidelines.current).text == "Mine."


def test_of_editors_at_once_one_wins(store):
    def edit(number: int) -> bool:
        try:
            save(store, f"Text {number}", "x")
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(edit, range(6))) == 1


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("", "x"),
        ("  \n", "x"),
        ("New.", ""),
        ("New.", "  "),
        ("Be kind.", "same"),
        ("a\x00", "x"),
        ("x" * 200_001, "x"),
    ],
)
def test_versions_that_cannot_be(store, text, note):
    save(store)
    with pytest.raises(DataError):
        save(store, text, note, 1)


def test_who_has_not_read_them_is_known(store):
    person(store, "boss", "admin")
    for name in ("ann", "bob", "eve"):
        person(store, name)
    save(store)
    store.write(lambda c: guidelines.acknowledge(c, "bob", 1, NOON))
    assert read(store, guidelines.missing) == ["ann", "eve"]
    eve = read(store, accounts.everybody)[-1]
    store.write(lambda c: managing.pause(c, eve.id, "", OPERATOR, NOON))
    assert read(store, guidelines.missing) == ["ann"]
