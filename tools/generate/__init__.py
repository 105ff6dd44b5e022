"""Generators of files that are committed; `just check` fails when one is stale."""
