"""Drills: the service as processes of its own, load, signals and a collector of traces."""
