"""Calls from a Litestar service to others: pool, deadline, propagation, retries."""
