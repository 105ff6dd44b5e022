"""Development commands; the justfile has a recipe for each."""
