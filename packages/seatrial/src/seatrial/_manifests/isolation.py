"""Isolation of Kubernetes workloads: security context, network, images and secrets."""

from typing import Final

from .._static.fields import Fields
from .._static.findings import Findings
from .._static.secrets import secret_setting, secret_value, secrets_in_command
from .kubernetes import Cluster, Container, Workload, namespace, selects
from .pod_security import violated_controls

_OTHER_POLICIES: Final = {
    "CiliumNetworkPolicy",
    "CiliumClusterwideNetworkPolicy",
    "GlobalNetworkPolicy",
    "AdminNetworkPolicy",
}


def pod_security(cluster: Cluster, findings: Findings) -> None:
    """Judge pods against the restricted Pod Security Standard."""
    for workload in cluster.workloads:
        violated = violated_controls(workload.pod)
        findings.judge(
            not violated,
            f"{workload}: meets the restricted standard",
            f"{workload}: violates {', '.join(violated)}",
        )


def read_only_root(cluster: Cluster, findings: Findings) -> None:
    """Judge whether containers can change their own files."""
    for workload in cluster.workloads:
        for container in workload.containers:
            is_read_only = container.fields.fields("securityContext").boolean("readOnlyRootFilesystem")
            where = f"{workload}: {container.name}"
            findings.judge(
                is_read_only is True, f"{where}: read-only", f"{where}: the root file system is writable"
            )


def network_policy(cluster: Cluster, findings: Findings) -> None:
    """Judge whether policies restrict from where pods are reached."""
    for workload in cluster.workloads:
        if not workload.is_long_running:
            continue
        policies = [
            each
            for each in _policies(cluster, workload)
            if "Ingress" in (each.fields("spec").texts("policyTypes") or ("Ingress",))
        ]
        open_policies = [each for each in policies if _allows_all(each)]
        if open_policies:
            findings.bad(f"{workload}: {open_policies[0].where} admits every client at every port")
        elif policies:
            findings.good(f"{workload}: {', '.join(each.where for each in policies)}")
        elif cluster.kinds & _OTHER_POLICIES:
            kinds = ", ".join(sorted(cluster.kinds & _OTHER_POLICIES))
            findings.undecided(f"{workload}: no NetworkPolicy selects it, and {kinds} is not evaluated")
        else:
            findings.bad(f"{workload}: no NetworkPolicy for ingress selects its pods")


def image_tags(cluster: Cluster, findings: Findings) -> None:
    """Judge whether images are of a fixed version."""
    for workload in cluster.workloads:
        for container in workload.containers:
            problem = tag_problem(container.image)
            where = f"{workload}: {container.name}: {container.image}"
            findings.judge(problem is None, where, f"{where}: {problem}")


def secret_literals(cluster: Cluster, findings: Findings) -> None:
    """Judge whether manifests contain secrets."""
    for workload in cluster.workloads:
        found = [
            f"{container.name}: {each}"
            for container in workload.containers
            for each in _secrets_of(container)
        ]
        findings.judge(not found, f"{workload}: no secret", f"{workload}: {', '.join(found)}")
    for document in cluster.of_kind("ConfigMap"):
        data = document.mapping("data")
        found = [f"{name}: {kind}" for name, value in data.items() if (kind := _of_data(name, value))]
        findings.judge(not found, f"{document.where}: no secret", f"{document.where}: {', '.join(found)}")
    for document in cluster.of_kind("Secret"):
        names = sorted({*document.mapping("data"), *document.mapping("stringData")})
        findings.judge(
            not names, f"{document.where}: empty", f"{document.where}: contains {', '.join(names)}"
        )


def tag_problem(image: str) -> str | None:
    """Return why a reference can lead to another image tomorrow, or `None`."""
    name, _, digest = image.partition("@")
    if digest:
        return None
    tag = name.rpartition("/")[2].partition(":")[2]
    if not tag:
        return "no tag, which is `latest`"
    return "the tag `latest`" if tag == "latest" else None


def _policies(cluster: Cluster, workload: Workload) -> list[Fields]:
    """Return the policies that select a workload's pods; an empty selector selects all of a namespace."""
    by_selector = cluster.selecting("NetworkPolicy", workload, "spec", "podSelector")
    found = {each.where: each for each in by_selector}
    for each in cluster.of_kind("NetworkPolicy"):
        spec = each.fields("spec")
        if namespace(each) == workload.namespace and "podSelector" not in spec:
            found[each.where] = each
    return list(found.values())


def _allows_all(policy: Fields) -> bool:
    return any(
        not rule.items("ports") and (not rule.items("from") or any(map(_is_everywhere, rule.each("from"))))
        for rule in policy.fields("spec").each("ingress")
    )


def _is_everywhere(peer: Fields) -> bool:
    """Return whether a peer is every address, or every pod of every namespace."""
    block = peer.fields("ipBlock")
    if block.text("cidr") in {"0.0.0.0/0", "::/0"} and not block.items("except"):
        return True
    return (
        "namespaceSelector" in peer
        and selects(peer, "namespaceSelector", {})
        and ("podSelector" not in peer or selects(peer, "podSelector", {}))
    )


def _secrets_of(container: Container) -> list[str]:
    found = []
    for variable in container.fields.each("env"):
        name = variable.text("name")
        if (kind := secret_setting(name, variable.text("value"))) is not None:
            found.append(f"{name} is {kind}")
    words = (*container.fields.texts("command"), *container.fields.texts("args"))
    return [*found, *(f"{name} is {kind}" for name, kind in secrets_in_command(" ".join(words)))]


def _of_data(name: str, value: str) -> str | None:
    """Return what kind of secret an entry of a ConfigMap is; only the text of a whole file is judged."""
    return secret_value(value) if "\n" in value.strip() else secret_setting(name, value)
