"""Spans: who makes them, and where they are sent."""
