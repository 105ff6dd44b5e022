"""Each control of the restricted Pod Security Standard, and what it permits."""

from pathlib import Path
from typing import Any

import pytest
from seatrial import Verdict
from seatrial._manifests.pod_security import CONTROLS

from .manifests import Change, in_container, in_pod, write_kubernetes
from .test_static_rows import of_manifests


def in_context(**values: Any) -> Change:
    return in_container(securityContext=values)


def in_pod_context(**values: Any) -> Change:
    return in_pod(securityContext=values)


VIOLATIONS: dict[str, Change] = {
    "HostProcess": in_pod_context(windowsOptions={"hostProcess": True}),
    "Host Namespaces": in_pod(hostPID=True),
    "Privileged Containers": in_context(privileged=True),
    "Capabilities": in_context(capabilities={"drop": ["NET_RAW"]}),
    "HostPath Volumes": in_pod(volumes=[{"name": "host", "hostPath": {"path": "/"}}]),
    "Host Ports": in_container(ports=[{"containerPort": 3000, "hostPort": 3000, "name": "http"}]),
    "Host Probes and Lifecycle Hooks": in_container(
        livenessProbe={"httpGet": {"host": "10.0.0.1", "port": 3000, "path": "/live"}}
    ),
    "AppArmor": in_context(appArmorProfile={"type": "Unconfined"}),
    "SELinux": in_pod_context(seLinuxOptions={"type": "spc_t"}),
    "/proc Mount Type": in_context(procMount="Unmasked"),
    "Sysctls": in_pod_context(sysctls=[{"name": "kernel.msgmax", "value": "65536"}]),
    "Volume Types": in_pod(volumes=[{"name": "share", "nfs": {"server": "a", "path": "/"}}]),
    "Privilege Escalation": in_context(allowPrivilegeEscalation=None),
    "Running as Non-root": in_context(runAsNonRoot=False),
    "Running as Non-root user": in_context(runAsUser=0),
    "Seccomp": in_context(seccompProfile={"type": "Unconfined"}),
}
PERMITTED: dict[str, Change] = {
    "capability": in_context(capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
    "sysctl": in_pod_context(sysctls=[{"name": "net.ipv4.tcp_syncookies", "value": "1"}]),
    "volumes": in_pod(volumes=[{"name": "a", "emptyDir": {}}, {"name": "b", "secret": {"secretName": "b"}}]),
    "profile": in_context(seccompProfile={"type": "Localhost", "localhostProfile": "a.json"}),
    "user": in_context(runAsUser=65532, seLinuxOptions={"type": "container_t"}),
}


def test_the_table_is_complete() -> None:
    assert VIOLATIONS.keys() == CONTROLS.keys()


@pytest.mark.parametrize("control", VIOLATIONS)
def test_a_violation_is_named(control: str, tmp_path: Path) -> None:
    judgement = of_manifests(write_kubernetes(tmp_path, VIOLATIONS[control]))["manifests-pod-security"]
    assert judgement.verdict is Verdict.FAIL
    assert control in judgement.reason


@pytest.mark.parametrize("change", PERMITTED)
def test_what_the_standard_permits_passes(change: str, tmp_path: Path) -> None:
    judgement = of_manifests(write_kubernetes(tmp_path, PERMITTED[change]))["manifests-pod-security"]
    assert judgement.verdict is Verdict.PASS, judgement
