"""Received spans, log records and metrics, bounded in memory."""
