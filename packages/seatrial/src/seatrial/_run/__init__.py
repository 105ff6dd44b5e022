"""Judging rows within budgets."""
