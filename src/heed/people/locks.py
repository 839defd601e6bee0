"""One at a time, where a rule spans rows: the last admin, the end of the audit chain."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

PEOPLE = 0x68656565
AUDIT = 0x68656566
"""Keys of PostgreSQL's advisory locks. Whoever needs both takes ``PEOPLE`` first, so that no two wait for each other."""


def take_turn(connection: Connection, key: int) -> None:
    """Wait until no other transaction holds ``key``, and hold it until this one ends.

    SQLite needs no lock of its own: transactions that write begin as BEGIN IMMEDIATE and so come one after the other.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(key)))
