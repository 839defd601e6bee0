"""Counting what somebody has answered reads an index alone: a rater with ten thousand answers waited for it."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

_COLUMNS = ["rater", "question_id", "state", "ended"]


def upgrade() -> None:
    """Let the index hold the purpose too."""
    op.drop_index(f"ix_showings_{'_'.join(_COLUMNS)}", "showings")
    op.create_index(None, "showings", [*_COLUMNS, "purpose"])


def downgrade() -> None:
    """Leave it out again."""
    op.drop_index(f"ix_showings_{'_'.join([*_COLUMNS, 'purpose'])}", "showings")
    op.create_index(None, "showings", _COLUMNS)
