"""Notes, a service made with version 0.1."""
