"""No migrations."""
