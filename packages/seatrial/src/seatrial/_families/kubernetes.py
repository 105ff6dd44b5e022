"""Rows about Kubernetes manifests."""

from collections.abc import Callable
from typing import Final

from .._manifests import capacity, isolation, probes
from .._manifests.kubernetes import Cluster
from .._manifests.subject import ManifestsSubject
from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Judgement
from .._static.findings import Findings, judged

_KUBERNETES = "https://kubernetes.io/docs"
_ABSENT = "There is no Kubernetes workload that the row is about."


def _of_cluster(add: Callable[[Cluster, Findings], None]) -> Callable[[ManifestsSubject], Judgement]:
    return judged(lambda subject, findings: add(subject.cluster, findings), absent=_ABSENT)


def _grace_period(subject: ManifestsSubject, findings: Findings) -> None:
    probes.grace_period(subject.cluster, findings, stop_s=subject.stop_s)


ROWS: Final[tuple[Row[ManifestsSubject], ...]] = (
    Row(
        id="manifests-probes",
        title="Containers that serve have a readiness and a liveness probe",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.HIGH,
        why="Without readiness, a pod receives requests before it can answer them, and while it stops. "
        "Without liveness, a process that hangs is never restarted.",
        source=f"{_KUBERNETES}/concepts/configuration/liveness-readiness-startup-probes/",
        how="Each container with ports, of a workload that a Service selects or that declares ports, "
        "has both.",
        fix="readinessProbe and livenessProbe with httpGet.",
        remedies=(
            Remedy("Litestar/Starkeel", "/health/ready and /health/live of starkeel_server.ServerPlugin"),
        ),
        judge=_of_cluster(probes.probes),
    ),
    Row(
        id="manifests-distinct-probes",
        title="Liveness differs from readiness",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.HIGH,
        why="Readiness fails while a dependency is away. If liveness is the same, all pods restart "
        "together and the outage lasts longer.",
        source=f"{_KUBERNETES}/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/",
        how="The two probes of a container differ in kind, port or path; names of ports are resolved.",
        fix="Give liveness a path of its own that checks no dependency.",
        judge=_of_cluster(probes.distinct_probes),
    ),
    Row(
        id="manifests-probe-port",
        title="Probes connect to the application's port",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.MEDIUM,
        why="A separate listener for operators answers while the application's is blocked or not yet "
        "open. Requests are then sent to a pod that cannot serve them.",
        source=f"{_KUBERNETES}/concepts/configuration/liveness-readiness-startup-probes/",
        how="The port of each probe is one that a Service of the workload targets, or the container "
        "declares, and is not named after metrics or administration, unless it declares only such "
        "ports. A command as a probe is unknown.",
        fix="Name the port `http` in `ports`, in the Service and in the probes.",
        judge=_of_cluster(probes.probe_ports),
    ),
    Row(
        id="manifests-grace-period",
        title="The grace period is as long as the service needs to stop",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.HIGH,
        why="After the grace period the kubelet sends SIGKILL, and requests in flight are lost. "
        "The time of a preStop hook counts.",
        source=f"{_KUBERNETES}/concepts/workloads/pods/pod-lifecycle/#pod-termination",
        how="`terminationGracePeriodSeconds` (30 if absent) minus the sleep of `preStop` is at least the "
        "number of seconds of `stop_s`.",
        fix="Add the drain delay, the time of the slowest request and the flush of telemetry.",
        remedies=(
            Remedy(
                "Litestar/Starkeel",
                "DRAIN_DELAY_SECONDS + SHUTDOWN_GRACE_SECONDS + SHUTDOWN_FLUSH_SECONDS + 2",
            ),
        ),
        judge=judged(_grace_period, absent=_ABSENT),
    ),
    Row(
        id="manifests-replicas",
        title="At least two replicas run",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.HIGH,
        why="With one replica, each crash, eviction and drain of a node is an outage. "
        "An autoscaler with a minimum of one has one pod at night.",
        source=f"{_KUBERNETES}/concepts/workloads/controllers/deployment/",
        how="`replicas`, or the minimum of the autoscaler, is at least 2; absent, it is 1.",
        fix="replicas: 2, or minReplicas: 2 in the HorizontalPodAutoscaler.",
        judge=_of_cluster(capacity.replicas),
    ),
    Row(
        id="manifests-rollout",
        title="A rollout keeps the capacity",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.MEDIUM,
        why="`maxUnavailable` pods are stopped before their replacements serve, while the load stays. "
        "The default of 25 % is one pod of four.",
        source=f"{_KUBERNETES}/concepts/workloads/controllers/deployment/#max-unavailable",
        how="`maxUnavailable` of the largest number of replicas, rounded down, is 0, and the strategy is "
        "RollingUpdate.",
        fix="strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}",
        judge=_of_cluster(capacity.rollout),
    ),
    Row(
        id="manifests-disruption-budget",
        title="A disruption budget protects the pods and permits to drain nodes",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.MEDIUM,
        why="Without a budget, an upgrade of the cluster can evict all pods at once. "
        "A budget that permits no eviction blocks the upgrade.",
        source=f"{_KUBERNETES}/tasks/run-application/configure-pdb/",
        how="Exactly one PodDisruptionBudget of the namespace selects the pods, and of the smallest "
        "number of replicas it permits to evict at least one and not all.",
        fix="A PodDisruptionBudget with maxUnavailable: 1.",
        judge=_of_cluster(capacity.disruption_budget),
    ),
    Row(
        id="manifests-topology-spread",
        title="Pods are spread over nodes or zones",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.MEDIUM,
        why="Without a constraint, the scheduler may place all replicas on one node. "
        "The failure of this node is then an outage in spite of several replicas.",
        source=f"{_KUBERNETES}/concepts/scheduling-eviction/topology-spread-constraints/",
        how="A topology spread constraint or a pod anti-affinity has a selector that matches the pods.",
        fix="topologySpreadConstraints over kubernetes.io/hostname and topology.kubernetes.io/zone.",
        judge=_of_cluster(capacity.topology_spread),
    ),
    Row(
        id="manifests-resources",
        title="Containers request CPU and memory, and limit memory",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.HIGH,
        why="The scheduler places pods by their requests; without them, a node is overcommitted. "
        "Without a limit for memory, a leak ends other pods of the node.",
        source=f"{_KUBERNETES}/concepts/configuration/manage-resources-containers/",
        how="Each container, also for initialization, has requests for CPU and memory and a limit for "
        "memory that is not below its request. A limit for CPU is not required.",
        fix="resources: {requests: {cpu: 250m, memory: 256Mi}, limits: {memory: 256Mi}}",
        judge=_of_cluster(capacity.resources),
    ),
    Row(
        id="manifests-pod-security",
        title="Pods meet the restricted Pod Security Standard",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.HIGH,
        why="The standard removes what turns a fault of the service into one of the node: root, "
        "privileges, capabilities, the node's namespaces and directories. Namespaces can enforce "
        "it.",
        source=f"{_KUBERNETES}/concepts/security/pod-security-standards/#restricted",
        how="All controls of the restricted standard, also for containers of initialization.",
        fix="securityContext: runAsNonRoot, seccompProfile RuntimeDefault; for each container "
        "allowPrivilegeEscalation: false and capabilities: {drop: [ALL]}.",
        judge=_of_cluster(isolation.pod_security),
    ),
    Row(
        id="manifests-read-only-root",
        title="The root file system is read-only",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.MEDIUM,
        why="An intruder cannot change the program or store another one. "
        "A service that writes to its own image loses the data with the container.",
        source="https://cheatsheetseries.owasp.org/cheatsheets/Kubernetes_Security_Cheat_Sheet.html",
        how="`readOnlyRootFilesystem` of each container is true.",
        fix="readOnlyRootFilesystem: true, and an emptyDir for temporary files.",
        judge=_of_cluster(isolation.read_only_root),
    ),
    Row(
        id="manifests-network-policy",
        title="A network policy restricts which clients reach the pods",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.MEDIUM,
        why="Without a policy, every pod of the cluster can connect to every port, also that of metrics. "
        "A policy is what stops an intruder from moving on.",
        source=f"{_KUBERNETES}/concepts/services-networking/network-policies/",
        how="A NetworkPolicy for ingress selects the pods, and no rule admits every client at every port.",
        fix="A policy that denies by default for the namespace, and one a service with its clients.",
        judge=_of_cluster(isolation.network_policy),
    ),
    Row(
        id="manifests-image-tag",
        title="Images have a fixed version",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.HIGH,
        why="`latest` can be another image on each node, and a rollback to it changes nothing. "
        "A version or a digest names one.",
        source=f"{_KUBERNETES}/concepts/containers/images/",
        how="Each image has a digest, or a tag other than `latest`.",
        fix="kustomize edit set image shop=registry.example.com/shop:1.4.2",
        judge=_of_cluster(isolation.image_tags),
    ),
    Row(
        id="manifests-secrets",
        title="Manifests contain no secret",
        category=Category.MANIFESTS,
        command="manifests",
        severity=Severity.CRITICAL,
        why="Manifests are in version control and in the output of kubectl. "
        "Base64 in a Secret is not encryption.",
        source=f"{_KUBERNETES}/concepts/security/secrets-good-practices/",
        how="Variables, arguments and ConfigMaps are compared with names and forms of secrets; a Secret "
        "has no data. Values are never printed.",
        fix="Let an operator create the Secret (External Secrets, Sealed Secrets), and refer to it.",
        judge=_of_cluster(isolation.secret_literals),
    ),
)
