"""Kubernetes manifests as a typed model: workloads and what selects them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final, Literal

from .._static.fields import Fields

ProbeKind = Literal["httpGet", "tcpSocket", "grpc", "exec"]
_PROBE_KINDS: Final[tuple[ProbeKind, ...]] = ("httpGet", "tcpSocket", "grpc", "exec")
_SERVING: Final = {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Rollout"}
_PODS: Final = {*_SERVING, "Job", "CronJob", "Pod"}
# Ports for operators: a probe at one of them succeeds while the application does not serve.
_NUMBER: Final = re.compile("[0-9]{1,5}")
_SECONDS: Final = re.compile("[0-9]{1,5}(?:[.][0-9]{1,3})?")
_OPERATOR_PORTS: Final = ("metrics", "admin", "management", "prometheus", "telemetry", "debug", "actuator")


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a container."""

    number: int
    name: str

    @property
    def is_for_operators(self) -> bool:
        """Whether its name is that of a port for metrics or administration."""
        return any(word in self.name for word in _OPERATOR_PORTS)


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe of a container.

    Attributes:
        port: Number or name of a port; `None` for a command.
        request: Path of a request, name of a gRPC service, or the command.
    """

    kind: ProbeKind
    port: str | None
    request: str


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a pod.

    Attributes:
        is_init: Whether it must end before the pod starts.
        pre_stop_s: Seconds of a `sleep` before the stop signal.
        fields: Its manifest.
    """

    name: str
    image: str
    is_init: bool
    ports: tuple[Port, ...]
    probes: dict[str, Probe]
    pre_stop_s: float
    fields: Fields

    def port_number(self, port: str) -> int | None:
        """Return the number of a port given by number or name, or `None` for an unknown name."""
        if _NUMBER.fullmatch(port):
            return int(port)
        return next((each.number for each in self.ports if each.name == port), None)


@dataclass(frozen=True)
class Workload:
    """A manifest that creates pods.

    Attributes:
        labels: Labels of its pods.
        pod: Manifest of a pod's `spec`.
        fields: The whole manifest.
    """

    kind: str
    name: str
    namespace: str
    labels: dict[str, str]
    pod: Fields
    fields: Fields

    def __str__(self) -> str:
        """Return the kind and the name, for evidence."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def is_long_running(self) -> bool:
        """Whether its pods run until they are stopped."""
        return self.kind in _SERVING

    @cached_property
    def containers(self) -> tuple[Container, ...]:
        """All containers; those for initialization first."""
        init = (_container(each, is_init=True) for each in self.pod.each("initContainers"))
        return (*init, *(_container(each, is_init=False) for each in self.pod.each("containers")))

    @property
    def grace_s(self) -> int:
        """Seconds between the stop signal and the kill; 30 is the default of Kubernetes."""
        given = self.pod.integer("terminationGracePeriodSeconds")
        return 30 if given is None else given


class Cluster:
    """All manifests, and the relations between them.

    Args:
        documents: Documents of any kind; `List` is expanded, and what is not of Kubernetes is ignored.
    """

    def __init__(self, documents: Iterable[Fields]) -> None:
        self._by_kind: dict[str, list[Fields]] = {}
        for document in _expanded(documents):
            self._by_kind.setdefault(document.text("kind"), []).append(document)
        self.workloads = tuple(_workload(each) for kind in sorted(_PODS) for each in self.of_kind(kind))

    def __bool__(self) -> bool:
        """Return whether there is any manifest of Kubernetes."""
        return bool(self._by_kind)

    @property
    def kinds(self) -> set[str]:
        """All kinds."""
        return set(self._by_kind)

    def of_kind(self, kind: str) -> list[Fields]:
        """Return the manifests of a kind."""
        return self._by_kind.get(kind, [])

    def selecting(self, kind: str, workload: Workload, *keys: str) -> list[Fields]:
        """Return the manifests of a kind whose label selector, at these keys, matches a workload's pods."""
        return [
            each
            for each in self.of_kind(kind)
            if namespace(each) == workload.namespace
            and selects(each.fields(*keys[:-1]), keys[-1], workload.labels)
        ]

    def services(self, workload: Workload) -> list[Fields]:
        """Return the Services that lead to a workload's pods."""
        return [
            each
            for each in self.of_kind("Service")
            if namespace(each) == workload.namespace
            and (selector := each.fields("spec").mapping("selector"))
            and selector.items() <= workload.labels.items()
        ]

    def autoscalers(self, workload: Workload) -> list[Fields]:
        """Return the autoscalers of a workload."""
        return [
            each
            for kind in ("HorizontalPodAutoscaler", "ScaledObject")
            for each in self.of_kind(kind)
            if namespace(each) == workload.namespace
            and each.fields("spec", "scaleTargetRef").text("name") == workload.name
            and each.fields("spec", "scaleTargetRef").text("kind", "Deployment") == workload.kind
        ]

    def replicas(self, workload: Workload) -> tuple[int, int]:
        """Return the smallest and the largest number of pods."""
        for scaler in self.autoscalers(workload):
            spec = scaler.fields("spec")
            if scaler.text("kind") == "ScaledObject":
                return spec.integer("minReplicaCount") or 0, spec.integer("maxReplicaCount") or 100
            return spec.integer("minReplicas") or 1, spec.integer("maxReplicas") or 1
        given = workload.fields.fields("spec").integer("replicas")
        return (1, 1) if given is None else (given, given)

    def serves(self, workload: Workload) -> bool:
        """Return whether a workload receives requests: a Service leads to it, or it declares a port."""
        return workload.is_long_running and bool(
            self.services(workload) or any(each.ports for each in workload.containers if not each.is_init)
        )


