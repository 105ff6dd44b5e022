"""Show the state of the services of `just dev`: readiness, requests, latency and the last error."""

import argparse
import sys

from .dashboard_data import BOLD, GREEN, NOT_RUNNING, RED, YELLOW, DashboardError, fetch, paint
from .workspace import parse, running_dashboard

_COLOURS = {"ready": GREEN, "starting": YELLOW, "unknown": YELLOW, "sends telemetry": 0}


def main() -> int:
    """Print a line for each service; return 1 if one is not ready or the dashboard does not run."""
    parser = argparse.ArgumentParser(prog="just status", description=__doc__)
    given, _ = parse(parser)
    url = running_dashboard(given.directory)
    if url is None:
        sys.stderr.write(NOT_RUNNING)
        return 1
    try:
        rows = fetch(url, "services")
    except DashboardError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    width = max([len(row["name"]) for row in rows], default=0)
    states = max([len(row["state"]) for row in rows], default=0)
    for row in rows:
        p50, p95, p99 = row["quantiles_ms"]
        state = paint(f"{row['state']:<{states}}", _COLOURS.get(row["state"], RED))
        figures = (
            f"{row['requests_per_second']:7.2f} req/s  {row['error_ratio']:6.1%} errors  "
            f"p50 {p50:.1f}  p95 {p95:.1f}  p99 {p99:.1f} ms"
        )
        name = paint(f"{row['name']:<{width}}", BOLD)
        sys.stdout.write(f"{name}  {state}  {figures}  {row['url']}\n")
        failing = [name for name, status in row["checks"].items() if status != "ok"]
        if failing:
            sys.stdout.write(f"{'':<{width}}  {paint('failing: ' + ', '.join(failing), RED)}\n")
        if row["last_error"]:
            sys.stdout.write(f"{'':<{width}}  {paint('last error: ' + row['last_error'], RED)}\n")
    sys.stdout.write(f"\ndashboard  {url}/\n")
    return 0 if all(row["state"] in {"ready", "sends telemetry"} for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
