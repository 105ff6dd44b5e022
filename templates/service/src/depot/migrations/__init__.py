"""Migrations of depot, applied in the order of their file names."""