def namespace(document: Fields) -> str:
    """Return the namespace of a manifest, or an empty string."""
    return document.fields("metadata").text("namespace")


def selects(parent: Fields, key: str, labels: dict[str, str]) -> bool:
    """Return whether a label selector matches; an empty one matches everything, an absent one nothing."""
    if key not in parent:
        return False
    selector = parent.fields(key)
    return selector.mapping("matchLabels").items() <= labels.items() and all(
        _matches(each, labels) for each in selector.each("matchExpressions")
    )


def _matches(expression: Fields, labels: dict[str, str]) -> bool:
    key, values = expression.text("key"), expression.texts("values")
    match expression.text("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False


def _expanded(documents: Iterable[Fields]) -> Iterator[Fields]:
    for document in documents:
        if "apiVersion" not in document or "kind" not in document:
            continue
        if document.text("kind").endswith("List") and "items" in document:
            yield from _expanded(document.each("items"))
        else:
            name = document.fields("metadata").text("name")
            yield Fields(document.value, f"{document.text('kind')} {name}")


def _workload(document: Fields) -> Workload:
    kind = document.text("kind")
    template = document
    if kind == "CronJob":
        template = document.fields("spec", "jobTemplate", "spec", "template")
    elif kind != "Pod":
        template = document.fields("spec", "template")
    metadata = document.fields("metadata")
    return Workload(
        kind,
        metadata.text("name"),
        metadata.text("namespace"),
        template.fields("metadata").mapping("labels"),
        template.fields("spec"),
        document,
    )


def _container(fields: Fields, *, is_init: bool) -> Container:
    # An init container that restarts always is a sidecar.
    is_init = is_init and fields.text("restartPolicy") != "Always"
    probes = {
        name: probe
        for name in ("startup", "readiness", "liveness")
        if (probe := _probe(fields.fields(f"{name}Probe"))) is not None
    }
    ports = (Port(each.integer("containerPort") or 0, each.text("name")) for each in fields.each("ports"))
    return Container(
        fields.text("name"),
        fields.text("image"),
        is_init,
        tuple(ports),
        probes,
        float(fields.fields("lifecycle", "preStop", "sleep").integer("seconds") or _slept(fields)),
        fields,
    )


def _probe(fields: Fields) -> Probe | None:
    kind = next((kind for kind in _PROBE_KINDS if kind in fields), None)
    if kind is None:
        return None
    handler = fields.fields(kind)
    request = handler.text("path") or handler.text("service") or " ".join(handler.texts("command"))
    return Probe(kind, handler.text("port") or None, request)


def _slept(fields: Fields) -> float:
    """Return the seconds of the usual command `sleep N`."""
    words = " ".join(fields.fields("lifecycle", "preStop", "exec").texts("command")).split()
    for word, following in pairwise(words):
        if word.endswith("sleep") and (match := _SECONDS.match(following)) is not None:
            return float(match[0])
    return 0.0
