"""Traces of running services, shown to people at a terminal."""
