"""Unit tests of the rules for the service level objectives, for `promtool test rules`.

Each test has the traffic of all services, each at a multiple of its own thresholds.
"""

from collections.abc import Callable, Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from ...registry import Service
from ...slo import BURNS
from .yaml_text import dumped

_HEAD = "# Written by `just dashboards` from `slo` in services/*/pyproject.toml: change those.\n"
_GROUPS = ["slo-objectives", "slo", "slo-long", "slo-budgets", "slo-alerts"]
_PER_MINUTE = 100_000
_PAGE, _BURN_6H, _BURN_1D, _BURN_3D = (BURNS[window][1] for window in ("1h", "6h", "1d", "3d"))
_MOST = 0.95

Test = dict[str, Any]
Values = Callable[[float], tuple[str, str]]
"""Values of the good and of the bad requests, from the error budget times the days of the window."""


class _Objective(NamedTuple):
    """One of the two objectives of every service."""

    alert: str
    bad: str
    budget: Callable[[Service], float]


_OBJECTIVES = (
    _Objective("AvailabilityBudgetBurn", "failed", lambda service: service.slo.failed_budget),
    _Objective("LatencyBudgetBurn", "slow", lambda service: service.slo.slow_budget),
)


def files(root: Path, services: Sequence[Service]) -> dict[Path, str | None]:
    """Return the files of tests by path; without services there are none."""
    folder = root / "deploy" / "observability" / "rule_tests"
    tests = {
        "slo.yaml": ("1m", [test for each in _OBJECTIVES for test in _minutes(each, services)]),
        # In a separate file, because days are too long for an evaluation every minute.
        "slo_days.yaml": ("10m", [_days(each, services) for each in _OBJECTIVES]),
    }
    return {
        folder / name: _HEAD + dumped(_document(interval, cases), width=1000) if services else None
        for name, (interval, cases) in tests.items()
    }


def _document(interval: str, tests: list[Test]) -> dict[str, Any]:
    return {
        "rule_files": ["../rules/slo.yaml"],
        "group_eval_order": _GROUPS,
        "evaluation_interval": interval,
        "tests": tests,
    }


def _minutes(objective: _Objective, services: Sequence[Service]) -> Iterator[Test]:
    bad = objective.bad

    def test(name: str, values: Values, *expected: Test) -> Test:
        return _test(objective, services, f"{bad}: {name}", values, expected)

    def firing(at: str, *severities: str, among: str = "critical|warning") -> Test:
        return _firing(objective, services, at, severities, among)

    yield test(
        "2 % of the budget within an hour",
        _steady(lambda daily: min(0.5 * daily, _MOST)),
        firing("1h5m", "critical", "warning"),
    )
    yield test(
        "5 % of the budget within six hours",
        _steady(lambda daily: 1.05 * _BURN_6H * daily),
        firing("1h5m", "critical", "warning"),
    )
    yield test("just below a page", _steady(lambda daily: 0.95 * _BURN_6H * daily), firing("1h5m", "warning"))
    # The long windows of a ticket have hours of data only, so that it fires as well.
    yield test("2 % within minutes", _burst, firing("6h", "critical", among="critical"))
    yield test(
        "they have ended", _ended, firing("25m", "critical", "warning"), firing("1h5m", among="critical")
    )
    yield test(
        "half of the budget is used, and as much is left",
        _steady(lambda daily: 0.5 * _BURN_3D * daily),
        firing("1h5m"),
        *(_left(service, bad) for service in services),
    )
    yield test("a few do not page during low traffic", _few, firing("1h5m", among="critical"))


def _days(objective: _Objective, services: Sequence[Service]) -> Test:
    return _test(
        objective,
        services,
        f"{objective.bad}: slightly more than the budget for three days",
        _steady(lambda daily: 1.5 * _BURN_3D * daily, samples=440),
        [_firing(objective, services, "73h", ("warning",), "critical|warning")],
    )


