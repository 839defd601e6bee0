"""The tables of the studio: what is asked, who is shown what, who may come in. Same metadata and rules as ``schema``.

Rows that say what a person did (answers, exclusions, audit, acknowledgements) are only ever added. Rows that say how things
stand (items, showings, accounts, sessions) change, and whatever a person of a higher role changes stands in ``audit``.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    desc,
    literal_column,
)

from heed.feedback.schema import UtcDateTime, metadata, row_number

PURPOSES = ("work", "gold", "repeat", "training", "qualification", "adjudication")
SHOWING_STATES = ("leased", "answered", "skipped", "expired", "released")


def one_of(column: ColumnElement[str], *words: str) -> ColumnElement[bool]:
    """Whether ``column`` is one of ``words``, which stand in the statement as they are.

    As parameters they would hide from PostgreSQL, once it plans a statement for all values at a time, that there are hardly
    any items of some purposes: it would read all the others to find none.
    """
    return column.in_([literal_column(f"'{word}'", String) for word in words])


# What is asked

questions = Table(
    "questions",
    metadata,
    row_number(),
    Column("id", String(17), nullable=False, unique=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("state", String(16), nullable=False),
    # The newest of its versions, which is the one that is asked; it also tells a stale editor from a current one.
    Column("version", Integer, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    CheckConstraint("state IN ('open', 'paused', 'closed')", name="state"),
)

question_versions = Table(
    "question_versions",
    metadata,
    Column("question_id", String(17), ForeignKey("questions.id"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("definition", JSON, nullable=False),
    Column("note", String, nullable=False),
    Column("author", String(255), nullable=False),
    Column("created", UtcDateTime, nullable=False),
)

items = Table(
    "items",
    metadata,
    row_number(),
    Column("id", String(17), nullable=False, unique=True),
    Column("question_id", String(17), ForeignKey("questions.id"), nullable=False),
    Column("prompt_id", String(17), ForeignKey("prompts.id"), nullable=False, index=True),
    Column("completion_ids", JSON, nullable=False),
    Column("purpose", String(16), nullable=False),
    # The known answer of gold, training and qualification items, in the item's own order; never sent to a rater.
    Column("expected", JSON),
    Column("explanation", String, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("overlap", Integer, nullable=False),
    # Answers and leases that are out, and answers alone: of purpose "work", whatever became of the item since, without the
    # answers of raters who are excluded.
    Column("level", Integer, nullable=False),
    Column("answers", Integer, nullable=False),
    # Whether the queue may hand it out as work: active, of purpose "work", and level below overlap.
    Column("available", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("adjudicated", Boolean, nullable=False),
    # Uniform in [0, 1) and independent of everything else: a window of consecutive keys is a uniform sample of items.
    Column("random_key", Float, nullable=False),
    Column("external_id", String(255)),
    Column("source", String, nullable=False),
    Column("search_text", String, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    UniqueConstraint("question_id", "external_id"),
    CheckConstraint("purpose IN ('work', 'gold', 'training', 'qualification')", name="purpose"),
    CheckConstraint("state IN ('active', 'withdrawn')", name="state"),
    CheckConstraint("answers >= 0 AND level >= answers", name="level"),
    # In the order in which the queue hands out, the best first.
    Index("ix_items_queue", "question_id", "available", desc("priority"), "level", "random_key"),
    Index(None, "question_id", "purpose", "state"),
)

# What a reward model makes of them: what asking is worth to each selector, the best item of the question 1.

item_scores = Table(
    "item_scores",
    metadata,
    Column("item_id", String(17), ForeignKey("items.id"), primary_key=True),
    Column("run_id", String(96), ForeignKey("runs.id"), nullable=False, index=True),
    *(Column(name, Float, nullable=False) for name in ("disagreement", "d_optimal", "thompson", "gap")),
)

# Who is shown what, and what they answer

showings = Table(
    "showings",
    metadata,
    row_number(),
    Column("id", String(33), nullable=False, unique=True),
    Column("item_id", String(17), ForeignKey("items.id"), nullable=False),
    Column("question_id", String(17), ForeignKey("questions.id"), nullable=False),
    Column("rater", String(255), ForeignKey("raters.name"), nullable=False),
    Column("group_name", String(255), nullable=False),
    Column("purpose", String(16), nullable=False),
    # Counts the showings of one item to one rater, from 0: two processes cannot make the same one.
    Column("turn", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("form_version", Integer, nullable=False),
    Column("guideline_version", Integer, nullable=False),
    Column("shown_order", JSON, nullable=False),
    Column("selector", String(32), nullable=False),
    Column("probability", Float, nullable=False),
    Column("eligible", Integer, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime, nullable=False),
    Column("active_seconds", Float, nullable=False),
    Column("ended", UtcDateTime),
    Column("skip_reason", String, nullable=False),
    # Of a gold or repeated item: one of work that might have been shown instead. Once the lease has ended, the rater may have
    # the one again if the other is still to be had, or whoever waits would learn which items others cannot take.
    Column("stand_in", String(17)),
    UniqueConstraint("item_id", "rater", "turn"),
    CheckConstraint("state IN ('leased', 'answered', 'skipped', 'expired', 'released')", name="state"),
    CheckConstraint("purpose IN ('work', 'gold', 'repeat', 'training', 'qualification')", name="purpose"),
    CheckConstraint("probability > 0 AND probability <= 1", name="probability"),
    Index(None, "rater", "question_id", "state", "ended", "purpose"),
    Index(None, "state", "expires"),
    Index(None, "question_id", "state"),
)

answers = Table(
    "answers",
    metadata,
    row_number(),
    Column("id", String(17), nullable=False, unique=True),
    # Null for an adjudication, which nobody was shown.
    Column("showing_id", String(33), ForeignKey("showings.id"), index=True),
    Column("item_id", String(17), ForeignKey("items.id"), nullable=False, index=True),
    Column("question_id", String(17), ForeignKey("questions.id"), nullable=False),
    Column("rater", String(255), ForeignKey("raters.name"), nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("form_version", Integer, nullable=False),
    Column("guideline_version", Integer, nullable=False),
    Column("answer", JSON, nullable=False),
    Column("confidence", Float),
    # Where the item has a known answer: the share of its fields that this one agrees with, 0 to 1.
    Column("correct", Float),
    # Whether the left of two was chosen; null where nothing was chosen or nothing stood left.
    Column("chose_left", Boolean),
    Column("tied", Boolean),
    Column("seconds", Float, nullable=False),
    Column("active_seconds", Float, nullable=False),
    Column("note", String, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("supersedes", String(17), ForeignKey("answers.id"), unique=True),
    CheckConstraint(
        "purpose IN ('work', 'gold', 'repeat', 'training', 'qualification', 'adjudication')", name="purpose"
    ),
    Index(None, "rater", "created"),
    Index(None, "question_id", "created"),
)

answer_feedback = Table(
    "answer_feedback",
    metadata,
    Column("answer_id", String(17), ForeignKey("answers.id"), primary_key=True),
    Column("feedback_id", String(17), ForeignKey("feedback.id"), primary_key=True, index=True),
)

drafts = Table(
    "drafts",
    metadata,
    Column("showing_id", String(33), ForeignKey("showings.id"), primary_key=True),
    Column("draft", JSON, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("updated", UtcDateTime, nullable=False),
)

flags = Table(
    "flags",
    metadata,
    row_number(),
    Column("id", String(17), nullable=False, unique=True),
    Column("item_id", String(17), ForeignKey("items.id"), nullable=False, index=True),
    Column("rater", String(255), ForeignKey("raters.name"), nullable=False),
    Column("note", String, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("resolved", UtcDateTime),
    Column("resolved_by", String(255)),
    Column("resolution", String, nullable=False),
)

exclusions = Table(
    "exclusions",
    metadata,
    row_number(),
    Column("rater", String(255), ForeignKey("raters.name"), nullable=False, index=True),
    # The newest row of a rater decides.
    Column("excluded", Boolean, nullable=False),
    Column("reason", String, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("created", UtcDateTime, nullable=False),
)

# Guidelines and qualification

guidelines = Table(
    "guidelines",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("text", String, nullable=False),
    Column("note", String, nullable=False),
    Column("author", String(255), nullable=False),
    Column("created", UtcDateTime, nullable=False),
)

acknowledgements = Table(
    "acknowledgements",
    metadata,
    Column("rater", String(255), ForeignKey("raters.name"), primary_key=True),
    Column("version", Integer, ForeignKey("guidelines.version"), primary_key=True),
    Column("created", UtcDateTime, nullable=False),
)

qualifications = Table(
    "qualifications",
    metadata,
    row_number(),
    Column("rater", String(255), ForeignKey("raters.name"), nullable=False),
    Column("question_id", String(17), ForeignKey("questions.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("asked", Integer, nullable=False),
    Column("score", Float),
    Column("started", UtcDateTime, nullable=False),
    Column("ended", UtcDateTime),
    UniqueConstraint("rater", "question_id", "attempt"),
    CheckConstraint("state IN ('running', 'passed', 'failed', 'granted')", name="state"),
)

# Who may come in

accounts = Table(
    "accounts",
    metadata,
    row_number(),
    Column("id", String(17), nullable=False, unique=True),
    Column("name", String(255), ForeignKey("raters.name"), nullable=False, unique=True),
    # The name without regard to case and compatibility forms, by which people sign in: no two names look the same.
    Column("name_key", String(255), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("state_reason", String, nullable=False),
    # Null for who signs in elsewhere (OIDC) and has no password here.
    Column("password_hash", String(255)),
    Column("subject", String(255), unique=True),
    Column("language", String(8), nullable=False),
    Column("theme", String(8), nullable=False),
    Column("keys", JSON, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    CheckConstraint("role IN ('rater', 'lead', 'admin')", name="role"),
    CheckConstraint("state IN ('active', 'paused', 'closed')", name="state"),
)

sessions = Table(
    "sessions",
    metadata,
    # SHA-256 of the secret in the cookie: who reads the database cannot sign in with it. So for tokens and invitations.
    Column("hash", String(64), primary_key=True),
    Column("id", String(17), nullable=False, unique=True),
    Column("account_id", String(17), ForeignKey("accounts.id"), nullable=False, index=True),
    Column("agent", String(255), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("seen", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime, nullable=False),
    Column("revoked", UtcDateTime),
)

tokens = Table(
    "tokens",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("id", String(17), nullable=False, unique=True),
    Column("account_id", String(17), ForeignKey("accounts.id"), nullable=False, index=True),
    Column("name", String(200), nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime, nullable=False),
    Column("used", UtcDateTime),
    Column("revoked", UtcDateTime),
)

invitations = Table(
    "invitations",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("id", String(17), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("group_name", String(255), nullable=False),
    # The name that the guest takes; null where the guest chooses one that no rater has.
    Column("name", String(255)),
    # An account that sets a new password by this link; null where the link makes an account.
    Column("account_id", String(17), ForeignKey("accounts.id")),
    # Whoever signs in elsewhere (OIDC) with this address may take it as well.
    Column("email", String(255)),
    # Made at the first start, for the first admin: of no use once there is an admin.
    Column("first", Boolean, nullable=False),
    Column("note", String, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime, nullable=False),
    Column("used", UtcDateTime),
    Column("used_by", String(255)),
    Column("revoked", UtcDateTime),
    CheckConstraint("role IN ('rater', 'lead', 'admin')", name="role"),
)

rate_limits = Table(
    "rate_limits",
    metadata,
    Column("bucket", String(128), primary_key=True),
    Column("tokens", Float, nullable=False),
    Column("updated", UtcDateTime, nullable=False),
)

replays = Table(
    "replays",
    metadata,
    Column("account_id", String(17), ForeignKey("accounts.id"), primary_key=True),
    Column("key", String(128), primary_key=True),
    # SHA-256 of method, path and body: the same key for another request is a mistake of the caller.
    Column("request", String(64), nullable=False),
    Column("response", JSON, nullable=False),
    Column("created", UtcDateTime, nullable=False, index=True),
)

audit = Table(
    "audit",
    metadata,
    row_number(),
    Column("created", UtcDateTime, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("action", String(64), nullable=False, index=True),
    Column("subject", String(255), nullable=False, index=True),
    Column("details", JSON, nullable=False),
    Column("previous", String(64), nullable=False, unique=True),
    Column("hash", String(64), nullable=False, unique=True),
)

# In, out and elsewhere

jobs = Table(
    "jobs",
    metadata,
    row_number(),
    Column("id", String(17), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("actor", String(255), nullable=False),
    Column("parameters", JSON, nullable=False),
    # Rows behind which a job that was interrupted goes on.
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger),
    Column("report", JSON, nullable=False),
    Column("error", String, nullable=False),
    Column("owner", String(64), nullable=False),
    Column("heartbeat", UtcDateTime, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("ended", UtcDateTime),
    CheckConstraint("state IN ('waiting', 'running', 'done', 'failed', 'stopped')", name="state"),
)

webhooks = Table(
    "webhooks",
    metadata,
    row_number(),
    Column("id", String(17), nullable=False, unique=True),
    Column("url", String, nullable=False),
    Column("secret", String(255), nullable=False),
    Column("events", JSON, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("created", UtcDateTime, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    row_number(),
    Column("id", String(17), nullable=False, unique=True),
    Column("webhook_id", String(17), ForeignKey("webhooks.id"), nullable=False, index=True),
    Column("event", String(64), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_try", UtcDateTime, nullable=False),
    Column("status", Integer),
    Column("error", String, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("ended", UtcDateTime),
    CheckConstraint("state IN ('waiting', 'delivered', 'failed')", name="state"),
    Index(None, "state", "next_try"),
)
