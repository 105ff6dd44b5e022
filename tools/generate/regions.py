"""Parts of shared files that list the services, generated from the registry between two marker lines.

Everything outside of the markers belongs to the team.
"""

import re
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from ..registry import RegistryError, Service, issuer, read, scopes
from ..slo import Slo
from . import compose, connections, workspace
from .stamp import digest

FILES = (
    "deploy/compose.yaml",
    "deploy/make_secrets.py",
    "deploy/observability/collector.yaml",
    "deploy/observability/prometheus.yaml",
    "deploy/proxy/common.cfg",
    "deploy/proxy/plain.cfg",
    "deploy/proxy/tls.cfg",
    ".github/workflows/images.yml",
    "pyproject.toml",
)
_REGION = re.compile(
    r"^(?P<indent>[ ]*)# generated from the registry: (?P<name>[^\n]+)\n"
    r"(?P<body>.*?)^[ ]*# end of the generated part(?: sha256:(?P<digest>[0-9a-f]{16}))?$",
    re.MULTILINE | re.DOTALL,
)
_SCOPES = '''\
"""Scopes that the services own, written by `just fleet` from `scopes` in services/*/pyproject.toml."""

SCOPES: tuple[str, ...] = {}
"""Scopes of every user, and those that a registered client may have."""
'''
_SPARE_DAYS = 5
"""Days that Prometheus keeps beyond the longest window of an objective."""
_MARKER = re.compile(r"^[ ]*# (?:generated from the registry: |end of the generated part\b)", re.MULTILINE)
_NOT_FOUND = '{"type":"about:blank","title":"Not Found","status":404}'


def files(root: Path) -> dict[Path, str | None]:
    """Return the files with current regions.

    Raises:
        RegistryError: The registry is invalid, or a file has a region that nothing generates.
    """
    services = read(root)
    generators = _generators(services, connections.limits(root))
    return {
        root / name: filled(name, (root / name).read_text("utf-8"), generators)
        for name in FILES
        if (root / name).exists()
    } | _scopes(root, services)


def _scopes(root: Path, services: Sequence[Service]) -> dict[Path, str | None]:
    """Return the module of scopes in the package of the service that grants them."""
    issuing = issuer(services)
    if issuing is None:
        return {}
    names = "".join(f'    "{scope}",\n' for scope in scopes(services))
    text = _SCOPES.replace("{}", f"(\n{names})" if names else "()")
    return {root / "services" / issuing.name / "src" / issuing.name / "scopes.py": text}


def _generators(services: Sequence[Service], limits: connections.Limits) -> dict[str, Callable[[str], str]]:
    shares = connections.shares(services, limits, connections.containers)
    of_services: dict[str, Callable[[], str]] = {
        name: partial(make, services) for name, make in REGIONS.items()
    }
    of_services["services of compose"] = partial(compose.services_of_compose, services, shares)
    of_services["connections of PostgreSQL"] = partial(compose.postgres_command, limits)
    return {name: partial(_ignoring_text, make) for name, make in of_services.items()}


def _ignoring_text(make: Callable[[], str], _: str) -> str:
    return make()


def filled(
    file: str, text: str, generators: Mapping[str, Callable[[str], str]], shared: Collection[str] = ()
) -> str:
    """Return a text with current regions.

    Args:
        file: Path of the file, for messages.
        text: The file's text.
        generators: Functions that generate a region from its present text, by the name in the marker line.
        shared: Regions that have values of the team as well, and so no digest.

    Raises:
        RegistryError: A marker line has no counterpart, or nothing generates the region.
    """

    def fill(found: re.Match[str]) -> str:
        indent, name = found["indent"], found["name"]
        if name not in generators:
            raise RegistryError(f"{file}: nothing generates {name!r}; known: {', '.join(generators)}")
        try:
            body = generators[name](_body(found))
        except RegistryError as error:
            raise RegistryError(f"{file}: {name}: {error}") from error
        end = "# end of the generated part" + ("" if name in shared else f" sha256:{digest(body)}")
        lines = [f"# generated from the registry: {name}", *body.splitlines(), end]
        return "\n".join(f"{indent}{line}".rstrip() for line in lines)

    replaced, count = _REGION.subn(fill, text)
    if len(_MARKER.findall(text)) != 2 * count:
        raise RegistryError(
            f"{file}: a marker line has no counterpart: each `# generated from the registry: ...` needs"
            " one `# end of the generated part`; restore the file, then run `just fleet`"
        )
    return replaced


