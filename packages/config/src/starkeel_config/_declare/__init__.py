"""Declaration of settings classes and of the types of their fields."""
