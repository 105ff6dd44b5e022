"""What Alembic runs; the connection and the options are handed over by `starkeel_db`."""

from alembic import context

given = context.config.attributes
if context.is_offline_mode():
    context.configure(**given["options"])
else:
    context.configure(connection=given["connection"], **given["options"])
with context.begin_transaction():
    context.run_migrations()
