"""Other ways to satisfy rows of manifests, and what rows leave undecided or do not apply to."""

from pathlib import Path
from typing import Any

import pytest
from seatrial import Verdict

from .manifests import (
    Change,
    in_container,
    in_deployment,
    in_kind,
    in_pod,
    in_service,
    with_document,
    without,
    write_compose,
    write_kubernetes,
)
from .test_static_rows import of_manifests

PASS, UNKNOWN, ABSENT = Verdict.PASS, Verdict.UNKNOWN, Verdict.NOT_APPLICABLE
_OTHER = {"matchLabels": {"app": "proxy"}}
AUTOSCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "shop", "namespace": "shops"},
    "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "shop"}, "minReplicas": 2, "maxReplicas": 9},
}


def probe(kind: str, **handler: Any) -> dict[str, Any]:
    return {"httpGet": None, kind: handler}


def both(*changes: Change) -> Change:
    def change(documents: dict[str, Any]) -> None:
        for each in changes:
            each(documents)

    return change


@pytest.mark.parametrize(
    ("row", "change", "verdict"),
    [
        ("manifests-probes", both(without("Service"), in_container(ports=None, readinessProbe=None)), ABSENT),
        ("manifests-distinct-probes", in_container(livenessProbe=probe("tcpSocket", port=3000)), PASS),
        ("manifests-distinct-probes", in_container(livenessProbe=None), ABSENT),
        ("manifests-probe-port", in_container(livenessProbe=probe("exec", command=["true"])), UNKNOWN),
        ("manifests-probe-port", in_container(livenessProbe=probe("grpc", port=3000)), PASS),
        ("manifests-probe-port", without("Service"), PASS),
        (
            "manifests-probe-port",
            both(
                without("Service"),
                in_container(
                    ports=[{"name": "metrics", "containerPort": 9090}],
                    startupProbe={"httpGet": {"port": "metrics"}},
                    livenessProbe={"httpGet": {"port": "metrics"}},
                    readinessProbe={"httpGet": {"port": "metrics"}},
                ),
            ),
            PASS,
        ),
        ("manifests-replicas", both(in_deployment(replicas=None), with_document("H", **AUTOSCALER)), PASS),
        ("manifests-replicas", in_kind("Deployment", kind="DaemonSet"), ABSENT),
        ("manifests-rollout", in_deployment(strategy=None), PASS),
        ("manifests-rollout", in_kind("Deployment", kind="StatefulSet"), ABSENT),
        (
            "manifests-rollout",
            in_deployment(strategy={"rollingUpdate": {"maxUnavailable": "some"}}),
            UNKNOWN,
        ),
        (
            "manifests-disruption-budget",
            in_kind("PodDisruptionBudget", spec={"maxUnavailable": None, "minAvailable": "50%"}),
            PASS,
        ),
        (
            "manifests-disruption-budget",
            in_kind("PodDisruptionBudget", spec={"selector": {"matchLabels": {}}}),
            PASS,
        ),
        (
            "manifests-topology-spread",
            in_pod(
                topologySpreadConstraints=None,
                affinity={
                    "podAntiAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "podAffinityTerm": {
                                    "topologyKey": "z",
                                    "labelSelector": {"matchLabels": {"app": "shop"}},
                                }
                            }
                        ]
                    }
                },
            ),
            PASS,
        ),
        # A limit is also the request.
        ("manifests-resources", in_container(resources={"requests": None, "limits": {"cpu": 1}}), PASS),
        (
            "manifests-resources",
            both(in_container(resources=None), in_pod(resources={"limits": {"cpu": 1, "memory": "1Gi"}})),
            PASS,
        ),
        (
            "manifests-network-policy",
            in_kind(
                "NetworkPolicy",
                spec={"ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 3000}]}]},
            ),
            PASS,
        ),
        (
            "manifests-network-policy",
            in_kind(
                "NetworkPolicy",
                spec={"ingress": [{"from": [{"namespaceSelector": {}, "podSelector": _OTHER}]}]},
            ),
            PASS,
        ),
        # A policy without a selector is one for all pods of the namespace.
        ("manifests-network-policy", in_kind("NetworkPolicy", spec={"podSelector": None}), PASS),
        (
            "manifests-network-policy",
            both(
                without("NetworkPolicy"),
                with_document(
                    "C", apiVersion="cilium.io/v2", kind="CiliumNetworkPolicy", metadata={"name": "a"}
                ),
            ),
            UNKNOWN,
        ),
        ("manifests-image-tag", in_container(image="shop@sha256:abcd"), PASS),
        (
            "manifests-secrets",
            with_document("Secret", apiVersion="v1", kind="Secret", metadata={"name": "s"}, type="Opaque"),
            PASS,
        ),
    ],
)
def test_manifests(row: str, change: Change, verdict: Verdict, tmp_path: Path) -> None:
    judgement = of_manifests(write_kubernetes(tmp_path, change))[row]
    assert judgement.verdict is verdict, judgement


@pytest.mark.parametrize(
    ("row", "change", "verdict"),
    [
        ("manifests-compose-depends-on", in_service("db", healthcheck=None), UNKNOWN),
        ("manifests-compose-depends-on", in_service("db", healthcheck={"test": ["NONE"]}), UNKNOWN),
        ("manifests-compose-depends-on", in_service("db", healthcheck={"disable": True}), UNKNOWN),
        ("manifests-compose-stop-grace-period", in_service("shop", stop_grace_period="${GRACE:-30s}"), PASS),
        (
            "manifests-compose-passwords",
            in_service("shop", environment={"SECRET_KEY": "${SECRET_KEY}"}),
            PASS,
        ),
        ("manifests-compose-passwords", in_service("db", environment={"ALLOW_EMPTY_PASSWORD": "no"}), PASS),
        (
            "manifests-compose-passwords",
            in_service("grafana", environment=None, env_file="grafana.env"),
            PASS,
        ),
        ("manifests-compose-ports", in_service("db", ports=["127.0.0.1:5432:5432", "[::1]:5432:5432"]), PASS),
        (
            "manifests-compose-ports",
            both(in_service("shop", ports=None), in_service("proxy", ports=None)),
            PASS,
        ),
        ("manifests-compose-image-tag", in_service("db", image="postgres@sha256:abcd"), PASS),
    ],
)
def test_compose_files(row: str, change: Change, verdict: Verdict, tmp_path: Path) -> None:
    judgement = of_manifests(write_compose(tmp_path, change))[row]
    assert judgement.verdict is verdict, judgement
