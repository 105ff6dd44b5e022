"""Controls of the restricted Pod Security Standard.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/ (names of the controls as there)
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from .._static.fields import Fields

_VOLUMES: Final = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected",
    "secret",
}  # fmt: skip
_SYSCTLS: Final = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
}  # fmt: skip
_SELINUX_TYPES: Final = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_CONFINED: Final = {"RuntimeDefault", "Localhost"}


def violated_controls(pod: Fields) -> list[str]:
    """Return the names of the controls that a pod's `spec` violates."""
    return [name for name, is_met in CONTROLS.items() if not is_met(pod)]


def _containers(pod: Fields) -> Iterator[Fields]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from pod.each(kind)


def _contexts(pod: Fields) -> list[Fields]:
    return [container.fields("securityContext") for container in _containers(pod)]


def _all_contexts(pod: Fields) -> list[Fields]:
    return [pod.fields("securityContext"), *_contexts(pod)]


def _effective(pod: Fields, name: str) -> list[Any]:
    """Return the value for each container: its own, or else the pod's."""
    of_pod = pod.fields("securityContext").raw(name)
    return [of_pod if context.raw(name) is None else context.raw(name) for context in _contexts(pod)]


def _drops_all(context: Fields) -> bool:
    capabilities = context.fields("capabilities")
    return "ALL" in capabilities.texts("drop") and set(capabilities.texts("add")) <= {"NET_BIND_SERVICE"}


def _has_permitted_label(context: Fields) -> bool:
    options = context.fields("seLinuxOptions")
    return options.text("type") in _SELINUX_TYPES and not options.text("user") and not options.text("role")


def _names_a_host(container: Fields) -> bool:
    handlers = [container.fields(f"{name}Probe") for name in ("startup", "liveness", "readiness")]
    handlers += [container.fields("lifecycle", name) for name in ("postStart", "preStop")]
    return any(handler.fields(kind).text("host") for handler in handlers for kind in ("httpGet", "tcpSocket"))


CONTROLS: Final[dict[str, Callable[[Fields], bool]]] = {
    "HostProcess": lambda pod: (
        not any(context.fields("windowsOptions").boolean("hostProcess") for context in _all_contexts(pod))
    ),
    "Host Namespaces": lambda pod: (
        not any(pod.boolean(name) for name in ("hostNetwork", "hostPID", "hostIPC"))
    ),
    "Privileged Containers": lambda pod: not any(each.boolean("privileged") for each in _contexts(pod)),
    "Capabilities": lambda pod: all(map(_drops_all, _contexts(pod))),
    "HostPath Volumes": lambda pod: not any("hostPath" in volume for volume in pod.each("volumes")),
    "Host Ports": lambda pod: (
        not any(
            port.integer("hostPort") for container in _containers(pod) for port in container.each("ports")
        )
    ),
    "Host Probes and Lifecycle Hooks": lambda pod: not any(map(_names_a_host, _containers(pod))),
    "AppArmor": lambda pod: all(
        context.fields("appArmorProfile").text("type", "RuntimeDefault") in _CONFINED
        for context in _all_contexts(pod)
    ),
    "SELinux": lambda pod: all(map(_has_permitted_label, _all_contexts(pod))),
    "/proc Mount Type": lambda pod: all(
        context.text("procMount", "Default") == "Default" for context in _contexts(pod)
    ),
    "Sysctls": lambda pod: all(
        each.text("name") in _SYSCTLS for each in pod.fields("securityContext").each("sysctls")
    ),
    "Volume Types": lambda pod: all(set(volume) - {"name"} <= _VOLUMES for volume in pod.each("volumes")),
    "Privilege Escalation": lambda pod: all(
        context.boolean("allowPrivilegeEscalation") is False for context in _contexts(pod)
    ),
    "Running as Non-root": lambda pod: all(value is True for value in _effective(pod, "runAsNonRoot")),
    "Running as Non-root user": lambda pod: all(
        context.integer("runAsUser") != 0 for context in _all_contexts(pod)
    ),
    "Seccomp": lambda pod: all(
        Fields(value, "seccompProfile").text("type") in _CONFINED
        for value in _effective(pod, "seccompProfile")
    ),
}
