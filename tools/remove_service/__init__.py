"""Remove a service from the workspace: `just remove-service NAME`."""
