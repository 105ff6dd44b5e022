"""Runs a Litestar service on Granian: start, health, admin port, graceful stop."""
