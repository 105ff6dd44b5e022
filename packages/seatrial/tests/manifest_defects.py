"""Mutation table of the rows of manifests: each row with defects that turn it red.

The change is applied to what satisfies every row; the text must be in the evidence.
"""

from typing import NamedTuple

from .manifests import (
    Change,
    in_container,
    in_deployment,
    in_kind,
    in_pod,
    in_service,
    with_document,
    without,
)


class Defect(NamedTuple):
    """A change of manifests, and what the evidence contains."""

    change: Change
    evidence: str


HTTP_LIVE = {"httpGet": {"path": "/live", "port": 3000}}
KUBERNETES_DEFECTS: dict[str, list[Defect]] = {
    "manifests-probes": [
        Defect(in_container(readinessProbe=None), "no readiness probe"),
        Defect(in_container(livenessProbe=None), "no liveness probe"),
        Defect(in_container(readinessProbe=None, livenessProbe=None), "no readiness and no liveness probe"),
        Defect(in_container(readinessProbe={"httpGet": None, "periodSeconds": 1}), "no readiness probe"),
    ],
    "manifests-distinct-probes": [
        # The same port by number and by name.
        Defect(in_container(readinessProbe={"httpGet": {"path": "/live", "port": "http"}}), "are both"),
        Defect(in_container(readinessProbe=HTTP_LIVE), "are both"),
    ],
    "manifests-probe-port": [
        Defect(in_container(livenessProbe={"httpGet": {"port": 9090}}), "the application's port is 3000"),
        Defect(
            in_container(livenessProbe={"httpGet": {"port": "metrics"}}), "the application's port is 3000"
        ),
        Defect(in_container(livenessProbe={"httpGet": {"port": "htpp"}}), "no port 'htpp'"),
        Defect(in_container(startupProbe={"tcpSocket": {"port": 4000}}), "startup tcpSocket :4000"),
    ],
    "manifests-grace-period": [
        Defect(in_pod(terminationGracePeriodSeconds=34), "the service needs 30 s"),
        Defect(in_pod(terminationGracePeriodSeconds=None), "the service needs 30 s"),
        Defect(in_pod(terminationGracePeriodSeconds=0), "nothing is left"),
        Defect(
            in_container(lifecycle={"preStop": {"exec": None, "sleep": {"seconds": 40}}}), "nothing is left"
        ),
    ],
    "manifests-replicas": [
        Defect(in_deployment(replicas=1), "the manifest has 1 replica"),
        Defect(in_deployment(replicas=None), "the manifest has 1 replica"),
        Defect(
            with_document(
                "HorizontalPodAutoscaler",
                apiVersion="autoscaling/v2",
                kind="HorizontalPodAutoscaler",
                metadata={"name": "shop", "namespace": "shops"},
                spec={
                    "scaleTargetRef": {"kind": "Deployment", "name": "shop"},
                    "minReplicas": 1,
                    "maxReplicas": 9,
                },
            ),
            "the autoscaler keeps 1 replica",
        ),
    ],
    "manifests-rollout": [
        Defect(in_deployment(strategy={"type": "Recreate"}), "stops all pods first"),
        Defect(in_deployment(strategy={"rollingUpdate": {"maxUnavailable": 1}}), "1 of 2 pods are missing"),
        Defect(
            in_deployment(strategy={"rollingUpdate": {"maxUnavailable": "50%"}}), "1 of 2 pods are missing"
        ),
        Defect(in_deployment(replicas=4, strategy=None), "`maxUnavailable` 25%: 1 of 4 pods are missing"),
    ],
    "manifests-disruption-budget": [
        Defect(without("PodDisruptionBudget"), "no PodDisruptionBudget selects its pods"),
        Defect(
            in_kind("PodDisruptionBudget", spec={"selector": {"matchLabels": {"app": "other"}}}), "no Pod"
        ),
        Defect(in_kind("PodDisruptionBudget", metadata={"namespace": "other"}), "no PodDisruptionBudget"),
        Defect(in_kind("PodDisruptionBudget", spec={"maxUnavailable": 0}), "can be drained"),
        Defect(
            in_kind("PodDisruptionBudget", spec={"maxUnavailable": None, "minAvailable": "100%"}),
            "can be drained",
        ),
        Defect(in_kind("PodDisruptionBudget", spec={"maxUnavailable": "100%"}), "all of them can be evicted"),
        Defect(in_kind("PodDisruptionBudget", spec={"maxUnavailable": None}), "neither `maxUnavailable` nor"),
    ],
    "manifests-topology-spread": [
        Defect(in_pod(topologySpreadConstraints=None), "no topology spread constraint"),
        Defect(
            in_pod(
                topologySpreadConstraints=[
                    {
                        "topologyKey": "x",
                        "labelSelector": {
                            "matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["shop"]}]
                        },
                    }
                ]
            ),
            "do not match its pods",
        ),
    ],
    "manifests-resources": [
        Defect(
            in_container(resources=None), "no request for cpu, no request for memory, no limit for memory"
        ),
        Defect(in_container(resources={"limits": None}), "no limit for memory"),
        Defect(in_container(resources={"requests": {"cpu": "0"}}), "no request for cpu"),
        Defect(in_container(resources={"requests": {"memory": "1Gi"}}), "above its limit"),
        Defect(in_pod(initContainers=[{"name": "migrate", "image": "a:1"}]), "migrate: no request"),
    ],
    "manifests-pod-security": [
        Defect(in_pod(securityContext=None), "Running as Non-root, Seccomp"),
        Defect(in_container(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}), "Capabilities"),
        Defect(in_pod(hostNetwork=True), "Host Namespaces"),
        Defect(
            in_pod(ephemeralContainers=[{"name": "debug", "securityContext": {"privileged": True}}]),
            "Privileged Containers",
        ),
    ],
    "manifests-read-only-root": [
        Defect(in_container(securityContext={"readOnlyRootFilesystem": None}), "writable"),
        Defect(in_container(securityContext={"readOnlyRootFilesystem": False}), "writable"),
    ],
    "manifests-network-policy": [
        Defect(without("NetworkPolicy"), "no NetworkPolicy for ingress"),
        Defect(in_kind("NetworkPolicy", spec={"policyTypes": ["Egress"]}), "no NetworkPolicy for ingress"),
        Defect(in_kind("NetworkPolicy", spec={"ingress": [{}]}), "admits every client"),
        Defect(
            in_kind("NetworkPolicy", spec={"ingress": [{"from": [{"namespaceSelector": {}}]}]}),
            "admits every client",
        ),
        Defect(
            in_kind("NetworkPolicy", spec={"ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]}),
            "admits every client",
        ),
        Defect(
            in_kind(
                "NetworkPolicy",
                spec={"podSelector": {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}},
            ),
            "no NetworkPolicy",
        ),
    ],
    "manifests-image-tag": [
        Defect(in_container(image="registry.example.com:5000/shop"), "no tag"),
        Defect(in_container(image="shop:latest"), "the tag `latest`"),
    ],
    "manifests-secrets": [
        Defect(in_container(env=[{"name": "DATABASE_PASSWORD", "value": "hunter2"}]), "DATABASE_PASSWORD is"),
        Defect(in_container(args=["--api-token", "hunter2"]), "api-token is a secret"),
        Defect(in_container(args=["--dsn=postgresql://shop:hunter2@db/shop"]), "a URL with a password"),
        Defect(in_kind("ConfigMap", data={"apiKey": "hunter2"}), "ConfigMap shop: apiKey"),
        Defect(in_kind("ConfigMap", data={"app.conf": "a: 1\nurl: amqp://shop:hunter2@mq/\n"}), "app.conf"),
        Defect(
            with_document(
                "Secret", apiVersion="v1", kind="Secret", metadata={"name": "s"}, data={"key": "aHVu"}
            ),
            "Secret s: contains key",
        ),
    ],
}
COMPOSE_DEFECTS: dict[str, list[Defect]] = {
    "manifests-compose-depends-on": [
        Defect(in_service("shop", depends_on=["db"]), "does not wait until it is ready"),
        Defect(in_service("shop", depends_on={"db": {"condition": "service_started"}}), "service_started"),
        Defect(without("db"), "which is not a service"),
    ],
    "manifests-compose-limits": [
        Defect(in_service("shop", deploy=None), "no limit for memory and cpus"),
        Defect(in_service("proxy", mem_limit=None), "no limit for memory"),
    ],
    "manifests-compose-stop-grace-period": [
        Defect(in_service("shop", stop_grace_period=None), "killed after 10 s"),
        Defect(in_service("shop", stop_grace_period="29s"), "it needs 30 s"),
        Defect(in_service("proxy", stop_grace_period=None), "killed after 10 s"),
    ],
    "manifests-compose-passwords": [
        Defect(in_service("shop", environment={"SESSION_SECRET": "hunter2"}), "SESSION_SECRET is a secret"),
        Defect(in_service("shop", environment={"DB_PASSWORD": "${DB_PASSWORD:-hunter2}"}), "DB_PASSWORD is"),
        Defect(
            in_service("shop", environment={"DATABASE_URL": "mysql://shop:${PASSWORD:-hunter2}@db"}),
            "DATABASE_URL",
        ),
        Defect(in_service("db", environment=["POSTGRES_PASSWORD=12345"]), "POSTGRES_PASSWORD is"),
        Defect(in_service("db", environment=["POSTGRES_HOST_AUTH_METHOD=trust"]), "without a password"),
        Defect(in_service("db", environment=["ALLOW_EMPTY_PASSWORD=yes"]), "without a password"),
        Defect(in_service("shop", build={"args": {"NPM_TOKEN": "hunter2"}}), "NPM_TOKEN is"),
        Defect(in_service("db", command="redis-server --password hunter2"), "password of the command is"),
        Defect(in_service("db", command=["run", "--dsn=redis://:hunter2@db"]), "a URL with a password"),
        Defect(in_service("grafana", environment=None), "has its default password"),
    ],
    "manifests-compose-ports": [
        Defect(in_service("db", ports=["5432:5432"]), "a data store is reachable"),
        Defect(in_service("db", ports=["0.0.0.0:5432:5432"]), "a data store is reachable"),
        Defect(in_service("shop", ports=["3000"]), "other services use it inside"),
        Defect(
            in_service("shop", ports=[{"target": 3000, "published": 3000}]), "other services use it inside"
        ),
        Defect(in_service("db", ports=["[::]:5432:5432/tcp"]), "a data store is reachable"),
    ],
    "manifests-compose-image-tag": [
        Defect(in_service("db", image="postgres"), "no tag"),
        Defect(in_service("db", image="postgres:${VERSION:-latest}"), "the tag `latest`"),
    ],
}
