"""What Alembic runs to migrate, on the connection in its configuration."""

from __future__ import annotations

from alembic import context

from service.server.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
