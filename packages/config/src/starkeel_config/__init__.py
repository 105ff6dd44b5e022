"""Settings from the environment, all problems reported at once."""
