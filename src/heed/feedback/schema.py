"""The tables of the loop, as SQLAlchemy Core; those of the studio stand in ``studio_schema``. Nothing here belongs to one database: SQLite today, PostgreSQL by its URL.

The migrations under ``migrations/`` make these tables and stay as they were written; a change here is a new migration and a
new ``HEAD``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

HEAD = "0005"
"""Revision of the schema that this version of heed reads and writes."""

RUN_STATES = ("running", "done", "failed", "stopped")

# Long raw keys are spelt out so that a constraint has the same name on every database and a migration can find it.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time. SQLite keeps no time zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def row_number() -> Column[int]:
    """Counts rows as they arrive: what is read comes in the order in which it was written, so that training repeats."""
    # SQLite numbers rows by itself only under the type name INTEGER.
    return Column("number", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True)


meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", String, nullable=False),
)

prompts = Table(
    "prompts",
    metadata,
    row_number(),
    Column("id", String(17), nullable=False, unique=True),
    Column("content", JSON, nullable=False),
    Column("split", String(64), nullable=False, index=True),
    Column("source", String, nullable=False),
)

raters = Table(
    "raters",
    metadata,
    row_number(),
    Column("name", String(255), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("group_name", String(255), nullable=False),
    CheckConstraint("kind IN ('human', 'judge', 'simulated')", name="kind"),
)

runs = Table(
    "runs",
    metadata,
    row_number(),
    Column("id", String(96), nullable=False, unique=True),
    Column("stage", String(64), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("fingerprint", String(64), nullable=False, index=True),
    Column("config", JSON, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("round", Integer, nullable=False),
    Column("version", String, nullable=False),
    Column("state", String(16), nullable=False),
    Column("owner", String(32), nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("labels", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("error", String, nullable=False),
    Column("started", UtcDateTime, nullable=False),
    Column("ended", UtcDateTime),
    UniqueConstraint("stage", "ordinal"),
    CheckConstraint("state IN ('running', 'done', 'failed', 'stopped')", name="state"),
)

completions = Table(
    "completions",
    metadata,
    row_number(),
    Column("id", String(17), nullable=False, unique=True),
    Column("prompt_id", String(17), ForeignKey("prompts.id"), nullable=False, index=True),
    # A model may write a NUL character, which PostgreSQL's text refuses and JSON's escapes carry.
    Column("text", JSON, nullable=False),
    Column("run_id", String(96), ForeignKey("runs.id"), index=True),
    Column("sample_index", Integer, nullable=False),
    Column("tokens", Integer),
    Column("finished", Boolean, nullable=False),
    Column("logprob", Float),
)

feedback = Table(
    "feedback",
    metadata,
    row_number(),
    Column("id", String(17), nullable=False, unique=True),
    Column("kind", String(32), nullable=False, index=True),
    Column("rater", String(255), ForeignKey("raters.name"), nullable=False, index=True),
    Column("prompt_id", String(17), ForeignKey("prompts.id"), nullable=False, index=True),
    Column("created", UtcDateTime, nullable=False),
    # Unique: an answer is corrected once; the next correction supersedes the correction.
    Column("supersedes", String(17), ForeignKey("feedback.id"), unique=True),
    # The whole judgment as it was given; the columns beside it are there to be searched.
    Column("record", JSON, nullable=False),
)

feedback_completions = Table(
    "feedback_completions",
    metadata,
    Column("feedback_id", String(17), ForeignKey("feedback.id"), primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("completion_id", String(17), ForeignKey("completions.id"), nullable=False, index=True),
)

run_parents = Table(
    "run_parents",
    metadata,
    Column("run_id", String(96), ForeignKey("runs.id"), primary_key=True),
    Column("parent_id", String(96), ForeignKey("runs.id"), primary_key=True, index=True),
    CheckConstraint("run_id <> parent_id", name="other"),
)

run_feedback = Table(
    "run_feedback",
    metadata,
    Column("run_id", String(96), ForeignKey("runs.id"), primary_key=True),
    Column("feedback_id", String(17), ForeignKey("feedback.id"), primary_key=True, index=True),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("run_id", String(96), ForeignKey("runs.id"), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("hash", String(64), nullable=False),
    # Name of the one file that the artifact is; empty where it is a folder.
    Column("file", String(255), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Index(None, "hash"),
)
