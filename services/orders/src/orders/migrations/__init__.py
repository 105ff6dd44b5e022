"""Migrations of orders, applied in the order of their file names."""
