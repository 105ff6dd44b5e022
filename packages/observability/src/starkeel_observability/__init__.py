"""Logs, metrics and traces of a Litestar service in one pass per request."""
