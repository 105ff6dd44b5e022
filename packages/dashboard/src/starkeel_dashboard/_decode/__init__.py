"""Decoding of OTLP, of Prometheus' text format and of log lines."""
