"""Database of a Litestar service: pool, migrations, unit of work, readiness."""
