"""What asking each item is worth by a reward model, for the selectors that go by it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the table, empty: until a reward model has looked at the items, they come by chance."""
    op.create_table(
        "item_scores",
        sa.Column("item_id", sa.String(17), sa.ForeignKey("items.id"), primary_key=True),
        sa.Column("run_id", sa.String(96), sa.ForeignKey("runs.id"), nullable=False),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ("disagreement", "d_optimal", "thompson", "gap")),
    )
    op.create_index(None, "item_scores", ["run_id"])


def downgrade() -> None:
    """Take it away."""
    op.drop_table("item_scores")
