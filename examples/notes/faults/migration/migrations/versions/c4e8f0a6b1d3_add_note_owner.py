"""Add note.owner, which no row has: a fault on purpose."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "c4e8f0a6b1d3"
down_revision = "b7d0a1c9e2f4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Fails where there is a note: the new column may not be null."""
    op.add_column("note", sa.Column("owner", sa.Text, nullable=False))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("note", "owner")
