"""Files that are no store, schemas of other versions, and databases other than SQLite."""

from __future__ import annotations

import shutil
import sqlite3
import textwrap
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import event, insert, inspect, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.schema import CreateIndex, CreateTable

from heed.errors import ProjectError
from heed.feedback import database, schema
from heed.feedback.kinds import Comparison, Demonstration, Feedback, completion_id
from heed.feedback.store import CompletionRecord, Store

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'heed.db'}"


@pytest.fixture
def store(url):
    with Store.open(url) as opened:
        yield opened


def fill(store: Store, prompts: int = 3) -> list[Feedback]:
    """Prompts, two completions of each, and two judgments of the first."""
    ids = store.add_prompts([(f"prompt {number}", "train", "test") for number in range(prompts)])
    pairs = [tuple(completion_id(prompt, text, "import") for text in "ab") for prompt in ids]
    store.add_completions(
        CompletionRecord(identity, prompt, text)
        for prompt, pair in zip(ids, pairs, strict=True)
        for identity, text in zip(pair, "ab", strict=True)
    )
    said = [
        Comparison(rater="ann", prompt_id=ids[0], completion_ids=pairs[0], choice="b", created=NOON),
        Demonstration(rater="bob", prompt_id=ids[0], text="like this", created=NOON),
    ]
    store.add_feedback(said)
    return said


def test_a_file_that_is_no_database_is_refused(url, tmp_path):
    (tmp_path / "heed.db").write_bytes(b"not a database at all, only text of some length" * 50)
    with pytest.raises(ProjectError, match="not an SQLite database"):
        Store.open(url)


def test_a_truncated_database_is_refused(url, tmp_path):
    with Store.open(url) as store:
        fill(store, prompts=500)
    whole = (tmp_path / "heed.db").read_bytes()
    (tmp_path / "heed.db").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ProjectError, match="damaged or cut off"):
        Store.open(url)


def test_another_programs_database_is_left_alone(url, tmp_path):
    with closing(sqlite3.connect(tmp_path / "heed.db")) as other:
        other.execute("CREATE TABLE songs (title TEXT)")
        other.commit()
    with pytest.raises(ProjectError, match="songs"):
        Store.open(url)
    with closing(sqlite3.connect(tmp_path / "heed.db")) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("songs",)]


def test_a_missing_folder_and_a_bad_url_are_told(tmp_path):
    with pytest.raises(ProjectError, match="folder is missing"):
        Store.open(f"sqlite:///{tmp_path}/nowhere/heed.db")
    for bad in ("heed.db", "oracle2://user:secret@host/x"):
        with pytest.raises(ProjectError) as caught:
            Store.open(bad)
        assert "secret" not in str(caught.value)


