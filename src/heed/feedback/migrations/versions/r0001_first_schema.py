"""The first schema: prompts, completions, raters, append-only feedback, runs, their lineage and their artifacts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from heed.feedback.migrations.append_only import allow_changes, forbid_changes

revision = "0001"
down_revision = None

_APPEND_ONLY = {
    # What a new row may not share with an old one.
    "feedback": "number = NEW.number OR id = NEW.id OR supersedes = NEW.supersedes",
    "feedback_completions": "feedback_id = NEW.feedback_id AND place = NEW.place",
}


def _number() -> sa.Column[int]:
    integer = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("number", integer, primary_key=True, autoincrement=True)


def _text(name: str, length: int | None = None, *constraints: sa.ForeignKey, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), *constraints, nullable=nullable)


def _reference(name: str, target: str, nullable: bool = False, primary_key: bool = False) -> sa.Column[str]:
    length = {"runs.id": 96, "raters.name": 255}.get(target, 17)
    return sa.Column(name, sa.String(length), sa.ForeignKey(target), nullable=nullable, primary_key=primary_key)


def upgrade() -> None:
    _create_sources()
    _create_runs()
    _create_feedback()
    _create_lineage()
    for table, clash in _APPEND_ONLY.items():
        forbid_changes(table, clash)


def _create_sources() -> None:
    op.create_table("meta", sa.Column("key", sa.String(64), primary_key=True), _text("value"))
    op.create_table(
        "prompts",
        _number(),
        _text("id", 17),
        sa.Column("content", sa.JSON, nullable=False),
        _text("split", 64),
        _text("source"),
        sa.UniqueConstraint("id"),
    )
    op.create_index(None, "prompts", ["split"])
    op.create_table(
        "raters",
        _number(),
        _text("name", 255),
        _text("kind", 16),
        _text("group_name", 255),
        sa.UniqueConstraint("name"),
        sa.CheckConstraint("kind IN ('human', 'judge', 'simulated')", name="kind"),
    )


def _create_runs() -> None:
    op.create_table(
        "runs",
        _number(),
        _text("id", 96),
        _text("stage", 64),
        sa.Column("ordinal", sa.Integer, nullable=False),
        _text("fingerprint", 64),
        sa.Column("config", sa.JSON, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        _text("version"),
        _text("state", 16),
        _text("owner", 32),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("labels", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        _text("error"),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True)),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("stage", "ordinal"),
        sa.CheckConstraint("state IN ('running', 'done', 'failed', 'stopped')", name="state"),
    )
    op.create_index(None, "runs", ["fingerprint"])


def _create_feedback() -> None:
    op.create_table(
        "completions",
        _number(),
        _text("id", 17),
        _reference("prompt_id", "prompts.id"),
        sa.Column("text", sa.JSON, nullable=False),
        _reference("run_id", "runs.id", nullable=True),
        sa.Column("sample_index", sa.Integer, nullable=False),
        sa.Column("tokens", sa.Integer),
        sa.Column("finished", sa.Boolean, nullable=False),
        sa.Column("logprob", sa.Float),
        sa.UniqueConstraint("id"),
    )
    op.create_index(None, "completions", ["prompt_id"])
    op.create_index(None, "completions", ["run_id"])
    op.create_table(
        "feedback",
        _number(),
        _text("id", 17),
        _text("kind", 32),
        _reference("rater", "raters.name"),
        _reference("prompt_id", "prompts.id"),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        _reference("supersedes", "feedback.id", nullable=True),
        sa.Column("record", sa.JSON, nullable=False),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("supersedes"),
    )
    for column in ("kind", "rater", "prompt_id"):
        op.create_index(None, "feedback", [column])
    op.create_table(
        "feedback_completions",
        _reference("feedback_id", "feedback.id", primary_key=True),
        sa.Column("place", sa.Integer, primary_key=True),
        _reference("completion_id", "completions.id"),
    )
    op.create_index(None, "feedback_completions", ["completion_id"])


def _create_lineage() -> None:
    op.create_table(
        "run_parents",
        _reference("run_id", "runs.id", primary_key=True),
        _reference("parent_id", "runs.id", primary_key=True),
        sa.CheckConstraint("run_id <> parent_id", name="other"),
    )
    op.create_index(None, "run_parents", ["parent_id"])
    op.create_table(
        "run_feedback",
        _reference("run_id", "runs.id", primary_key=True),
        _reference("feedback_id", "feedback.id", primary_key=True),
    )
    op.create_index(None, "run_feedback", ["feedback_id"])
    op.create_table(
        "artifacts",
        _reference("run_id", "runs.id", primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
        _text("hash", 64),
        _text("file", 255),
        sa.Column("bytes", sa.BigInteger, nullable=False),
    )
    op.create_index(None, "artifacts", ["hash"])


def downgrade() -> None:
    for table in (
        "artifacts",
        "run_feedback",
        "run_parents",
        "feedback_completions",
        "feedback",
        "completions",
        "runs",
        "raters",
        "prompts",
        "meta",
    ):
        op.drop_table(table)
    for table in _APPEND_ONLY:
        allow_changes(table)
