"""Add note.pinned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "b7d0a1c9e2f4"
down_revision = "8f1c2d3e4a5b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """With a default, so that the version of before goes on writing notes."""
    op.add_column("note", sa.Column("pinned", sa.Boolean, server_default=sa.false(), nullable=False))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("note", "pinned")
