"""Tables to which rows are only ever added: the database itself refuses to change or delete them."""

from __future__ import annotations

from alembic import op


def forbid_changes(table: str, clash: str) -> None:
    """Refuse updates and deletions of ``table`` from now on.

    Args:
        table: its name.
        clash: condition on what a new row may not share with an old one: SQLite's INSERT OR REPLACE would delete the old
            row unasked.
    """
    if op.get_bind().dialect.name == "sqlite":
        _forbid_sqlite(table, clash)
    elif op.get_bind().dialect.name == "postgresql":
        _forbid_postgresql(table)


def allow_changes(table: str) -> None:
    """Remove what is left of :func:`forbid_changes` once the table has been dropped."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"DROP FUNCTION {table}_refuse()")


def _forbid_sqlite(table: str, clash: str) -> None:
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    op.execute(f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}")
    op.execute(f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}")
    clashes = f"EXISTS (SELECT 1 FROM {table} WHERE {clash})"  # noqa: S608  constants of the migrations
    op.execute(f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {clashes} {refuse}")


def _forbid_postgresql(table: str) -> None:
    op.execute(
        f"CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} is append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    for event, level in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
        name = f"{table}_no_{event.split()[0].lower()}"
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH {level} EXECUTE FUNCTION {table}_refuse()"
        )