def _steady(share: Callable[[float], float], samples: int = 70) -> Values:
    def values(daily: float) -> tuple[str, str]:
        good, bad = _split(share(daily))
        return f"0+{good}x{samples}", f"0+{bad}x{samples}"

    return values


def _burst(daily: float) -> tuple[str, str]:
    share = min(6 * daily, _MOST)
    minutes = ceil(60 * 1.1 * _PAGE * daily / share)
    before = 360 - minutes
    good, bad = _split(share)
    return (
        f"0+{_PER_MINUTE}x{before} {_PER_MINUTE * before}+{good}x{minutes}",
        f"0x{before} 0+{bad}x{minutes}",
    )


def _ended(daily: float) -> tuple[str, str]:
    good, bad = _split(min(0.5 * daily, _MOST))
    return f"0+{good}x30 {float(good) * 30:.10g}+{_PER_MINUTE}x40", f"0+{bad}x30 {float(bad) * 30:.10g}+0x40"


def _few(daily: float) -> tuple[str, str]:
    del daily
    return "0x70", "0x60 0+1x5 5x5"


def _split(share: float) -> tuple[str, str]:
    bad = _PER_MINUTE * share
    return f"{_PER_MINUTE - bad:.10g}", f"{bad:.10g}"


def _test(
    objective: _Objective, services: Sequence[Service], name: str, values: Values, expected: Sequence[Test]
) -> Test:
    series = [
        {"series": text, "values": found}
        for service in services
        for text, found in _SERIES[objective.bad](
            service, *values(objective.budget(service) * service.slo.window_days)
        )
    ]
    interval = "10m" if "days" in name else "1m"
    return {"name": name, "interval": interval, "input_series": series, "promql_expr_test": list(expected)}


def _requests(service: Service, good: str, bad: str) -> Iterator[tuple[str, str]]:
    series = f'http_requests_total{{service="{service.name}", path='
    yield f'{series}"/items", status="200"}}', good
    yield f'{series}"/items", status="503"}}', bad
    # Health checks are not counted, whatever their status.
    yield f'{series}"/health/ready", status="200"}}', "0+900000x440"
    yield f'{series}"/health/live", status="503"}}', "0+900000x440"


def _durations(service: Service, good: str, bad: str) -> Iterator[tuple[str, str]]:
    def series(kind: str, path: str, status: int, more: str = "") -> str:
        labels = f'service="{service.name}", path="{path}", status="{status}"{more}'
        return f"http_requests_duration_seconds_{kind}{{{labels}}}"

    bucket = f', le="{service.slo.threshold}"'
    # The count of one route is that of its bucket: all bad requests are those of the other.
    yield series("bucket", "/items", 200, bucket), good
    yield series("count", "/items", 200), good
    yield series("bucket", "/items/{id}", 200, bucket), "0x440"
    yield series("count", "/items/{id}", 200), bad
    # Failures have their own objective, and streams have no latency objective.
    for path, status in (("/items", 503), ("/items/events", 200)):
        yield series("bucket", path, status, bucket), "0x440"
        yield series("count", path, status), "0+900000x440"


_SERIES = {"failed": _requests, "slow": _durations}


def _firing(
    objective: _Objective, services: Sequence[Service], at: str, severities: Sequence[str], among: str
) -> Test:
    selected = f'alertname="{objective.alert}", alertstate="firing"'
    return {
        "expr": f'ALERTS{{{selected}, severity=~"{among}"}}',
        "eval_time": at,
        "exp_samples": [
            {
                "labels": f'ALERTS{{{selected}, service="{service.name}", severity="{severity}"}}',
                "value": 1,
            }
            for service in services
            for severity in severities
        ],
    }


def _left(service: Service, bad: str) -> Test:
    # The budget is that of 30 days at this pace.
    left = 1 - 0.5 * service.slo.window_days / 30
    return {
        "expr": f'round(service:slo_{bad}_budget_left:ratio{{service="{service.name}"}}, 0.001)',
        "eval_time": "1h5m",
        "exp_samples": [{"labels": f'{{service="{service.name}"}}', "value": round(left, 3)}],
    }
