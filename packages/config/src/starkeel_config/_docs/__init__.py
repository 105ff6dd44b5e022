"""Reference documentation generated from settings classes."""
