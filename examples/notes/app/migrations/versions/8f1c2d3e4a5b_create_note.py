"""Create note."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "8f1c2d3e4a5b"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "note",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_table("note")
