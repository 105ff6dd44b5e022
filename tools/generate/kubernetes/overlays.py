"""Parts of overlays and components that list the services."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import yaml  # type: ignore[import-untyped]  # has no types

from ...registry import RegistryError, Service, issuer
from ..connections import with_database

Region = Callable[[str], str]
Entry = dict[str, Any]

_IMAGE = "starkeel/"


SHARED_REGIONS = ("images", "settings of the cluster", "hosts")
"""Regions with values of the team."""


def regions(services: Sequence[Service]) -> Mapping[str, Region]:
    """Return the functions that generate a part from its present text, by the name in the marker line."""
    databases = with_database(services)
    return {
        "images": partial(_images, services=services),
        "settings of the cluster": partial(_cluster_settings, services=services),
        "routes of the ingress": lambda _: _routes(services),
        "issuer": lambda _: _issuer(services),
        "hosts": partial(_hosts, services=services),
        "settings of ipv6": lambda _: _literals(services, "HOST=::", "METRICS_HOST=::"),
        "settings of otlp-grpc": lambda _: _literals(
            services,
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
            "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector.monitoring:4317",
        ),
        "settings of pgbouncer": lambda _: _literals(databases, "DB_PGBOUNCER=true"),
        "patches of pgbouncer": lambda _: "\n".join(
            _pgbouncer_patches(service, name)
            for service in databases
            for name in ([service.host, service.worker_host] if service.has_worker else [service.host])
        ),
        "patches of scale-on-jobs": lambda _: _scale_on_jobs(services),
    }


def _images(text: str, *, services: Sequence[Service]) -> str:
    """Return the list of images; names, tags and digests in it are the team's."""
    given = _entries(text, "images")
    names = {f"{_IMAGE}{service.name}": service for service in services}
    kept = [each for each in given if each["name"] in names or not each["name"].startswith(_IMAGE)]
    missing = names.keys() - {each["name"] for each in kept}
    model = next((each for each in given if each["name"].startswith(_IMAGE) and "newTag" in each), None)
    added = [_image(name, model) for name in names if name in missing]
    return _list("images", given, kept + added, text)


def _image(name: str, model: Entry | None) -> Entry:
    if model is None:
        return {"name": name, "newTag": "dev"}
    entry: Entry = {"name": name}
    if "newName" in model:
        # Another name ends otherwise, and cannot be derived.
        prefix = model["newName"].removesuffix(model["name"].removeprefix(_IMAGE))
        entry["newName"] = prefix + name.removeprefix(_IMAGE)
    return entry | {"newTag": model["newTag"]}


def _cluster_settings(text: str, *, services: Sequence[Service]) -> str:
    """Return the ConfigMaps of an overlay; what a team adds to the list is kept."""
    given = _entries(text, "configMapGenerator")
    names = [service.host for service in services]
    # An entry that extends the ConfigMap of a service that is gone makes kustomize fail.
    kept = [each for each in given if each["name"] in names or each.get("behavior") != "merge"]
    missing = set(names) - {each["name"] for each in kept}
    added = [
        {"name": name, "behavior": "merge", "envs": ["cluster.env"]} for name in names if name in missing
    ]
    return _list("configMapGenerator", given, kept + added, text)


def _entries(text: str, field: str) -> list[Entry]:
    try:
        found = (yaml.safe_load(text) or {}).get(field) or []
    except (yaml.YAMLError, AttributeError) as error:
        raise RegistryError(f"its generated part is not a YAML field `{field}`: {error}") from error
    if not isinstance(found, list) or not all(isinstance(each, dict) and "name" in each for each in found):
        raise RegistryError(f"its field `{field}` is not a list of entries with a `name`")
    return found


def _list(field: str, given: Sequence[Entry], current: Sequence[Entry], text: str) -> str:
    """Return the text of a list; the present text, in whatever form, if it has the same entries."""
    if given == current and (given or text):
        return text
    return "\n".join([f"{field}:", *map(_item, current)]) if current else f"{field}: []"


def _item(entry: Entry) -> str:
    flow: str = yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, width=1000)
    return f"  - {flow.strip()}"


def _literals(services: Iterable[Service], *literals: str) -> str:
    entries = [
        {"name": service.host, "behavior": "merge", "literals": list(literals)} for service in services
    ]
    return _list("configMapGenerator", [], entries, "")


def _routes(services: Sequence[Service]) -> str:
    return "\n".join(
        f"- {{path: {path}, pathType: Prefix,"
        f" backend: {{service: {{name: {service.host}, port: {{name: http}}}}}}}}"
        for service in services
        for path in service.paths
    )


def _issuer(services: Sequence[Service]) -> str:
    found = issuer(services)
    return "" if found is None else f"JWT_ISSUER=http://{found.host}:3000"


def _hosts(text: str, *, services: Sequence[Service]) -> str:
    """Return the accepted hosts: the public ones of the present text, and the services' names."""
    given = text.partition("=")[2].split(",")
    public = [host for host in given if "." in host or ":" in host]
    return f"ALLOWED_HOSTS={','.join([*public, *(service.host for service in services)])}"


def _scale_on_jobs(services: Sequence[Service]) -> str:
    workers = [service for service in services if service.has_worker]
    return "\n".join(["patches:", *map(_jobs_patch, workers)] if workers else ["patches: []"])


def _jobs_patch(service: Service) -> str:
    metric = f"{{name: jobs_due, selector: {{matchLabels: {{service: {service.host}}}}}}}"
    return "\n".join([
        f"  - target: {{kind: HorizontalPodAutoscaler, name: {service.worker_host}}}",
        "    patch: |-",
        "      - op: add",
        "        path: /spec/metrics/-",
        "        value:",
        "          type: External",
        "          external:",
        f"            metric: {metric}",
        '            target: {type: AverageValue, averageValue: "100"}',
    ])  # fmt: skip


def _pgbouncer_patches(service: Service, name: str) -> str:
    variable = (
        f"{{name: MIGRATIONS_DATABASE_URL_FILE, value: /run/secrets/{service.host}/migrations-database-url}}"
    )
    return "\n".join([
        f"- target: {{kind: Deployment, name: {name}}}",
        "  patch: |-",
        *(
            line
            for containers in ("initContainers", "containers")
            for line in (
                "    - op: add",
                f"      path: /spec/template/spec/{containers}/0/env/-",
                f"      value: {variable}",
            )
        ),
        f"- target: {{kind: NetworkPolicy, name: {name}}}",
        "  patch: |-",
        "    - op: add",
        "      path: /spec/egress/-",
        "      value:",
        "        to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: data}}}]",
        "        ports: [{protocol: TCP, port: 6432}]",
    ])  # fmt: skip