def test_a_newer_schema_is_refused_with_both_revisions_and_the_way_out(url):
    with Store.open(url) as store:
        store.write(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
        store.write(lambda connection: connection.execute(text("UPDATE meta SET value = '7.2.0'")))
    with pytest.raises(ProjectError, match=rf"9999.*{schema.HEAD}.*pip install 'heed>=7\.2\.0'"):
        Store.open(url)


def make_next_revision(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """heed as it will be one revision from now."""
    shutil.copytree(database.MIGRATIONS, folder)
    (folder / "versions" / "next.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision = 'next'\ndown_revision = '{schema.HEAD}'\n\n\ndef upgrade():\n{textwrap.indent(body, '    ')}\n"
    )
    monkeypatch.setattr(database, "MIGRATIONS", folder)
    monkeypatch.setattr(database, "HEAD", "next")


def test_an_older_schema_is_migrated_and_a_copy_of_the_file_kept(url, tmp_path, monkeypatch):
    with Store.open(url) as store:
        said = fill(store)
        # Not closed: what is only in the write-ahead log must be in the copy too.
        make_next_revision(
            tmp_path / "migrations", monkeypatch, "op.add_column('raters', sa.Column('email', sa.String))"
        )
        with Store.open(url) as newer:
            assert [entry.feedback for entry in newer.feedback()] == said
            with newer.reading() as connection:
                assert connection.execute(text("SELECT email FROM raters")).scalar() is None
    monkeypatch.undo()
    with Store.open(f"sqlite:///{tmp_path}/heed.db.{schema.HEAD}.backup") as copy:
        assert [entry.feedback for entry in copy.feedback()] == said
    with pytest.raises(ProjectError, match="next"):
        Store.open(url)


def test_a_migration_that_fails_changes_nothing(url, tmp_path, monkeypatch):
    with Store.open(url) as store:
        fill(store)
    with monkeypatch.context() as patched:
        body = "op.add_column('raters', sa.Column('email', sa.String))\nraise RuntimeError('half-way')"
        make_next_revision(tmp_path / "migrations", patched, body)
        with pytest.raises(RuntimeError, match="half-way"):
            Store.open(url)
    with Store.open(url) as store:
        assert store.counts()["prompts"] == 3
        with store.reading() as connection:
            columns = [row[1] for row in connection.execute(text("PRAGMA table_info(raters)"))]
        assert "email" not in columns


def alembic_config(connection):
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def test_the_migrations_make_the_tables_of_the_schema_and_can_be_taken_back(store):
    from alembic import command
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    with database.writing(store.engine) as connection:
        assert ScriptDirectory.from_config(alembic_config(connection)).get_heads() == [schema.HEAD]
        # Of an index with a descending column alembic cannot tell on SQLite whether it has changed: that one is read.
        changes = compare_metadata(MigrationContext.configure(connection), schema.metadata)
        assert [change for change in changes if "ix_items_queue" not in str(change)] == []
        index = connection.execute(text("SELECT sql FROM sqlite_master WHERE name = 'ix_items_queue'")).scalar_one()
        assert index.endswith("(question_id, available, priority DESC, level, random_key)")
        names = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
        made = connection.execute(text(names)).all()
        command.downgrade(alembic_config(connection), "base")
        assert [row.name for row in connection.execute(text(names))] == ["alembic_version"]
        command.upgrade(alembic_config(connection), "head")
        assert connection.execute(text(names)).all() == made


# Not only SQLite


def test_constraints_have_the_same_names_in_the_schema_and_in_the_migration(store):
    found = inspect(store.engine)
    for table in schema.metadata.sorted_tables:
        declared = {constraint.name for constraint in table.constraints if constraint.name}
        names = {entry["name"] for entry in found.get_unique_constraints(table.name)}
        names |= {entry["name"] for entry in found.get_check_constraints(table.name)}
        names |= {entry["name"] for entry in found.get_foreign_keys(table.name)}
        names.add(found.get_pk_constraint(table.name)["name"])
        assert names == {str(name) for name in declared}
        assert {entry["name"] for entry in found.get_indexes(table.name)} == {index.name for index in table.indexes}


def test_the_tables_are_postgresql_too():
    dialect = postgresql.dialect()
    for table in schema.metadata.sorted_tables:
        statement = str(CreateTable(table).compile(dialect=dialect))
        assert ("BIGSERIAL" in statement) == ("number" in table.c)
        assert ("DATETIME" in statement) is False
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=dialect)).startswith("CREATE INDEX")
            assert len(index.name) <= 63  # what PostgreSQL keeps of a name
    assert "TIMESTAMP WITH TIME ZONE" in str(CreateTable(schema.feedback).compile(dialect=dialect))
    assert "INTEGER NOT NULL" in str(CreateTable(schema.feedback).compile(dialect=sqlite.dialect()))


def test_what_the_store_asks_sqlite_is_plain_sql(store):
    """Everything executed in a life of the store, checked for what only SQLite understands."""
    asked: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *call: asked.append(call[2].upper()))
    fill(store)
    prompts = [record.id for record in store.prompts()]
    store.add_raters([("ann", "human", "group")])
    store.feedback(ids=[entry.id for entry in store.feedback(raters=["ann"])])
    store.completions(prompt_ids=prompts)
    store.counts()
    statements = [statement for statement in asked if not statement.startswith("BEGIN")]
    assert len(statements) > 20
    for statement in statements:
        for only_sqlite in ("INSERT OR", "ON CONFLICT", "ROWID", "PRAGMA", "JSON_EXTRACT", "STRFTIME", "GLOB"):
            assert only_sqlite not in statement