def edited_regions(text: str) -> list[str]:
    """Return the names of the regions of a text that differ from what was generated."""
    return [
        found["name"]
        for found in _REGION.finditer(text)
        if found["digest"] is not None and found["digest"] != digest(_body(found))
    ]


def _body(found: re.Match[str]) -> str:
    return textwrap.dedent(found["body"]).rstrip("\n")


def _database_owners(services: Sequence[Service]) -> str:
    owners = [service.name for service in connections.with_database(services)]
    if len(owners) == 1:
        # As the formatter writes it.
        return f'SERVICES = ("{owners[0]}",)'
    names = "".join(f'    "{owner}",\n' for owner in owners)
    return f"SERVICES = (\n{names})" if names else "SERVICES = ()"


def _backends(services: Sequence[Service]) -> str:
    return "\n\n".join(
        f"backend {name}\n"
        "    balance leastconn\n"
        "    option httpchk\n"
        f"    http-check send meth GET uri /health/ready ver HTTP/1.1 hdr Host {name}\n"
        "    http-check expect status 200\n"
        f"    server-template {name} {service.max_replicas} {name}:3000"
        for service in services
        if service.paths
        for name in [service.name]
    )


def _routes(services: Sequence[Service]) -> str:
    public = [service for service in services if service.paths]
    every = [path for service in public for path in service.paths]
    refusal = f"http-request return status 404 content-type application/problem+json lf-string '{_NOT_FOUND}'"
    return "\n".join([
        f"{refusal} unless {{ path -m reg {_pattern(every)} }}",
        *(
            f"use_backend {service.name} if {{ path -m reg {_pattern(service.paths)} }}"
            for service in public
        ),
    ])  # fmt: skip


def _pattern(paths: Sequence[str]) -> str:
    parts = "|".join(path.removeprefix("/").replace(".", r"\.") for path in paths)
    return f"^/({parts})(/|$)"


def _targets(services: Sequence[Service]) -> str:
    return _dns([service.name for service in services])


def _worker_targets(services: Sequence[Service]) -> str:
    names = [service.worker for service in services if service.has_worker]
    if not names:
        return ""
    return "\n".join([
        "- job_name: workers",
        f"  {_dns(names)}",
        "  relabel_configs:",
        "    - {source_labels: [__meta_dns_name], regex: (.+)-worker, target_label: service}",
        "    - {target_label: role, replacement: worker}",
    ])  # fmt: skip


def _dns(names: Sequence[str]) -> str:
    return f"dns_sd_configs: [{{names: [{', '.join(names)}], type: A, port: 9090, refresh_interval: 5s}}]"


def _slow_traces(services: Sequence[Service]) -> str:
    strictest = min([service.slo.latency_ms for service in services], default=Slo().latency_ms)
    limits = f"{{threshold_ms: {strictest}, upper_threshold_ms: 60000}}"
    return f"- {{name: slow, type: latency, latency: {limits}}}"


def _retention(services: Sequence[Service]) -> str:
    longest = max([service.slo.window_days for service in services], default=Slo().window_days)
    return f"- --storage.tsdb.retention.time={longest + _SPARE_DAYS}d"


def _matrix(services: Sequence[Service]) -> str:
    return f"service: [{', '.join(service.name for service in services)}]"


REGIONS: dict[str, Callable[[Sequence[Service]], str]] = {
    "services that the proxy waits for": compose.healthy,
    "secrets of PostgreSQL": compose.postgres_secrets,
    "files of database secrets": compose.secret_files,
    "broker of compose": compose.broker,
    "volume of the broker": compose.broker_volume,
    "files of broker secrets": compose.broker_secret_files,
    "owners of databases": _database_owners,
    "backends": _backends,
    "routes": _routes,
    "targets": _targets,
    "targets of workers": _worker_targets,
    "slow traces": _slow_traces,
    "retention": _retention,
    "matrix": _matrix,
    "names": workspace.quoted,
    "sources": workspace.sources,
    "layer": workspace.layer,
    "layers of services": workspace.layers,
    "hosts of services": compose.hosts,
}
"""By the name in the marker line."""
