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
    return sa.Column("number", integer, autoincrement=True, nullable=False)


def _text(name: str, length: int | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


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
        sa.CheckConstraint("state IN ('open', 'paused', 'closed')", name=op.f("ck_questions_state")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_questions")),
        sa.UniqueConstraint("id", name=op.f("uq_questions_id")),
        sa.UniqueConstraint("name", name=op.f("uq_questions_name")),
    )
    op.create_table(
        "items",
        _number(),
        _text("id", 17),
        _text("question_id", 17),
        _text("prompt_id", 17),
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
        sa.CheckConstraint("purpose IN ('work', 'gold', 'training', 'qualification')", name=op.f("ck_items_purpose")),
        sa.CheckConstraint("state IN ('active', 'withdrawn')", name=op.f("ck_items_state")),
        sa.CheckConstraint("answers >= 0 AND level >= answers", name=op.f("ck_items_level")),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompts.id"], name=op.f("fk_items_prompt_id")),
        sa.ForeignKeyConstraint(["question_id"], ["questions.id"], name=op.f("fk_items_question_id")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_items")),
        sa.UniqueConstraint("id", name=op.f("uq_items_id")),
        sa.UniqueConstraint("question_id", "external_id", name=op.f("uq_items_question_id_external_id")),
    )
    op.create_index(op.f("ix_items_prompt_id"), "items", ["prompt_id"], unique=False)
    op.create_index(
        op.f("ix_items_question_id_purpose_state"), "items", ["question_id", "purpose", "state"], unique=False
    )
    op.create_index(
        "ix_items_queue",
        "items",
        ["question_id", "available", sa.text("priority DESC"), "level", "random_key"],
        unique=False,
    )
    op.create_table(
        "question_versions",
        _text("question_id", 17),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        _text("note"),
        _text("author", 255),
        sa.Column("created", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["question_id"], ["questions.id"], name=op.f("fk_question_versions_question_id")),
        sa.PrimaryKeyConstraint("question_id", "version", name=op.f("pk_question_versions")),
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
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit")),
        sa.UniqueConstraint("hash", name=op.f("uq_audit_hash")),
        sa.UniqueConstraint("previous", name=op.f("uq_audit_previous")),
    )
    op.create_index(op.f("ix_audit_action"), "audit", ["action"], unique=False)
    op.create_index(op.f("ix_audit_subject"), "audit", ["subject"], unique=False)
    op.create_table(
        "rate_limits",
        _text("bucket", 128),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("updated", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("bucket", name=op.f("pk_rate_limits")),
    )
    op.create_table(
        "accounts",
        _number(),
        _text("id", 17),
        _text("name", 255),
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
        sa.CheckConstraint("role IN ('rater', 'lead', 'admin')", name=op.f("ck_accounts_role")),
        sa.CheckConstraint("state IN ('active', 'paused', 'closed')", name=op.f("ck_accounts_state")),
        sa.ForeignKeyConstraint(["name"], ["raters.name"], name=op.f("fk_accounts_name")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_accounts")),
        sa.UniqueConstraint("id", name=op.f("uq_accounts_id")),
        sa.UniqueConstraint("name", name=op.f("uq_accounts_name")),
        sa.UniqueConstraint("name_key", name=op.f("uq_accounts_name_key")),
        sa.UniqueConstraint("subject", name=op.f("uq_accounts_subject")),
    )
    op.create_table(
        "exclusions",
        _number(),
        _text("rater", 255),
        sa.Column("excluded", sa.Boolean(), nullable=False),
        _text("reason"),
        _text("actor", 255),
        sa.Column("created", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["rater"], ["raters.name"], name=op.f("fk_exclusions_rater")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_exclusions")),
    )
    op.create_index(op.f("ix_exclusions_rater"), "exclusions", ["rater"], unique=False)
    op.create_table(
        "invitations",
        _text("hash", 64),
        _text("id", 17),
        _text("role", 16),
        _text("group_name", 255),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("account_id", sa.String(length=17), nullable=True),
        sa.Column("email", sa.String(length=255), nullable=True),
        sa.Column("first", sa.Boolean(), nullable=False),
        _text("note"),
        _text("created_by", 255),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("expires", _TIME, nullable=False),
        sa.Column("used", _TIME, nullable=True),
        sa.Column("used_by", sa.String(length=255), nullable=True),
        sa.Column("revoked", _TIME, nullable=True),
        sa.CheckConstraint("role IN ('rater', 'lead', 'admin')", name=op.f("ck_invitations_role")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_invitations_account_id")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_invitations")),
        sa.UniqueConstraint("id", name=op.f("uq_invitations_id")),
    )
    op.create_table(
        "replays",
        _text("account_id", 17),
        _text("key", 128),
        _text("request", 64),
        sa.Column("response", sa.JSON(), nullable=False),
        sa.Column("created", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_replays_account_id")),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_replays")),
    )
    op.create_index(op.f("ix_replays_created"), "replays", ["created"], unique=False)
    op.create_table(
        "sessions",
        _text("hash", 64),
        _text("id", 17),
        _text("account_id", 17),
        _text("agent", 255),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("seen", _TIME, nullable=False),
        sa.Column("expires", _TIME, nullable=False),
        sa.Column("revoked", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_sessions_account_id")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_sessions")),
        sa.UniqueConstraint("id", name=op.f("uq_sessions_id")),
    )
    op.create_index(op.f("ix_sessions_account_id"), "sessions", ["account_id"], unique=False)
    op.create_table(
        "tokens",
        _text("hash", 64),
        _text("id", 17),
        _text("account_id", 17),
        _text("name", 200),
        _text("prefix", 16),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("expires", _TIME, nullable=False),
        sa.Column("used", _TIME, nullable=True),
        sa.Column("revoked", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_tokens_account_id")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_tokens")),
        sa.UniqueConstraint("id", name=op.f("uq_tokens_id")),
    )
    op.create_index(op.f("ix_tokens_account_id"), "tokens", ["account_id"], unique=False)


def _create_guidelines() -> None:
    op.create_table(
        "guidelines",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        _text("text"),
        _text("note"),
        _text("author", 255),
        sa.Column("created", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_guidelines")),
    )
    op.create_table(
        "acknowledgements",
        _text("rater", 255),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["rater"], ["raters.name"], name=op.f("fk_acknowledgements_rater")),
        sa.ForeignKeyConstraint(["version"], ["guidelines.version"], name=op.f("fk_acknowledgements_version")),
        sa.PrimaryKeyConstraint("rater", "version", name=op.f("pk_acknowledgements")),
    )
    op.create_table(
        "qualifications",
        _number(),
        _text("rater", 255),
        _text("question_id", 17),
        sa.Column("attempt", sa.Integer(), nullable=False),
        _text("state", 16),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("started", _TIME, nullable=False),
        sa.Column("ended", _TIME, nullable=True),
        sa.CheckConstraint("state IN ('running', 'passed', 'failed', 'granted')", name=op.f("ck_qualifications_state")),
        sa.ForeignKeyConstraint(["question_id"], ["questions.id"], name=op.f("fk_qualifications_question_id")),
        sa.ForeignKeyConstraint(["rater"], ["raters.name"], name=op.f("fk_qualifications_rater")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_qualifications")),
        sa.UniqueConstraint(
            "rater", "question_id", "attempt", name=op.f("uq_qualifications_rater_question_id_attempt")
        ),
    )


def _create_answers() -> None:
    op.create_table(
        "showings",
        _number(),
        _text("id", 33),
        _text("item_id", 17),
        _text("question_id", 17),
        _text("rater", 255),
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
        sa.CheckConstraint(
            "purpose IN ('work', 'gold', 'repeat', 'training', 'qualification')", name=op.f("ck_showings_purpose")
        ),
        sa.CheckConstraint(
            "state IN ('leased', 'answered', 'skipped', 'expired', 'released')", name=op.f("ck_showings_state")
        ),
        sa.CheckConstraint("probability > 0 AND probability <= 1", name=op.f("ck_showings_probability")),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name=op.f("fk_showings_item_id")),
        sa.ForeignKeyConstraint(["question_id"], ["questions.id"], name=op.f("fk_showings_question_id")),
        sa.ForeignKeyConstraint(["rater"], ["raters.name"], name=op.f("fk_showings_rater")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_showings")),
        sa.UniqueConstraint("id", name=op.f("uq_showings_id")),
        sa.UniqueConstraint("item_id", "rater", "turn", name=op.f("uq_showings_item_id_rater_turn")),
    )
    op.create_index(op.f("ix_showings_question_id_state"), "showings", ["question_id", "state"], unique=False)
    op.create_index(
        op.f("ix_showings_rater_question_id_state_ended"),
        "showings",
        ["rater", "question_id", "state", "ended"],
        unique=False,
    )
    op.create_index(op.f("ix_showings_state_expires"), "showings", ["state", "expires"], unique=False)
    op.create_table(
        "answers",
        _number(),
        _text("id", 17),
        sa.Column("showing_id", sa.String(length=33), nullable=True),
        _text("item_id", 17),
        _text("question_id", 17),
        _text("rater", 255),
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
        sa.Column("supersedes", sa.String(length=17), nullable=True),
        sa.CheckConstraint(
            "purpose IN ('work', 'gold', 'repeat', 'training', 'qualification', 'adjudication')",
            name=op.f("ck_answers_purpose"),
        ),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name=op.f("fk_answers_item_id")),
        sa.ForeignKeyConstraint(["question_id"], ["questions.id"], name=op.f("fk_answers_question_id")),
        sa.ForeignKeyConstraint(["rater"], ["raters.name"], name=op.f("fk_answers_rater")),
        sa.ForeignKeyConstraint(["showing_id"], ["showings.id"], name=op.f("fk_answers_showing_id")),
        sa.ForeignKeyConstraint(["supersedes"], ["answers.id"], name=op.f("fk_answers_supersedes")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_answers")),
        sa.UniqueConstraint("id", name=op.f("uq_answers_id")),
        sa.UniqueConstraint("supersedes", name=op.f("uq_answers_supersedes")),
    )
    op.create_index(op.f("ix_answers_item_id"), "answers", ["item_id"], unique=False)
    op.create_index(op.f("ix_answers_question_id_created"), "answers", ["question_id", "created"], unique=False)
    op.create_index(op.f("ix_answers_rater_created"), "answers", ["rater", "created"], unique=False)
    op.create_index(op.f("ix_answers_showing_id"), "answers", ["showing_id"], unique=False)
    op.create_table(
        "answer_feedback",
        _text("answer_id", 17),
        _text("feedback_id", 17),
        sa.ForeignKeyConstraint(["answer_id"], ["answers.id"], name=op.f("fk_answer_feedback_answer_id")),
        sa.ForeignKeyConstraint(["feedback_id"], ["feedback.id"], name=op.f("fk_answer_feedback_feedback_id")),
        sa.PrimaryKeyConstraint("answer_id", "feedback_id", name=op.f("pk_answer_feedback")),
    )
    op.create_index(op.f("ix_answer_feedback_feedback_id"), "answer_feedback", ["feedback_id"], unique=False)

    op.create_table(
        "drafts",
        _text("showing_id", 33),
        sa.Column("draft", sa.JSON(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("updated", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["showing_id"], ["showings.id"], name=op.f("fk_drafts_showing_id")),
        sa.PrimaryKeyConstraint("showing_id", name=op.f("pk_drafts")),
    )
    op.create_table(
        "flags",
        _number(),
        _text("id", 17),
        _text("item_id", 17),
        _text("rater", 255),
        _text("note"),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("resolved", _TIME, nullable=True),
        sa.Column("resolved_by", sa.String(length=255), nullable=True),
        _text("resolution"),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name=op.f("fk_flags_item_id")),
        sa.ForeignKeyConstraint(["rater"], ["raters.name"], name=op.f("fk_flags_rater")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_flags")),
        sa.UniqueConstraint("id", name=op.f("uq_flags_id")),
    )
    op.create_index(op.f("ix_flags_item_id"), "flags", ["item_id"], unique=False)


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
        sa.CheckConstraint("state IN ('waiting', 'running', 'done', 'failed', 'stopped')", name=op.f("ck_jobs_state")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_jobs")),
        sa.UniqueConstraint("id", name=op.f("uq_jobs_id")),
    )
    op.create_table(
        "media",
        _number(),
        _text("id", 17),
        _text("type", 64),
        _text("sha256", 64),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        _text("name", 255),
        _text("uploaded_by", 255),
        sa.Column("created", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_media")),
        sa.UniqueConstraint("id", name=op.f("uq_media_id")),
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
        sa.PrimaryKeyConstraint("number", name=op.f("pk_webhooks")),
        sa.UniqueConstraint("id", name=op.f("uq_webhooks_id")),
    )
    op.create_table(
        "deliveries",
        _number(),
        _text("id", 17),
        _text("webhook_id", 17),
        _text("event", 64),
        sa.Column("payload", sa.JSON(), nullable=False),
        _text("state", 16),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try", _TIME, nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        _text("error"),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("ended", _TIME, nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'delivered', 'failed')", name=op.f("ck_deliveries_state")),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], name=op.f("fk_deliveries_webhook_id")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("id", name=op.f("uq_deliveries_id")),
    )
    op.create_index(op.f("ix_deliveries_state_next_try"), "deliveries", ["state", "next_try"], unique=False)
    op.create_index(op.f("ix_deliveries_webhook_id"), "deliveries", ["webhook_id"], unique=False)


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
        "media",
        "jobs",
        "guidelines",
        "audit",
    ):
        op.drop_table(table)
    for table in _APPEND_ONLY:
        allow_changes(table)
