"""Rows of the checklist, one module a family."""
