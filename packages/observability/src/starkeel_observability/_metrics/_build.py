"""What runs, as a metric."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class BuildInfo(Collector):
    """Reports `starkeel_build_info`.

    Args:
        service: Name of the service.
        version: Its version.
        revision: What it was built from.
    """

    def __init__(self, *, service: str, version: str, revision: str) -> None:
        self._labels = {"service": service, "version": version, "revision": revision}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """As `prometheus_client` asks for it."""
        family = GaugeMetricFamily("starkeel_build_info", "What runs; always 1.", labels=list(self._labels))
        family.add_metric(list(self._labels.values()), 1)
        yield family
