"""The studio: questions and their items, showings and answers, accounts and what lets them in, jobs and webhooks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from heed.feedback.migrations.append_only import allow_changes, forbid_changes

revision = "0002"
down_revision = "0001"

_APPEND_ONLY = {
    # What a new row may not share with an old one.
    "answers": "number = NEW.number OR id = NEW.id OR supersedes = NEW.supersedes",
    "answer_feedback": "answer_id = NEW.answer_id AND feedback_id = NEW.feedback_id",
    "question_versions": "question_id = NEW.question_id AND version = NEW.version",
    "guidelines": "version = NEW.version",
    "acknowledgements": "rater = NEW.rater AND version = NEW.version",
    "exclusions": "number = NEW.number",
    "audit": "number = NEW.number OR hash = NEW.hash OR previous = NEW.previous",
}
_TIME = sa.DateTime(timezone=True)


def _number() -> sa.Column[int]:
    integer = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("number", integer, primary_key=True, autoincrement=True)


def _text(name: str, length: int | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


def _reference(name: str, target: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), sa.ForeignKey(target), nullable=False)


def upgrade() -> None:
    _create_questions()
    _create_people()
    _create_guidelines()
    _create_answers()
    _create_traffic()
    for table, clash in _APPEND_ONLY.items():
        forbid_changes(table, clash)


def _create_questions() -> None:
    op.create_table(
        "questions",
        _number(),
        _text("id", 17),
        _text("name", 200),
        _text("state", 16),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created", _TIME, nullable=False),
        sa.CheckConstraint("state IN ('open', 'paused', 'closed')", name="state"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "items",
        _number(),
        _text("id", 17),
        _reference("question_id", "questions.id", 17),
        _reference("prompt_id", "prompts.id", 17),
        sa.Column("completion_ids", sa.JSON(), nullable=False),
        _text("purpose", 16),
        sa.Column("expected", sa.JSON(), nullable=True),
        _text("explanation"),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("overlap", sa.Integer(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("answers", sa.Integer(), nullable=False),
        sa.Column("available", sa.Boolean(), nullable=False),
        _text("state", 16),
        sa.Column("adjudicated", sa.Boolean(), nullable=False),
        sa.Column("random_key", sa.Float(), nullable=False),
        sa.Column("external_id", sa.String(length=255), nullable=True),
        _text("source"),
        _text("search_text"),
        sa.Column("created", _TIME, nullable=False),
        sa.CheckConstraint("purpose IN ('work', 'gold', 'training', 'qualification')", name="purpose"),
        sa.CheckConstraint("state IN ('active', 'withdrawn')", name="state"),
        sa.CheckConstraint("answers >= 0 AND level >= answers", name="level"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("question_id", "external_id"),
    )
    op.create_index(None, "items", ["prompt_id"])
    op.create_index(None, "items", ["question_id", "purpose", "state"])
    op.create_index(
        "ix_items_queue",
        "items",
        ["question_id", "available", sa.text("priority DESC"), "level", "random_key"],
        unique=False,
    )
    op.create_table(
        "question_versions",
        _reference("question_id", "questions.id", 17),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        _text("note"),
        _text("author", 255),
        sa.Column("created", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("question_id", "version"),
    )


def _create_people() -> None:
    op.create_table(
        "audit",
        _number(),
        sa.Column("created", _TIME, nullable=False),
        _text("actor", 255),
        _text("action", 64),
        _text("subject", 255),
        sa.Column("details", sa.JSON(), nullable=False),
        _text("previous", 64),
        _text("hash", 64),
        sa.UniqueConstraint("hash"),
        sa.UniqueConstraint("previous"),
    )
    op.create_index(None, "audit", ["action"])
    op.create_index(None, "audit", ["subject"])
    op.create_table(
        "rate_limits",
        _text("bucket", 128),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("updated", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("bucket"),
    )
    op.create_table(
        "accounts",
        _number(),
        _text("id", 17),
        _reference("name", "raters.name", 255),
        _text("name_key", 255),
        _text("role", 16),
        _text("state", 16),
        _text("state_reason"),
        sa.Column("password_hash", sa.String(length=255), nullable=True),
        sa.Column("subject", sa.String(length=255), nullable=True),
        _text("language", 8),
        _text("theme", 8),
        sa.Column("keys", sa.JSON(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created", _TIME, nullable=False),
        sa.CheckConstraint("role IN ('rater', 'lead', 'admin')", name="role"),
        sa.CheckConstraint("state IN ('active', 'paused', 'closed')", name="state"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("name_key"),
        sa.UniqueConstraint("subject"),
    )
    op.create_table(
        "exclusions",
        _number(),
        _reference("rater", "raters.name", 255),
        sa.Column("excluded", sa.Boolean(), nullable=False),
        _text("reason"),
        _text("actor", 255),
        sa.Column("created", _TIME, nullable=False),
    )
    op.create_index(None, "exclusions", ["rater"])
    op.create_table(
        "invitations",
        _text("hash", 64),
        _text("id", 17),
        _text("role", 16),
        _text("group_name", 255),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("account_id", sa.String(length=17), sa.ForeignKey("accounts.id"), nullable=True),
        sa.Column("email", sa.String(length=255), nullable=True),
        sa.Column("first", sa.Boolean(), nullable=False),
        _text("note"),
        _text("created_by", 255),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("expires", _TIME, nullable=False),
        sa.Column("used", _TIME, nullable=True),
        sa.Column("used_by", sa.String(length=255), nullable=True),
        sa.Column("revoked", _TIME, nullable=True),
        sa.CheckConstraint("role IN ('rater', 'lead', 'admin')", name="role"),
        sa.PrimaryKeyConstraint("hash"),
        sa.UniqueConstraint("id"),
    )
    op.create_table(
        "replays",
        _reference("account_id", "accounts.id", 17),
        _text("key", 128),
        _text("request", 64),
        sa.Column("response", sa.JSON(), nullable=False),
        sa.Column("created", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key"),
    )
    op.create_index(None, "replays", ["created"])
    op.create_table(
        "sessions",
        _text("hash", 64),
        _text("id", 17),
        _reference("account_id", "accounts.id", 17),
        _text("agent", 255),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("seen", _TIME, nullable=False),
        sa.Column("expires", _TIME, nullable=False),
        sa.Column("revoked", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("hash"),
        sa.UniqueConstraint("id"),
    )
    op.create_index(None, "sessions", ["account_id"])
    op.create_table(
        "tokens",
        _text("hash", 64),
        _text("id", 17),
        _reference("account_id", "accounts.id", 17),
        _text("name", 200),
        _text("prefix", 16),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("expires", _TIME, nullable=False),
        sa.Column("used", _TIME, nullable=True),
        sa.Column("revoked", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("hash"),
        sa.UniqueConstraint("id"),
    )
    op.create_index(None, "tokens", ["account_id"])


def _create_guidelines() -> None:
    op.create_table(
        "guidelines",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        _text("text"),
        _text("note"),
        _text("author", 255),
        sa.Column("created", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    op.create_table(
        "acknowledgements",
        _reference("rater", "raters.name", 255),
        sa.Column("version", sa.Integer(), sa.ForeignKey("guidelines.version"), nullable=False),
        sa.Column("created", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("rater", "version"),
    )
    op.create_table(
        "qualifications",
        _number(),
        _reference("rater", "raters.name", 255),
        _reference("question_id", "questions.id", 17),
        sa.Column("attempt", sa.Integer(), nullable=False),
        _text("state", 16),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("started", _TIME, nullable=False),
        sa.Column("ended", _TIME, nullable=True),
        sa.CheckConstraint("state IN ('running', 'passed', 'failed', 'granted')", name="state"),
        sa.UniqueConstraint("rater", "question_id", "attempt"),
    )


def _create_answers() -> None:
    op.create_table(
        "showings",
        _number(),
        _text("id", 33),
        _reference("item_id", "items.id", 17),
        _reference("question_id", "questions.id", 17),
        _reference("rater", "raters.name", 255),
        _text("group_name", 255),
        _text("purpose", 16),
        sa.Column("turn", sa.Integer(), nullable=False),
        _text("state", 16),
        sa.Column("form_version", sa.Integer(), nullable=False),
        sa.Column("guideline_version", sa.Integer(), nullable=False),
        sa.Column("shown_order", sa.JSON(), nullable=False),
        _text("selector", 32),
        sa.Column("probability", sa.Float(), nullable=False),
        sa.Column("eligible", sa.Integer(), nullable=False),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("expires", _TIME, nullable=False),
        sa.Column("active_seconds", sa.Float(), nullable=False),
        sa.Column("ended", _TIME, nullable=True),
        _text("skip_reason"),
        sa.CheckConstraint("purpose IN ('work', 'gold', 'repeat', 'training', 'qualification')", name="purpose"),
        sa.CheckConstraint("state IN ('leased', 'answered', 'skipped', 'expired', 'released')", name="state"),
        sa.CheckConstraint("probability > 0 AND probability <= 1", name="probability"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("item_id", "rater", "turn"),
    )
    op.create_index(None, "showings", ["question_id", "state"])
    op.create_index(None, "showings", ["rater", "question_id", "state", "ended"])
    op.create_index(None, "showings", ["state", "expires"])
    op.create_table(
        "answers",
        _number(),
        _text("id", 17),
        sa.Column("showing_id", sa.String(length=33), sa.ForeignKey("showings.id"), nullable=True),
        _reference("item_id", "items.id", 17),
        _reference("question_id", "questions.id", 17),
        _reference("rater", "raters.name", 255),
        _text("purpose", 16),
        sa.Column("form_version", sa.Integer(), nullable=False),
        sa.Column("guideline_version", sa.Integer(), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("correct", sa.Float(), nullable=True),
        sa.Column("chose_left", sa.Boolean(), nullable=True),
        sa.Column("tied", sa.Boolean(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("active_seconds", sa.Float(), nullable=False),
        _text("note"),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("supersedes", sa.String(length=17), sa.ForeignKey("answers.id"), nullable=True),
        sa.CheckConstraint(
            "purpose IN ('work', 'gold', 'repeat', 'training', 'qualification', 'adjudication')", name="purpose"
        ),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("supersedes"),
    )
    op.create_index(None, "answers", ["item_id"])
    op.create_index(None, "answers", ["question_id", "created"])
    op.create_index(None, "answers", ["rater", "created"])
    op.create_index(None, "answers", ["showing_id"])
    op.create_table(
        "answer_feedback",
        _reference("answer_id", "answers.id", 17),
        _reference("feedback_id", "feedback.id", 17),
        sa.PrimaryKeyConstraint("answer_id", "feedback_id"),
    )
    op.create_index(None, "answer_feedback", ["feedback_id"])

    op.create_table(
        "drafts",
        _reference("showing_id", "showings.id", 33),
        sa.Column("draft", sa.JSON(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("updated", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("showing_id"),
    )
    op.create_table(
        "flags",
        _number(),
        _text("id", 17),
        _reference("item_id", "items.id", 17),
        _reference("rater", "raters.name", 255),
        _text("note"),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("resolved", _TIME, nullable=True),
        sa.Column("resolved_by", sa.String(length=255), nullable=True),
        _text("resolution"),
        sa.UniqueConstraint("id"),
    )
    op.create_index(None, "flags", ["item_id"])


def _create_traffic() -> None:
    op.create_table(
        "jobs",
        _number(),
        _text("id", 17),
        _text("kind", 16),
        _text("state", 16),
        _text("actor", 255),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("report", sa.JSON(), nullable=False),
        _text("error"),
        _text("owner", 64),
        sa.Column("heartbeat", _TIME, nullable=False),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("ended", _TIME, nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'running', 'done', 'failed', 'stopped')", name="state"),
        sa.UniqueConstraint("id"),
    )
    op.create_table(
        "webhooks",
        _number(),
        _text("id", 17),
        _text("url"),
        _text("secret", 255),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        _text("created_by", 255),
        sa.Column("created", _TIME, nullable=False),
        sa.UniqueConstraint("id"),
    )
    op.create_table(
        "deliveries",
        _number(),
        _text("id", 17),
        _reference("webhook_id", "webhooks.id", 17),
        _text("event", 64),
        sa.Column("payload", sa.JSON(), nullable=False),
        _text("state", 16),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try", _TIME, nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        _text("error"),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("ended", _TIME, nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'delivered', 'failed')", name="state"),
        sa.UniqueConstraint("id"),
    )
    op.create_index(None, "deliveries", ["state", "next_try"])
    op.create_index(None, "deliveries", ["webhook_id"])


def downgrade() -> None:
    for table in (
        "answer_feedback",
        "drafts",
        "answers",
        "tokens",
        "showings",
        "sessions",
        "replays",
        "invitations",
        "flags",
        "question_versions",
        "qualifications",
        "items",
        "exclusions",
        "deliveries",
        "acknowledgements",
        "accounts",
        "webhooks",
        "rate_limits",
        "questions",
        "jobs",
        "guidelines",
        "audit",
    ):
        op.drop_table(table)
    for table in _APPEND_ONLY:
        allow_changes(table)
