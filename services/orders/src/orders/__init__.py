"""Orders and their live events."""
