"""Alembic's environment; `starkeel_db` passes the connection and the options in `attributes`."""

from alembic import context

attributes = context.config.attributes
context.configure(connection=attributes["connection"], **attributes["options"])
with context.begin_transaction():
    context.run_migrations()
