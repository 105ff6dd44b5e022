"""Probes of Kubernetes workloads, and the time to stop."""

from collections.abc import Iterator

from .._static.findings import Findings
from .kubernetes import Cluster, Container, Port, Probe, Workload


def probes(cluster: Cluster, findings: Findings) -> None:
    """Judge whether each container that serves has a readiness and a liveness probe."""
    for workload, container in _serving(cluster):
        missing = [name for name in ("readiness", "liveness") if name not in container.probes]
        findings.judge(
            not missing,
            f"{workload}: {container.name} has both probes",
            f"{workload}: {container.name} has no {' and no '.join(missing)} probe",
        )


def distinct_probes(cluster: Cluster, findings: Findings) -> None:
    """Judge whether liveness differs from readiness."""
    for workload, container in _serving(cluster):
        readiness, liveness = container.probes.get("readiness"), container.probes.get("liveness")
        if readiness is None or liveness is None:
            continue
        findings.judge(
            _target(container, readiness) != _target(container, liveness),
            f"{workload}: {container.name}: liveness {_text(liveness)}, readiness {_text(readiness)}",
            f"{workload}: {container.name}: liveness and readiness are both {_text(liveness)}",
        )


def probe_ports(cluster: Cluster, findings: Findings) -> None:
    """Judge whether probes connect to the port on which the application serves."""
    for workload, container in _serving(cluster):
        ports = _application_ports(cluster, workload, container)
        for name, probe in container.probes.items():
            where = f"{workload}: {container.name}: {name} {_text(probe)}"
            if probe.kind == "exec" or probe.port is None:
                findings.undecided(f"{where}: a manifest does not show what a command connects to")
            elif (number := container.port_number(probe.port)) is None:
                findings.bad(f"{where}: the container has no port {probe.port!r}")
            elif not ports:
                findings.undecided(
                    f"{where}: neither a port of the container nor a Service names the application's"
                )
            else:
                names = ", ".join(map(str, sorted(ports)))
                findings.judge(number in ports, f"{where}", f"{where}: the application's port is {names}")


def grace_period(cluster: Cluster, findings: Findings, *, stop_s: float | None) -> None:
    """Judge whether a pod has the time that the service needs to stop.

    `stop_s` is the most seconds from the stop signal to the exit; `None` if it is not configured.
    """
    for workload in cluster.workloads:
        if not cluster.serves(workload):
            continue
        slept = max((each.pre_stop_s for each in workload.containers), default=0)
        grace = workload.grace_s
        text = f"{workload}: {grace} s, of which `preStop` takes {slept:g} s"
        if grace <= slept:
            findings.bad(f"{text}: nothing is left for the service")
        elif stop_s is None:
            findings.undecided(f"{text}: set `stop_s` in seatrial.toml to the seconds that it needs")
        else:
            findings.judge(
                grace - slept >= stop_s,
                f"{text}; the service needs {stop_s:g} s",
                f"{text}: the service needs {stop_s:g} s",
            )


def _serving(cluster: Cluster) -> Iterator[tuple[Workload, Container]]:
    """Yield the containers that receive requests: with ports, or the only one of a pod."""
    for workload in cluster.workloads:
        if cluster.serves(workload):
            containers = [each for each in workload.containers if not each.is_init]
            with_ports = [each for each in containers if each.ports]
            yield from ((workload, each) for each in (with_ports or containers))


def _application_ports(cluster: Cluster, workload: Workload, container: Container) -> set[int]:
    """Return the ports to which Services send requests, without those for operators.

    A container that declares only ports for operators, such as one that executes jobs, serves no others.
    """
    found = set()
    for service in cluster.services(workload):
        for port in service.fields("spec").each("ports"):
            target = port.text("targetPort") or port.text("port")
            number = container.port_number(target)
            names = f"{port.text('name')} {target} {_port_name(container, number)}"
            if number is not None and not Port(number, names).is_for_operators:
                found.add(number)
    own = {each.number for each in container.ports if not each.is_for_operators}
    return found or own or {each.number for each in container.ports}


def _port_name(container: Container, number: int | None) -> str:
    return next((each.name for each in container.ports if each.number == number), "")


def _target(container: Container, probe: Probe) -> tuple[str, int | None, str]:
    number = None if probe.port is None else container.port_number(probe.port)
    return probe.kind, number, probe.request


def _text(probe: Probe) -> str:
    port = "" if probe.port is None else f":{probe.port}"
    return f"{probe.kind} {port}{probe.request}".rstrip()
