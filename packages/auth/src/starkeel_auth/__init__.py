"""Access tokens of a Litestar service: sign, publish keys, verify, guard."""
