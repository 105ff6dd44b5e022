"""Recording rules and alerts for the service level objectives."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...registry import Service
from ...slo import BURNS
from .yaml_text import dumped

_HEAD = """\
# Written by `just dashboards` from `slo` in services/*/pyproject.toml (docs/fleet.md): change those.
#
# The objectives are series, `service:slo_*`, so that an alert compares each service with its own.
# At a burn rate of 0.48 times the days of the window (14.4 for 30 days) 2 % of an error budget is used
# within an hour, at 0.2 (6) 5 % within six hours: both page. Lower burn rates create a ticket.
# See https://sre.google/workbook/alerting-on-slos/.
# Health checks are not counted; paths that end in /events or /live are streams, whose duration is up to
# the client.
"""
_RUNBOOKS = "https://github.com/starkeel/starkeel/blob/main/docs/runbooks"
_COUNTED = 'path!~"/health/.*"'
_FAILED = f'{_COUNTED}, status=~"5.."'
_TIMED = 'path!~"/health/.*|.*/(events|live)", status!~"101|5.."'
_SHORT, _LONG = ("5m", "30m", "1h"), ("2h", "6h", "1d", "3d")
_PAGES, _TICKETS = ("1h", "6h"), ("1d", "3d")

_SERVICE = "{{ $labels.service }}"
_BUDGET = (
    '{{ with printf `service:slo_BAD_budget:ratio{service="%s"}` $labels.service | query }}'
    "{{ . | first | value | humanizePercentage }} of the requests{{ end }}"
)
_BUCKET = "http_requests_duration_seconds_bucket"

Rule = dict[str, Any]


def files(root: Path, services: Sequence[Service]) -> dict[Path, str | None]:
    """Return the file of rules by path; without services there is none."""
    path = root / "deploy" / "observability" / "rules" / "slo.yaml"
    if not services:
        return {path: None}
    groups = {
        "slo-objectives": ("1m", list(_objectives(services))),
        "slo": ("15s", list(_short(services))),
        # Long windows are evaluated less often.
        "slo-long": ("1m", list(_ratios(services, _LONG))),
        "slo-budgets": ("5m", list(_budgets(services))),
        "slo-alerts": (None, list(_alerts())),
    }
    document = {
        "groups": [
            {"name": name, **({"interval": interval} if interval else {}), "rules": rules}
            for name, (interval, rules) in groups.items()
        ]
    }
    return {path: _HEAD + dumped(document, width=1000)}


def _objectives(services: Sequence[Service]) -> Iterator[Rule]:
    values: Mapping[str, Callable[[Service], object]] = {
        "service:slo_failed_budget:ratio": lambda service: f"{service.slo.failed_budget:.8g}",
        "service:slo_slow_budget:ratio": lambda service: f"{service.slo.slow_budget:.8g}",
        "service:slo_latency_threshold:seconds": lambda service: service.slo.threshold,
        "service:slo_window:days": lambda service: service.slo.window_days,
    }
    for name, value in values.items():
        for service in services:
            yield {
                "record": name,
                "expr": f"vector({value(service)})",
                "labels": {"service": service.name},
            }


def _short(services: Sequence[Service]) -> Iterator[Rule]:
    timed = f"http_requests_duration_seconds_count{{{_TIMED}}}"
    yield {
        "record": "service:http_requests:rate5m",
        "expr": _sum("rate", f"http_requests_total{{{_COUNTED}}}"),
    }
    yield {"record": "service:http_requests_failed:rate5m", "expr": _failed("5m")}
    yield {"record": "service:http_requests_timed:rate5m", "expr": _sum("rate", timed)}
    yield {
        "record": "service:http_requests_slow:rate5m",
        "expr": f"{_sum('rate', timed)}\n- {_fast(services, 'rate', '5m')}\n",
    }
    yield {
        "record": "service:http_requests_failed:increase1h",
        "expr": _sum("increase", f"http_requests_total{{{_FAILED}}}", "1h"),
    }
    yield {
        "record": "service:http_requests_slow:increase1h",
        "expr": f"{_sum('increase', timed, '1h')}\n- {_fast(services, 'increase', '1h')}\n",
    }
    yield from _ratios(services, _SHORT)


def _ratios(services: Sequence[Service], windows: Sequence[str]) -> Iterator[Rule]:
    for window in windows:
        yield {
            "record": f"service:http_requests_failed:ratio_rate{window}",
            "expr": f"{_failed(window)}/ {_sum('rate', f'http_requests_total{{{_COUNTED}}}', window)}\n",
        }
        count = _sum("rate", f"http_requests_duration_seconds_count{{{_TIMED}}}", window)
        yield {
            "record": f"service:http_requests_slow:ratio_rate{window}",
            "expr": f"1 - {_fast(services, 'rate', window)}\n/ {count}\n",
        }


def _failed(window: str) -> str:
    """Return the rate of failures, 0 without any."""
    failed = _sum("rate", f"http_requests_total{{{_FAILED}}}", window)
    return f"(\n  {failed}\n  or 0 * {_sum('rate', f'http_requests_total{{{_COUNTED}}}', window)}\n)\n"


def _fast(services: Sequence[Service], function: str, window: str) -> str:
    """Return the requests that were fast enough, each service by its own threshold."""
    by_threshold: dict[str, list[str]] = {}
    for service in services:
        by_threshold.setdefault(service.slo.threshold, []).append(service.name)
    sums = [
        _sum(function, f'{_BUCKET}{{{_of(names)}, {_TIMED}, le="{threshold}"}}', window)
        for threshold, names in by_threshold.items()
    ]
    return sums[0] if len(sums) == 1 else "(\n  " + "\n  or ".join(sums) + "\n)"


def _sum(function: str, metric: str, window: str = "5m") -> str:
    return f"sum by (service) ({function}({metric}[{window}]))"


def _of(names: Sequence[str]) -> str:
    return f'service=~"{"|".join(names)}"'


def _budgets(services: Sequence[Service]) -> Iterator[Rule]:
    by_days: dict[int, list[str]] = {}
    for service in services:
        by_days.setdefault(service.slo.window_days, []).append(service.name)
    for bad, total in (("failed", "http_requests"), ("slow", "http_requests_timed")):
        shares = [
            f"avg_over_time(service:http_requests_{bad}:rate5m{{{_of(names)}}}[{days}d])"
            f" / (avg_over_time(service:{total}:rate5m{{{_of(names)}}}[{days}d]) > 0)"
            for days, names in by_days.items()
        ]
        yield {
            "record": f"service:slo_{bad}_budget_left:ratio",
            "expr": "1 - (\n  "
            + "\n  or ".join(shares)
            + f"\n) / on (service) service:slo_{bad}_budget:ratio\n",
        }


def _alerts() -> Iterator[Rule]:
    for name, bad, problem in (
        ("AvailabilityBudgetBurn", "failed", "fails {{ $value | humanizePercentage }} of its requests"),
        ("LatencyBudgetBurn", "slow", "answers {{ $value | humanizePercentage }} of its requests too slowly"),
    ):
        budget = _BUDGET.replace("BAD", bad)
        ticket = f"{_burning(bad, _TICKETS[0])}\nor\n{_burning(bad, _TICKETS[1])}\n"
        # At least ten: a single one during low traffic must not page.
        page = (
            f"(\n{_indented(_burning(bad, _PAGES[0]))}\n  or\n{_indented(_burning(bad, _PAGES[1]))}\n)\n"
            f"and on (service) service:http_requests_{bad}:increase1h >= 10\n"
        )
        for severity, expr, pace in (
            ("critical", page, "so fast that it is exhausted within days"),
            ("warning", ticket, "faster than it is replenished"),
        ):
            yield {
                "alert": name,
                "expr": expr,
                "labels": {"severity": severity},
                "annotations": {
                    "summary": f"{_SERVICE} {problem}",
                    "description": f"{_SERVICE} uses its error budget, {budget}, {pace}.",
                    "dashboard": f"/d/starkeel-service?var-service={_SERVICE}",
                    "runbook_url": f"{_RUNBOOKS}/{name}.md",
                },
            }


def _burning(bad: str, window: str) -> str:
    confirming, per_day = BURNS[window]
    budget = f"service:slo_{bad}_budget:ratio"
    limit = f"on (service) ({per_day:.4g} * service:slo_window:days * on (service) {budget})"
    share = f"service:http_requests_{bad}:ratio_rate"
    return f"(\n  {share}{window} > {limit}\n  and {share}{confirming} > {limit}\n)"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
