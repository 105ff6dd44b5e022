"""Rename the workspace."""
