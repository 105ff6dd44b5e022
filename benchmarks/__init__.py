"""Benchmarks: the same handlers on Starkeel and on other stacks, measured in interleaved rounds."""
