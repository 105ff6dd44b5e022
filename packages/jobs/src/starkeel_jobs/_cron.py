"""Validation of expressions in the format of cron(5)."""

from datetime import UTC, datetime

from cronsim import CronSim, CronSimError


def cron_problem(cron: str) -> str:
    """Return what is wrong with an expression; empty if nothing is."""
    if len(cron.split()) != 5:
        return f"has {len(cron.split())} fields instead of 5"
    try:
        CronSim(cron, datetime.now(UTC))
    except CronSimError as error:
        return str(error)
    return ""
