"""Capacity of Kubernetes workloads: replicas, rollouts, disruptions, spread and resources."""

from .._static.fields import Fields
from .._static.findings import Findings
from .kubernetes import Cluster, Container, Workload, selects
from .quantities import quantity, share

_REPLICATED = {"Deployment", "StatefulSet", "ReplicaSet", "Rollout"}


def replicas(cluster: Cluster, findings: Findings) -> None:
    """Judge whether the loss of one pod leaves another."""
    for workload in _replicated(cluster):
        fewest, _ = cluster.replicas(workload)
        source = "the autoscaler keeps" if cluster.autoscalers(workload) else "the manifest has"
        text = f"{workload}: {source} {fewest} replica{'' if fewest == 1 else 's'}"
        findings.judge(fewest >= 2, text, text)


def rollout(cluster: Cluster, findings: Findings) -> None:
    """Judge whether a rolling update keeps the number of pods."""
    for workload in _replicated(cluster):
        if workload.kind != "Deployment":
            # Others have no `maxUnavailable` that adds a pod before it removes one.
            continue
        strategy = workload.fields.fields("spec", "strategy")
        if strategy.text("type", "RollingUpdate") != "RollingUpdate":
            findings.bad(f"{workload}: the strategy {strategy.text('type')} stops all pods first")
            continue
        given = strategy.fields("rollingUpdate").text("maxUnavailable", "25%")
        _, most = cluster.replicas(workload)
        lost = share(given, most, round_up=False)
        text = f"{workload}: `maxUnavailable` {given}: {lost} of {most} pods"
        if lost is None:
            findings.undecided(f"{workload}: `maxUnavailable` is {given!r}")
        else:
            findings.judge(lost == 0, text, f"{text} are missing during a rollout")


def disruption_budget(cluster: Cluster, findings: Findings) -> None:
    """Judge whether a budget exists that permits to drain a node, and not to evict all pods."""
    for workload in _replicated(cluster):
        budgets = cluster.selecting("PodDisruptionBudget", workload, "spec", "selector")
        fewest, _ = cluster.replicas(workload)
        if not budgets:
            findings.bad(f"{workload}: no PodDisruptionBudget selects its pods")
        elif len(budgets) > 1:
            findings.bad(f"{workload}: several budgets select its pods, and the eviction API refuses that")
        else:
            _judge_budget(workload, budgets[0].fields("spec"), fewest, findings)


def topology_spread(cluster: Cluster, findings: Findings) -> None:
    """Judge whether pods are spread over nodes or zones."""
    for workload in _replicated(cluster):
        constraints = workload.pod.each("topologySpreadConstraints")
        matching = [each for each in constraints if selects(each, "labelSelector", workload.labels)]
        anti_affinity = workload.pod.fields("affinity", "podAntiAffinity")
        terms = anti_affinity.each("requiredDuringSchedulingIgnoredDuringExecution")
        preferred = anti_affinity.each("preferredDuringSchedulingIgnoredDuringExecution")
        terms += [each.fields("podAffinityTerm") for each in preferred]
        matching += [each for each in terms if selects(each, "labelSelector", workload.labels)]
        keys = ", ".join(each.text("topologyKey") for each in matching)
        if matching:
            findings.good(f"{workload}: spread over {keys}")
        elif constraints or terms:
            findings.bad(f"{workload}: the selectors of its constraints do not match its pods")
        else:
            findings.bad(f"{workload}: no topology spread constraint")


def resources(cluster: Cluster, findings: Findings) -> None:
    """Judge requests for CPU and memory, and a limit for memory."""
    for workload in cluster.workloads:
        for container in workload.containers:
            problems = _resource_problems(container, workload)
            where = f"{workload}: {container.name}"
            findings.judge(
                not problems, f"{where}: {_resources(container)}", f"{where}: {', '.join(problems)}"
            )


def _replicated(cluster: Cluster) -> list[Workload]:
    return [each for each in cluster.workloads if each.kind in _REPLICATED and cluster.serves(each)]


def _judge_budget(workload: Workload, budget: Fields, fewest: int, findings: Findings) -> None:
    """Judge how many of the smallest number of pods can be evicted at a time."""
    unavailable, available = budget.text("maxUnavailable"), budget.text("minAvailable")
    kept = share(available, fewest, round_up=True) if available else None
    evicted = share(unavailable, fewest, round_up=True) if unavailable else None
    if evicted is None and kept is not None:
        evicted = fewest - kept
    text = f"{workload}: {'maxUnavailable' if unavailable else 'minAvailable'} {unavailable or available}"
    if evicted is None:
        findings.bad(f"{workload}: the budget has neither `maxUnavailable` nor `minAvailable`")
    elif evicted <= 0:
        findings.bad(f"{text} of {fewest} pods: no node with one of them can be drained")
    elif evicted >= fewest > 1:
        findings.bad(f"{text} of {fewest} pods: all of them can be evicted at a time")
    else:
        findings.good(f"{text} of {fewest} pods")


def _resource_problems(container: Container, workload: Workload) -> list[str]:
    given = container.fields.fields("resources")
    requests, limits = given.mapping("requests"), given.mapping("limits")
    # Resources of the pod as a whole (Kubernetes 1.34) replace those of its containers.
    whole = workload.pod.fields("resources")
    requests = whole.mapping("requests") | requests
    limits = whole.mapping("limits") | limits
    # A limit is also the request, unless there is another.
    requests = limits | requests
    problems = [
        f"no request for {name}" for name in ("cpu", "memory") if not quantity(requests.get(name, ""))
    ]
    limit = quantity(limits.get("memory", ""))
    if not limit:
        problems.append("no limit for memory")
    elif (quantity(requests.get("memory", "")) or 0) > limit:
        problems.append("the request for memory is above its limit")
    return problems


def _resources(container: Container) -> str:
    given = container.fields.fields("resources")
    parts = [f"{name} {value}" for name, value in given.mapping("requests").items()]
    parts += [f"{name} at most {value}" for name, value in given.mapping("limits").items()]
    return ", ".join(parts) or "as the pod"
