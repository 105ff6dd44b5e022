"""Migrations of notes."""
