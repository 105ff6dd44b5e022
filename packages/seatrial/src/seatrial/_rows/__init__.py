"""Rows of the checklist and where they come from."""
