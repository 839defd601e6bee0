"""Items that measure a rater are lost and regained as work is: each showing of one names an item of work that it goes by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the name. Showings from before have none, and are regained always."""
    op.add_column("showings", sa.Column("stand_in", sa.String(17)))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("showings", "stand_in")
