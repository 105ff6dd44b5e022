"""Declaration of settings classes and of the types their fields may have."""
