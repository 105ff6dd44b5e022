"""Grafana dashboards, generated from Python declarations."""
