"""What Alembic runs; the connection and the options are handed over by `starkeel_db`."""

from alembic import context

given = context.config.attributes
context.configure(connection=given["connection"], **given["options"])
with context.begin_transaction():
    context.run_migrations()
