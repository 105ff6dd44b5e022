"""Controls of the restricted Pod Security Standard, and a violation of each.

Names as in https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

Pod = dict[str, Any]
Control = Callable[[Pod], bool]

_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected",
    "secret",
}  # fmt: skip
_SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}  # fmt: skip
_SELINUX_TYPES = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}


def violated_controls(pod: Pod) -> set[str]:
    """Return the names of the controls that a pod's `spec` violates."""
    return {name for name, (is_met, _) in CONTROLS.items() if not is_met(pod)}


def violating(pod: Pod, control: str) -> Pod:
    """Return a copy of the pod that violates a control."""
    changed = copy.deepcopy(pod)
    CONTROLS[control][1](changed)
    return changed


def _containers(pod: Pod) -> Iterator[dict[str, Any]]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from pod.get(kind, [])


def _contexts(pod: Pod) -> list[dict[str, Any]]:
    return [container.get("securityContext", {}) for container in _containers(pod)]


def _all_contexts(pod: Pod) -> list[dict[str, Any]]:
    return [pod.get("securityContext", {}), *_contexts(pod)]


def _effective(pod: Pod, name: str) -> list[Any]:
    """Return the effective value for each container: its own, or else the pod's."""
    of_pod = pod.get("securityContext", {}).get(name)
    return [context.get(name, of_pod) for context in _contexts(pod)]


def _drops_all(context: dict[str, Any]) -> bool:
    capabilities = context.get("capabilities", {})
    return "ALL" in capabilities.get("drop", []) and set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"}


def _is_unlabelled(context: dict[str, Any]) -> bool:
    options = context.get("seLinuxOptions", {})
    return options.get("type") in _SELINUX_TYPES and not options.get("user") and not options.get("role")


def _first(pod: Pod) -> dict[str, Any]:
    container: dict[str, Any] = pod["containers"][0]
    return container


def _set(pod: Pod, name: str, value: Any) -> None:
    _first(pod)["securityContext"][name] = value


def _set_pod(pod: Pod, name: str, value: Any) -> None:
    pod["securityContext"][name] = value


CONTROLS: dict[str, tuple[Control, Callable[[Pod], None]]] = {
    "HostProcess": (
        lambda pod: not any(c.get("windowsOptions", {}).get("hostProcess") for c in _all_contexts(pod)),
        lambda pod: _set(pod, "windowsOptions", {"hostProcess": True}),
    ),
    "Host Namespaces": (
        lambda pod: not any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")),
        lambda pod: pod.update(hostPID=True),
    ),
    "Privileged Containers": (
        lambda pod: not any(c.get("privileged") for c in _contexts(pod)),
        lambda pod: _set(pod, "privileged", True),
    ),
    "Capabilities": (
        lambda pod: all(_drops_all(c) for c in _contexts(pod)),
        lambda pod: _set(pod, "capabilities", {"drop": ["ALL"], "add": ["SYS_PTRACE"]}),
    ),
    "Host Ports": (
        lambda pod: not any(port.get("hostPort") for c in _containers(pod) for port in c.get("ports", [])),
        lambda pod: _first(pod)["ports"][0].update(hostPort=3000),
    ),
    "Host Probes and Lifecycle Hooks": (
        lambda pod: not any(_names_a_host(c) for c in _containers(pod)),
        lambda pod: _first(pod)["livenessProbe"]["httpGet"].update(host="10.0.0.1"),
    ),
    "AppArmor": (
        lambda pod: all(
            c.get("appArmorProfile", {}).get("type", "RuntimeDefault") in {"RuntimeDefault", "Localhost"}
            for c in _all_contexts(pod)
        ),
        lambda pod: _set(pod, "appArmorProfile", {"type": "Unconfined"}),
    ),
    "SELinux": (
        lambda pod: all(_is_unlabelled(c) for c in _all_contexts(pod)),
        lambda pod: _set_pod(pod, "seLinuxOptions", {"type": "spc_t"}),
    ),
    "/proc Mount Type": (
        lambda pod: all(c.get("procMount", "Default") == "Default" for c in _contexts(pod)),
        lambda pod: _set(pod, "procMount", "Unmasked"),
    ),
    "Sysctls": (
        lambda pod: (
            {sysctl["name"] for sysctl in pod.get("securityContext", {}).get("sysctls", [])} <= _SYSCTLS
        ),
        lambda pod: _set_pod(pod, "sysctls", [{"name": "kernel.msgmax", "value": "65536"}]),
    ),
    "Volume Types": (
        lambda pod: all(set(volume) - {"name"} <= _VOLUMES for volume in pod.get("volumes", [])),
        lambda pod: pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
    ),
    "Privilege Escalation": (
        lambda pod: all(c.get("allowPrivilegeEscalation") is False for c in _contexts(pod)),
        lambda pod: _first(pod)["securityContext"].pop("allowPrivilegeEscalation"),
    ),
    "Running as Non-root": (
        lambda pod: all(value is True for value in _effective(pod, "runAsNonRoot")),
        lambda pod: pod["securityContext"].pop("runAsNonRoot"),
    ),
    "Running as Non-root user": (
        lambda pod: 0 not in [c.get("runAsUser") for c in _all_contexts(pod)],
        lambda pod: _set(pod, "runAsUser", 0),
    ),
    "Seccomp": (
        lambda pod: all(
            (value or {}).get("type") in {"RuntimeDefault", "Localhost"}
            for value in _effective(pod, "seccompProfile")
        ),
        lambda pod: _set(pod, "seccompProfile", {"type": "Unconfined"}),
    ),
}


def _names_a_host(container: dict[str, Any]) -> bool:
    handlers = [container.get(f"{name}Probe", {}) for name in ("startup", "liveness", "readiness")]
    handlers += list(container.get("lifecycle", {}).values())
    return any(handler.get(kind, {}).get("host") for handler in handlers for kind in ("httpGet", "tcpSocket"))
