"""Authentication and authorization of connections."""
