"""Migrations of accounts, applied in the order of their file names."""
