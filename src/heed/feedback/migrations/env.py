"""Runs the migrations on the connection, and in the transaction, that ``heed.feedback.database`` hands over."""

from __future__ import annotations

from alembic import context

from heed.feedback import studio_schema

context.configure(connection=context.config.attributes["connection"], target_metadata=studio_schema.questions.metadata)
context.run_migrations()
