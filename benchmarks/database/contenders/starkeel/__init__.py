"""The handlers as a Starkeel service with everything on."""
