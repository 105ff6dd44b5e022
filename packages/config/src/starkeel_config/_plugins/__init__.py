"""Contracts between plugins, settings sections and the server."""