def test_a_database_is_there_until_its_file_is_moved_or_replaced(tmp_path: Path) -> None:
    path = tmp_path / "heed.db"
    engine = database.open_database(f"sqlite:///{path}")
    assert database.database_is_there(engine)
    path.rename(tmp_path / "elsewhere.db")
    assert not database.database_is_there(engine)
    path.write_bytes(b"")
    assert not database.database_is_there(engine)
    (tmp_path / "elsewhere.db").rename(path)
    assert database.database_is_there(engine)
    engine.dispose()


@pytest.mark.parametrize(
    "message",
    [
        "terminating connection due to administrator command",
        "the connection is closed",
        "consuming input failed: server closed the connection unexpectedly",
        'connection to server at "10.0.0.5", port 5432 failed: FATAL:  the database system is shutting down',
        'connection is bad: connection to server on socket "/run/.s.PGSQL.5432" failed: No such file or directory',
        "failed to resolve host 'db.example': [Errno -2] Name or service not known",
    ],
)
def test_a_server_that_goes_away_is_told_as_one_that_cannot_be_reached(tmp_path: Path, message: str) -> None:
    engine = database.open_database(f"sqlite:///{tmp_path / 'heed.db'}")
    with pytest.raises(ProjectError, match="cannot be reached"), database.database_errors(engine):
        raise OperationalError("SELECT 1", {}, Exception(message))
    engine.dispose()


@pytest.mark.parametrize(
    "address",
    [
        "x?host=/nonexistent",
        "x?host=no.such.host.invalid",
        "x?host=127.0.0.1&port=99999",
        "x?host=/nonexistent&bogus=1",
    ],
)
def test_an_address_that_leads_nowhere_is_told_as_such(address: str) -> None:
    with pytest.raises(ProjectError, match="cannot be reached"):
        database.open_database(f"postgresql://postgres@/{address}")


def test_a_server_whose_connections_are_all_taken_says_so(postgresql) -> None:
    url = postgresql.fresh()

    def take_more_than_there_are() -> None:
        with ExitStack() as others:
            for _ in range(300):
                others.enter_context(Store.open(url)).counts()

    with pytest.raises(ProjectError, match="connections that its server allows are taken"):
        take_more_than_there_are()


def test_what_is_sent_together_is_stored_together_or_not_at_all(database_url: str) -> None:
    def rater(name: str) -> dict[str, str]:
        return {"name": name, "kind": "human", "group_name": ""}

    def add(*names: str) -> None:
        with database.writing(store.engine) as connection, database.sent_together(connection):
            for name in names:
                connection.execute(insert(schema.raters).inline(), rater(name))

    with Store.open(database_url) as store:
        add("ann", "bob")
        # The second one is refused by the database: as the error that everybody expects, with nothing left of the first.
        with pytest.raises(IntegrityError):
            add("cid", "ann", "dan")
        assert [one.name for one in store.raters()] == ["ann", "bob"]
        with database.writing(store.engine) as connection:
            with database.sent_together(connection):
                connection.execute(insert(schema.raters).inline(), rater("eve"))
            assert connection.scalar(text("SELECT count(*) FROM raters")) == 3


def test_connections_of_a_busy_server_are_kept(database_url: str) -> None:
    made: list[object] = []
    with Store.open(database_url) as store:
        event.listen(store.engine, "connect", lambda connection, record: made.append(connection))
        for _ in range(3):
            with ExitStack() as open_at_once:
                for _ in range(12):  # the threads of a desk
                    open_at_once.enter_context(store.reading())
        assert len(made) <= 12


def test_a_pass_over_a_whole_table_keeps_few_pages_and_leaves_the_others_theirs(store):
    def kept(**how: bool) -> int:
        with store.reading(**how) as connection:
            return int(connection.exec_driver_sql("PRAGMA cache_size").scalar_one())

    usual = kept()
    assert 0 < -kept(in_passing=True) < -usual / 4  # negative: kibibytes
    assert kept() == usual
    with pytest.raises(ValueError, match="cut off"), store.reading(in_passing=True):
        raise ValueError("cut off")
    assert kept() == usual
